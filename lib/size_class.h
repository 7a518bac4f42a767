/* SPDX-License-Identifier: MIT */
/*
 * size_class.h - the sizes that malloc rounds requests up to.
 *
 * Multiples of 16 up to 128, then 8 classes per doubling, so rounding wastes at most an eighth
 * (a sixteenth on average).  Classes below N_SMALL_CLASSES are served by runs once they are hot,
 * the others by elements; larger requests are page-granular and have no class.
 */
#ifndef MHEAP_SIZE_CLASS_H
#define MHEAP_SIZE_CLASS_H

#include <stddef.h>
#include <stdint.h>

#define SMALL_MAX_BYTES  4096u       /* largest class that lives in runs */
#define MEDIUM_MAX_BYTES (36u << 10) /* largest class: opendir takes a little more than 32 */
#define N_SMALL_CLASSES  48u
#define N_CLASSES        73u
#define N_MEDIUM_CLASSES (N_CLASSES - N_SMALL_CLASSES)

/* X(class, bytes of the class before, bytes) for each small class. */
/* clang-format off */
#define EACH_SMALL_CLASS(X)                                                                        \
    X(0, 0, 16) X(1, 16, 32) X(2, 32, 48) X(3, 48, 64)                                             \
    X(4, 64, 80) X(5, 80, 96) X(6, 96, 112) X(7, 112, 128)                                         \
    EACH_OF_DOUBLING(X, 8, 16, 128)                                                                \
    EACH_OF_DOUBLING(X, 16, 32, 256)                                                               \
    EACH_OF_DOUBLING(X, 24, 64, 512)                                                               \
    EACH_OF_DOUBLING(X, 32, 128, 1024)                                                             \
    EACH_OF_DOUBLING(X, 40, 256, 2048)
#define EACH_OF_DOUBLING(X, c, step, from)                                                         \
    X(c, from, from + step)                                                                        \
    X(c + 1, from + step, from + 2 * step)                                                         \
    X(c + 2, from + 2 * step, from + 3 * step)                                                     \
    X(c + 3, from + 3 * step, from + 4 * step)                                                     \
    X(c + 4, from + 4 * step, from + 5 * step)                                                     \
    X(c + 5, from + 5 * step, from + 6 * step)                                                     \
    X(c + 6, from + 6 * step, from + 7 * step)                                                     \
    X(c + 7, from + 7 * step, from + 8 * step)
/* clang-format on */

/* Class of `last` + 1 bytes: 8 * (log2 - 7) + the topmost four bits (8 to 15) of `last`; below 128,
 * where these are four bits of a number that log2 says is larger, `last` / 16.  No branch: nobody
 * can guess on which side of 128 the next size lies. */
static inline unsigned size_class_of_last(size_t last) {
    unsigned log2 = (unsigned)__builtin_clzl(last | 128) ^ 63u; /* 63 - it would be one more */
    return (log2 - 7u) * 8u + (unsigned)(last >> (log2 - 3u));
}

/* Class of any request up to MEDIUM_MAX_BYTES; 0 bytes are served as 1. */
static inline unsigned size_class_of(size_t bytes) {
    return size_class_of_last(bytes - (bytes != 0));
}

static inline size_t size_class_bytes(unsigned size_class) {
    unsigned doubling = size_class >> 3, is_first = doubling == 0; /* steps of 16, as the second's */
    return (size_t)((size_class & 7u) + 9u - 8u * is_first) << (doubling + 3u + is_first);
}

/* The largest class that fits into `bytes` (at least 16), were there classes of any size. */
static inline unsigned size_class_below(size_t bytes) {
    return size_class_of_last(bytes) - 1;
}

/* The same; N_CLASSES for all that there are not. */
static inline unsigned size_class_within(size_t bytes) {
    return bytes >= size_class_bytes(N_CLASSES) ? N_CLASSES : size_class_below(bytes);
}

_Static_assert(N_SMALL_CLASSES == 8 + 8 * 5, "up to 128, then five doublings to 4096");
_Static_assert(N_CLASSES == 8 + 8 * 8 + 1, "up to 128, then eight doublings to 32 KiB, and 36");

#endif /* MHEAP_SIZE_CLASS_H */

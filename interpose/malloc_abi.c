/* SPDX-License-Identifier: MIT */
/*
 * malloc_abi.c - the exported C names, and the rules of C, POSIX and glibc about their arguments.
 */
#include <errno.h>
#include <malloc.h>
#include <stdlib.h>

#include "front.h"
#include "vm.h"

#define EXPORT __attribute__((visibility("default")))
#define HOT    EXPORT __attribute__((aligned(64))) /* as few lines of the processor's as can be */

HOT void *malloc(size_t bytes) {
    return front_malloc(bytes);
}

HOT void free(void *pointer) {
    front_free(pointer);
}

EXPORT void cfree(void *pointer);
EXPORT void cfree(void *pointer) {
    front_free(pointer);
}

EXPORT void free_sized(void *pointer, size_t bytes);
EXPORT void free_sized(void *pointer, size_t bytes) {
    front_free_sized(pointer, bytes);
}

EXPORT void free_aligned_sized(void *pointer, size_t align, size_t bytes);
EXPORT void free_aligned_sized(void *pointer, size_t align, size_t bytes) {
    front_free_aligned_sized(pointer, align, bytes);
}

EXPORT void *calloc(size_t n, size_t bytes) {
    return front_calloc(n, bytes);
}

EXPORT void *realloc(void *pointer, size_t bytes) {
    return front_realloc(pointer, bytes);
}

EXPORT void *reallocarray(void *pointer, size_t n, size_t bytes) {
    size_t total;
    if (__builtin_mul_overflow(n, bytes, &total)) {
        errno = ENOMEM;
        return NULL;
    }
    return front_realloc(pointer, total);
}

static bool is_power_of_two(size_t number) {
    return number && (number & (number - 1)) == 0;
}

/* glibc rounds any alignment up to a power of two; one too large for that is EINVAL. */
EXPORT void *memalign(size_t align, size_t bytes) {
    if (align > (SIZE_MAX >> 1) + 1) {
        errno = EINVAL;
        return NULL;
    }
    size_t rounded = align <= 16 ? 16 : (size_t)1 << (64 - __builtin_clzl(align - 1));
    return front_memalign(rounded, bytes);
}

/* C17: an alignment that is not supported is an error; any power of two is. */
EXPORT void *aligned_alloc(size_t align, size_t bytes) {
    if (!is_power_of_two(align)) {
        errno = EINVAL;
        return NULL;
    }
    return front_memalign(align, bytes);
}

EXPORT int posix_memalign(void **result, size_t align, size_t bytes) {
    if (!is_power_of_two(align) || align % sizeof(void *) != 0)
        return EINVAL;
    void *pointer = front_memalign_pop(align, bytes);
    if (unlikely(!pointer)) {
        int saved_errno = errno;
        pointer = front_memalign_slow(align, bytes);
        errno = saved_errno;
    }
    if (!pointer)
        return ENOMEM;
    *result = pointer;
    return 0;
}

/* Rare: on no page of what every process runs (layout.ld). */
__attribute__((cold)) EXPORT void *valloc(size_t bytes) {
    return front_memalign(vm_page_bytes(), bytes);
}

__attribute__((cold)) EXPORT void *pvalloc(size_t bytes) {
    if (bytes > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    return front_memalign(vm_page_bytes(), vm_round_up(bytes ? bytes : 1));
}

EXPORT size_t malloc_usable_size(void *pointer) {
    return front_usable_bytes(pointer);
}

/* SPDX-License-Identifier: MIT */
/*
 * front.h - what the exported names call: the fast allocator, or in libmheap-hardened.so the
 * hardened one.  Which of them is a constant, so the other leaves no trace in the code.
 */
#ifndef MHEAP_FRONT_H
#define MHEAP_FRONT_H

#include "fast_memalign.h"
#include "hardened.h"

static inline void *front_malloc(size_t bytes) {
    return MHEAP_HARDENED ? hardened_malloc(bytes) : fast_malloc(bytes);
}

/* The same, where it is not worth to have the fast path inline. */
static inline void *front_malloc_call(size_t bytes) {
    return MHEAP_HARDENED ? hardened_malloc(bytes) : heap_malloc(bytes);
}

static inline void *front_calloc(size_t n, size_t bytes) {
    return MHEAP_HARDENED ? hardened_calloc(n, bytes) : heap_calloc(n, bytes);
}

static inline void *front_realloc(void *pointer, size_t bytes) {
    return MHEAP_HARDENED ? hardened_realloc(pointer, bytes) : heap_realloc(pointer, bytes);
}

/* NULL: ask the slow one. */
static inline void *front_memalign_pop(size_t align, size_t bytes) {
    return MHEAP_HARDENED ? NULL : fast_memalign_pop(align, bytes);
}

static inline void *front_memalign_slow(size_t align, size_t bytes) {
    return MHEAP_HARDENED ? hardened_memalign(align, bytes) : heap_memalign_slow(align, bytes);
}

static inline void *front_memalign(size_t align, size_t bytes) {
    return MHEAP_HARDENED ? hardened_memalign(align, bytes) : fast_memalign(align, bytes);
}

static inline void *front_new_aligned(size_t align, size_t bytes) {
    return MHEAP_HARDENED ? hardened_new_aligned(align, bytes) : heap_memalign(align, bytes);
}

static inline size_t front_usable_bytes(void *pointer) {
    return MHEAP_HARDENED ? hardened_usable_bytes(pointer)
                          : heap_usable_bytes(pointer, "malloc_usable_size");
}

static inline void front_free(void *pointer) {
    if (MHEAP_HARDENED)
        hardened_free(pointer);
    else
        fast_free(pointer);
}

static inline void front_free_sized(void *pointer, size_t bytes) {
    if (MHEAP_HARDENED)
        hardened_free_sized(pointer, bytes);
    else
        fast_free(pointer);
}

static inline void front_free_aligned_sized(void *pointer, size_t align, size_t bytes) {
    if (MHEAP_HARDENED)
        hardened_free_aligned_sized(pointer, align, bytes);
    else
        fast_free(pointer);
}

static inline void front_delete(void *pointer) {
    if (MHEAP_HARDENED)
        hardened_delete(pointer);
    else
        fast_free(pointer);
}

static inline void front_delete_sized(void *pointer, size_t bytes) {
    if (MHEAP_HARDENED)
        hardened_delete_sized(pointer, bytes);
    else
        fast_free(pointer);
}

static inline void front_delete_aligned(void *pointer, size_t align) {
    if (MHEAP_HARDENED)
        hardened_delete_aligned(pointer, align);
    else
        fast_free(pointer);
}

#endif /* MHEAP_FRONT_H */

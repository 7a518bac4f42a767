/* SPDX-License-Identifier: MIT */
/*
 * fast_memalign.h - aligned allocation as it nearly always is: a block of a run.
 *
 * Blocks of a run are multiples of their size from a 64 KiB boundary, so any block of a class whose
 * size is a multiple of the alignment is aligned.  Rounding the request up to the alignment leads
 * to such a class: classes of one doubling are multiples of a step, and a multiple of an alignment
 * over that step is such a multiple itself, hence a class of its own.  Elements (of cold classes)
 * are on the same lists: so the block is looked at.
 */
#ifndef MHEAP_FAST_MEMALIGN_H
#define MHEAP_FAST_MEMALIGN_H

#include "fast.h"

static inline bool memalign_is_small(size_t align, size_t bytes) {
    return align <= SMALL_MAX_BYTES && bytes <= SMALL_MAX_BYTES;
}

/* At most SMALL_MAX_BYTES, if it is small: that is a power of two. */
static inline size_t memalign_rounded(size_t align, size_t bytes) {
    return ((bytes ? bytes : 1) + align - 1) & ~(align - 1);
}

/* From the list where such an object would be, if the next block there happens to be aligned, as it
 * always is on a list of blocks of a run; else NULL. */
static inline void *fast_memalign_pop(size_t align, size_t bytes) {
    thread_heap_t *heap = self_heap;
    if (likely(memalign_is_small(align, bytes)))
        bytes = memalign_rounded(align, bytes);
    else if (bytes <= SMALL_MAX_BYTES)
        return NULL;
    size_t size_class = fast_class(heap, bytes);
    block_t *block = *heap_slot(heap, heap->list_top[size_class]);
    if (unlikely(block == NO_BLOCK || ((uintptr_t)block & (align - 1)) != 0))
        return NULL;
    return fast_pop(heap, size_class, bytes);
}

static inline void *fast_memalign(size_t align, size_t bytes) {
    void *pointer = fast_memalign_pop(align, bytes);
    return likely(pointer) ? pointer : heap_memalign_slow(align, bytes);
}

#endif /* MHEAP_FAST_MEMALIGN_H */

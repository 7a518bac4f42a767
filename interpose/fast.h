/* SPDX-License-Identifier: MIT */
/*
 * fast.h - the hot paths.  Only what happens nearly always is here; everything else is one tail
 * call away (malloc_slow.c), so neither path has a stack frame.
 *
 * No test for "this thread has no heap yet": no_heap's lists are empty, and it owns no region.
 */
#ifndef MHEAP_FAST_H
#define MHEAP_FAST_H

#include "heaps.h"
#include "malloc_internal.h"
#include "mheap_internal.h"

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)

/* Byte offset in the heap of the list for (bytes + 15) / 16, for small sizes. */
extern const uint16_t small_list_offset[SMALL_MAX_BYTES / 16 + 1];

static inline void *fast_pop(thread_heap_t *heap, block_list_t *list, size_t bytes) {
    block_t *block = list->head;
    if (unlikely(!block))
        return heap_malloc_slow(bytes);
    uintptr_t next = block_decode(block, heap->key);
    if (unlikely(BLOCK_CHECKS && !block_link_is_plausible(next)))
        return heap_malloc_slow(bytes);  /* finds it again, and says so */
    __builtin_prefetch((void *)next, 1); /* its link is read by the next malloc of this class */
    list->head = (block_t *)next;
    list->credit++;
    if (BLOCK_CHECKS)
        block->link = 0; /* no longer looks free; and tells nobody the key */
    return block;
}

static inline void *fast_malloc(size_t bytes) {
    thread_heap_t *heap = self_heap;
    if (unlikely(bytes > SMALL_MAX_BYTES)) {
        if (bytes > MEDIUM_MAX_BYTES)
            return heap_malloc_slow(bytes);
        return fast_pop(heap, &heap->list[size_class_of_medium(bytes)], bytes);
    }
    size_t offset = small_list_offset[(bytes + 15) / 16];
    return fast_pop(heap, (block_list_t *)((char *)heap + offset), bytes);
}

/* Push a block whose list is known.  Its first word is looked at for a link: then it is suspected
 * of being free already, and the slow path decides. */
static inline void fast_push(thread_heap_t *heap, block_list_t *list, block_t *block) {
    uintptr_t mask = block_mask(block, heap->key);
    if (unlikely(BLOCK_CHECKS && block_link_is_plausible(block_decode_with(mask, block->link))))
        return heap_free_slow(block);
    if (unlikely(--list->credit < 0))
        return heap_free_slow(block);
    list_push(list, block, mask);
}

static inline void fast_free_element(thread_heap_t *heap, region_t *region, void *pointer) {
    mheap_t *h = region_mheap(region);
    mheap_uoffset_t uoffset = region_uoffset(region, pointer);
    if (unlikely(BLOCK_CHECKS &&
                 ((uintptr_t)pointer % 16 != 0 || !uoffset_is_plausible(h, uoffset))))
        return heap_free_slow(pointer);
    mheap_elt_t *e = elt_at(h, uoffset);
    /* Not free, not cached, an odd number of words (element_bytes), no more than a medium object
     * has. */
    uint32_t n_words = e->n_user_data;
    if (unlikely(BLOCK_CHECKS && (e->is_free || e->is_cached || n_words < 3 || n_words % 2 == 0 ||
                                  n_words > MEDIUM_MAX_BYTES / MHEAP_WORD_BYTES + 1 ||
                                  !elt_agrees_with_next(h, e))))
        return heap_free_slow(pointer);
    unsigned size_class = size_class_within((size_t)n_words * MHEAP_WORD_BYTES);
    if (unlikely(!thread_heap_wants_element(heap, size_class)))
        return heap_free_slow(pointer);
    fast_push(heap, &heap->list[size_class], pointer);
}

static inline void fast_free(void *pointer) {
    thread_heap_t *heap = self_heap;
    size_t index = (uintptr_t)pointer >> REGION_LOG2_BYTES;
    if (unlikely(BLOCK_CHECKS && index >= N_REGIONS))
        return heap_free_slow(pointer);
    if (unlikely(atomic_load_explicit(&region_owner[index], memory_order_relaxed) != heap->fast_id))
        return heap_free_other(pointer); /* NULL, too */
    region_t *region = region_of(pointer);
    unsigned tile_class = region_tile_class(region, pointer);
    block_list_t *list = &heap->list[tile_class];
    uint32_t offset = (uint32_t)((uintptr_t)pointer & (TILE_BYTES - 1));
    /* As run_offset_is_block.  No offset is a block's in a tile of elements: one test for both. */
    if (unlikely(BLOCK_CHECKS ? (uint32_t)(offset * list->reciprocal) >= list->reciprocal
                              : tile_class == TILE_ELEMENTS)) {
        if (tile_class == TILE_ELEMENTS)
            return fast_free_element(heap, region, pointer);
        return heap_free_slow(pointer);
    }
    fast_push(heap, list, pointer);
}

#endif /* MHEAP_FAST_H */

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
    int64_t top = list->top, below = top - (int64_t)sizeof(block_t *);
    block_t *block = *heap_slot(heap, top);
    if (unlikely(!block || block_is_damaged(block, heap->key)))
        return heap_malloc_slow(bytes);             /* it finds a damaged one again, and says so */
    __builtin_prefetch(*heap_slot(heap, below), 1); /* the next malloc of this class looks there */
    list->top = below;
    block_clear_mark(block);
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

/* Push a block whose list is known. */
static inline void fast_push(thread_heap_t *heap, block_list_t *list, block_t *block) {
    if (unlikely(block_is_marked(block, heap->key)))
        return heap_free_slow(block); /* free already */
    if (unlikely(list_is_full(list)))
        return heap_free_slow(block);
    list_push(heap, list, block);
}

/* Elements that a list takes have less than this. */
#define LISTED_END_BYTES size_class_bytes(N_LISTED_CLASSES)

/* Is it the place and the tag of one?  Not free, not cached, an odd number of words
 * (element_bytes), no more than listed classes have; it ends within the mheap, and the next tag
 * says so, too. */
static inline bool element_may_be_listed(const mheap_t *h, uint64_t uoffset) {
    const mheap_elt_t *e = elt_at(h, uoffset);
    if (!BLOCK_CHECKS)
        return e->n_user_data < LISTED_END_BYTES / MHEAP_WORD_BYTES;
    uint64_t len = __atomic_load_n(&h->len, __ATOMIC_RELAXED);
    if (uoffset % 16 != 0 || uoffset == 0 || uoffset >= len)
        return false;
    uint32_t n_words = e->this_half; /* all other bits are 0 */
    if (n_words - 3 >= LISTED_END_BYTES / MHEAP_WORD_BYTES - 3 || n_words % 2 == 0)
        return false;
    uint64_t n_bytes = (uint64_t)n_words * MHEAP_WORD_BYTES;
    const mheap_elt_t *next = (const mheap_elt_t *)((const char *)e + MHEAP_TAG_BYTES + n_bytes);
    return uoffset + n_bytes + MHEAP_TAG_BYTES <= len && next->prev_half == n_words;
}

static inline void fast_free_element(thread_heap_t *heap, region_t *region, void *pointer) {
    mheap_t *h = region_mheap(region);
    mheap_uoffset_t uoffset = region_uoffset(region, pointer);
    if (unlikely(!element_may_be_listed(h, uoffset)))
        return heap_free_slow(pointer);
    unsigned size_class = size_class_within(elt_n_bytes(elt_at(h, uoffset)));
    if (unlikely(size_class < N_SMALL_CLASSES && !thread_heap_wants_element(heap, size_class)))
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

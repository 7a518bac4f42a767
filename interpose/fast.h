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

#define likely(condition)          __builtin_expect(!!(condition), 1)
#define unlikely(condition)        __builtin_expect(!!(condition), 0)

/* Keeps the compiler from adding the place of a class's entries up in a register of its own.  On
 * Zen 3 a list's top that was just stored is loaded again 7 cycles later than need be when its
 * address is in one register, and not heap and index (docs/PERFORMANCE.md). */
#define place_by_index(size_class) __asm__ inline("" : "+r"(size_class))

/* NULL: the list is empty, or the block damaged. */
static inline block_t *fast_pop_sound(thread_heap_t *heap, size_t size_class) {
    int64_t top = heap->list_top[size_class], below = top - (int64_t)sizeof(block_t *);
    block_t *block = *heap_slot(heap, top);
    if (unlikely(BLOCK_CHECKS ? block_is_damaged(block, heap->key) : block == NO_BLOCK))
        return NULL;
    __builtin_prefetch(*heap_slot(heap, below), 1); /* the next malloc of this class looks there */
    place_by_index(size_class);
    heap->list_top[size_class] = (int32_t)below;
    block_clear_mark(block);
    return block;
}

static inline void *fast_pop(thread_heap_t *heap, size_t size_class, size_t bytes) {
    block_t *block = fast_pop_sound(heap, size_class);
    return likely(block) ? block : heap_malloc_slow(bytes); /* finds a damaged one again */
}

/* N_CLASSES, whose list is always empty, for more than MEDIUM_MAX_BYTES. */
static inline size_t fast_class(const thread_heap_t *heap, size_t bytes) {
    if (likely(bytes <= CLASS_TABLE_MAX_BYTES))
        return heap->class_of[(bytes + 15) / 16];
    return bytes <= MEDIUM_MAX_BYTES ? size_class_of(bytes) : N_CLASSES;
}

/* As size_class_below: the class before that of one byte more. */
static inline size_t fast_class_below(const thread_heap_t *heap, size_t bytes) {
    if (likely(bytes < CLASS_TABLE_MAX_BYTES))
        return heap->class_of[bytes / 16 + 1] - 1u;
    return size_class_below(bytes);
}

static inline void *fast_malloc(size_t bytes) {
    thread_heap_t *heap = self_heap;
    return fast_pop(heap, fast_class(heap, bytes), bytes);
}

/* Push a block whose list is known. */
static inline void fast_push(thread_heap_t *heap, size_t size_class, block_t *block) {
    place_by_index(size_class);
    int64_t top = heap->list_top[size_class];
    if (unlikely(top >= heap->list_last[size_class]))
        return heap_free_full(block, size_class);
    if (unlikely(block_is_marked(block, heap->key)))
        return heap_free_slow(block); /* free already */
    place_by_index(size_class);
    block_set_mark(block, heap->key);
    list_push_above(heap, size_class, top, block);
}

/* Elements that a list takes have less than this. */
#define LISTED_END_BYTES size_class_bytes(N_CLASSES)

/* The bytes of the element there, if that is the place and the tag of one which a list may take: 16
 * at least; else 0.  Not free, not cached, an odd number of words (element_bytes), no more than
 * listed classes have; it ends within the mheap, and the next tag says so, too. */
static inline uint64_t listed_element_bytes(const mheap_t *h, uint64_t uoffset) {
    const mheap_elt_t *e = elt_at(h, uoffset);
    uint64_t len = __atomic_load_n(&h->len, __ATOMIC_RELAXED);
    if (BLOCK_CHECKS && (uoffset % 16 != 0 || uoffset - 1 >= len)) /* 0, too; len: the end mark */
        return 0;
    uint32_t n_words = e->this_half; /* all other bits are 0 */
    uint64_t n_bytes = (uint64_t)n_words * MHEAP_WORD_BYTES;
    if (n_words - 3 >= LISTED_END_BYTES / MHEAP_WORD_BYTES - 3)
        return 0;
    if (!BLOCK_CHECKS)
        return n_bytes;
    const mheap_elt_t *next = (const mheap_elt_t *)((const char *)e + MHEAP_TAG_BYTES + n_bytes);
    bool is_one = n_words % 2 != 0 && uoffset + n_bytes + MHEAP_TAG_BYTES <= len &&
                  next->prev_half == n_words;
    return is_one ? n_bytes : 0;
}

static inline void fast_free_element(thread_heap_t *heap, region_t *region, void *pointer) {
    uint64_t n_bytes = listed_element_bytes(region_mheap(region), region_uoffset(region, pointer));
    if (unlikely(n_bytes == 0))
        return heap_free_slow(pointer);
    size_t size_class = fast_class_below(heap, n_bytes);
    if (unlikely(!thread_heap_wants_element(heap, size_class) || --heap->n_until_hot == 0))
        return heap_free_slow(pointer);
    fast_push(heap, size_class, pointer);
}

/* Most heaps have one region.  For others it is no guess, which would often be wrong, but always
 * the table of owners. */
static inline bool is_own(const thread_heap_t *heap, const void *pointer) {
    return likely((uintptr_t)pointer - heap->only_region < REGION_BYTES) ||
           owner_of_near(pointer) == heap->fast_id;
}

static inline __attribute__((always_inline)) void fast_free(void *pointer) {
    thread_heap_t *heap = self_heap;
    region_t *region = (region_t *)heap->only_region;
    if (unlikely((uintptr_t)pointer - (uintptr_t)region >= REGION_BYTES)) { /* as is_own */
        if (owner_of_near(pointer) != heap->fast_id)
            return heap_free_other(pointer); /* NULL, too */
        region = region_of(pointer);
    }
    size_t tile_class = region_tile_class(region, pointer);
    uint32_t offset = (uint32_t)((uintptr_t)pointer & (TILE_BYTES - 1));
    /* As run_offset_is_block.  Hardly any offset is a block's in a tile of elements: one test for
     * both, and for the first byte the list, which is full. */
    if (unlikely(BLOCK_CHECKS ? offset * heap->reciprocal[tile_class] >= RUN_BLOCK_PRODUCT_END
                              : tile_class == TILE_ELEMENTS)) {
        if (tile_class == TILE_ELEMENTS)
            return fast_free_element(heap, region, pointer);
        return heap_free_slow(pointer);
    }
    fast_push(heap, tile_class, pointer);
}

#endif /* MHEAP_FAST_H */

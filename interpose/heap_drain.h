/* SPDX-License-Identifier: MIT */
/*
 * heap_drain.h - frees of classes of which the program only frees: their lists *drain*.
 *
 * A free compares the block's first word with its mark, so it waits for the block's line, which a
 * program that gives up what it had long ago has not seen for long.  A block of a class whose list
 * drains is only fetched, and waits, neither checked nor marked, with those of other such classes.
 * When enough wait all but the last few, whose lines may not have arrived, are checked, marked and
 * go home together.  So a double free is noticed some frees later, and before malloc hands the
 * block out.
 *
 * Such a list has no array, so it is empty for malloc and full for free: neither's fast path knows
 * of all this.
 */
#ifndef MHEAP_HEAP_DRAIN_H
#define MHEAP_HEAP_DRAIN_H

#include "heap_lists.h"
#include "heap_runs.h"
#include "remote.h"

/* Blocks that wait at most, and those of them that are not looked at yet. */
#define WAITING_MAX_BLOCKS    64u
#define WAITING_UNSEEN_BLOCKS 16u

static inline bool list_drains(const thread_heap_t *heap, size_t size_class) {
    return size_class < N_SMALL_CLASSES && heap->draining >> size_class & 1;
}

static inline sent_t *heap_waiting(const thread_heap_t *heap) {
    return (sent_t *)heap_slot(heap, heap->waiting);
}

/* By the owner, without the lock: one block more waits.  True: there is no room for another, and
 * heap_drain_flush has to follow. */
static inline bool heap_drain(thread_heap_t *heap, size_t size_class, block_t *block) {
    uint32_t n = heap->n_waiting;
    __builtin_prefetch(block, 1);
    heap_waiting(heap)[n] = sent_make(block, (unsigned)size_class, false);
    atomic_signal_fence(memory_order_seq_cst); /* as list_push_above */
    heap->n_waiting = n + 1;
    return n + 1 == WAITING_MAX_BLOCKS;
}

/* All of these by the owner, or whoever holds `alive`, under the heap's lock. */

/* Does it pay for the class?  It is hot, then, the heap large, and what is on the list was not
 * freed in the order of addresses, in which lines are fetched before they are asked for. */
static inline bool list_may_drain(const thread_heap_t *heap, unsigned size_class) {
    return BLOCK_CHECKS && size_class < N_SMALL_CLASSES &&
           !thread_heap_wants_element(heap, size_class) && heap_is_large(heap) &&
           !heap_blocks_come_in_rows(heap_slot(heap, heap->slots.first[size_class]) + 1,
                                     list_n_blocks(heap, size_class));
}

/* The list is empty.  It drains from now on, if there is an array for blocks to wait in. */
void heap_drain_begin(thread_heap_t *heap, unsigned size_class);

/* Those that have been waiting for longest go home; all, and no list drains any more, if the heap
 * is not large. */
void heap_drain_flush(thread_heap_t *heap);

/* Whatever waits goes home, and the class's list drains no longer; or none does. */
void heap_drain_end(thread_heap_t *heap, unsigned size_class);
void heap_drain_end_any(thread_heap_t *heap);

static inline void heap_drain_end_all(thread_heap_t *heap) {
    if (heap->waiting)
        heap_drain_end_any(heap);
}

#endif /* MHEAP_HEAP_DRAIN_H */

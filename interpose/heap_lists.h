/* SPDX-License-Identifier: MIT */
/*
 * heap_lists.h - how many free blocks a thread heap's fast lists may hold, and when they go home as
 * a whole: lists that were not used, and those of classes that hardly are.  By the heap's owner,
 * under its lock where not said otherwise.
 */
#ifndef MHEAP_HEAP_LISTS_H
#define MHEAP_HEAP_LISTS_H

#include "thread_heap.h"

/* Blocks that a list of this class may hold before anything is known about its use. */
int32_t heap_list_limit_at_first(unsigned size_class);

/* Take the blocks home that have been on the list for longest. */
void heap_put_bottom(thread_heap_t *heap, unsigned size_class, uint32_t n_blocks);

/* Take all of them home. */
void heap_put_list(thread_heap_t *heap, unsigned size_class);

/* Of all classes; no list has an array then. */
void heap_put_all_lists(thread_heap_t *heap);

/* It has been full so often lately, and never empty, that what it holds will not be wanted soon. */
bool heap_list_shrinks(const thread_heap_t *heap, unsigned size_class);

/* The list was full and sent blocks home. */
void heap_note_flush(thread_heap_t *heap, unsigned size_class, uint32_t n_blocks);

/* The list is empty: blocks that had been sent home are wanted back. */
void heap_note_refill(thread_heap_t *heap, unsigned size_class);

/* So much is resident that nothing stays cold: elements are slower to free than blocks of runs, and
 * a page for each class is next to nothing.  And that most lines are far away (heap_drain.h). */
#ifndef LARGE_HEAP_BYTES /* the fuzzers' is small */
#define LARGE_HEAP_BYTES ((uint64_t)4 << 20)
#endif
bool heap_is_large(const thread_heap_t *heap);

/* Let the owner take idle lists home at its next refill. */
void heap_sweep_soon(thread_heap_t *heap);
void heap_sweep_if_due(thread_heap_t *heap);

/* The list is empty, and elements are to be had; else the class is hot from now on, for good. */
bool heap_stays_cold(thread_heap_t *heap, unsigned size_class);

/* One more element of a cold class is handed out; and: the class has become hot. */
void heap_limit_to_cold(thread_heap_t *heap, unsigned size_class);
void heap_end_cold(thread_heap_t *heap, unsigned size_class);

/* Without the lock: of FREES_UNTIL_HOT frees of elements one of this class was the last. */
void heap_make_hot(thread_heap_t *heap, unsigned size_class);

/* Without the lock: the list is full.  If with it all elements of a cold
 * class are back and that did not happen often, they go home: true. */
bool heap_return_cold(thread_heap_t *heap, unsigned size_class, block_t *block);

#endif /* MHEAP_HEAP_LISTS_H */

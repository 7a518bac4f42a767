/* SPDX-License-Identifier: MIT */
/*
 * heap_elements.h - a thread heap's mheaps taken together: elements out of whichever has room.  All
 * under the heap's lock; nothing here touches the fast lists.
 */
#ifndef MHEAP_HEAP_ELEMENTS_H
#define MHEAP_HEAP_ELEMENTS_H

#include "thread_heap.h"

/* User bytes of the element for a request: such that sizes with their tags are multiples of 16, so
 * that every element stays 16-byte aligned without gaps. */
static inline size_t element_bytes(size_t bytes) {
    return bytes <= 24 ? 24 : ((bytes + 7) & ~(size_t)15) + 8;
}

/* An element of `bytes` (as element_bytes makes them) aligned to `align`, or NULL.  *is_zero (may
 * be NULL): all of it is known to be zero. */
void *heap_get_element(thread_heap_t *heap, size_t bytes, size_t align, bool *is_zero);

/* Elements of `bytes` side by side, each with a tag after the one before: up to *n, if what a
 * single one would be taken from has room for them, at least one.  The first, and *n how many; or
 * NULL. */
void *heap_get_row(thread_heap_t *heap, size_t bytes, uint32_t *n, bool *is_zero);

/* Free an element of this heap.  False (only with the option abort off): it or its neighbourhood is
 * damaged, it stays. */
bool heap_put_element(thread_heap_t *heap, void *pointer);

/* The same, where only so many of its bytes are resident. */
void heap_put_element_dirty(thread_heap_t *heap, void *pointer, uint64_t dirty_bytes);

/* Resize an element in place; false if that cannot be. */
bool heap_resize_element(thread_heap_t *heap, void *pointer, size_t bytes);

/* Bytes of the heap's mheaps that may be resident: all that was ever used, but for what was given
 * back. */
static inline uint64_t heap_resident_bytes(const thread_heap_t *heap) {
    return heap->sums.resident_bytes - heap->sums.clean_run_bytes;
}

/* Bytes of free elements and behind the mheaps' ends that may be resident. */
static inline uint64_t heap_dirty_bytes(const thread_heap_t *heap) {
    return heap->sums.dirty_bytes;
}

/* After any change to an mheap of the heap, or one of only what is resident of it: adds it up, and
 * publishes it (limits.h).  Or it leaves the heap. */
void heap_note_change(thread_heap_t *heap, heap_mheap_t *entry);
void heap_note_resident(thread_heap_t *heap, heap_mheap_t *entry);
void heap_note_leaves(thread_heap_t *heap, heap_mheap_t *entry);

/* Give up to max_bytes of whole free pages of mheaps back, under the budget (purge_budget.h).
 * Returns what went: since a piece of memory goes whole, it may be more. */
uint64_t heap_purge_elements_some(thread_heap_t *heap, uint64_t max_bytes);

/* The same, when enough are dirty; and near a limit: all, if it is worth a system call. */
uint64_t heap_purge_elements_if_due(thread_heap_t *heap, uint64_t max_bytes);
void heap_purge_elements_when_tight(thread_heap_t *heap);

/* All of it, if next to nothing else is left in a small heap.  Under the budget. */
void heap_purge_if_nearly_empty(thread_heap_t *heap);

/* Give everything back that is not in use: free pages, access to the mheaps' ends, empty regions.
 * Returns the bytes of pages. */
size_t heap_purge_elements(thread_heap_t *heap);

#endif /* MHEAP_HEAP_ELEMENTS_H */

/* SPDX-License-Identifier: MIT */
/*
 * heap_slow.h - what happens when a fast list is empty or full, and to whole heaps: refill, flush,
 * the inbox, adoption.
 */
#ifndef MHEAP_HEAP_SLOW_H
#define MHEAP_HEAP_SLOW_H

#include "thread_heap.h"

/* A block of the class for the calling thread, whose list of it is empty.  Fills the list if more
 * are likely to be wanted.  NULL if there is no memory.  *is_zero: known to be all zero. */
void *heap_refill(thread_heap_t *heap, unsigned size_class, bool *is_zero);

/* An element for the calling thread outside the lists: more than 16-byte aligned. */
void *heap_get_aligned(thread_heap_t *heap, size_t bytes, size_t align);

/* When the system has no more: an object out of what any heap has free, which keeps it; freed, it
 * goes home as all of that heap's do.  NULL if there is none. */
void *heaps_get_from_any(size_t bytes, size_t align);

/* The list is full: let it grow, or keep the blocks freed last and take the others home.  It may be
 * full after that, if it may not hold anything. */
void heap_make_room(thread_heap_t *heap, unsigned size_class);

/* As many blocks wait as can, after heap_drain: most go home. */
void heap_make_waiting_room(thread_heap_t *heap);

/* A free that bypasses the lists. */
void heap_put_now(thread_heap_t *heap, void *pointer);

/* Take everything out of the fast lists of a heap that is the caller's. */
void heap_flush_all(thread_heap_t *heap);

/* Take in what other threads freed.  Under the heap's lock. */
void heap_take_inbox(thread_heap_t *heap);

/* The calling thread has become the owner. */
void heap_adopted(thread_heap_t *heap);

/* Memory is short, or malloc_trim: take all inboxes in, empty the caller's own lists, give every
 * free page of every heap and of the large objects back.  Returns the bytes given back. */
size_t heaps_trim(void);

#endif /* MHEAP_HEAP_SLOW_H */

/* SPDX-License-Identifier: MIT */
/*
 * heap_slots.h - the arrays that a thread heap's lists of free blocks stand in.
 *
 * They are 128 bytes to 16 KiB, powers of two, cut one below the other from the part of the first
 * region's header that lies below the thread heap, each at a multiple of its size; two that are not
 * in use and side by side, where one twice as large may lie, become one.  A list begins with the
 * smallest and goes over to one twice as large when it is full, up to its limit: so a thread pays
 * for what it has on its lists, eight bytes for each block.
 *
 * All by the heap's owner, or whoever holds `alive` while it has none, under the heap's lock: so
 * that fork, which takes it, finds no list between two arrays.
 */
#ifndef MHEAP_HEAP_SLOTS_H
#define MHEAP_HEAP_SLOTS_H

#include "thread_heap.h"

#define LIST_MAX_BLOCKS (HEAP_SLOTS_MAX_ARRAY / sizeof(block_t *) - 1)

/* The list is full: room for twice as many, if its limit allows it.  False: there is none. */
bool heap_list_grow(thread_heap_t *heap, unsigned size_class);

/* Room for n_blocks on an empty list, or for as many as an array twice as large has; returns how
 * many.  So a class that few objects are wanted of costs little. */
uint32_t heap_list_reserve(thread_heap_t *heap, unsigned size_class, uint32_t n_blocks);

/* The list may hold so many blocks, from now on. */
void heap_list_set_limit(thread_heap_t *heap, unsigned size_class, int32_t limit);

/* The list is empty: its array is free again. */
void heap_list_release(thread_heap_t *heap, unsigned size_class);

/* An array of 2^log2_bytes that is no list's; its offset, 0 if there is no room. */
int32_t heap_slots_get(thread_heap_t *heap, unsigned log2_bytes);
void heap_slots_put(thread_heap_t *heap, int32_t array, unsigned log2_bytes);

/* No list has an array: their memory goes back. */
void heap_slots_reset(thread_heap_t *heap);

#endif /* MHEAP_HEAP_SLOTS_H */

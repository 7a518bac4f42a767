/* SPDX-License-Identifier: MIT */
/* heap_demand.h - how much of a heap's free memory is wanted again (demand.h).  All under the
 * heap's lock. */
#ifndef MHEAP_HEAP_DEMAND_H
#define MHEAP_HEAP_DEMAND_H

#include "thread_heap.h"

/* See what was taken and what was freed since the last look.  Peaks in between are not seen: look
 * whenever frees have come home, and before memory is given back. */
void heap_demand_look(thread_heap_t *heap);

/* What has become of the heap's memory since the last look, purged_bytes of it: was given back. */
void heap_demand_purged(thread_heap_t *heap, uint64_t purged_bytes);

/* By how much the free memory of the last look exceeds the demand; 0 until it does so by an eighth,
 * since each purge has its price. */
uint64_t heap_demand_excess(thread_heap_t *heap);

/* The least that was free at any look since this was asked last. */
uint64_t heap_demand_least_free(thread_heap_t *heap);

/* Everything was given back, and nobody has used the heap for a while. */
void heap_demand_forget(thread_heap_t *heap);

#endif /* MHEAP_HEAP_DEMAND_H */

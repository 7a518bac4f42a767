/* SPDX-License-Identifier: MIT */
/* check.h - every invariant of the thread heaps and the large objects. */
#ifndef MHEAP_CHECK_H
#define MHEAP_CHECK_H

#include <stdbool.h>

#include "thread_heap.h"

typedef struct {
    const char *what;  /* the violated invariant in words */
    const void *where; /* the object, run or heap that violates it */
} violation_t;

/*
 * Under the heap's lock.  Invariants, besides those of each mheap (mheap_layout.h):
 *
 *  H1  each mheap's entry says its largest bin, its tail room and what is resident and dirty of it;
 *      its region belongs to the heap, whose sums are those of its entries
 *  H2  a tile whose class is not TILE_ELEMENTS is exactly an allocated element, its run; or those
 *      that are marked as joined to the one before, together with that one, are
 *  H3  a run's class is its tile's
 *  H4  a run's n_free and n_ready are what its bitmap and its clean pages say, no bit is set for a
 *      block that there is not; a region's clean_run_bytes, the heap's ready_bytes and n_runs
 *      are the sums over their runs
 *  H5  a run's state is what its counts say, and it is on the list of that state and its class;
 *      those lists hold nothing else
 *  H6  a run's ready blocks have their marks
 *  H7  the caller's own lists hold blocks and elements of their class that belong to the heap and
 *      are not at home
 *  H8  so do those that wait there, whose classes' lists drain; these are empty and full
 */
bool check_heap(thread_heap_t *heap, violation_t *violation);

/* All heaps and the large objects; takes their locks. */
bool check_all(violation_t *violation);

#endif /* MHEAP_CHECK_H */

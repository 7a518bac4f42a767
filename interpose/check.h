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
 *  H1  each mheap's entry says its largest bin and its tail room; its region belongs to the heap
 *  H2  a tile whose class is not TILE_ELEMENTS is exactly an allocated element, its run
 *  H3  a run's class is its tile's; n_free <= n_carved <= capacity
 *  H4  a run's list has n_free blocks of the run, each carved and at a multiple of the block size,
 *      and ends at `tail`
 *  H5  exactly the runs with free or uncarved blocks are on the partial list of their class
 */
bool check_heap(thread_heap_t *heap, violation_t *violation);

/* All heaps and the large objects; takes their locks. */
bool check_all(violation_t *violation);

#endif /* MHEAP_CHECK_H */

/* SPDX-License-Identifier: MIT */
/*
 * heap_runs.h - the runs of a thread heap: blocks out of them, blocks and elements home.  All under
 * the heap's lock; nothing here touches the fast lists.
 */
#ifndef MHEAP_HEAP_RUNS_H
#define MHEAP_HEAP_RUNS_H

#include "thread_heap.h"

/* Ready blocks of a class, at most n_blocks, stored downwards from end[-1]; if there are none,
 * n_pages pages (at least) are opened for them, of a new run if need be.  Returns their number; 0:
 * no memory. */
uint32_t heap_take_blocks(thread_heap_t *heap, unsigned size_class, uint32_t n_blocks,
                          unsigned n_pages, block_t **end);

/* Take back whatever lies at `pointer`, a block (which has its mark) or an element of this heap,
 * which was checked.  A run is given up when it gets empty and is not needed. */
void heap_put(thread_heap_t *heap, void *pointer);

/* The same for many of one class.  None of them is touched.  blocks[-1] is none of its class:
 * NO_BLOCK, for one. */
void heap_put_blocks(thread_heap_t *heap, unsigned size_class, block_t *const *blocks,
                     uint32_t n_blocks);

/* Of the pairs of neighbours at the array's end, do most lie near each other?  So it is when a
 * program frees in the order of allocation, or the other way round. */
bool heap_blocks_come_in_rows(block_t *const *blocks, uint32_t n_blocks);

#endif /* MHEAP_HEAP_RUNS_H */

/* SPDX-License-Identifier: MIT */
/*
 * heap_run.h - one run of a thread heap: the list it is on, its part in the heap's sums, its
 * element in the mheap, its pages.  For heap_runs.c and heap_purge.c; all under the heap's lock.
 */
#ifndef MHEAP_HEAP_RUN_H
#define MHEAP_HEAP_RUN_H

#include "thread_heap.h"

/* Put the run on the list that it belongs on by now. */
void run_relist(thread_heap_t *heap, run_t *run, uint32_t tile_number);

/* Take the run out of the sums before it changes, and into them again after that. */
void run_uncount(thread_heap_t *heap, const run_t *run);
void run_count(thread_heap_t *heap, const run_t *run);

/* A new run of the class, all its pages clean, on the heap's list; false: no memory.
 * *absent_pages: those that are probably not resident. */
bool heap_run_make(thread_heap_t *heap, unsigned size_class, uint32_t *absent_pages);

/* Its element goes home.  All its blocks are free. */
void heap_run_release(thread_heap_t *heap, void *start);

/* The last page of a run ends in the next element's tag. */
#define RUN_LAST_PAGE (1u << (N_RUN_PAGES - 1))

/* Is the run behind this one part of the same element, or can it be made so?  Then no tag lies
 * between them. */
bool heap_run_join_next(region_t *region, unsigned tile);

/* Of these pages, those that make up whole ones of the system's, which may be larger. */
uint32_t run_whole_system_pages(uint32_t pages);

/* Give up to n_pages of `pages` back, in stretches.  Returns those that went. */
uint32_t run_purge_pages(char *start, uint32_t pages, unsigned n_pages);

#endif /* MHEAP_HEAP_RUN_H */

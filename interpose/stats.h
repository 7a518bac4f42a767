/* SPDX-License-Identifier: MIT */
/* stats.h - where the memory is, counted when asked. */
#ifndef MHEAP_STATS_H
#define MHEAP_STATS_H

#include "large.h"
#include "thread_heap.h"

/*
 * live + listed + free + overhead == accessible, for the thread heaps; bytes.
 *   live      in objects that the program holds, as malloc_usable_size counts them
 *   listed    free, in fast lists, batches and inboxes, ready for use
 *   free      in free elements, in free blocks of runs, and behind the mheaps' ends
 *   overhead  headers' pages in use, boundary tags, and what is left over in runs
 */
typedef struct {
    uint64_t n_heaps, n_mheaps, n_runs, n_objects;
    uint64_t reserved_bytes, accessible_bytes;
    uint64_t live_bytes, listed_bytes, free_bytes, overhead_bytes;
    uint64_t dirty_bytes; /* part of free that may be resident in whole pages */
    heap_counts_t counts;
    large_stats_t large;
} stats_t;

/* The numbers of one heap are added under its lock; lists of running threads are read without, so
 * while other threads run they are approximate.  O(objects). */
void stats_collect(stats_t *stats);
void stats_add_heap(stats_t *stats, thread_heap_t *heap);

/* Bytes of a heap's regions, or of everything, that are resident, as the kernel says (mincore): the
 * process's own view, so shared pages after a fork count.  The first under the heap's lock.
 * O(accessible pages). */
uint64_t stats_heap_resident_bytes(const thread_heap_t *heap);
uint64_t stats_resident_bytes(void);

/* A table, one number a line; allocates nothing. */
void stats_print(int file_descriptor);

#endif /* MHEAP_STATS_H */

/* SPDX-License-Identifier: MIT */
/*
 * world.h - all thread heaps of the process as a toy: threads without threads, a clock that a test
 * moves, and an end after which nothing is left.  For tests that replay one history exactly.
 *
 * To the library a thread is its `self_heap`, and the mutex `alive` that it holds: a test that
 * changes both itself plays any number of threads, one operation at a time.  Linked before
 * mheap_heaps, whose heaps.c and coarse_clock.c it replaces.
 */
#ifndef MHEAP_TEST_WORLD_H
#define MHEAP_TEST_WORLD_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define WORLD_MAX_THREADS 4u

/* From now on the calls are those of this thread, 0 .. WORLD_MAX_THREADS - 1. */
void world_switch_to(unsigned thread);

/* The present thread dies; the next to play it is a new one. */
void world_thread_dies(void);

void world_advance_clock_ms(uint64_t ms);

/* Let all threads die, take home whatever lies in lists, batches and inboxes, and say what is wrong
 * if objects are left that nobody holds any more, or memory: NULL if the heaps are as empty as at
 * the beginning. */
const char *world_lost(void);

/* Drop all heaps with their memory.  Not the large objects: those have to be freed. */
void world_forget(void);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_TEST_WORLD_H */

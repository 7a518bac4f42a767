/* SPDX-License-Identifier: MIT */
/* heaps_api.h - what the tests need of the interposer's C headers, which are not C++. */
#ifndef MHEAP_TEST_HEAPS_API_H
#define MHEAP_TEST_HEAPS_API_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

void *heap_malloc(size_t bytes);
void heap_free(void *pointer);
void *heap_calloc(size_t n, size_t bytes);
void *heap_realloc(void *pointer, size_t bytes);
void *heap_memalign(size_t align, size_t bytes);
size_t heap_usable_bytes(void *pointer, const char *function);
size_t heaps_trim(void);

const char *api_check(void); /* NULL if every invariant holds, else the violated one */
unsigned api_n_heaps(void);
unsigned api_self_id(void);
uint64_t api_slow_paths(void); /* refills and flushes of the calling thread so far */

/* Of the calling thread's: blocks that wait to go home (heap_drain.h). */
unsigned api_n_waiting(void);

/* The calling thread does nothing more with its heap.  Only a sanitizer has to be told. */
void api_thread_ends(void);
uint64_t api_accessible_bytes(
    void *pointer_in_heap); /* of the pointer's mheap; never shrinks but by trimming */
uint64_t api_reserved_bytes(void);

/* decay.h, and what of an object's region is resident. */
int api_decay(void);
uint64_t api_resident_bytes(void *pointer_in_heap);

/* limits.h: of the same region, as if there were a limit. */
uint64_t api_accounted_bytes(void *pointer_in_heap);

/* Of the header of its region, the pages that are used. */
size_t api_header_bytes(void *pointer_in_heap);

/* stats.h: what the heap of the object counts as overhead; as that, live, in lists and dirty. */
uint64_t api_overhead_bytes(void *pointer_in_heap);
uint64_t api_counted_bytes(void *pointer_in_heap);
uint64_t api_live_bytes(void *pointer_in_heap);

/* large.h: free large memory that is resident. */
uint64_t api_large_dirty_bytes(void);

/* As if no threads had waited for large objects yet. */
void api_use_one_large_store(void);

/* As if they had waited so often that there are at least so many stores, a power of two. */
void api_use_large_stores(unsigned n_stores);

/* What other threads freed and the owner of the pointer's heap has not taken in. */
uint64_t api_inbox_bytes(void *pointer_in_heap);

/* The budget of purge_budget.h. */
void purge_budget_earn(uint64_t bytes);
void purge_budget_settle(uint64_t taken, uint64_t spent);
int api_budget_take(uint64_t bytes);

/* Damage to one thing that check.c watches, undone by a second call. */
typedef enum {
    DAMAGE_ENTRY,
    DAMAGE_ENTRY_RESIDENT,
    DAMAGE_HEAP_RESIDENT,
    DAMAGE_HEAP_CLEAN,
    DAMAGE_RUN_COUNT,
    DAMAGE_RUN_LIST,
    DAMAGE_PARTIAL,
    DAMAGE_SUM,
    DAMAGE_N_RUNS,
    DAMAGE_TILE
} damage_t;
void api_damage(damage_t damage, void *run_block);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_TEST_HEAPS_API_H */

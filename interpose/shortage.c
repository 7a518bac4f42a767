/* SPDX-License-Identifier: MIT */
#include "shortage.h"

#include <stdatomic.h>

#include "heap_slow.h"
#include "heaps.h"
#include "large.h"

/* Relaxed, both: a trim more or less does no harm. */
static _Atomic uint64_t n_trims;
static _Atomic uint64_t freed_at_trim; /* n_freed then */

static void add_freed(void *sum, thread_heap_t *heap) {
    const heap_counts_t *counts = &heap->counts;
    *(uint64_t *)sum += counts->n_flushes + counts->n_remote_batches + counts->n_inbox_blocks;
}

/* A sum of counters that only grow. */
static uint64_t n_freed(void) {
    large_stats_t large;
    large_stats(&large);
    uint64_t sum = large.n_frees;
    heap_foreach(add_freed, &sum);
    return sum;
}

void shortage_trim(void) {
    heaps_trim();
    atomic_store_explicit(&freed_at_trim, n_freed(), memory_order_relaxed);
    atomic_fetch_add_explicit(&n_trims, 1, memory_order_relaxed);
}

bool shortage_may_trim_more(void) {
    return shortage_n_trims() == 0 ||
           n_freed() != atomic_load_explicit(&freed_at_trim, memory_order_relaxed);
}

uint64_t shortage_n_trims(void) {
    return atomic_load_explicit(&n_trims, memory_order_relaxed);
}

/* SPDX-License-Identifier: MIT */
/*
 * large_demand.c - how much of the free memory is wanted again.
 *
 * A program that frees a burst and one that frees what it will allocate again in a moment look the
 * same while they free.  They differ in what comes next, so that is what is measured: by how much
 * the memory taken again exceeded the memory freed, at most, in any stretch of time.  Memory counts
 * as taken again if it was dirty, or if as much was given back lately: then it is missed.  So a
 * burst, all of it fresh memory, leaves no demand, and goes back as it is freed; a program that
 * swings loses its pages once, and has shown by how much it swings.
 *
 * The greatest such rise is forgotten by half in each LARGE_DEMAND_HALF_MS, as is what was given
 * back.
 */
#include "large_internal.h"

static void halve_by_time(large_demand_t *demand) {
    uint64_t n_halves = (coarse_clock_ms() - demand->halved_ms) / LARGE_DEMAND_HALF_MS;
    if (n_halves == 0)
        return;
    demand->halved_ms += n_halves * LARGE_DEMAND_HALF_MS;
    unsigned shift = n_halves < 63 ? (unsigned)n_halves : 63;
    demand->greatest_bytes >>= shift;
    demand->purged_bytes >>= shift;
}

void large_demand_taken(size_t dirty_bytes, size_t clean_bytes) {
    large_demand_t *demand = &large_store.demand;
    halve_by_time(demand);
    size_t missed_bytes = clean_bytes < demand->purged_bytes ? clean_bytes : demand->purged_bytes;
    demand->purged_bytes -= missed_bytes;
    demand->rise_bytes += dirty_bytes + missed_bytes;
    if (demand->greatest_bytes < demand->rise_bytes)
        demand->greatest_bytes = demand->rise_bytes;
}

void large_demand_freed(size_t bytes) {
    size_t *rise_bytes = &large_store.demand.rise_bytes;
    *rise_bytes -= bytes < *rise_bytes ? bytes : *rise_bytes;
}

void large_demand_purged(size_t bytes) {
    large_store.demand.purged_bytes += bytes;
}

size_t large_demand_bytes(void) {
    halve_by_time(&large_store.demand);
    return large_store.demand.greatest_bytes;
}

/* SPDX-License-Identifier: MIT */
#include "demand.h"

#include "larger.h"

static __attribute__((noinline)) void halve(demand_t *demand, uint64_t past_ms) {
    uint64_t n_halves = past_ms / DEMAND_HALF_MS;
    demand->halved_ms += n_halves * DEMAND_HALF_MS;
    unsigned shift = n_halves < 63 ? (unsigned)n_halves : 63;
    demand->greatest_before_bytes =
        larger(demand->greatest_before_bytes >> shift, demand->greatest_bytes >> (shift - 1));
    demand->purged_before_bytes =
        (demand->purged_before_bytes >> shift) + (demand->purged_bytes >> (shift - 1));
    demand->missed_before_bytes =
        (demand->missed_before_bytes >> shift) + (demand->missed_bytes >> (shift - 1));
    demand->greatest_bytes = demand->purged_bytes = demand->missed_bytes = 0;
}

static inline void halve_by_time(demand_t *demand, uint64_t now_ms) {
    uint64_t past_ms = now_ms - demand->halved_ms;
    if (past_ms >= DEMAND_HALF_MS)
        halve(demand, past_ms);
}

/* Take up to `bytes` off; returns how much. */
static size_t take_off(size_t *from, size_t bytes) {
    if (bytes > *from)
        bytes = *from;
    *from -= bytes;
    return bytes;
}

void demand_taken(demand_t *demand, uint64_t now_ms, size_t dirty_bytes, size_t clean_bytes) {
    halve_by_time(demand, now_ms);
    size_t missed_bytes = take_off(&demand->purged_before_bytes, clean_bytes);
    missed_bytes += take_off(&demand->purged_bytes, clean_bytes - missed_bytes);
    demand->missed_bytes += missed_bytes;
    demand->rise_bytes += dirty_bytes + missed_bytes;
    demand->greatest_bytes = larger(demand->greatest_bytes, demand->rise_bytes);
}

void demand_taken_again(demand_t *demand, uint64_t now_ms, size_t dirty_bytes) {
    halve_by_time(demand, now_ms);
    demand->rise_bytes += dirty_bytes;
    demand->greatest_bytes = larger(demand->greatest_bytes, demand->rise_bytes);
}

void demand_freed(demand_t *demand, size_t bytes) {
    take_off(&demand->rise_bytes, bytes);
}

void demand_purged(demand_t *demand, uint64_t now_ms, size_t bytes) {
    halve_by_time(demand, now_ms);
    demand->purged_bytes += bytes;
}

size_t demand_bytes(demand_t *demand, uint64_t now_ms, size_t live_bytes) {
    halve_by_time(demand, now_ms);
    size_t missed_bytes = demand->missed_bytes + demand->missed_before_bytes;
    return larger(demand->greatest_bytes, demand->greatest_before_bytes) +
           smaller(missed_bytes, live_bytes);
}

void demand_forget(demand_t *demand, uint64_t now_ms) {
    *demand = (demand_t){.halved_ms = now_ms};
}

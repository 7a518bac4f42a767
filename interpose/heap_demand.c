/* SPDX-License-Identifier: MIT */
#include "heap_demand.h"

#include "coarse_clock.h"
#include "heap_elements.h"

/* The demand is exceeded if it is so by this part of it. */
#define EXCESS_PART_OF_DEMAND 8u

/* Elements that are free and runs' free blocks, where they are resident. */
static uint64_t free_bytes(const thread_heap_t *heap) {
    return heap_dirty_bytes(heap) + heap->ready_bytes;
}

/* Of what was ever used, the part that is not resident.  (A new run's pages count before they are
 * used; in the long run that is nothing.) */
static uint64_t clean_bytes(const thread_heap_t *heap) {
    uint64_t used = heap->sums.longest_bytes, resident = heap_resident_bytes(heap);
    return used > resident ? used - resident : 0;
}

/* Remember what there is; returns what there was. */
static heap_demand_t look(thread_heap_t *heap) {
    heap_demand_t *now = &heap->demand, before = *now;
    now->free_bytes = free_bytes(heap);
    now->clean_bytes = clean_bytes(heap);
    atomic_store_explicit(&heap->spare_bytes, now->free_bytes, memory_order_relaxed);
    if (now->least_free_bytes > now->free_bytes)
        now->least_free_bytes = now->free_bytes;
    return before;
}

/* Free memory that turns from clean to dirty by itself, where elements merge, was not taken. */
void heap_demand_look(thread_heap_t *heap) {
    heap_demand_t before = look(heap), *now = &heap->demand;
    int64_t dirty_taken = (int64_t)(before.free_bytes - now->free_bytes);
    int64_t taken = dirty_taken + (int64_t)(before.clean_bytes - now->clean_bytes);
    if (taken < 0)
        demand_freed(&now->demand, (size_t)-taken);
    if (taken <= 0)
        return;
    if (dirty_taken > taken)
        dirty_taken = taken;
    if (dirty_taken < 0)
        dirty_taken = 0;
    demand_taken(&now->demand, coarse_clock_ms(), (size_t)dirty_taken,
                 (size_t)(taken - dirty_taken));
}

void heap_demand_purged(thread_heap_t *heap, uint64_t purged_bytes) {
    look(heap);
    demand_purged(&heap->demand.demand, coarse_clock_ms(), purged_bytes);
}

uint64_t heap_demand_excess(thread_heap_t *heap) {
    uint64_t free = heap->demand.free_bytes, live = heap_resident_bytes(heap) - free;
    uint64_t wanted = demand_bytes(&heap->demand.demand, coarse_clock_ms(), live);
    return free >= wanted + wanted / EXCESS_PART_OF_DEMAND ? free - wanted : 0;
}

uint64_t heap_demand_least_free(thread_heap_t *heap) {
    uint64_t least = heap->demand.least_free_bytes;
    heap->demand.least_free_bytes = heap->demand.free_bytes;
    return least;
}

void heap_demand_forget(thread_heap_t *heap) {
    look(heap);
    demand_forget(&heap->demand.demand, coarse_clock_ms());
}

/* SPDX-License-Identifier: MIT */
#include "heaps_api.h"

#include "check.h"
#include "decay.h"
#include "heap_elements.h"
#include "heaps.h"
#include "large_internal.h"
#include "limits.h"
#include "purge_budget.h"
#include "stats.h"
#include "vm.h"

const char *api_check(void) {
    violation_t violation;
    return check_all(&violation) ? NULL : violation.what;
}

unsigned api_n_heaps(void) {
    return heap_last_id();
}

unsigned api_self_id(void) {
    return self_heap == NO_HEAP ? 0 : self_heap->id;
}

uint64_t api_slow_paths(void) {
    return self_heap->counts.n_refills + self_heap->counts.n_flushes;
}

unsigned api_n_waiting(void) {
    return self_heap->n_waiting;
}

__attribute__((weak)) void api_thread_ends(void) {}

uint64_t api_accessible_bytes(void *pointer_in_heap) {
    return region_mheap(region_of(pointer_in_heap))->accessible_len;
}

uint64_t api_reserved_bytes(void) {
    stats_t stats;
    stats_collect(&stats);
    return stats.reserved_bytes;
}

int api_decay(void) {
    return heaps_decay();
}

uint64_t api_resident_bytes(void *pointer_in_heap) {
    return vm_resident_bytes(region_of(pointer_in_heap), REGION_BYTES);
}

static stats_t stats_of_heap(void *pointer_in_heap) {
    stats_t stats = {0};
    thread_heap_t *heap = heap_by_id(owner_of(pointer_in_heap));
    heap_lock(heap);
    stats_add_heap(&stats, heap);
    heap_unlock(heap);
    return stats;
}

size_t api_header_bytes(void *pointer_in_heap) {
    return region_of(pointer_in_heap)->n_header_pages * RUN_PAGE_BYTES;
}

uint64_t api_overhead_bytes(void *pointer_in_heap) {
    return stats_of_heap(pointer_in_heap).overhead_bytes;
}

uint64_t api_counted_bytes(void *pointer_in_heap) {
    stats_t stats = stats_of_heap(pointer_in_heap);
    return stats.live_bytes + stats.listed_bytes + stats.dirty_bytes + stats.overhead_bytes;
}

uint64_t api_live_bytes(void *pointer_in_heap) {
    return stats_of_heap(pointer_in_heap).live_bytes;
}

uint64_t api_accounted_bytes(void *pointer_in_heap) {
    region_t *region = region_of(pointer_in_heap);
    thread_heap_t *heap = heap_by_id(owner_of(pointer_in_heap));
    bool was_on = limits_are_on;
    limits_are_on = true;
    heap_lock(heap);
    heap_note_resident(heap, &heap->mheaps[region->heap_index]);
    uint64_t bytes = heap->mheaps[region->heap_index].accounted_bytes;
    heap_unlock(heap);
    limits_are_on = was_on;
    return bytes;
}

int api_budget_take(uint64_t bytes) {
    uint64_t taken = purge_budget_take_some(bytes);
    if (taken < bytes)
        purge_budget_settle(taken, 0);
    return taken == bytes;
}

void api_damage(damage_t damage, void *run_block) {
    region_t *region = region_of(run_block);
    run_t *run = &region->runs[region_tile(run_block)];
    switch (damage) {
    case DAMAGE_ENTRY:
        self_heap->mheaps[region->heap_index].tail_bytes ^= 4096;
        break;
    case DAMAGE_ENTRY_RESIDENT:
        self_heap->mheaps[region->heap_index].resident_bytes ^= 4096;
        break;
    case DAMAGE_HEAP_RESIDENT:
        self_heap->sums.resident_bytes ^= 4096;
        break;
    case DAMAGE_HEAP_CLEAN:
        self_heap->sums.clean_run_bytes ^= 4096;
        break;
    case DAMAGE_RUN_COUNT:
        run->n_free ^= 1;
        break;
    case DAMAGE_RUN_LIST:
        run_bits(run)[0] ^= 1;
        break;
    case DAMAGE_PARTIAL:
        run->state ^= 1;
        break;
    case DAMAGE_SUM:
        self_heap->ready_bytes ^= 16;
        break;
    case DAMAGE_N_RUNS:
        self_heap->n_runs[region->tile_class[region_tile(run_block)]] ^= 1;
        break;
    case DAMAGE_TILE:
        region->tile_class[region_tile(run_block)] ^= 1;
        break;
    }
}

uint64_t api_large_dirty_bytes(void) {
    large_stats_t stats;
    large_stats(&stats);
    return stats.free_dirty_bytes;
}

void api_use_one_large_store(void) {
    large_last_store = 0;
}

void api_use_large_stores(unsigned n_stores) {
    if (large_last_store < n_stores - 1)
        large_last_store = n_stores - 1;
}

uint64_t api_inbox_bytes(void *pointer_in_heap) {
    thread_heap_t *heap = heap_by_id(owner_of(pointer_in_heap));
    return atomic_load_explicit(&heap->inbox_bytes, memory_order_relaxed);
}

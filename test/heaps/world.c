/* SPDX-License-Identifier: MIT */
#include "world.h"

#include "../../interpose/heaps.c" /* for its private table of heaps */

#include "coarse_clock.h"
#include "large.h"
#include "remote.h"
#include "stats.h"

static uint64_t clock_ms = 1000000;
static thread_heap_t *heap_of_thread[WORLD_MAX_THREADS];
static unsigned present;

uint64_t coarse_clock_ms(void) {
    return clock_ms;
}

void world_advance_clock_ms(uint64_t ms) {
    clock_ms += ms;
}

void world_switch_to(unsigned thread) {
    heap_of_thread[present] = self_heap;
    present = thread;
    self_heap = heap_of_thread[thread] ? heap_of_thread[thread] : NO_HEAP;
}

void world_thread_dies(void) {
    if (self_heap != NO_HEAP)
        pthread_mutex_unlock(&self_heap->alive);
    self_heap = NO_HEAP;
}

/* Every heap in turn becomes the present thread's; nobody else is left. */
static void be_every_heap(void (*what)(thread_heap_t *heap)) {
    for (owner_id_t id = 1; id <= heap_last_id(); id++) {
        self_heap = heap_by_id(id);
        what(self_heap);
        self_heap = NO_HEAP;
    }
}

static void send_batches(thread_heap_t *heap) {
    remote_flush_all(heap);
}

static void trim(thread_heap_t *heap) {
    (void)heap;
    heaps_trim();
}

const char *world_lost(void) {
    for (unsigned i = 0; i < WORLD_MAX_THREADS; i++) {
        world_switch_to(i);
        world_thread_dies();
    }
    be_every_heap(send_batches);
    be_every_heap(trim);
    stats_t stats;
    stats_collect(&stats);
    if (stats.n_objects || stats.live_bytes)
        return "an object was lost";
    if (stats.listed_bytes)
        return "a list could not be taken home";
    if (stats.n_runs)
        return "an empty run was kept";
    if (stats.n_mheaps != stats.n_heaps)
        return "an empty region was kept";
    if (stats.large.n_objects || stats.large.reserved_bytes)
        return "a large object was lost, or its memory";
    return NULL;
}

static void drop_region(region_t *region) {
    size_t bytes = REGION_HEADER_BYTES + region_mheap(region)->max_len;
    owner_set(region, REGION_BYTES, OWNER_NONE);
    vm_release(region, bytes);
}

static void drop_heap(thread_heap_t *heap) {
    if (heap->mheaps != heap->inline_mheaps) {
        heap_mheap_t *table = heap->mheaps;
        memcpy(heap->inline_mheaps, table, sizeof heap->inline_mheaps);
        vm_release(table, vm_round_up(heap->max_mheaps * sizeof table[0]));
        heap->mheaps = heap->inline_mheaps;
    }
    while (heap->n_mheaps > 1)
        drop_region(heap->mheaps[--heap->n_mheaps].region);
    drop_region(heap->mheaps[0].region); /* the heap itself lies in it */
}

void world_forget(void) {
    for (owner_id_t id = heap_last_id(); id >= 1; id--) {
        drop_heap(heap_by_id(id));
        atomic_store_explicit(&heaps[id], NULL, memory_order_relaxed);
    }
    atomic_store_explicit(&n_heaps, 0, memory_order_relaxed);
    adopt_hand = 0;
    memset(heap_of_thread, 0, sizeof heap_of_thread);
    present = 0;
    self_heap = NO_HEAP;
}

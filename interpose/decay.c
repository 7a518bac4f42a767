/* SPDX-License-Identifier: MIT */
#include "decay.h"

#include "coarse_clock.h"
#include "heap_demand.h"
#include "heap_elements.h"
#include "heap_lists.h"
#include "heap_purge.h"
#include "heap_runs.h"
#include "heap_slow.h"
#include "heaps.h"
#include "large.h"
#include "options.h"
#include "remote.h"

/* Each tick looks after a part of the heaps, so that each heap is looked at once in decay_ms, and
 * no call takes long for it. */
#define TICKS_IN_DECAY  4u
#define MIN_TICK_MS     10u

/* Of the bytes that were free and dirty at both looks, a heap in use gives back this part. */
#define PART_OF_SURPLUS 4u

/* Relaxed, both: whoever moves next_ms does the tick; the hand only says where to begin. */
static _Atomic uint64_t next_ms;
static _Atomic uint32_t hand;

/* Slow paths that its owner took. */
static uint64_t activity(const thread_heap_t *heap) {
    return heap->counts.n_refills + heap->counts.n_flushes;
}

/* In use: its idle lists go home when it next grows or refills; some free memory goes back now. */
static void look_after_used(thread_heap_t *heap) {
    uint64_t dirty = heap_dirty_bytes(heap);
    uint64_t surplus = dirty < heap->decay.dirty_bytes ? dirty : heap->decay.dirty_bytes;
    heap_demand_look(heap);
    uint64_t least_free = heap_demand_least_free(heap);
    surplus = surplus < least_free ? surplus : least_free;
    heap_demand_purged(heap, heap_purge_elements_some(heap, surplus / PART_OF_SURPLUS));
    heap->decay.dirty_bytes = heap_dirty_bytes(heap);
    heap->decay.activity = activity(heap);
    heap->decay.is_done = false;
    heap_sweep_soon(heap);
}

/* True: nothing has happened in it since the last look, and what it has free is still there. */
static bool look_at(thread_heap_t *heap) {
    heap_take_inbox(heap);
    if (activity(heap) == heap->decay.activity)
        return !heap->decay.is_done;
    look_after_used(heap);
    return false;
}

/* Of a heap whose thread is gone, the lists can be emptied, too. */
static void purge_idle(thread_heap_t *heap) {
    bool is_dead = heap_own_if_dead(heap);
    if (is_dead)
        remote_flush_all(heap);
    heap_lock(heap);
    if (is_dead)
        heap_put_all_lists(heap);
    heap_purge_all(heap);
    heap->decay.is_done = true;
    heap_unlock(heap);
    if (is_dead)
        heap_disown(heap);
}

/* Returns whether it has to be looked at again. */
static bool look_after(thread_heap_t *heap) {
    if (!heap_try_lock(heap))
        return true;
    bool is_idle = look_at(heap), is_done = heap->decay.is_done;
    heap_unlock(heap);
    if (is_idle)
        purge_idle(heap);
    return !is_idle && !is_done;
}

void heaps_decay_if_due(void) {
    if (!heaps_have_grown()) /* not even the time: one more piece of libc that it has in memory */
        return;
    uint64_t now = coarse_clock_ms(), then = atomic_load_explicit(&next_ms, memory_order_relaxed);
    uint64_t tick_ms = options.decay_ms / TICKS_IN_DECAY;
    if (tick_ms < MIN_TICK_MS)
        tick_ms = MIN_TICK_MS;
    if (now < then ||
        !atomic_compare_exchange_strong_explicit(&next_ms, &then, now + tick_ms,
                                                 memory_order_relaxed, memory_order_relaxed))
        return;
    uint32_t n_heaps = heap_last_id(), n = n_heaps / TICKS_IN_DECAY + 1;
    if (then == 0 || n_heaps == 0)
        return; /* time starts now */
    uint32_t first = atomic_fetch_add_explicit(&hand, n, memory_order_relaxed);
    for (uint32_t i = 0; i < n; i++)
        look_after(heap_by_id((owner_id_t)((first + i) % n_heaps + 1)));
}

bool heaps_decay(void) {
    bool has_more = false;
    owner_id_t last = heap_last_id();
    for (owner_id_t id = 1; id <= last; id++)
        has_more |= look_after(heap_by_id(id));
    large_purge(false);
    return has_more || large_has_dirty();
}

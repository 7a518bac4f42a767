/* SPDX-License-Identifier: MIT */
/* model_world.c - what the model has to know of the library's insides. */
#include "../heaps/world.c" /* and so heaps.c, whose table it needs */

#include "decay.h"
#include "large_internal.h"
#include "model.h"
#include "scenarios.h"

/* Called by the hooks, so not to be seen by them. */
#define UNSEEN __attribute__((no_sanitize("thread")))

UNSEEN static bool is_inside(const volatile void *address, const volatile void *object,
                             size_t bytes) {
    return (uintptr_t)address - (uintptr_t)object < bytes;
}

UNSEEN static thread_heap_t *heap_at(uint32_t id) {
    return (thread_heap_t *)*(void *volatile *)&heaps[id];
}

UNSEEN bool world_is_inbox(const volatile void *address) {
    thread_heap_t *heap;
    for (uint32_t id = 1; (heap = heap_at(id)); id++)
        if (address == (void *)&heap->inbox || address == (void *)&heap->ring_tail ||
            address == (void *)&heap->ring_head ||
            is_inside(address, heap_slot(heap, INBOX_RING_OFFSET),
                      INBOX_RING_BLOCKS * sizeof(block_t *)))
            return true;
    return false;
}

UNSEEN bool world_is_heap_lock(const volatile void *address) {
    thread_heap_t *heap;
    for (uint32_t id = 1; (heap = heap_at(id)); id++)
        if (address == (void *)&heap->lock)
            return true;
    return false;
}

UNSEEN bool world_is_shared(const volatile void *address) {
    if (is_inside(address, region_owner, sizeof region_owner))
        return false;
    if (is_inside(address, heaps, sizeof heaps) || address == (void *)&n_heaps)
        return model_stops_at(MODEL_TABLE);
    if (address == (void *)&table_lock || address == (void *)&large_stores[0].lock)
        return true;
    thread_heap_t *heap;
    for (uint32_t id = 1; (heap = heap_at(id)); id++)
        if (address == (void *)&heap->inbox_bytes)
            return true;
        else if (address == (void *)&heap->n_looks || address == (void *)&heap->n_looks_seen)
            return model_stops_at(MODEL_LOOKS);
    return world_is_inbox(address) || world_is_heap_lock(address);
}

UNSEEN const void *world_alive_of_self(void) {
    return self_heap == NO_HEAP ? NULL : &self_heap->alive;
}

/* A run may have been given up anywhere. */
void world_clean_up(void) {
    uint32_t n = 0; /* a heap may be in the table and not be counted yet */
    lock_reset(&table_lock);
    lock_reset(&large_stores[0].lock);
    for (; heap_at(n + 1); n++)
        lock_reset(&heap_at(n + 1)->lock);
    atomic_store_explicit(&n_heaps, n, memory_order_relaxed);
    world_forget();
}

/* No time passes in the model: when a heap was last looked at would outlive a run. */
void heaps_decay_if_due(void) {}

bool heaps_decay(void) {
    return false;
}

/* ---- For the scenarios ---- */

void world_flush(void) {
    remote_flush_all(self_heap);
}

void world_new_thread(void) {
    self_heap = NO_HEAP;
}

void world_lock_heap(uint32_t id) {
    lock_acquire(&heap_at(id)->lock);
}

void world_unlock_heap(uint32_t id) {
    lock_release(&heap_at(id)->lock);
}

uint64_t world_n_taken_in(uint32_t id) {
    return heap_at(id)->counts.n_inbox_blocks;
}

bool world_is_in_run(const void *object) {
    return region_tile_class(region_of(object), object) != TILE_ELEMENTS;
}

/* The library says it in heap_slow.c, too.  This is said again, not called: what the one counts
 * down is compared with what the other counts, so a mistake there does not hide itself. */
static size_t bytes_of_free(const block_t *block) {
    region_t *region = region_of(block);
    unsigned size_class = region_tile_class(region, block);
    if (size_class == TILE_ELEMENTS)
        size_class = size_class_below(
            elt_n_bytes(elt_at(region_mheap(region), region_uoffset(region, block))));
    return size_class_bytes(size_class);
}

uint64_t world_inbox_bytes(uint32_t id) {
    const thread_heap_t *heap = heap_at(id);
    uint64_t bytes = 0;
    for (uint64_t i = heap->ring_head; i != heap->ring_tail; i++) {
        sent_t sent = ((sent_t *)heap_slot(heap, INBOX_RING_OFFSET))[i % INBOX_RING_BLOCKS];
        bytes += sent ? bytes_of_free(sent_block(sent)) : 0;
    }
    for (const block_t *b = heap->inbox; b; b = block_next(b, heap->key, "model"))
        bytes += bytes_of_free(b);
    return bytes;
}

/* Nothing is on its way. */
const char *world_settle(void) {
    for (uint32_t id = 1; id <= heap_last_id(); id++) {
        if (world_inbox_bytes(id) != heap_at(id)->inbox_bytes)
            return "an inbox does not hold inbox_bytes";
    }
    return NULL;
}

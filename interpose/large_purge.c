/* SPDX-License-Identifier: MIT */
/*
 * large_purge.c - giving free memory back, under a budget: a part of what is free stays resident to
 * be used again, the rest goes, what has been free longest first.
 *
 * The system calls are made without the lock.  Meanwhile the memory is BUSY: nobody's.
 */
#include "large_internal.h"

#include <string.h>

#include "vm.h"

#define PURGE_MIN_BYTES ((size_t)1 << 20) /* a smaller part of an extent is not worth a call */

static size_t dirty_budget_bytes(void) {
    size_t share = large_store.stats.live_bytes / LARGE_DIRTY_LIVE_SHARE;
    return share > LARGE_DIRTY_MIN_BYTES ? share : LARGE_DIRTY_MIN_BYTES;
}

/* ---- Freeing ---- */

static size_t dirty_bytes_of(const arena_t *arena) {
    size_t bytes = 0;
    for (const extent_t *extent = arena->first; extent; extent = extent->next)
        if (extent->state == EXTENT_DIRTY)
            bytes += extent->bytes;
    return bytes;
}

/* An unused span is only kept for the pages in it. */
static void release_idle_span(arena_t *span) {
    if (!arena_is_unused(span) || dirty_bytes_of(span))
        return;
    arena_remove(&large_store.cached, span);
    arena_release(&large_store.cached, span);
}

void large_release(extent_t *extent, bool is_zero) {
    uint64_t now_ms = large_clock_ms();
    size_t piece_bytes = extent->pieces.n ? extent->pieces.end[extent->pieces.n - 1] : 0;
    large_store.n_pieces -= extent->pieces.n;
    extent->pieces.n = 0;
    /* Not renewed: an odd mapping stays in free memory, which only makes a later move copy. */
    bool is_renewed = piece_bytes && vm_renew(extent->memory, piece_bytes);
    if (is_renewed && piece_bytes == extent->bytes)
        is_zero = true;
    arena_t *arena = extent->arena;
    bool was_spans_object = arena->is_span && extent == arena->first;
    if (is_renewed && !is_zero && extent_reserve(1)) {
        extent_t *rest = extent_split(extent, piece_bytes);
        extent_set_free(rest, EXTENT_DIRTY, now_ms);
        is_zero = true;
    }
    extent_set_free(extent, is_zero ? EXTENT_CLEAN : EXTENT_DIRTY, now_ms);
    if (was_spans_object) {
        arena_remove(&large_store.spans, arena);
        arena_push(&large_store.cached, arena);
        release_idle_span(arena);
    }
}

/* ---- Purging ---- */

/* The oldest, or of a much larger one only as much of its end as is to go. */
static extent_t *take_victim(size_t bytes) {
    extent_t *extent = large_store.oldest;
    if (extent->bytes > bytes && extent->bytes - bytes >= PURGE_MIN_BYTES && extent_reserve(1)) {
        extent_delist(extent);
        extent_t *tail = extent_split(extent, extent->bytes - bytes);
        extent_enlist(extent);
        extent_enlist(tail);
        extent = tail;
    }
    extent_set_taken(extent, EXTENT_BUSY);
    return extent;
}

static size_t purge_extent(size_t bytes) {
    extent_t *extent = take_victim(bytes);
    size_t extent_bytes = extent->bytes;
    large_unlock();
    bool is_purged = vm_purge(extent->memory, extent_bytes);
    large_lock();
    arena_t *arena = extent->arena;
    extent_set_free(extent, is_purged ? EXTENT_CLEAN : EXTENT_DIRTY, large_clock_ms());
    if (arena->is_span)
        release_idle_span(arena);
    return is_purged ? extent_bytes : 0;
}

/* Give back about `bytes` of what has been free longest; 0 if the system refuses.  A span that is
 * not used goes as a whole. */
static size_t purge_oldest(size_t bytes) {
    arena_t *arena = large_store.oldest->arena;
    size_t purged_bytes = 0;
    if (arena->is_span && arena_is_unused(arena)) {
        size_t dirty_bytes = dirty_bytes_of(arena);
        arena_remove(&large_store.cached, arena);
        if (arena_release(&large_store.cached, arena))
            purged_bytes = dirty_bytes;
    } else {
        purged_bytes = purge_extent(vm_round_up(bytes));
    }
    if (!purged_bytes)
        large_store.no_purge_until_ms = large_clock_ms() + LARGE_DECAY_MS;
    return purged_bytes;
}

size_t large_purge_older_than(uint64_t freed_ms) {
    size_t purged_bytes = 0, part_bytes = 1;
    while (part_bytes && large_store.oldest && large_store.oldest->freed_ms < freed_ms)
        purged_bytes += part_bytes = purge_oldest(SIZE_MAX / 2);
    return purged_bytes;
}

void large_purge_as_due(void) {
    size_t budget_bytes = dirty_budget_bytes();
    size_t dirty_bytes = large_store.stats.free_dirty_bytes;
    if (!large_store.oldest)
        return;
    uint64_t now_ms = large_clock_ms();
    if (now_ms < large_store.no_purge_until_ms)
        return;
    if (dirty_bytes > budget_bytes) { /* a bit more than needed, so that not every free purges */
        size_t target_bytes = budget_bytes - budget_bytes / 8, part_bytes = 1;
        while (part_bytes && large_store.oldest &&
               large_store.stats.free_dirty_bytes > target_bytes)
            part_bytes = purge_oldest(large_store.stats.free_dirty_bytes - target_bytes);
    }
    if (now_ms > LARGE_DECAY_MS)
        large_purge_older_than(now_ms - LARGE_DECAY_MS);
}

/* An arena's whole address range, once nothing is left in it. */
static void release_unused(arena_t **list) {
    for (arena_t *arena = *list; arena;) {
        if (!arena_is_unused(arena)) {
            arena = arena->next;
            continue;
        }
        arena_remove(list, arena);
        if (!arena_release(list, arena))
            return;
        arena = *list; /* the lock was free meanwhile: begin again */
    }
}

size_t large_purge_everything(void) {
    size_t purged_bytes = large_purge_older_than(UINT64_MAX);
    release_unused(&large_store.cached);
    release_unused(&large_store.arenas);
    return purged_bytes;
}

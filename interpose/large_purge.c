/* SPDX-License-Identifier: MIT */
/*
 * large_purge.c - giving free memory back: some stays resident to be used again, the rest goes,
 * what has been free longest first.
 *
 * A page given back and faulted in again costs some microseconds, a thousand times what its reuse
 * does; a page kept may never be used again.  So what happens depends on how much is free, and on
 * how much purging there was: a purge budget that a burst may use up and that fills slowly.
 *
 *      up to the soft limit  stays; once free for LARGE_DECAY_MS it goes, while most of the budget
 *                            is left
 *      up to the hard limit  goes, but only at a steady rate: a program whose objects come and go
 *                            has that much between them and will want it back
 *      up to half as much    goes while there is any budget: most of what was live is not now
 *      again
 *      more                  goes
 *
 * Measured with 20 live objects of 1-16 MiB, replaced at random and touched (us a replacement, peak
 * MiB), in turn with glibc (550-730, 275): the soft limit alone 2500-3900, 275; this 220-410, 280.
 *
 * The system calls are made without the lock.  Meanwhile the memory is BUSY: nobody's.
 */
#include "large_internal.h"

#include <string.h>

#include "vm.h"

#define PURGE_MIN_BYTES     ((size_t)1 << 20) /* a smaller part of an extent is not worth a call */

#define SOFT_MIN_BYTES      ((size_t)32 << 20)
#define SOFT_LIVE_SHARE     4u /* of the live bytes, if that is more */
#define HARD_MIN_BYTES      ((size_t)64 << 20)
#define HARD_LIVE_SHARE     1u

#define BUDGET_BYTES        ((uint64_t)512 << 20)
#define BUDGET_AGED_BYTES   ((uint64_t)128 << 20) /* of it, for what has been free for long */
#define BUDGET_SOFT_BYTES   ((uint64_t)32 << 20)  /* and for what is over the soft limit only */
#define NO_LIMIT            UINT64_MAX
#define BUDGET_BYTES_PER_MS ((uint64_t)8 << 10)

static size_t limit(size_t min_bytes, unsigned live_share) {
    size_t share_bytes = large_store.stats.live_bytes / live_share;
    return share_bytes > min_bytes ? share_bytes : min_bytes;
}

/* Whether no more than `may_spend` bytes of the budget have been spent lately. */
static bool has_budget(uint64_t may_spend) {
    uint64_t now_ms = coarse_clock_ms();
    uint64_t refilled_bytes = (now_ms - large_store.spent_ms) * BUDGET_BYTES_PER_MS;
    large_store.spent_ms = now_ms;
    if (refilled_bytes > large_store.spent_bytes)
        refilled_bytes = large_store.spent_bytes;
    large_store.spent_bytes -= refilled_bytes;
    return large_store.spent_bytes < may_spend && now_ms >= large_store.no_purge_until_ms;
}

/* What goes in any case does not count. */
static void spend(size_t bytes, uint64_t may_spend) {
    if (may_spend != NO_LIMIT)
        large_store.spent_bytes += bytes;
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
    uint64_t now_ms = coarse_clock_ms();
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
    extent_set_free(extent, is_purged ? EXTENT_CLEAN : EXTENT_DIRTY, coarse_clock_ms());
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
        large_store.no_purge_until_ms = coarse_clock_ms() + LARGE_DECAY_MS;
    return purged_bytes;
}

/* Down to `limit_bytes` of dirty memory, while there is budget. */
static size_t purge_down_to(size_t limit_bytes, uint64_t may_spend) {
    size_t purged_bytes = 0;
    while (large_store.oldest && large_store.stats.free_dirty_bytes > limit_bytes &&
           has_budget(may_spend)) {
        size_t part_bytes = purge_oldest(large_store.stats.free_dirty_bytes - limit_bytes);
        if (!part_bytes)
            break;
        spend(part_bytes, may_spend);
        purged_bytes += part_bytes;
    }
    return purged_bytes;
}

size_t large_purge_excess(void) {
    size_t soft_bytes = limit(SOFT_MIN_BYTES, SOFT_LIVE_SHARE);
    if (large_store.stats.free_dirty_bytes <= soft_bytes)
        return 0;
    size_t hard_bytes = limit(HARD_MIN_BYTES, HARD_LIVE_SHARE);
    size_t top_bytes = hard_bytes + limit(HARD_MIN_BYTES, 2 * HARD_LIVE_SHARE);
    size_t purged_bytes = purge_down_to(top_bytes, NO_LIMIT);
    purged_bytes += purge_down_to(hard_bytes, BUDGET_BYTES);
    return purged_bytes + purge_down_to(soft_bytes, BUDGET_SOFT_BYTES);
}

static size_t purge_older_than(uint64_t freed_ms, uint64_t may_spend) {
    size_t purged_bytes = 0;
    while (large_store.oldest && large_store.oldest->freed_ms < freed_ms && has_budget(may_spend)) {
        size_t part_bytes = purge_oldest(large_store.oldest->bytes);
        if (!part_bytes)
            break;
        spend(part_bytes, may_spend);
        purged_bytes += part_bytes;
    }
    return purged_bytes;
}

size_t large_purge_aged(void) {
    if (!large_store.oldest)
        return 0;
    uint64_t now_ms = coarse_clock_ms();
    return now_ms < LARGE_DECAY_MS ? 0
                                   : purge_older_than(now_ms - LARGE_DECAY_MS, BUDGET_AGED_BYTES);
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
    large_store.no_purge_until_ms = 0;
    size_t purged_bytes = purge_older_than(UINT64_MAX, NO_LIMIT);
    release_unused(&large_store.cached);
    release_unused(&large_store.arenas);
    return purged_bytes;
}

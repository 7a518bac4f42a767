/* SPDX-License-Identifier: MIT */
/*
 * large_purge.c - giving free memory back: some stays resident to be used again, the rest goes,
 * what has been free longest first.
 *
 * A page given back and faulted in again costs some microseconds, a thousand times what its reuse
 * does; a page kept may never be used again, and there may never be another call in which to give
 * it back.  So the frees decide:
 *
 * - Up to KEEP_MIN_BYTES stay, until they have aged; and up to the demand (demand.h).
 * - What exceeds an eighth of the live bytes goes, but only at a steady rate: a program whose
 *   objects come and go has up to as much as is live free between them; the demand soon shows it.
 * - What exceeds twice the live bytes goes at once; of that, what the demand would keep goes once,
 *   since the demand may have ended with this burst.
 *
 * When less than a third of the peak is live, what is over the eighth goes at once.  And when fresh
 * memory is taken while unsuitable dirty memory lies about, what exceeds the most that was ever
 * resident, or the live bytes by a quarter, goes in exchange for it.  So does what was free all
 * the time while thread heaps took half as much: a buffer that was freed for good makes room for
 * what the program does next.
 *
 * Measured with 20 live objects of 1-16 MiB, replaced at random and touched (best fit without any
 * purging: 75,000 page faults, 289 MiB).  Purging what exceeds the live bytes, by an eighth or by
 * a third of them when growing: 186,000 faults, 279 MiB, and 124,000, 289 MiB; as above: 95,000,
 * 300 MiB.
 *
 * The system calls are made without the lock.  Meanwhile the memory is BUSY: nobody's.
 */
#include "large_internal.h"

#include <string.h>

#include "larger.h"
#include "options.h"
#include "vm.h"

#define PURGE_MIN_BYTES    ((size_t)1 << 20) /* a smaller part of an extent is not worth a call */

#define KEEP_MIN_BYTES     ((size_t)4 << 20)
#define LOW_LIVE_SHARE     8u /* of the live bytes */
#define SHRUNK_PEAK_SHARE  3u /* of what was live and dirty at most */
#define EXCHANGE_MIN_BYTES ((size_t)256 << 10)
#define EXCHANGE_SHARE     2u /* of what is dirty */
#define GROWTH_LIVE_SHARE  4u
#define GROWTH_MIN_BYTES   ((size_t)2 << 20)
#define BATCH_SHARE        8u /* of a limit: so much more may gather until it is seen to */

#define BUDGET_AGED_BYTES  ((uint64_t)256 << 20) /* for what has been free for long */
#define BUDGET_TOP_BYTES   ((uint64_t)64 << 20)  /* for what is over twice the live bytes */
#define BUDGET_LOW_BYTES   ((uint64_t)16 << 20)  /* and for what is over the low limit only */
#define NO_LIMIT           UINT64_MAX

/* Whether no more than `may_spend` bytes of the budget have been spent lately. */
static bool has_budget(large_store_t *store, uint64_t may_spend) {
    uint64_t now_ms = store->now_ms, refilled_bytes;
    if (__builtin_mul_overflow(now_ms - store->spent_ms, options.purge_rate, &refilled_bytes))
        refilled_bytes = UINT64_MAX;
    refilled_bytes /= 1000;
    store->spent_ms = now_ms;
    if (refilled_bytes > store->spent_bytes)
        refilled_bytes = store->spent_bytes;
    store->spent_bytes -= refilled_bytes;
    return store->spent_bytes < may_spend && now_ms >= store->no_purge_until_ms;
}

/* What goes in any case does not count. */
static void spend(large_store_t *store, size_t bytes, uint64_t may_spend) {
    if (may_spend != NO_LIMIT)
        store->spent_bytes += bytes;
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
    large_store_t *store = span->store;
    if (!arena_is_unused(span) || dirty_bytes_of(span))
        return;
    arena_remove(&store->cached, span);
    arena_release(&store->cached, span);
}

void large_release(extent_t *extent, bool is_zero) {
    large_store_t *store = extent->arena->store;
    uint64_t now_ms = store->now_ms;
    size_t piece_bytes = extent->pieces.n ? extent->pieces.end[extent->pieces.n - 1] : 0;
    store->n_pieces -= extent->pieces.n;
    extent->pieces.n = 0;
    /* Not renewed: an odd mapping stays in free memory, which only makes a later move copy. */
    bool is_renewed = piece_bytes && vm_renew(extent->memory, piece_bytes);
    if (is_renewed && piece_bytes == extent->bytes)
        is_zero = true;
    arena_t *arena = extent->arena;
    bool was_spans_object = arena->is_span && extent == arena->first;
    if (is_renewed && !is_zero && extent_reserve(store, 1)) {
        extent_t *rest = extent_split(extent, piece_bytes);
        extent_set_free(rest, EXTENT_DIRTY, now_ms);
        is_zero = true;
    }
    extent_set_free(extent, is_zero ? EXTENT_CLEAN : EXTENT_DIRTY, now_ms);
    if (was_spans_object) {
        arena_remove(&store->spans, arena);
        arena_push(&store->cached, arena);
        release_idle_span(arena);
    }
}

/* ---- Purging ---- */

#define VICTIM_SEARCH_MAX 64u

/* What of an extent is to go, if `bytes` should: a part at its end if it is much larger. */
typedef struct {
    size_t begin, end; /* offsets */
} part_t;

static part_t part_to_purge(const extent_t *extent, size_t bytes, size_t unit_bytes) {
    uintptr_t start = (uintptr_t)extent->memory;
    size_t begin = -start & (unit_bytes - 1);
    size_t end = extent->bytes - ((start + extent->bytes) & (unit_bytes - 1));
    if (end <= begin || end > extent->bytes)
        return (part_t){0, 0};
    bytes = (bytes + unit_bytes - 1) & ~(unit_bytes - 1);
    if (end - begin > bytes && end - begin - bytes >= PURGE_MIN_BYTES)
        begin = end - bytes;
    return (part_t){begin, end};
}

/* Cut the part out; without memory for it, the whole extent. */
static extent_t *cut_out(extent_t *extent, part_t part) {
    if (!extent_reserve(extent->arena->store, 2))
        return extent;
    if (part.end < extent->bytes) {
        extent_delist(extent);
        extent_enlist(extent_split(extent, part.end));
        extent_enlist(extent);
    }
    if (part.begin > 0) {
        extent_delist(extent);
        extent_t *tail = extent_split(extent, part.begin);
        extent_enlist(extent);
        extent_enlist(tail);
        extent = tail;
    }
    return extent;
}

/* Of what has been free longest; NULL if there is nothing worth giving back. */
static extent_t *take_victim(large_store_t *store, size_t bytes, size_t unit_bytes) {
    extent_t *extent = store->oldest;
    for (unsigned i = 0; extent && i < VICTIM_SEARCH_MAX; i++, extent = extent->newer) {
        part_t part = part_to_purge(extent, bytes, unit_bytes);
        if (part.end == 0)
            continue;
        extent = cut_out(extent, part);
        extent_set_taken(extent, EXTENT_BUSY);
        return extent;
    }
    return NULL;
}

static size_t purge_extent(large_store_t *store, size_t bytes) {
    extent_t *extent = take_victim(store, bytes, vm_page_bytes());
    if (!extent)
        return 0;
    size_t extent_bytes = extent->bytes;
    large_unlock(store);
    bool is_purged = vm_purge(extent->memory, extent_bytes);
    large_lock(store);
    arena_t *arena = extent->arena;
    extent_set_free(extent, is_purged ? EXTENT_CLEAN : EXTENT_DIRTY, store->now_ms);
    if (arena->is_span)
        release_idle_span(arena);
    if (!is_purged)
        store->no_purge_until_ms = store->now_ms + LARGE_RETRY_MS;
    return is_purged ? extent_bytes : 0;
}

static size_t release_span(arena_t *span) {
    large_store_t *store = span->store;
    size_t dirty_bytes = dirty_bytes_of(span);
    arena_remove(&store->cached, span);
    if (arena_release(&store->cached, span))
        return dirty_bytes;
    store->no_purge_until_ms = store->now_ms + LARGE_RETRY_MS;
    return 0;
}

/* Give back about `bytes` of what has been free longest; 0 if the system refuses or
 * there is nothing.  A span that is not used goes as a whole. */
static size_t purge_oldest(large_store_t *store, size_t bytes) {
    arena_t *arena = store->oldest->arena;
    size_t purged_bytes =
        arena->is_span && arena_is_unused(arena) ? release_span(arena) : purge_extent(store, bytes);
    demand_purged(&store->demand, store->now_ms, purged_bytes);
    return purged_bytes;
}

/* Down to `limit_bytes` of dirty memory, while there is budget. */
static size_t purge_down_to(large_store_t *store, size_t limit_bytes, uint64_t may_spend) {
    size_t purged_bytes = 0;
    while (store->oldest && store->stats.free_dirty_bytes > limit_bytes &&
           has_budget(store, may_spend)) {
        size_t part_bytes = purge_oldest(store, store->stats.free_dirty_bytes - limit_bytes);
        if (!part_bytes)
            break;
        spend(store, part_bytes, may_spend);
        purged_bytes += part_bytes;
    }
    return purged_bytes;
}

/* What was once needed is no measure for ever. */
static void lower_peak(large_store_t *store) {
    uint64_t past_ms = store->now_ms - store->peak_ms;
    if (past_ms < LARGE_PEAK_HALF_MS)
        return;
    uint64_t n_halves = past_ms / LARGE_PEAK_HALF_MS;
    store->peak_ms += n_halves * LARGE_PEAK_HALF_MS;
    size_t now_bytes = store->stats.live_bytes + store->stats.free_dirty_bytes;
    size_t above_bytes = store->peak_bytes > now_bytes ? store->peak_bytes - now_bytes : 0;
    store->peak_bytes = now_bytes + (n_halves < 64 ? above_bytes >> n_halves : 0);
}

/* Of a free, each limit falls by no more than twice its bytes, and an eighth. */
#define QUIET_SHARE 4u

/* As long as this tick lasts, and no more than the bound is dirty, a limit that is due at due_bytes
 * asks for nothing; most_spend is the most of the budget that it may have until then. */
static void note_quiet(large_store_t *store, size_t due_bytes, uint64_t most_spend) {
    size_t dirty_bytes = store->stats.free_dirty_bytes;
    if (dirty_bytes <= due_bytes)
        store->quiet_bytes =
            smaller(store->quiet_bytes, dirty_bytes + (due_bytes - dirty_bytes) / QUIET_SHARE);
    else if (has_budget(store, most_spend)) /* it could not be done, or the demand was less */
        store->quiet_bytes = 0;
}

static size_t purge_batch(large_store_t *store, size_t limit_bytes, uint64_t may_spend,
                          uint64_t most_spend) {
    size_t due_bytes = limit_bytes + limit_bytes / BATCH_SHARE, purged_bytes = 0;
    if (store->stats.free_dirty_bytes > due_bytes)
        purged_bytes = purge_down_to(store, limit_bytes, may_spend);
    note_quiet(store, due_bytes, most_spend);
    return purged_bytes;
}

size_t large_purge_excess(large_store_t *store) {
    if (!options.purge_rate)
        return 0;
    lower_peak(store);
    size_t live_bytes = store->stats.live_bytes;
    size_t wanted_bytes = demand_bytes(&store->demand, store->now_ms, live_bytes);
    store->wanted_bytes = wanted_bytes;
    size_t keep_bytes = larger(KEEP_MIN_BYTES, wanted_bytes);
    bool is_shrunk = live_bytes < store->peak_bytes / SHRUNK_PEAK_SHARE;
    size_t top_bytes = larger(keep_bytes, is_shrunk ? live_bytes / LOW_LIVE_SHARE : 2 * live_bytes);
    size_t purged_bytes = purge_batch(store, top_bytes, NO_LIMIT, NO_LIMIT);
    purged_bytes +=
        purge_batch(store, larger(KEEP_MIN_BYTES, 2 * live_bytes), /* the demand, once */
                    smaller(BUDGET_TOP_BYTES, wanted_bytes), BUDGET_TOP_BYTES);
    return purged_bytes + purge_batch(store, larger(keep_bytes, live_bytes / LOW_LIVE_SHARE),
                                      BUDGET_LOW_BYTES, BUDGET_LOW_BYTES);
}

size_t large_purge_growth(large_store_t *store) {
    if (!options.purge_rate)
        return 0;
    lower_peak(store);
    const large_stats_t *stats = &store->stats;
    size_t slack_bytes = larger(GROWTH_MIN_BYTES, stats->live_bytes / GROWTH_LIVE_SHARE);
    size_t most_bytes = larger(store->peak_bytes, stats->live_bytes + slack_bytes);
    size_t purged_bytes = 0;
    if (stats->live_bytes + stats->free_dirty_bytes > most_bytes)
        purged_bytes = purge_down_to(store, most_bytes - stats->live_bytes, NO_LIMIT);
    store->peak_bytes = larger(store->peak_bytes, stats->live_bytes + stats->free_dirty_bytes);
    return purged_bytes;
}

size_t large_purge_exchange(large_store_t *store, size_t fresh_bytes) {
    const large_stats_t *stats = &store->stats;
    store->fresh_bytes += fresh_bytes;
    if (!options.purge_rate || store->fresh_bytes < stats->free_dirty_bytes / EXCHANGE_SHARE)
        return 0;
    size_t keep_bytes = larger(EXCHANGE_MIN_BYTES, stats->live_bytes / LOW_LIVE_SHARE);
    size_t used_bytes =
        stats->free_dirty_bytes - smaller(store->unused_bytes, stats->free_dirty_bytes);
    size_t purged_bytes = purge_down_to(store, larger(keep_bytes, used_bytes), NO_LIMIT);
    store->unused_bytes = stats->free_dirty_bytes;
    store->fresh_bytes = 0;
    return purged_bytes;
}

static size_t purge_older_than(large_store_t *store, uint64_t freed_ms, size_t limit_bytes,
                               uint64_t may_spend) {
    size_t purged_bytes = 0;
    while (store->oldest && store->oldest->freed_ms < freed_ms &&
           store->stats.free_dirty_bytes > limit_bytes && has_budget(store, may_spend)) {
        size_t part_bytes = purge_oldest(store, store->oldest->bytes);
        if (!part_bytes)
            break;
        spend(store, part_bytes, may_spend);
        purged_bytes += part_bytes;
    }
    return purged_bytes;
}

size_t large_purge_aged(large_store_t *store) {
    if (!store->oldest || !options.purge_rate)
        return 0;
    if (store->now_ms < options.decay_ms)
        return 0;
    uint64_t aged_ms = store->now_ms - options.decay_ms;
    if (store->oldest->freed_ms >= aged_ms)
        return 0;
    size_t wanted_bytes = demand_bytes(&store->demand, store->now_ms, store->stats.live_bytes);
    size_t purged_bytes = purge_older_than(store, aged_ms, wanted_bytes, BUDGET_AGED_BYTES);
    if (store->oldest && store->oldest->freed_ms < aged_ms)
        note_quiet(store, wanted_bytes, BUDGET_AGED_BYTES);
    return purged_bytes;
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

#define CLOSE_MIN_BYTES ((size_t)64 << 10)
#define CLOSE_MIN_SHARE 4096u /* of the store: two kernel mappings each, at most 8192 in all */

/* No pages are left there, so it is quick and the lock can be held. */
static void close_clean(large_store_t *store, arena_t *arena) {
    size_t min_bytes = larger(CLOSE_MIN_BYTES, store->stats.reserved_bytes / CLOSE_MIN_SHARE);
    for (; arena; arena = arena->next)
        for (extent_t *extent = arena->first; extent; extent = extent->next) {
            if (extent->state != EXTENT_CLEAN || extent->has_no_access || extent->bytes < min_bytes)
                continue;
            arena->may_lack_access = true;
            extent->has_no_access = vm_decommit(extent->memory, extent->bytes);
        }
}

/* Of what may be freed until live memory has shrunk: see large_purge_excess. */
static size_t until_shrunk(const large_store_t *store) {
    size_t live_bytes = store->stats.live_bytes, low_bytes = store->peak_bytes / SHRUNK_PEAK_SHARE;
    return store->stats.free_dirty_bytes + (live_bytes > low_bytes ? live_bytes - low_bytes : 0);
}

size_t large_purge_now(large_store_t *store) {
    uint64_t began_ms = store->now_ms; /* purging may take longer than a tick */
    store->quiet_bytes = SIZE_MAX;
    size_t purged_bytes = large_purge_excess(store) + large_purge_aged(store);
    bool is_shrunk = store->stats.live_bytes < store->peak_bytes / SHRUNK_PEAK_SHARE;
    if (!is_shrunk)
        store->quiet_bytes = smaller(store->quiet_bytes, until_shrunk(store));
    store->quiet_ms = began_ms;
    return purged_bytes;
}

size_t large_purge_everything(large_store_t *store) {
    store->quiet_bytes = 0;
    store->no_purge_until_ms = 0;
    size_t purged_bytes = purge_older_than(store, UINT64_MAX, 0, NO_LIMIT);
    store->peak_bytes = store->stats.live_bytes;
    demand_forget(&store->demand, store->now_ms);
    release_unused(&store->cached);
    release_unused(&store->arenas);
    close_clean(store, store->arenas);
    close_clean(store, store->spans);
    return purged_bytes;
}

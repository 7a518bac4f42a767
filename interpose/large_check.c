/* SPDX-License-Identifier: MIT */
/* large_check.c - walking the store of large objects; its invariants L1-L8 (large_internal.h). */
#include "large_internal.h"

#include "owner.h"
#include "vm.h"

typedef void visit_fn(void *arg, extent_t *extent);

static void visit_list(arena_t *arena, visit_fn *visit, void *arg) {
    for (; arena; arena = arena->next)
        for (extent_t *extent = arena->first; extent; extent = extent->next)
            visit(arg, extent);
}

static void visit_extents(const large_store_t *store, visit_fn *visit, void *arg) {
    visit_list(store->arenas, visit, arg);
    visit_list(store->spans, visit, arg);
    visit_list(store->cached, visit, arg);
}

typedef struct {
    void (*func)(void *arg, void *pointer, size_t bytes);
    void *arg;
} foreach_t;

static void foreach_live(void *arg, extent_t *extent) {
    const foreach_t *call = arg;
    if (extent->state == EXTENT_LIVE)
        call->func(call->arg, extent->memory, extent->bytes);
}

void large_foreach(void (*func)(void *arg, void *pointer, size_t bytes), void *arg) {
    foreach_t call = {func, arg};
    for (large_store_t *store = large_enter_first(); store; store = large_enter_next(store))
        visit_extents(store, foreach_live, &call);
}

/* ---- Validation.  Links of a damaged store are not followed any further than L1 allows. ---- */

static bool arena_is_tiled(const arena_t *arena) {
    const extent_t *prev = NULL;
    char *at = arena->memory;
    for (const extent_t *extent = arena->first; extent; prev = extent, extent = extent->next) {
        size_t left_bytes = (size_t)(arena->memory + arena->committed - at);
        if (extent->arena != arena || extent->prev != prev || extent->memory != at ||
            extent->bytes == 0 || extent->bytes > left_bytes ||
            extent->bytes % vm_page_bytes() != 0)
            return false;
        at += extent->bytes;
    }
    return arena->last == prev && at == arena->memory + arena->committed &&
           arena->committed <= arena->bytes;
}

static bool all_arenas(const large_store_t *store, bool (*holds)(const arena_t *arena)) {
    const arena_t *lists[] = {store->arenas, store->spans, store->cached};
    for (unsigned i = 0; i < sizeof lists / sizeof *lists; i++)
        for (const arena_t *arena = lists[i]; arena; arena = arena->next)
            if (!holds(arena))
                return false;
    return true;
}

static bool l1_tiled(const large_store_t *store) {
    return all_arenas(store, arena_is_tiled);
}

static bool arena_is_coalesced(const arena_t *arena) {
    for (const extent_t *extent = arena->first; extent && extent->next; extent = extent->next)
        if (extent_is_free(extent) && extent->state == extent->next->state)
            return false;
    return true;
}

static bool l2_coalesced(const large_store_t *store) {
    return all_arenas(store, arena_is_coalesced);
}

/* Sums over all extents, to be compared with what the store has counted. */
typedef struct {
    size_t n_live, live_bytes, n_dirty, dirty_bytes, n_binned, n_pieces;
    bool live_are_found, pieces_are_right;
} sums_t;

static bool pieces_are_right(const extent_t *extent) {
    size_t end = 0;
    if (extent->pieces.n > EXTENT_MAX_PIECES || (extent->pieces.n && extent->state != EXTENT_LIVE))
        return false;
    for (unsigned i = 0; i < extent->pieces.n; end = extent->pieces.end[i++])
        if (extent->pieces.end[i] <= end || extent->pieces.end[i] > extent->bytes ||
            extent->pieces.end[i] % vm_page_bytes() != 0)
            return false;
    return true;
}

static void add_to_sums(void *arg, extent_t *extent) {
    sums_t *sums = arg;
    if (extent->state == EXTENT_LIVE) {
        sums->n_live++;
        sums->live_bytes += extent->bytes;
        sums->live_are_found &= large_table_find(extent->arena->store, extent->memory) == extent;
    }
    if (extent->state == EXTENT_DIRTY) {
        sums->n_dirty++;
        sums->dirty_bytes += extent->bytes;
    }
    sums->n_binned += extent_is_free(extent) && !extent->arena->is_span;
    sums->n_pieces += extent->pieces.n;
    sums->pieces_are_right &= pieces_are_right(extent);
}

/* Number of extents in the bins of that state; more than `limit` if any does not belong there. */
static size_t count_binned(const large_store_t *store, extent_state_t state, size_t limit) {
    const large_bins_t *bins = &store->bins[state - EXTENT_DIRTY];
    size_t n = 0;
    for (unsigned bin = 0; bin < LARGE_N_BINS; bin++) {
        const extent_t *prev = NULL;
        bool is_marked = bins->non_empty[bin / 64] >> bin % 64 & 1;
        if (is_marked != (bins->bin[bin] != NULL))
            return limit + 1;
        for (const extent_t *e = bins->bin[bin]; e; prev = e, e = e->bin_next)
            if (++n > limit || e->state != state || extent_bin(e->bytes) != bin || e->bin != bin ||
                e->bin_prev != prev || e->arena->is_span)
                return limit + 1;
    }
    return n;
}

static bool l3_binned(const large_store_t *store, const sums_t *sums) {
    return count_binned(store, EXTENT_DIRTY, sums->n_binned) +
               count_binned(store, EXTENT_CLEAN, sums->n_binned) ==
           sums->n_binned;
}

static bool l4_aged(const large_store_t *store, const sums_t *sums) {
    size_t n = 0;
    const extent_t *older = NULL;
    for (const extent_t *e = store->oldest; e; older = e, e = e->newer)
        if (++n > sums->n_dirty || e->state != EXTENT_DIRTY || e->older != older ||
            (older && older->freed_ms > e->freed_ms))
            return false;
    return n == sums->n_dirty && store->newest == older &&
           store->stats.free_dirty_bytes == sums->dirty_bytes;
}

static bool l5_found(const large_store_t *store, const sums_t *sums) {
    return sums->live_are_found && store->table.n_used == sums->n_live &&
           store->stats.n_objects == sums->n_live && store->stats.live_bytes == sums->live_bytes;
}

static bool arena_is_owned(const arena_t *arena) {
    for (size_t offset = 0; offset < arena->bytes; offset += REGION_BYTES)
        if (owner_of(arena->memory + offset) != large_store_owner(arena->store))
            return false;
    return true;
}

static size_t sum_of_bytes(const arena_t *arena) {
    size_t bytes = 0;
    for (; arena; arena = arena->next)
        bytes += arena->bytes;
    return bytes;
}

static bool l6_owned(const large_store_t *store) {
    return all_arenas(store, arena_is_owned) &&
           store->stats.reserved_bytes == sum_of_bytes(store->arenas) + sum_of_bytes(store->spans) +
                                              sum_of_bytes(store->cached) +
                                              sum_of_bytes(store->leaving);
}

static bool l7_spans_hold_one(const large_store_t *store) {
    for (const arena_t *span = store->spans; span; span = span->next) {
        if (!span->is_span || !span->first || span->first->state != EXTENT_LIVE)
            return false;
        for (const extent_t *extent = span->first->next; extent; extent = extent->next)
            if (extent->state == EXTENT_LIVE)
                return false;
    }
    for (const arena_t *span = store->cached; span; span = span->next) {
        if (!span->is_span)
            return false;
        for (const extent_t *extent = span->first; extent; extent = extent->next)
            if (extent->state == EXTENT_LIVE)
                return false;
    }
    return true;
}

static bool l8_pieces(const large_store_t *store, const sums_t *sums) {
    return sums->pieces_are_right && store->n_pieces == sums->n_pieces;
}

static const char *violation(const large_store_t *store) {
    if (!l1_tiled(store))
        return "L1: extents do not tile their arena";
    if (!l2_coalesced(store))
        return "L2: two free extents side by side";
    sums_t sums = {.live_are_found = true, .pieces_are_right = true};
    visit_extents(store, add_to_sums, &sums);
    if (!l3_binned(store, &sums))
        return "L3: bins and free extents disagree";
    if (!l4_aged(store, &sums))
        return "L4: age list and dirty extents disagree";
    if (!l5_found(store, &sums))
        return "L5: table and live extents disagree";
    if (!l6_owned(store))
        return "L6: an arena's region is not owned by the store of large objects";
    if (!l7_spans_hold_one(store))
        return "L7: a span does not hold one object";
    if (!l8_pieces(store, &sums))
        return "L8: pieces are out of order or miscounted";
    return NULL;
}

const char *large_validate(void) {
    for (large_store_t *store = large_enter_first(); store; store = large_enter_next(store)) {
        const char *what = violation(store);
        if (what)
            return large_leave(store), what;
    }
    return NULL;
}

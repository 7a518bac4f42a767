/* SPDX-License-Identifier: MIT */
/* large_place.c - where a new large object goes, and how one grows where it is. */
#include "large_internal.h"

#include "owner.h"
#include "vm.h"

static size_t round_up_to_regions(size_t bytes) {
    return (bytes + REGION_BYTES - 1) & ~(REGION_BYTES - 1);
}

/* Bytes of the run of free extents that ends with the arena's accessible part; *first is its start.
 */
static size_t free_bytes_at_end(const arena_t *arena, extent_t **first) {
    size_t bytes = 0;
    *first = NULL;
    for (extent_t *extent = arena->last; extent && extent_is_free(extent); extent = extent->prev) {
        bytes += extent->bytes;
        *first = extent;
    }
    return bytes;
}

/* At the end of the arena, making more of it accessible. */
static extent_t *place_at_end(arena_t *arena, size_t bytes, size_t align, bool *is_zero) {
    extent_t *first;
    size_t free_bytes = free_bytes_at_end(arena, &first);
    uintptr_t start = (uintptr_t)arena->memory + arena->committed - free_bytes;
    size_t lead_bytes = -start & (align - 1);
    size_t need_bytes = lead_bytes + bytes;
    if (need_bytes > free_bytes) {
        size_t more_bytes = need_bytes - free_bytes;
        if (more_bytes > arena_room(arena) || !arena_commit(arena, more_bytes))
            return NULL;
        free_bytes_at_end(arena, &first);
    }
    return extent_take(first, lead_bytes, bytes, is_zero);
}

/* ---- Spans ---- */

static extent_t *place_in_span(arena_t **list, arena_t *span, size_t bytes, bool *is_zero) {
    large_store_t *store = span->store;
    if (span->committed < bytes && !arena_commit(span, bytes - span->committed))
        return NULL;
    if (list != &store->spans) {
        arena_remove(list, span);
        arena_push(&store->spans, span);
    }
    return extent_take(span->first, 0, bytes, is_zero);
}

static extent_t *place_in_cached_span(large_store_t *store, size_t bytes, size_t align,
                                      bool *is_zero) {
    arena_t *best = NULL;
    for (arena_t *span = store->cached; span; span = span->next)
        if (span->bytes >= bytes && ((uintptr_t)span->memory & (align - 1)) == 0 &&
            (!best || span->bytes < best->bytes) && arena_is_unused(span))
            best = span;
    return best ? place_in_span(&store->cached, best, bytes, is_zero) : NULL;
}

static arena_t *new_span(large_store_t *store, size_t bytes, size_t align, size_t room_bytes) {
    arena_t *span = arena_new(store, round_up_to_regions(room_bytes), align, true);
    if (!span && round_up_to_regions(bytes) < round_up_to_regions(room_bytes))
        span = arena_new(store, round_up_to_regions(bytes), align, true);
    if (!span) /* a limit on address space: only what is needed */
        span = arena_new(store, bytes, align, true);
    return span;
}

static extent_t *place_in_new_span(large_store_t *store, size_t bytes, size_t align,
                                   size_t room_bytes, bool *is_zero) {
    arena_t *span = new_span(store, bytes, align, room_bytes);
    if (!span)
        return NULL;
    extent_t *extent = place_in_span(&store->spans, span, bytes, is_zero);
    if (!extent) {
        arena_remove(&store->spans, span);
        arena_release(&store->cached, span);
    }
    return extent;
}

/* ---- Arenas ---- */

static arena_t *new_arena(large_store_t *store, size_t bytes, size_t align) {
    size_t want_bytes = 0;
    for (const arena_t *arena = store->arenas; arena; arena = arena->next)
        want_bytes += arena->bytes;
    size_t min_bytes = store == large_stores ? LARGE_ARENA_MIN_BYTES : LARGE_ARENA_SPREAD_BYTES;
    if (want_bytes < min_bytes)
        want_bytes = min_bytes;
    if (want_bytes > LARGE_ARENA_MAX_BYTES)
        want_bytes = LARGE_ARENA_MAX_BYTES;
    for (; want_bytes >= REGION_BYTES && want_bytes >= bytes; want_bytes /= 2) {
        arena_t *arena = arena_new(store, want_bytes & ~(REGION_BYTES - 1), align, false);
        if (arena)
            return arena;
    }
    return arena_new(store, bytes, align, false);
}

static extent_t *search_runs(large_store_t *store, size_t bytes, size_t align) {
    size_t missing_bytes;
    extent_t *first = extent_search_runs(store, bytes, align, &missing_bytes);
    return first && (missing_bytes == 0 || arena_commit(first->arena, missing_bytes)) ? first
                                                                                      : NULL;
}

static extent_t *search(large_store_t *store, size_t bytes, size_t align, large_choice_t choice) {
    if (choice == LARGE_CLEAN_FIRST) {
        extent_t *extent = extent_search(store, EXTENT_CLEAN, bytes, align);
        return extent ? extent : extent_search(store, EXTENT_DIRTY, bytes, align);
    }
    extent_t *extent = extent_search(store, EXTENT_DIRTY, bytes, align);
    if (!extent)
        extent = search_runs(store, bytes, align);
    return extent ? extent : extent_search(store, EXTENT_CLEAN, bytes, align);
}

static extent_t *place_in_arena(large_store_t *store, size_t bytes, size_t align,
                                large_choice_t choice, bool *is_zero) {
    extent_t *extent = search(store, bytes, align, choice);
    if (extent)
        return extent_take(extent, extent_lead_bytes(extent, align), bytes, is_zero);
    for (arena_t *arena = store->arenas; arena; arena = arena->next)
        if ((extent = place_at_end(arena, bytes, align, is_zero)))
            return extent;
    arena_t *arena = new_arena(store, bytes, align);
    return arena ? place_at_end(arena, bytes, align, is_zero) : NULL;
}

/* Whether the system would let a program have so much at once.  Reserved memory is not charged for,
 * so what is beyond all reason has to be asked for in earnest: as elsewhere, it is not to be had.
 */
static bool system_grants(size_t bytes) {
    if (bytes < LARGE_ASK_MIN_BYTES)
        return true;
    void *probe = vm_map(bytes);
    return probe && vm_release(probe, bytes);
}

/* Descriptors for an arena, what is made accessible of it, and an extent that is cut in three; and
 * the table's entry. */
static inline bool reserve(large_store_t *store) {
    return extent_reserve(store, 5) && large_table_reserve(store);
}

static extent_t *place(large_store_t *store, size_t bytes, size_t align, size_t room_bytes,
                       large_choice_t choice, bool *is_zero) {
    if (!system_grants(bytes) || !reserve(store))
        return NULL;
    if (bytes > LARGE_SPAN_MIN_BYTES || align > REGION_BYTES || room_bytes > bytes) {
        extent_t *extent = place_in_cached_span(store, bytes, align, is_zero);
        if (!extent)
            extent = place_in_new_span(store, bytes, align, room_bytes, is_zero);
        if (extent)
            return extent;
        if (!reserve(store)) /* the lock may have been free for a time */
            return NULL;
    }
    return place_in_arena(store, bytes, align, choice, is_zero);
}

/* Free again, and NULL, if there is no memory for it. */
static inline extent_t *with_access(extent_t *extent, bool is_zero) {
    if (extent_give_access(extent->arena, extent->memory, extent->bytes))
        return extent;
    large_release(extent, is_zero);
    return NULL;
}

extent_t *large_place(large_store_t *store, size_t bytes, size_t align, size_t room_bytes,
                      large_choice_t choice, bool *is_zero) {
    extent_t *extent = place(store, bytes, align, room_bytes, choice, is_zero);
    return extent ? with_access(extent, *is_zero) : NULL;
}

extent_t *large_place_dirty(large_store_t *store, size_t bytes, size_t align) {
    if (bytes > LARGE_SPAN_MIN_BYTES || align > REGION_BYTES || !reserve(store))
        return NULL;
    extent_t *extent = extent_search(store, EXTENT_DIRTY, bytes, align);
    if (!extent)
        return NULL;
    bool is_zero;
    extent = extent_take(extent, extent_lead_bytes(extent, align), bytes, &is_zero);
    return with_access(extent, is_zero);
}

bool large_place_grow(extent_t *extent, size_t bytes) {
    size_t have_bytes = extent->bytes;
    const extent_t *next = extent->next;
    for (; next && extent_is_free(next) && have_bytes < bytes; next = next->next)
        have_bytes += next->bytes;
    if (have_bytes < bytes) {
        arena_t *arena = extent->arena;
        size_t more_bytes = bytes - have_bytes;
        if (next || more_bytes > arena_room(arena) || !system_grants(bytes) ||
            !extent_reserve(arena->store, 1) || !arena_commit(arena, more_bytes))
            return false;
    }
    if (!extent_give_access(extent->arena, extent->memory + extent->bytes, bytes - extent->bytes))
        return false;
    extent_grow(extent, bytes);
    return true;
}

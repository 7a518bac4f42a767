/* SPDX-License-Identifier: MIT */
/* large.c - large objects: the operations of large.h. */
#include "large_internal.h"

#include "larger.h"
#include "limits.h"
#include "owner.h"
#include "sparse.h"
#include "vm.h"

/* ---- What a pointer is ---- */

static const extent_t *extent_around(const large_store_t *store, const void *pointer) {
    const arena_t *arena = arena_find(store, pointer);
    const extent_t *extent = arena ? arena->first : NULL;
    while (extent && (uintptr_t)pointer - (uintptr_t)extent->memory >= extent->bytes)
        extent = extent->next;
    return extent;
}

static const char *describe(const large_store_t *store, const void *pointer) {
    const extent_t *extent = extent_around(store, pointer);
    if (!extent)
        return "not allocated here";
    if (extent->state == EXTENT_LIVE)
        return "inside a large object, not its start";
    if ((uintptr_t)pointer % vm_page_bytes() != 0)
        return "not the start of an object, in free memory";
    return "already free (double free)";
}

static extent_t *find(large_store_t *store, const void *pointer, const char **what) {
    extent_t *extent = large_table_find(store, pointer);
    *what = extent ? NULL : describe(store, pointer);
    return extent;
}

/* ---- Objects come and go ---- */

/* What is not resident now must not take all of us past the hard limit.  `moved_bytes` of the
 * object's pages are resident elsewhere. */
static extent_t *place_within_limit(large_store_t *store, size_t bytes, size_t align,
                                    size_t room_bytes, size_t moved_bytes, large_choice_t choice,
                                    bool *is_zero) {
    size_t dirty_before = store->stats.free_dirty_bytes;
    extent_t *extent = large_place(store, bytes, align, room_bytes, choice, is_zero);
    size_t dirty_now = store->stats.free_dirty_bytes;
    size_t had_bytes = moved_bytes + (dirty_before > dirty_now ? dirty_before - dirty_now : 0);
    if (!extent || had_bytes >= bytes || !limits_would_exceed(bytes - had_bytes))
        return extent;
    large_release(extent, *is_zero);
    return NULL;
}

static inline void add_object(large_store_t *store, extent_t *extent) {
    large_table_add(extent);
    store->stats.n_objects++;
    store->stats.live_bytes += extent->bytes;
}

static extent_t *place(large_store_t *store, size_t bytes, size_t align, size_t room_bytes,
                       size_t moved_bytes, large_choice_t choice, bool *is_zero) {
    extent_t *extent =
        place_within_limit(store, bytes, align, room_bytes, moved_bytes, choice, is_zero);
    if (!extent) { /* not in one piece, or counted against a limit */
        large_purge_everything(store);
        extent = place_within_limit(store, bytes, align, bytes, moved_bytes, choice, is_zero);
    }
    if (extent)
        add_object(store, extent);
    return extent;
}

static inline void remove_object(large_store_t *store, extent_t *extent, bool is_zero) {
    large_table_remove(extent);
    store->stats.n_objects--;
    store->stats.live_bytes -= extent->bytes;
    if (extent->pieces.n || extent->arena->is_span)
        large_release(extent, is_zero);
    else
        extent_set_free(extent, is_zero ? EXTENT_CLEAN : EXTENT_DIRTY, store->now_ms);
}

/* `bytes` more are live; dirty_before: the free dirty bytes before that. */
static void note_taken(large_store_t *store, size_t bytes, size_t dirty_before) {
    size_t dirty_now = store->stats.free_dirty_bytes;
    size_t dirty_bytes = dirty_before > dirty_now ? dirty_before - dirty_now : 0;
    if (dirty_bytes > bytes)
        dirty_bytes = bytes;
    store->unused_bytes = smaller(store->unused_bytes, dirty_now);
    demand_taken(&store->demand, store->now_ms, dirty_bytes, bytes - dirty_bytes);
    if (dirty_bytes < bytes)
        large_purge_growth(store);
}

static __attribute__((noinline)) extent_t *place_anywhere(large_store_t *store, size_t bytes,
                                                          size_t align, bool *is_zero) {
    size_t dirty_before = store->stats.free_dirty_bytes;
    extent_t *extent = place(store, bytes, align, bytes, 0, LARGE_DIRTY_FIRST, is_zero);
    if (extent)
        note_taken(store, bytes, dirty_before);
    return extent;
}

/* In dirty memory no limit can be passed, and the store does not grow. */
static inline extent_t *place_in_dirty(large_store_t *store, size_t bytes, size_t align) {
    extent_t *extent = large_place_dirty(store, bytes, align);
    if (!extent)
        return NULL;
    add_object(store, extent);
    store->unused_bytes = smaller(store->unused_bytes, store->stats.free_dirty_bytes);
    demand_taken_again(&store->demand, store->now_ms, bytes);
    return extent;
}

static void *alloc_from(large_store_t *store, size_t bytes, size_t align, bool only_dirty,
                        bool *is_zero) {
    large_enter(store);
    extent_t *extent = place_in_dirty(store, bytes, align);
    if (extent)
        *is_zero = false;
    else if (!only_dirty)
        extent = place_anywhere(store, bytes, align, is_zero);
    void *object = extent ? extent->memory : NULL;
    if (extent)
        store->stats.n_allocs++;
    if (store->now_ms != store->quiet_ms)
        large_purge_aged(store);
    large_leave(store);
    return object;
}

/* Memory that is resident: of `home`, else what another store is not likely to use itself. */
static bool may_take_from(const large_store_t *store, const large_store_t *home, size_t bytes) {
    return store == home ? large_store_has_dirty(store)
                         : __atomic_load_n(&store->idle_bytes, __ATOMIC_RELAXED) >= bytes;
}

static void *alloc_dirty(large_store_t *home, size_t bytes, size_t align, bool *is_zero) {
    void *object = NULL;
    large_store_t *store = home;
    do {
        if (may_take_from(store, home, bytes))
            object = alloc_from(store, bytes, align, true, is_zero);
        if (++store == large_stores_end())
            store = large_stores;
    } while (!object && store != home);
    return object;
}

/* From any store, when the one that it should come from has no memory. */
static void *alloc_anywhere(size_t bytes, size_t align, bool *is_zero) {
    void *object = NULL;
    large_purge(true);
    for (large_store_t *store = large_stores; !object && store < large_stores_end(); store++)
        object = alloc_from(store, bytes, align, false, is_zero);
    return object;
}

static void *alloc_spread(size_t bytes, size_t align, bool *is_zero) {
    large_store_t *store = large_store_for(bytes);
    void *object = NULL;
    if (large_is_spread(bytes))
        object = alloc_dirty(store, bytes, align, is_zero);
    if (!object)
        object = alloc_from(store, bytes, align, false, is_zero);
    return object ? object : alloc_anywhere(bytes, align, is_zero);
}

void *large_alloc(size_t bytes, size_t align, bool *is_zero) {
    bool wants_zero = *is_zero;
    bytes = vm_round_up(bytes);
    if (align < vm_page_bytes())
        align = vm_page_bytes();
    void *object = large_are_spread() ? alloc_spread(bytes, align, is_zero)
                                      : alloc_from(large_stores, bytes, align, false, is_zero);
    if (object && wants_zero && !*is_zero)
        *is_zero = sparse_clear(object, bytes);
    return object;
}

static bool free_object(void *pointer, bool is_zero, const char **what) {
    large_store_t *store = large_store_of(pointer);
    large_enter(store);
    extent_t *extent = find(store, pointer, what);
    if (extent) {
        demand_freed(&store->demand, extent->bytes);
        remove_object(store, extent, is_zero);
        store->stats.n_frees++;
        if (is_zero)
            large_purge_now(store);
        else
            large_purge_if_due(store);
    }
    large_leave(store);
    return extent != NULL;
}

bool large_free(void *pointer, const char **what) {
    return free_object(pointer, false, what);
}

bool large_free_zero(void *pointer, const char **what) {
    return free_object(pointer, true, what);
}

void large_note_no_access(const void *pointer) {
    large_store_t *store = large_store_of(pointer);
    large_enter(store);
    extent_t *extent = large_table_find(store, pointer);
    if (extent)
        extent->arena->may_lack_access = true;
    large_leave(store);
}

size_t large_usable_bytes(const void *pointer, const char **what) {
    large_store_t *store = large_store_of(pointer);
    large_enter(store);
    const extent_t *extent = find(store, pointer, what);
    size_t bytes = extent ? extent->bytes : 0;
    large_leave(store);
    return bytes;
}

const void *large_around(const void *pointer, size_t *bytes) {
    large_store_t *store = large_store_of(pointer);
    large_enter(store);
    const extent_t *extent = extent_around(store, pointer);
    bool is_live = extent && extent->state == EXTENT_LIVE;
    const void *start = is_live ? extent->memory : NULL;
    *bytes = is_live ? extent->bytes : 0;
    large_leave(store);
    return start;
}

/* ---- Resizing ---- */

static void shrink(extent_t *extent, size_t bytes) {
    large_store_t *store = extent->arena->store;
    if (!extent_reserve(store, 2)) /* stays larger than asked for */
        return;
    demand_freed(&store->demand, extent->bytes - bytes);
    store->stats.live_bytes -= extent->bytes - bytes;
    large_release(extent_split(extent, bytes), false);
}

static bool grow(extent_t *extent, size_t bytes) {
    large_store_t *store = extent->arena->store;
    size_t old_bytes = extent->bytes, dirty_before = store->stats.free_dirty_bytes;
    if (limits_would_exceed(bytes - old_bytes) || !large_place_grow(extent, bytes))
        return false;
    store->stats.live_bytes += bytes - old_bytes;
    note_taken(store, bytes - old_bytes, dirty_before);
    return true;
}

static void change_store(large_store_t *from, large_store_t *to) {
    if (from == to)
        return;
    large_unlock(from);
    large_lock(to);
}

/* A place for `from` with room to grow on, in `store`. */
static extent_t *place_grown(large_store_t *store, const extent_t *from, size_t bytes,
                             bool may_move) {
    bool wants_span = bytes >= LARGE_GROW_MIN_BYTES && store->n_spans < LARGE_GROW_MAX_SPANS;
    size_t room_bytes =
        wants_span && bytes < SIZE_MAX / 2 / LARGE_GROW_FACTOR ? bytes * LARGE_GROW_FACTOR : bytes;
    size_t moved_bytes = may_move ? from->bytes : 0;
    bool is_zero;
    return place(store, bytes, vm_page_bytes(), room_bytes, moved_bytes, LARGE_CLEAN_FIRST,
                 &is_zero);
}

/* Only the caller knows of the two objects meanwhile: no lock is held while pages move.  Where it
 * gets no span it is copied to memory that is resident, if there is such: that takes no system
 * call, and what it leaves stays resident.  Moved, it would take fresh pages to grow on while
 * others lie free. */
static extent_t *move(extent_t *from, size_t bytes) {
    large_store_t *store = from->arena->store, *to_store = large_store_for(bytes);
    change_store(store, to_store);
    extent_t *to =
        bytes < LARGE_GROW_MIN_BYTES ? place_in_dirty(to_store, bytes, vm_page_bytes()) : NULL;
    bool may_move = !to && to_store->n_pieces < LARGE_MAX_PIECES_IN_ALL;
    if (!to)
        to = place_grown(to_store, from, bytes, may_move);
    if (!to) {
        change_store(to_store, store);
        return NULL;
    }
    large_pieces_t pieces;
    large_unlock(to_store);
    bool is_moved = large_move(from, to, may_move, &pieces);
    large_lock(to_store);
    to->pieces = pieces;
    to_store->n_pieces += pieces.n;
    change_store(to_store, store);
    if (!is_moved) /* else its memory is the same as before */
        demand_freed(&store->demand, from->bytes);
    remove_object(store, from, is_moved);
    return to;
}

/*
 * In place it would take fresh pages although so many times as much as it needs is free and
 * resident elsewhere: if it goes on growing each byte of those saves a page fault's part for no
 * more than one that is copied now.
 */
#define ROOM_FACTOR 2u

static bool should_leave(const extent_t *extent, size_t bytes) {
    const large_store_t *store = extent->arena->store;
    const extent_t *next = extent->next;
    if (bytes >= LARGE_GROW_MIN_BYTES || extent->arena->is_span || store != large_store_for(bytes))
        return false;
    if (next && next->state == EXTENT_DIRTY && next->bytes >= bytes - extent->bytes)
        return false;
    return extent_search(store, EXTENT_DIRTY, ROOM_FACTOR * bytes, vm_page_bytes()) != NULL;
}

static extent_t *enlarge(extent_t *extent, size_t bytes) {
    extent_t *to = should_leave(extent, bytes) ? move(extent, bytes) : NULL;
    if (to)
        return to;
    return grow(extent, bytes) ? extent : move(extent, bytes);
}

static extent_t *resize(extent_t *extent, size_t bytes) {
    if (bytes > extent->bytes)
        return enlarge(extent, bytes);
    shrink(extent, bytes);
    return extent;
}

void *large_resize(void *pointer, size_t bytes, const char **what) {
    large_store_t *store = large_store_of(pointer);
    bytes = vm_round_up(bytes);
    large_enter(store);
    extent_t *extent = find(store, pointer, what);
    if (extent && bytes == extent->bytes) { /* as when something is appended piece by piece */
        large_purge_if_due(store);
    } else {
        extent = extent ? resize(extent, bytes) : NULL;
        large_purge_now(store);
    }
    void *object = extent ? extent->memory : NULL;
    large_leave(store);
    return object;
}

/* ---- All stores ---- */

static size_t purge(large_store_t *store, bool all) {
    large_enter(store);
    size_t bytes = all ? large_purge_everything(store) : large_purge_now(store);
    large_leave(store);
    return bytes;
}

size_t large_purge(bool all) {
    size_t bytes = 0;
    for (large_store_t *store = large_stores; store < large_stores_end(); store++)
        if (all || large_store_has_dirty(store))
            bytes += purge(store, all);
    return bytes;
}

void large_exchange(size_t fresh_bytes) {
    if (large_are_spread()) /* many threads, and many at it: fresh memory here, free memory there */
        return;
    large_enter(large_stores);
    large_purge_exchange(large_stores, fresh_bytes);
    large_leave(large_stores);
}

void large_account(void) {
    for (large_store_t *store = large_enter_first(); store; store = large_enter_next(store))
        ; /* leaving it does that */
}

static void add_stats(large_stats_t *sum, const large_stats_t *stats) {
    sum->n_objects += stats->n_objects;
    sum->live_bytes += stats->live_bytes;
    sum->free_dirty_bytes += stats->free_dirty_bytes;
    sum->reserved_bytes += stats->reserved_bytes;
    sum->n_allocs += stats->n_allocs;
    sum->n_frees += stats->n_frees;
}

void large_stats(large_stats_t *stats) {
    *stats = (large_stats_t){0};
    for (large_store_t *store = large_enter_first(); store; store = large_enter_next(store))
        add_stats(stats, &store->stats);
}

static uint64_t resident_bytes(const arena_t *arena) {
    uint64_t bytes = 0;
    for (; arena; arena = arena->next)
        bytes += vm_resident_bytes(arena->memory, arena->committed);
    return bytes;
}

uint64_t large_resident_bytes(void) {
    uint64_t bytes = 0;
    for (large_store_t *store = large_enter_first(); store; store = large_enter_next(store))
        bytes += resident_bytes(store->arenas) + resident_bytes(store->spans) +
                 resident_bytes(store->cached);
    return bytes;
}

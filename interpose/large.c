/* SPDX-License-Identifier: MIT */
/* large.c - large objects: the operations of large.h. */
#include "large_internal.h"

#include <sched.h>

#include "limits.h"
#include "owner.h"
#include "sparse.h"
#include "vm.h"

large_store_t large_store;
bool large_dirty_flag;

/* For a signal handler in this thread that forks (fork.c): such a fork takes no lock, as this
 * thread may hold one, or others may wait until it has done what it does unlocked. */
static __thread bool is_inside;
static __thread bool fork_took_lock;

/* The thread that forks holds the lock while other handlers of its run, which may allocate. */
void large_lock(void) {
    if (!fork_took_lock)
        lock_acquire(&large_store.lock);
}

void large_unlock(void) {
    __atomic_store_n(&large_dirty_flag, large_store.oldest != NULL, __ATOMIC_RELAXED);
    limits_account(&large_store.accounted_bytes,
                   large_store.stats.live_bytes + large_store.stats.free_dirty_bytes);
    if (!fork_took_lock)
        lock_release(&large_store.lock);
}

void large_enter(void) {
    is_inside = true;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    large_lock();
}

void large_leave(void) {
    large_unlock();
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    is_inside = false;
}

/* ---- What a pointer is ---- */

static const extent_t *extent_around(const void *pointer) {
    const arena_t *arena = arena_find(pointer);
    const extent_t *extent = arena ? arena->first : NULL;
    while (extent && (uintptr_t)pointer - (uintptr_t)extent->memory >= extent->bytes)
        extent = extent->next;
    return extent;
}

static const char *describe(const void *pointer) {
    const extent_t *extent = extent_around(pointer);
    if (!extent)
        return "not allocated here";
    if (extent->state == EXTENT_LIVE)
        return "inside a large object, not its start";
    if ((uintptr_t)pointer % vm_page_bytes() != 0)
        return "not the start of an object, in free memory";
    return "already free (double free)";
}

static extent_t *find(const void *pointer, const char **what) {
    extent_t *extent = large_table_find(pointer);
    *what = extent ? NULL : describe(pointer);
    return extent;
}

/* ---- Objects come and go ---- */

/* What is not resident now must not take all of us past the hard limit.  `moved_bytes` of the
 * object's pages are resident elsewhere. */
static extent_t *place_within_limit(size_t bytes, size_t align, size_t room_bytes,
                                    size_t moved_bytes, extent_state_t prefer, bool *is_zero) {
    size_t dirty_before = large_store.stats.free_dirty_bytes;
    extent_t *extent = large_place(bytes, align, room_bytes, prefer, is_zero);
    size_t dirty_now = large_store.stats.free_dirty_bytes;
    size_t had_bytes = moved_bytes + (dirty_before > dirty_now ? dirty_before - dirty_now : 0);
    if (!extent || had_bytes >= bytes || !limits_would_exceed(bytes - had_bytes))
        return extent;
    large_release(extent, *is_zero);
    return NULL;
}

static extent_t *place(size_t bytes, size_t align, size_t room_bytes, size_t moved_bytes,
                       extent_state_t prefer, bool *is_zero) {
    extent_t *extent = place_within_limit(bytes, align, room_bytes, moved_bytes, prefer, is_zero);
    if (!extent) { /* free memory that is not in one piece, or counts against a limit */
        large_purge_everything();
        extent = place_within_limit(bytes, align, bytes, moved_bytes, prefer, is_zero);
    }
    if (!extent)
        return NULL;
    large_table_add(extent);
    large_store.stats.n_objects++;
    large_store.stats.live_bytes += extent->bytes;
    return extent;
}

static void remove_object(extent_t *extent, bool is_zero) {
    large_table_remove(extent);
    large_store.stats.n_objects--;
    large_store.stats.live_bytes -= extent->bytes;
    large_release(extent, is_zero);
}

/* `bytes` more are live; dirty_before: the free dirty bytes before that. */
static void note_taken(size_t bytes, size_t dirty_before) {
    size_t dirty_now = large_store.stats.free_dirty_bytes;
    size_t dirty_bytes = dirty_before > dirty_now ? dirty_before - dirty_now : 0;
    if (dirty_bytes > bytes)
        dirty_bytes = bytes;
    demand_taken(&large_store.demand, dirty_bytes, bytes - dirty_bytes);
    if (dirty_bytes < bytes)
        large_purge_growth();
}

void *large_alloc(size_t bytes, size_t align, bool *is_zero) {
    bool wants_zero = *is_zero;
    bytes = vm_round_up(bytes);
    if (align < vm_page_bytes())
        align = vm_page_bytes();
    large_enter();
    size_t dirty_before = large_store.stats.free_dirty_bytes;
    extent_t *extent = place(bytes, align, bytes, 0, EXTENT_DIRTY, is_zero);
    void *object = extent ? extent->memory : NULL;
    if (extent) {
        large_store.stats.n_allocs++;
        note_taken(bytes, dirty_before);
    }
    large_purge_aged();
    large_leave();
    if (object && wants_zero && !*is_zero)
        *is_zero = sparse_clear(object, bytes);
    return object;
}

static bool free_object(void *pointer, bool is_zero, const char **what) {
    large_enter();
    extent_t *extent = find(pointer, what);
    if (extent) {
        demand_freed(&large_store.demand, extent->bytes);
        remove_object(extent, is_zero);
        large_store.stats.n_frees++;
        large_purge_excess();
        large_purge_aged();
    }
    large_leave();
    return extent != NULL;
}

bool large_free(void *pointer, const char **what) {
    return free_object(pointer, false, what);
}

bool large_free_zero(void *pointer, const char **what) {
    return free_object(pointer, true, what);
}

void large_note_no_access(const void *pointer) {
    large_enter();
    extent_t *extent = large_table_find(pointer);
    if (extent)
        extent->arena->may_lack_access = true;
    large_leave();
}

size_t large_usable_bytes(const void *pointer, const char **what) {
    large_enter();
    const extent_t *extent = find(pointer, what);
    size_t bytes = extent ? extent->bytes : 0;
    large_leave();
    return bytes;
}

const void *large_around(const void *pointer, size_t *bytes) {
    large_enter();
    const extent_t *extent = extent_around(pointer);
    bool is_live = extent && extent->state == EXTENT_LIVE;
    const void *start = is_live ? extent->memory : NULL;
    *bytes = is_live ? extent->bytes : 0;
    large_leave();
    return start;
}

/* ---- Resizing ---- */

static void shrink(extent_t *extent, size_t bytes) {
    if (!extent_reserve(2)) /* stays larger than asked for */
        return;
    demand_freed(&large_store.demand, extent->bytes - bytes);
    large_store.stats.live_bytes -= extent->bytes - bytes;
    large_release(extent_split(extent, bytes), false);
}

static bool grow(extent_t *extent, size_t bytes) {
    size_t old_bytes = extent->bytes, dirty_before = large_store.stats.free_dirty_bytes;
    if (limits_would_exceed(bytes - old_bytes) || !large_place_grow(extent, bytes))
        return false;
    large_store.stats.live_bytes += bytes - old_bytes;
    note_taken(bytes - old_bytes, dirty_before);
    return true;
}

/* To a place with room to grow on.  Only the caller knows of the two objects meanwhile: the lock is
 * free while pages move. */
static extent_t *move(extent_t *from, size_t bytes) {
    bool wants_span = bytes >= LARGE_GROW_MIN_BYTES && large_store.n_spans < LARGE_GROW_MAX_SPANS;
    size_t room_bytes =
        wants_span && bytes < SIZE_MAX / 2 / LARGE_GROW_FACTOR ? bytes * LARGE_GROW_FACTOR : bytes;
    bool is_zero;
    bool may_move = large_store.n_pieces < LARGE_MAX_PIECES_IN_ALL;
    size_t moved_bytes = may_move ? from->bytes : 0;
    extent_t *to = place(bytes, vm_page_bytes(), room_bytes, moved_bytes, EXTENT_CLEAN, &is_zero);
    if (!to)
        return NULL;
    large_pieces_t pieces;
    large_unlock();
    bool is_moved = large_move(from, to, may_move, &pieces);
    large_lock();
    to->pieces = pieces;
    large_store.n_pieces += pieces.n;
    if (!is_moved) /* else its memory is the same as before */
        demand_freed(&large_store.demand, from->bytes);
    remove_object(from, is_moved);
    return to;
}

void *large_resize(void *pointer, size_t bytes, const char **what) {
    bytes = vm_round_up(bytes);
    large_enter();
    extent_t *extent = find(pointer, what);
    if (extent && bytes < extent->bytes)
        shrink(extent, bytes);
    else if (extent && bytes > extent->bytes && !grow(extent, bytes))
        extent = move(extent, bytes);
    void *object = extent ? extent->memory : NULL;
    large_purge_excess();
    large_purge_aged();
    large_leave();
    return object;
}

/* ---- The whole store ---- */

size_t large_purge(bool all) {
    if (!all && !large_has_dirty())
        return 0;
    large_enter();
    size_t bytes = all ? large_purge_everything() : large_purge_excess();
    if (!all)
        bytes += large_purge_aged();
    large_leave();
    return bytes;
}

void large_stats(large_stats_t *stats) {
    large_enter();
    *stats = large_store.stats;
    large_leave();
}

static uint64_t resident_bytes(const arena_t *arena) {
    uint64_t bytes = 0;
    for (; arena; arena = arena->next)
        bytes += vm_resident_bytes(arena->memory, arena->committed);
    return bytes;
}

uint64_t large_resident_bytes(void) {
    large_enter();
    uint64_t bytes = resident_bytes(large_store.arenas) + resident_bytes(large_store.spans) +
                     resident_bytes(large_store.cached);
    large_leave();
    return bytes;
}

/* ---- Fork ---- */

bool large_is_inside(void) {
    return is_inside;
}

/* An address range that leaves is the kernel's already or not yet: the child could not tell, and
 * must not take for its own what another thread has been given meanwhile. */
void large_fork_prepare(void) {
    lock_acquire(&large_store.lock);
    while (large_store.leaving) {
        lock_release(&large_store.lock);
        sched_yield();
        lock_acquire(&large_store.lock);
    }
    fork_took_lock = true;
}

void large_fork_parent(void) {
    fork_took_lock = false;
    lock_release(&large_store.lock);
}

/* What other threads had in hand is nobody's now. */
static void rescue_busy(arena_t *arena) {
    for (; arena; arena = arena->next)
        for (extent_t *extent = arena->first; extent;) {
            extent_t *next = extent->next;
            if (extent->state == EXTENT_BUSY) {
                if (next && next->state == EXTENT_DIRTY)
                    next = next->next; /* it melts into this one */
                extent_set_free(extent, EXTENT_DIRTY, coarse_clock_ms());
            }
            extent = next;
        }
}

void large_fork_child(void) {
    bool is_whole = fork_took_lock;
    fork_took_lock = false;
    lock_reset(&large_store.lock);
    if (!is_whole) /* from a signal handler: what is BUSY may be this thread's, which will go on */
        return;
    rescue_busy(large_store.arenas);
    rescue_busy(large_store.spans);
    rescue_busy(large_store.cached);
}

/* SPDX-License-Identifier: MIT */
/*
 * large_stores.c - which store serves whom, and the stores' locks.
 *
 * One store for the whole process needs the least memory: what any thread frees serves any other.
 * But threads that often want objects of some dozen KiB wait for each other, and what they get was
 * last in another processor's cache.  So it is one until waits for its lock are no exception; then
 * two, four, eight, and a thread takes from that of its processor (many threads share it, but few
 * at a time).  Two threads that take and free 64 KiB without pause need a quarter of the time then.
 */
#include "large_internal.h"

#include "limits.h"
#include "owner.h"
#include "processor.h"
#include "system_call.h"

large_store_t large_stores[LARGE_N_STORES];
uint32_t large_last_store;
uint32_t large_dirty_flags;

/* For a signal handler in this thread that forks (fork.c): such a fork takes no lock, as this
 * thread may hold one, or others may wait until it has done what it does unlocked. */
static __thread bool is_inside;
static __thread bool fork_took_locks;

/* ---- Which store ---- */

#define SPREAD_WAITS        16u /* so many waits are judged together: */
#define SPREAD_MIN_PER_WAIT 64u /* fewer operations between them, on average: they are many */

static void note_wait(large_store_t *store) {
    if (++store->n_waits < SPREAD_WAITS)
        return;
    uint64_t n_operations = store->stats.n_allocs + store->stats.n_frees;
    uint32_t last = __atomic_load_n(&large_last_store, __ATOMIC_RELAXED);
    if (n_operations - store->n_judged < SPREAD_WAITS * SPREAD_MIN_PER_WAIT &&
        last < LARGE_N_STORES - 1) /* fails if another thread did it: never lowered */
        __atomic_compare_exchange_n(&large_last_store, &last, 2 * last + 1, false, __ATOMIC_RELAXED,
                                    __ATOMIC_RELAXED);
    store->n_waits = 0;
    store->n_judged = n_operations;
}

large_store_t *large_store_for(size_t bytes) {
    if (!large_is_spread(bytes))
        return large_stores;
    return &large_stores[processor_now() & __atomic_load_n(&large_last_store, __ATOMIC_RELAXED)];
}

uint16_t large_store_owner(const large_store_t *store) {
    return (uint16_t)(OWNER_LARGE + (store - large_stores));
}

large_store_t *large_store_of(const void *pointer) {
    owner_id_t owner = owner_of(pointer);
    return owner_is_large(owner) ? &large_stores[owner - OWNER_LARGE] : large_stores;
}

/* ---- Locks ---- */

/* The thread that forks holds the locks while other handlers of its run, which may allocate. */
void large_lock(large_store_t *store) {
    if (!fork_took_locks && lock_acquire_waits(&store->lock))
        note_wait(store);
    store->now_ms = coarse_clock_ms();
}

static __attribute__((noinline)) void show_flag(large_store_t *store, bool is_dirty) {
    uint32_t flag = 1u << (store - large_stores);
    store->shows_dirty = is_dirty;
    if (is_dirty)
        __atomic_fetch_or(&large_dirty_flags, flag, __ATOMIC_RELAXED);
    else
        __atomic_fetch_and(&large_dirty_flags, ~flag, __ATOMIC_RELAXED);
}

static inline void show_dirty(large_store_t *store) {
    size_t dirty_bytes = store->stats.free_dirty_bytes, wanted_bytes = store->wanted_bytes;
    __atomic_store_n(&store->idle_bytes,
                     dirty_bytes > wanted_bytes ? dirty_bytes - wanted_bytes : 0, __ATOMIC_RELAXED);
    bool is_dirty = store->oldest != NULL;
    if (is_dirty != store->shows_dirty)
        show_flag(store, is_dirty);
}

void large_unlock(large_store_t *store) {
    show_dirty(store);
    limits_account(&store->accounted_bytes,
                   store->stats.live_bytes + store->stats.free_dirty_bytes);
    if (!fork_took_locks)
        lock_release(&store->lock);
}

void large_enter(large_store_t *store) {
    is_inside = true;
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    large_lock(store);
}

void large_leave(large_store_t *store) {
    large_unlock(store);
    __atomic_signal_fence(__ATOMIC_SEQ_CST);
    is_inside = false;
}

bool large_is_inside(void) {
    return is_inside;
}

/* ---- Fork ---- */

/* An address range that leaves is the kernel's already or not yet: the child could not tell, and
 * must not take for its own what another thread has been given meanwhile. */
static void lock_with_nothing_leaving(large_store_t *store) {
    lock_acquire(&store->lock);
    while (store->leaving) {
        lock_release(&store->lock);
        system_call(SYS_sched_yield, 0, 0, 0, 0, 0);
        lock_acquire(&store->lock);
    }
}

/* When all that are in use are locked, none can come into use. */
void large_fork_prepare(void) {
    for (large_store_t *store = large_stores; store < large_stores_end(); store++)
        lock_with_nothing_leaving(store);
    fork_took_locks = true;
}

void large_fork_parent(void) {
    fork_took_locks = false;
    for (large_store_t *store = large_stores; store < large_stores_end(); store++)
        lock_release(&store->lock);
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
    bool is_whole = fork_took_locks;
    fork_took_locks = false;
    for (large_store_t *store = large_stores; store < large_stores_end(); store++) {
        lock_reset(&store->lock);
        if (!is_whole) /* from a signal handler: what is BUSY may be this thread's, which goes on */
            continue;
        rescue_busy(store->arenas);
        rescue_busy(store->spans);
        rescue_busy(store->cached);
    }
}

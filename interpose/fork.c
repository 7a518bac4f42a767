/* SPDX-License-Identifier: MIT */
/*
 * fork.c - the forking thread takes every lock, so that the child finds all heaps whole.
 *
 * But not if it already holds one, that is in a signal handler which interrupted one of our
 * functions, or fork itself: waiting for the others while holding that one could last for ever, as
 * their holders may be in the same position.  Then fork takes none.  The child's heaps may be in
 * the middle of a change; it is the child of a signal handler, and POSIX allows it no allocation.
 */
#include "fork.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "background.h"
#include "hardened.h"
#include "heaps.h"
#include "large.h"
#include "observe.h"

/* Of this thread: it takes, holds or lets go of all locks for a fork.  Set before the first is
 * taken and cleared after the last is let go, so that a handler in between sees it. */
static _Thread_local bool has_locks;

/* Forks under way that took no lock; handlers of signals that interrupt each other may each fork.
 */
static _Thread_local unsigned n_without_locks;

static bool holds_a_lock(void) {
    return has_locks || (MHEAP_HARDENED && hardened_holds_lock()) || heaps_hold_lock() ||
           large_is_inside() || observe_holds_lock();
}

/* In the order of thread_heap.h: heaps, then large objects; what observes is innermost.  The
 * hardened library's own come first, in the order of hardened_lock.h. */
static void prepare(void) {
    if (holds_a_lock()) {
        n_without_locks++;
        return;
    }
    has_locks = true;
    atomic_signal_fence(memory_order_seq_cst);
    if (MHEAP_HARDENED)
        hardened_fork_prepare();
    heaps_fork_prepare();
    large_fork_prepare();
    observe_fork_prepare();
}

static void parent(void) {
    if (n_without_locks > 0) {
        n_without_locks--;
        return;
    }
    observe_fork_parent();
    large_fork_parent();
    heaps_fork_parent();
    if (MHEAP_HARDENED)
        hardened_fork_parent();
    atomic_signal_fence(memory_order_seq_cst);
    has_locks = false;
}

/* No thread is left that could hold a lock, whether this one took it or not. */
static void child(void) {
    observe_fork_child();
    large_fork_child();
    heaps_fork_child();
    if (MHEAP_HARDENED)
        hardened_fork_child();
    background_fork_child();
    n_without_locks = 0;
    has_locks = false;
}

void fork_register(void) {
    pthread_atfork(prepare, parent, child);
}

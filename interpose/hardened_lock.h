/* SPDX-License-Identifier: MIT */
/*
 * hardened_lock.h - locks of the hardened allocator, never two at once but by fork, which takes
 * the arenas in order (hardened_slab.c) and then that of the large objects (hardened_large.c).
 *
 * As in heaps.c: a thread notes which lock it holds, so that fork in a signal handler knows of it
 * (fork.c); and between the handlers of a fork all locks count as free for it.
 */
#ifndef MHEAP_HARDENED_LOCK_H
#define MHEAP_HARDENED_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "lock.h"

/* The thread's own: the lock that it holds or is about to take; it is inside fork. */
extern _Thread_local lock_t *hardened_held_lock;
extern _Thread_local bool hardened_is_forking;

static inline void hardened_lock(lock_t *lock) {
    if (__builtin_expect(hardened_is_forking, 0))
        return;
    hardened_held_lock = lock;
    atomic_signal_fence(memory_order_seq_cst);
    lock_acquire(lock);
}

static inline void hardened_unlock(lock_t *lock) {
    if (__builtin_expect(hardened_is_forking, 0))
        return;
    lock_release(lock);
    atomic_signal_fence(memory_order_seq_cst);
    hardened_held_lock = NULL;
}

#endif /* MHEAP_HARDENED_LOCK_H */

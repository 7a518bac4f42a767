/* SPDX-License-Identifier: MIT */
/*
 * lock.h - a 32-bit futex lock.  0 is unlocked, so zeroed memory is a valid lock.
 *
 * State: 0 free, 1 held, 2 held and someone may sleep (Drepper, "Futexes are tricky", 2011, mutex 2).
 * lock_acquire pairs with lock_release: what was written under the lock is seen by the next holder.
 */
#ifndef MHEAP_LOCK_H
#define MHEAP_LOCK_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

typedef struct {
    _Atomic uint32_t state;
} lock_t;

void lock_wait(lock_t *lock);  /* slow path of lock_acquire */
void lock_wake(lock_t *lock);  /* slow path of lock_release */

static inline bool lock_try(lock_t *lock) {
    uint32_t free_state = 0;
    return atomic_compare_exchange_strong_explicit(&lock->state, &free_state, 1,
                                                   memory_order_acquire, memory_order_relaxed);
}

static inline void lock_acquire(lock_t *lock) {
    if (!lock_try(lock))
        lock_wait(lock);
}

static inline void lock_release(lock_t *lock) {
    if (atomic_exchange_explicit(&lock->state, 0, memory_order_release) == 2)
        lock_wake(lock);
}

/* Make the lock free whatever its state: only where no other thread exists (after fork). */
static inline void lock_reset(lock_t *lock) {
    atomic_store_explicit(&lock->state, 0, memory_order_relaxed);
}

#endif /* MHEAP_LOCK_H */

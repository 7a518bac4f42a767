/* SPDX-License-Identifier: MIT */
/*
 * lock.h - a 32-bit futex lock.  0 is unlocked, so zeroed memory is a valid lock.
 *
 * State: 0 free, 1 held, 2 held and someone may sleep (Drepper, "Futexes are tricky", 2011, mutex
 * 2). lock_acquire pairs with lock_release: what was written under the lock is seen by the next
 * holder.
 *
 * (The compiler's atomic builtins, since C++ tests include this header too.)
 */
#ifndef MHEAP_LOCK_H
#define MHEAP_LOCK_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
    uint32_t state;
} lock_t;

#if defined(__has_include)
#if __has_include(<sys/single_threaded.h>)
#include <sys/single_threaded.h>
#define MHEAP_HAVE_SINGLE_THREADED 1
#endif
#endif

#ifdef __cplusplus
extern "C" {
#endif

void lock_wait(lock_t *lock); /* slow path of lock_acquire */
void lock_wake(lock_t *lock); /* slow path of lock_release */

/* No other thread exists, nor can one while this one holds a lock of ours: no atomics needed. */
static inline bool lock_is_uncontended(void) {
#ifdef MHEAP_HAVE_SINGLE_THREADED
    return __libc_single_threaded;
#else
    return false;
#endif
}

static inline bool lock_try(lock_t *lock) {
    uint32_t free_state = 0;
    return __atomic_compare_exchange_n(&lock->state, &free_state, 1, false, __ATOMIC_ACQUIRE,
                                       __ATOMIC_RELAXED);
}

/* Whether another thread held it, and this one waited. */
static inline bool lock_acquire_waits(lock_t *lock) {
    if (lock_is_uncontended() && __atomic_load_n(&lock->state, __ATOMIC_RELAXED) == 0) {
        __atomic_store_n(&lock->state, 1, __ATOMIC_RELAXED);
        return false;
    }
    if (lock_try(lock))
        return false;
    lock_wait(lock);
    return true;
}

static inline void lock_acquire(lock_t *lock) {
    lock_acquire_waits(lock);
}

static inline void lock_release(lock_t *lock) {
    if (lock_is_uncontended())
        __atomic_store_n(&lock->state, 0, __ATOMIC_RELAXED);
    else if (__atomic_exchange_n(&lock->state, 0, __ATOMIC_RELEASE) == 2)
        lock_wake(lock);
}

/* Make the lock free whatever its state: only where no other thread exists (after fork). */
static inline void lock_reset(lock_t *lock) {
    __atomic_store_n(&lock->state, 0, __ATOMIC_RELAXED);
}

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_LOCK_H */

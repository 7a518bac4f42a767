/* SPDX-License-Identifier: MIT */
#include "lock.h"

#include "fatal.h"
#include "system_call.h"

#include <linux/futex.h>

/* Holders only do slow-path work of a microsecond or so: worth a short spin before sleeping. */
#define LOCK_SPINS 64

static void futex(lock_t *lock, int op, uint32_t value) {
    system_call(SYS_futex, (long)&lock->state, op, value, 0, 0);
}

static inline void cpu_relax(void) {
#if defined(__x86_64__) || defined(__i386__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

void lock_wait(lock_t *lock) {
    if (fatal_is_aborting()) /* it may hold this very lock: SIGABRT handlers shall not hang on it */
        return;
    for (int i = 0; i < LOCK_SPINS; i++) {
        if (__atomic_load_n(&lock->state, __ATOMIC_RELAXED) == 0 && lock_try(lock))
            return;
        cpu_relax();
    }
    /* From here on the state is 2 while we hold or wait: the releaser must wake someone. */
    while (__atomic_exchange_n(&lock->state, 2, __ATOMIC_ACQUIRE) != 0)
        futex(lock, FUTEX_WAIT_PRIVATE, 2);
}

void lock_wake(lock_t *lock) {
    futex(lock, FUTEX_WAKE_PRIVATE, 1);
}

/* SPDX-License-Identifier: MIT */
/* model_hooks.c - what code compiled with -fsanitize=thread calls, and what stands in for the
 * system's locks: each ends in a point of the scheduler and a step of the race detector. */
#include "model.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "lock.h"

mistake_t model_mistake;

#define CALLER __builtin_return_address(0)

/* ---- Plain accesses ---- */

static void plain_write(void *address, size_t bytes, const void *code) {
    if (!model_is_running())
        return;
    if (model_stops_at(MODEL_WRITES))
        model_point(OP_LOCAL, address);
    race_access(address, bytes, true, false, code);
}

#define PLAIN(bytes)                                                                               \
    void __tsan_read##bytes(void *address) {                                                       \
        race_access(address, bytes, false, false, CALLER);                                         \
    }                                                                                              \
    void __tsan_write##bytes(void *address) {                                                      \
        plain_write(address, bytes, CALLER);                                                       \
    }                                                                                              \
    void __tsan_unaligned_read##bytes(void *address) {                                             \
        race_access(address, bytes, false, false, CALLER);                                         \
    }                                                                                              \
    void __tsan_unaligned_write##bytes(void *address) {                                            \
        plain_write(address, bytes, CALLER);                                                       \
    }                                                                                              \
    void __tsan_read_write##bytes(void *address) {                                                 \
        plain_write(address, bytes, CALLER);                                                       \
    }                                                                                              \
    void __tsan_unaligned_read_write##bytes(void *address) {                                       \
        plain_write(address, bytes, CALLER);                                                       \
    }
PLAIN(1)
PLAIN(2)
PLAIN(4)
PLAIN(8)
PLAIN(16)

void __tsan_read_range(void *address, size_t bytes) {
    race_access(address, bytes, false, false, CALLER);
}
void __tsan_write_range(void *address, size_t bytes) {
    plain_write(address, bytes, CALLER);
}
void *__tsan_memcpy(void *to, const void *from, size_t bytes) {
    return memcpy(to, from, bytes);
}
void *__tsan_memset(void *to, int byte, size_t bytes) {
    return memset(to, byte, bytes);
}
void *__tsan_memmove(void *to, const void *from, size_t bytes) {
    return memmove(to, from, bytes);
}
void __tsan_init(void) {}
void __tsan_func_entry(void *caller) {
    (void)caller;
}
void __tsan_func_exit(void) {}

/* ---- Atomic operations ---- */

static bool is(mistake_t mistake, const volatile void *address) {
    return model_mistake == mistake && model_is_running() && world_is_inbox(address);
}

static bool acquires(int order) {
    return order != __ATOMIC_RELAXED && order != __ATOMIC_RELEASE;
}

static bool releases(int order) {
    return order == __ATOMIC_RELEASE || order == __ATOMIC_ACQ_REL || order == __ATOMIC_SEQ_CST;
}

static void before(op_kind_t kind, const volatile void *address, size_t bytes, const void *code) {
    if (!model_is_running())
        return;
    if (world_is_shared(address))
        model_point(kind, address);
    else if (model_stops_at(MODEL_WRITES) && kind == OP_WRITE)
        model_point(OP_LOCAL, address);
    race_access(address, bytes, kind == OP_WRITE, true, code);
}

static void order_of_load(const volatile void *address, int order) {
    if (acquires(order) && !is(MISTAKE_TAKE_RELAXED, address))
        race_acquire(address);
}

/* Read-modify-write: a relaxed one leaves what was released before it. */
static void order_of_change(const volatile void *address, int order) {
    if (acquires(order) && !is(MISTAKE_TAKE_RELAXED, address))
        race_acquire(address);
    if (releases(order) && !is(MISTAKE_PUSH_RELAXED, address))
        race_release(address, false);
}

static void order_of_store(const volatile void *address, int order) {
    if (releases(order) && !is(MISTAKE_PUSH_RELAXED, address))
        race_release(address, true);
    else
        race_forget(address);
}

/* Whether a compare-and-swap that found another value is to be taken for a success. */
static bool ignores_failure(const volatile void *address) {
    return is(MISTAKE_PUSH_NO_REREAD, address) ||
           (model_mistake == MISTAKE_LOCK_IGNORED && model_is_running() &&
            world_is_heap_lock(address));
}

#define FETCH(bits, name, operator)                                                                \
    uint##bits##_t __tsan_atomic##bits##_fetch_##name(volatile uint##bits##_t *p,                  \
                                                      uint##bits##_t v, int order) {               \
        before(OP_WRITE, p, bits / 8, CALLER);                                                     \
        order_of_change(p, order);                                                                 \
        uint##bits##_t old = *p;                                                                   \
        *p = (uint##bits##_t)(old operator v);                                                     \
        return old;                                                                                \
    }

#define ATOMIC(bits)                                                                               \
    uint##bits##_t __tsan_atomic##bits##_load(const volatile uint##bits##_t *p, int order) {       \
        before(OP_READ, p, bits / 8, CALLER);                                                      \
        order_of_load(p, order);                                                                   \
        return *p;                                                                                 \
    }                                                                                              \
    void __tsan_atomic##bits##_store(volatile uint##bits##_t *p, uint##bits##_t v, int order) {    \
        before(OP_WRITE, p, bits / 8, CALLER);                                                     \
        order_of_store(p, order);                                                                  \
        *p = v;                                                                                    \
    }                                                                                              \
    uint##bits##_t __tsan_atomic##bits##_exchange(volatile uint##bits##_t *p, uint##bits##_t v,    \
                                                  int order) {                                     \
        before(OP_WRITE, p, bits / 8, CALLER);                                                     \
        order_of_change(p, order);                                                                 \
        uint##bits##_t old = *p;                                                                   \
        if (is(MISTAKE_TAKE_NOT_ATOMIC, p))                                                        \
            model_point(OP_WRITE, p);                                                              \
        *p = v;                                                                                    \
        return old;                                                                                \
    }                                                                                              \
    FETCH(bits, add, +)                                                                            \
    FETCH(bits, sub, -)                                                                            \
    FETCH(bits, or, |) /* clang's way to add nothing */                                            \
    FETCH(bits, and, &)                                                                            \
    uint##bits##_t __tsan_atomic##bits##_compare_exchange_val(                                     \
        volatile uint##bits##_t *p, uint##bits##_t expected, uint##bits##_t v, int order,          \
        int order_if_not) {                                                                        \
        before(OP_WRITE, p, bits / 8, CALLER);                                                     \
        uint##bits##_t old = *p;                                                                   \
        if (is(MISTAKE_PUSH_NOT_ATOMIC, p))                                                        \
            model_point(OP_WRITE, p);                                                              \
        if (old != expected && !ignores_failure(p)) {                                              \
            order_of_load(p, order_if_not);                                                        \
            return old;                                                                            \
        }                                                                                          \
        order_of_change(p, order);                                                                 \
        *p = v;                                                                                    \
        return expected;                                                                           \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_strong(volatile uint##bits##_t *p,                  \
                                                      uint##bits##_t *expected, uint##bits##_t v,  \
                                                      int order, int order_if_not) {               \
        uint##bits##_t old =                                                                       \
            __tsan_atomic##bits##_compare_exchange_val(p, *expected, v, order, order_if_not);      \
        bool same = old == *expected;                                                              \
        *expected = old;                                                                           \
        return same;                                                                               \
    }                                                                                              \
    int __tsan_atomic##bits##_compare_exchange_weak(volatile uint##bits##_t *p,                    \
                                                    uint##bits##_t *expected, uint##bits##_t v,    \
                                                    int order, int order_if_not) {                 \
        return __tsan_atomic##bits##_compare_exchange_strong(p, expected, v, order, order_if_not); \
    }
ATOMIC(8)
ATOMIC(16)
ATOMIC(32)
ATOMIC(64)

void __tsan_atomic_signal_fence(int order) {
    (void)order; /* between two writes, each of which is a point */
}

/* ---- Locks: the slow path of lock.h ---- */

void lock_wait(lock_t *lock) {
    model_point(OP_WAIT, &lock->state);
    race_acquire(&lock->state);
    lock->state = 1;
}

void lock_wake(lock_t *lock) {
    (void)lock; /* whoever waits sees it */
}

/* ---- The robust mutex: its first word is its owner, counted from 1 ---- */

static uint32_t *owner_of_mutex(pthread_mutex_t *mutex) {
    return (uint32_t *)mutex;
}

int model_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes) {
    (void)attributes;
    *owner_of_mutex(mutex) = 0;
    return 0;
}

int model_mutex_trylock(pthread_mutex_t *mutex) {
    uint32_t *owner = owner_of_mutex(mutex);
    model_point(OP_WRITE, owner);
    uint32_t before_us = *owner;
    bool is_taken = before_us && !model_thread_is_dead(before_us - 1);
    if (is_taken && model_mistake != MISTAKE_ADOPTED_ALIVE)
        return EBUSY;
    race_acquire(owner);
    *owner = model_self() + 1;
    return before_us ? EOWNERDEAD : 0;
}

int model_mutex_lock(pthread_mutex_t *mutex) {
    return model_mutex_trylock(mutex);
}

int model_mutex_unlock(pthread_mutex_t *mutex) {
    model_point(OP_WRITE, owner_of_mutex(mutex));
    race_release(owner_of_mutex(mutex), true);
    *owner_of_mutex(mutex) = 0;
    return 0;
}

int model_mutex_consistent(pthread_mutex_t *mutex) {
    (void)mutex;
    return 0;
}

/* ---- Fork ---- */

static void (*fork_prepare)(void), (*fork_parent)(void), (*fork_child)(void);

int model_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void)) {
    fork_prepare = prepare;
    fork_parent = parent;
    fork_child = child;
    return 0;
}

bool model_fork(bool be_child) {
    if (model_mistake != MISTAKE_FORK_WITHOUT_LOCK)
        fork_prepare();
    model_point(OP_WORLD, NULL);
    if (!be_child) {
        if (model_mistake != MISTAKE_FORK_WITHOUT_LOCK)
            fork_parent();
        return false;
    }
    model_end_others();
    race_stop(); /* what they did last, they did to another copy */
    fork_child();
    return true;
}

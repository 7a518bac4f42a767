/* SPDX-License-Identifier: MIT */
#include "purge_budget.h"

#include <stdatomic.h>

#include "coarse_clock.h"
#include "options.h"

/* The option purge_rate is 5,000 pages of 4 KiB a second, at about two microseconds each with the
 * fault that brings one back: one percent of a core.  What time earns is kept up to a second's
 * worth. */
#define MAX_MS 1000u

static _Atomic int64_t tokens;       /* in bytes; less than 0: spent before they were earned */
static _Atomic uint64_t refilled_ms; /* up to when time has been paid out */

void purge_budget_earn(uint64_t bytes) {
    if (bytes)
        atomic_fetch_add_explicit(&tokens, (int64_t)bytes, memory_order_relaxed);
}

/* Whoever moves the mark pays out the time up to it. */
static void earn_time(void) {
    uint64_t now = coarse_clock_ms();
    uint64_t then = atomic_load_explicit(&refilled_ms, memory_order_relaxed);
    if (now <= then || !atomic_compare_exchange_strong_explicit(
                           &refilled_ms, &then, now, memory_order_relaxed, memory_order_relaxed))
        return;
    if (then == 0)
        return; /* the clock starts now */
    uint64_t ms = now - then < MAX_MS ? now - then : MAX_MS;
    purge_budget_earn(ms * options.purge_rate / 1000);
}

uint64_t purge_budget_take_some(uint64_t bytes) {
    if (!options.purge_rate)
        return 0;
    earn_time();
    int64_t have = atomic_load_explicit(&tokens, memory_order_relaxed), some;
    do {
        if (have <= 0)
            return 0;
        some = (uint64_t)have < bytes ? have : (int64_t)bytes;
    } while (!atomic_compare_exchange_weak_explicit(&tokens, &have, have - some,
                                                    memory_order_relaxed, memory_order_relaxed));
    return (uint64_t)some;
}

void purge_budget_settle(uint64_t taken, uint64_t spent) {
    atomic_fetch_add_explicit(&tokens, (int64_t)taken - (int64_t)spent, memory_order_relaxed);
}

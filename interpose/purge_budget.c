/* SPDX-License-Identifier: MIT */
#include "purge_budget.h"

#include <stdatomic.h>

#include "coarse_clock.h"
#include "options.h"

/* The option purge_rate is 5,000 pages of 4 KiB a second, at about two microseconds each with the
 * fault that brings one back: one percent of a core.  What time earns is kept up to a second's
 * worth. */
#define MAX_MS 1000u

static _Atomic uint64_t tokens;      /* in bytes */
static _Atomic uint64_t refilled_ms; /* up to when time has been paid out */

void purge_budget_earn(uint64_t bytes) {
    if (bytes)
        atomic_fetch_add_explicit(&tokens, bytes, memory_order_relaxed);
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
    uint64_t have = atomic_load_explicit(&tokens, memory_order_relaxed), some;
    do
        some = have < bytes ? have : bytes;
    while (some && !atomic_compare_exchange_weak_explicit(
                       &tokens, &have, have - some, memory_order_relaxed, memory_order_relaxed));
    return some;
}

void purge_budget_return(uint64_t bytes) {
    purge_budget_earn(bytes);
}

bool purge_budget_take(uint64_t bytes) {
    uint64_t some = purge_budget_take_some(bytes);
    if (some == bytes)
        return true;
    purge_budget_return(some);
    return false;
}

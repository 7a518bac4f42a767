/* SPDX-License-Identifier: MIT */
#include "limits.h"

#include <stdatomic.h>

#include "coarse_clock.h"
#include "options.h"

/* Near the soft limit is from 7/8 of it on. */
#define TIGHT_PARTS 7
#define TIGHT_WHOLE 8

/* Trimming all heaps takes a system call for each piece of free memory: only after so long, or when
 * this part of the soft limit has been added since. */
#define RELIEF_MS   100u
#define RELIEF_PART 16u

bool limits_are_on, limits_are_watched;

/* Relaxed, all of them: sums and hints, each heap's own lock guards its part. */
static _Atomic uint64_t accounted_bytes;
static _Atomic uint64_t relieved_ms;
static _Atomic uint64_t least_bytes; /* accounted for when asked since then */
static _Atomic uint64_t soft_bytes;  /* limit_soft, or the group's; 0 is none */
static uint64_t group_bytes;         /* written by limits_set_group, once */

/* limits_start is called twice, before and after libc knows the environment. */
static void set_limits(bool wants_group) {
    uint64_t soft = options.limit_soft ? options.limit_soft : group_bytes;
    bool is_on = soft || options.limit_hard;
    atomic_store_explicit(&soft_bytes, soft, memory_order_relaxed);
    __atomic_store_n(&limits_are_on, is_on, __ATOMIC_RELAXED);
    __atomic_store_n(&limits_are_watched, is_on || wants_group, __ATOMIC_RELAXED);
}

void limits_start(void) {
    set_limits(options.limit_group && !options.limit_soft);
}

void limits_set_group(uint64_t bytes) {
    group_bytes = bytes;
    set_limits(false);
}

static uint64_t soft_limit(void) {
    return atomic_load_explicit(&soft_bytes, memory_order_relaxed);
}

void limits_publish(uint64_t *published, uint64_t now) {
    atomic_fetch_add_explicit(&accounted_bytes, now - *published, memory_order_relaxed);
    *published = now;
}

uint64_t limits_accounted_bytes(void) {
    return atomic_load_explicit(&accounted_bytes, memory_order_relaxed);
}

bool limits_would_exceed(uint64_t more_bytes) {
    if (!options.limit_hard)
        return false;
    uint64_t have = limits_accounted_bytes();
    return have > options.limit_hard || more_bytes > options.limit_hard - have;
}

bool limits_are_tight_slow(void) {
    uint64_t soft = soft_limit();
    return soft && limits_accounted_bytes() > soft / TIGHT_WHOLE * TIGHT_PARTS;
}

/* Has it grown by much since it was least?  It counts anew if so. */
static bool note_growth(void) {
    uint64_t bytes = limits_accounted_bytes();
    uint64_t least = atomic_load_explicit(&least_bytes, memory_order_relaxed);
    bool has_grown = bytes > least && bytes - least >= soft_limit() / RELIEF_PART;
    if (bytes < least || has_grown)
        atomic_store_explicit(&least_bytes, bytes, memory_order_relaxed);
    return has_grown;
}

bool limits_relief_is_due_slow(void) {
    if (!soft_limit())
        return false;
    bool is_growing = note_growth(); /* below the limit, too: that is where it may be least */
    if (!limits_are_tight_slow())
        return false;
    uint64_t now = coarse_clock_ms();
    uint64_t then = atomic_load_explicit(&relieved_ms, memory_order_relaxed);
    return is_growing ||
           (now - then >= RELIEF_MS &&
            atomic_compare_exchange_strong_explicit(&relieved_ms, &then, now, memory_order_relaxed,
                                                    memory_order_relaxed));
}

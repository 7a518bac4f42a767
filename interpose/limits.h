/* SPDX-License-Identifier: MIT */
/*
 * limits.h - how much memory all heaps may have resident: the options limit_soft and limit_hard.
 *
 * Accounted is what may be resident without any further call of ours: in thread heaps all that was
 * ever used but for what was given back (mheap_resident_bytes), and large objects with the free
 * memory kept for them.  Whoever changes that publishes the change, under the lock that guards it:
 *
 *      accounted == sum of what is published        (this equation always holds while limits are
 * on)
 *
 * Without either option, and without a limit of the control group (group_limit.h), nothing is
 * counted.
 */
#ifndef MHEAP_LIMITS_H
#define MHEAP_LIMITS_H

#include <stdbool.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Relaxed, both: set at start, and by whoever has asked for the control group's limit. */
extern bool limits_are_on;      /* there is one, so it is counted */
extern bool limits_are_watched; /* there is one, or the group's is still to be asked for */

/* The options are known. */
void limits_start(void);

/* What the control group allows has been asked for: it serves as the soft limit, 0 is none.  The
 * caller publishes what there is in all heaps. */
void limits_set_group(uint64_t bytes);

static inline bool limits_is_set(const bool *flag) {
    return __builtin_expect(__atomic_load_n(flag, __ATOMIC_RELAXED), 0);
}

/* *published, guarded by the caller's lock, becomes `now`. */
void limits_publish(uint64_t *published, uint64_t now);

static inline void limits_account(uint64_t *published, uint64_t now) {
    if (limits_is_set(&limits_are_on) && *published != now)
        limits_publish(published, now);
}

uint64_t limits_accounted_bytes(void);

/* Would so many bytes more be past the hard limit? */
bool limits_would_exceed(uint64_t more_bytes);

/* Near the soft limit, or past it: give back whatever is free. */
bool limits_are_tight_slow(void);

static inline bool limits_are_tight(void) {
    return limits_is_set(&limits_are_on) && limits_are_tight_slow();
}

/* The same, and all heaps have not been trimmed for a while: the caller is to do that now. */
__attribute__((cold)) bool limits_relief_is_due_slow(void);

static inline bool limits_relief_is_due(void) {
    return limits_is_set(&limits_are_on) && limits_relief_is_due_slow();
}

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_LIMITS_H */

/* SPDX-License-Identifier: MIT */
/*
 * background.h - the option background: one thread that gives free memory back while the program
 * does not call us.
 *
 * It is started by the first slow path after the heaps have grown, in a forked child again only
 * when that allocates.  It sleeps on a futex until something has been freed, waits for the decay
 * time, gives back what is free, and sleeps again.
 */
#ifndef MHEAP_BACKGROUND_H
#define MHEAP_BACKGROUND_H

#include <stdbool.h>
#include <stdint.h>

extern bool background_is_wanted;     /* and has not been started; relaxed */
extern uint32_t background_is_asleep; /* the thread's futex; relaxed, wakers only look */

/* The options are known. */
void background_enable(void);

void background_start(void);
void background_wake(void);
void background_fork_child(void);

/* At the end of an allocation's slow path, with no lock held. */
static inline void background_start_if_wanted(void) {
    if (__builtin_expect(__atomic_load_n(&background_is_wanted, __ATOMIC_RELAXED), 0))
        background_start();
}

/* Something may have become free. */
static inline void background_notify(void) {
    if (__builtin_expect(__atomic_load_n(&background_is_asleep, __ATOMIC_RELAXED), 0))
        background_wake();
}

#endif /* MHEAP_BACKGROUND_H */

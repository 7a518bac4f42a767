/* SPDX-License-Identifier: MIT */
/*
 * observe.h - the options that look at each operation: trace and validate; and statistics at exit.
 *
 * With either, every call takes the slow way (heaps_set_slow_mode), so the fast paths pay nothing.
 */
#ifndef MHEAP_OBSERVE_H
#define MHEAP_OBSERVE_H

#include <stdbool.h>
#include <stddef.h>

extern bool observe_is_on; /* set by observe_start, while there is one thread */

/* `caller` is the return address of the outermost function of ours, where the trace begins. */
void observe_allocated_slow(void *pointer, size_t bytes, void *caller);
void observe_freed_slow(void *pointer);

static inline void observe_allocated(void *pointer, size_t bytes, void *caller) {
    if (__builtin_expect(observe_is_on, 0))
        observe_allocated_slow(pointer, bytes, caller);
}

static inline void observe_freed(void *pointer) {
    if (__builtin_expect(observe_is_on, 0))
        observe_freed_slow(pointer);
}

bool observe_wants_slow_mode(void);
void observe_start(void);
void observe_finish(void);

bool observe_holds_lock(void); /* the calling thread holds the table's, or is about to */
void observe_fork_prepare(void);
void observe_fork_parent(void);
void observe_fork_child(void);

#endif /* MHEAP_OBSERVE_H */

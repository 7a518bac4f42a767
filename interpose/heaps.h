/* SPDX-License-Identifier: MIT */
/*
 * heaps.h - all thread heaps of the process: made, found by id, adopted.
 *
 * A heap is never destroyed: when its thread has died the next new thread adopts it whole, so there
 * are never many more heaps than there were threads at once.
 */
#ifndef MHEAP_HEAPS_H
#define MHEAP_HEAPS_H

#include "thread_heap.h"
#include "vm.h"

/* The calling thread's heap; NO_HEAP before its first allocation.  That has only empty lists and
 * owns nothing, so the fast paths need no test for it, and nothing is ever written to it.  Of a
 * thread_heap_t it is the beginning, as far as these paths read. */
extern _Thread_local thread_heap_t *self_heap;
extern const struct no_heap {
    _Alignas(thread_heap_t) block_t *empty_slot;
    uintptr_t key;
    owner_id_t fast_id, id;
    uintptr_t only_region;
    char zeros[offsetof(thread_heap_t, remote) - offsetof(thread_heap_t, class_of)];
} no_heap;
#define NO_HEAP ((thread_heap_t *)&no_heap)

_Static_assert(offsetof(struct no_heap, fast_id) == offsetof(thread_heap_t, fast_id) &&
                   offsetof(struct no_heap, only_region) == offsetof(thread_heap_t, only_region) &&
                   offsetof(struct no_heap, zeros) == offsetof(thread_heap_t, class_of),
               "a thread_heap_t begins so");

/* The calling thread's heap, adopted or made if need be.  NULL if there is no memory. */
thread_heap_t *heap_self(void);

/* A heap by id, or NULL. */
thread_heap_t *heap_by_id(owner_id_t id);
owner_id_t heap_last_id(void); /* ids are 1 .. this */

/* Add a region of at least `min_bytes` room to the heap.  Under its lock.  False: no memory. */
bool heap_add_region(thread_heap_t *heap, size_t min_bytes);

/* Give up the address space of regions in which nothing is allocated, but not of the first, which
 * holds the heap itself.  Under its lock. */
void heap_release_empty_regions(thread_heap_t *heap);

/* The heap's lock.  The calling thread remembers which one it holds, for fork in a signal handler
 * that interrupted it. */
void heap_lock(thread_heap_t *heap);
bool heap_try_lock(thread_heap_t *heap);
void heap_unlock(thread_heap_t *heap);

/* Calls visit(arg, heap) for each heap, its lock held. */
void heap_foreach(void (*visit)(void *arg, thread_heap_t *heap), void *arg);

/* Become the heap's owner if its thread is gone; and let go of it again. */
bool heap_own_if_dead(thread_heap_t *heap);
void heap_disown(thread_heap_t *heap);

/* The calling thread is inside fork and holds all locks: for it they are free. */
bool heaps_are_forking(void);

/* The process has more than what its first heap began with, which became accessible with one call.
 */
static inline bool heaps_have_grown(void) {
    return vm_n_calls(VM_CALL_COMMIT) >= 2;
}

bool heaps_hold_lock(void); /* the calling thread holds one, or is about to */
void heaps_fork_prepare(void);
void heaps_fork_parent(void);
void heaps_fork_child(void);

/* Whether all calls go the slow way (trace, validate).  For the calling thread's heap and those
 * made later: decided at start, while there is one thread. */
void heaps_set_slow_mode(bool on);

#endif /* MHEAP_HEAPS_H */

/* SPDX-License-Identifier: MIT */
/*
 * large.h - objects over MEDIUM_MAX_BYTES, or aligned to more than a medium object can be:
 * page-granular and process-wide.  All functions are thread-safe (few locks, never held while
 * calling out) and keep errno; the caller sets ENOMEM.
 */
#ifndef MHEAP_LARGE_H
#define MHEAP_LARGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* `bytes` (> 0, rounded up to pages) aligned to `align` (a power of two; less than a page is a
 * page).  *is_zero, before: whether the caller wants zeros; after: whether all of it is known to be
 * zero.  NULL if there is no memory. */
void *large_alloc(size_t bytes, size_t align, bool *is_zero);

/* Free the object.  False if `pointer` is not the start of a live large object: `*what` then says
 * in words what it is ("already free (double free)", "inside a large object, not its start", ...).
 */
bool large_free(void *pointer, const char **what);

/* The same for an object whose pages the caller has just renewed (vm_renew): they are all zero. */
bool large_free_zero(void *pointer, const char **what);

/* Of a live object: its caller took the access to some of it, and will free it so. */
void large_note_no_access(const void *pointer);

/* Usable bytes of the live object, or 0, and *what as above. */
size_t large_usable_bytes(const void *pointer, const char **what);

/* The live large object that holds the byte at `pointer`, and its bytes; NULL if there is none. */
const void *large_around(const void *pointer, size_t *bytes);

/* Make the object hold `bytes` (> MEDIUM_MAX_BYTES): in place if possible, else by moving its
 * pages. Returns its new address; NULL if there is no memory (the object is as before) or, with
 * *what set, if `pointer` is no live large object.  New bytes are not cleared. */
void *large_resize(void *pointer, size_t bytes, const char **what);

/* Give back memory that is free: everything if `all`, else what has been free for a while. Returns
 * the bytes given back. */
size_t large_purge(bool all);

/* A thread heap took so much fresh memory.  What was free all the time while they took half as much
 * is given back, as long as there is one store. */
void large_exchange(size_t fresh_bytes);

/* Is there free memory kept that may be resident?  A bit for each store, written under its lock,
 * read without.  Inline: a process without large objects has no page of large.c (layout.ld). */
extern uint32_t large_dirty_flags;

static inline bool large_has_dirty(void) {
    return __atomic_load_n(&large_dirty_flags, __ATOMIC_RELAXED) != 0;
}

typedef struct {
    uint64_t n_objects, live_bytes; /* live large objects */
    uint64_t free_dirty_bytes;      /* free, kept resident for reuse (upper bound) */
    uint64_t reserved_bytes;        /* address space held */
    uint64_t n_allocs, n_frees;     /* so far */
} large_stats_t;
void large_stats(large_stats_t *stats);

/* Publish what the stores hold (limits.h), as each operation does. */
void large_account(void);

/* Bytes of it that are resident, as the kernel says.  O(accessible pages). */
uint64_t large_resident_bytes(void);

/* Call func(arg, pointer, bytes) for each live large object, under the lock: func may not allocate.
 */
void large_foreach(void (*func)(void *arg, void *pointer, size_t bytes), void *arg);

/* Check the store's invariants; NULL if all hold, else the violated one in words. */
const char *large_validate(void);

bool large_is_inside(void); /* the calling thread, in one of these functions */
void large_fork_prepare(void);
void large_fork_parent(void);
void large_fork_child(void);

#endif /* MHEAP_LARGE_H */

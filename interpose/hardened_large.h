/* SPDX-License-Identifier: MIT */
/*
 * hardened_large.h - objects over SLAB_MAX_BYTES, or aligned to more: pages of the large store
 * (large.h) between guard pages.
 *
 *      | lead: without access, 1 to 4 pages | unused | object | canary | guard: without access |
 *                                           |<------ body: whole pages ------>|
 *
 * An object under GUARDED_LOOSE_MIN_BYTES ends at the body's end, but for its alignment: a write
 * past it faults at once, and what is unused before it has to be zero when it is freed.  Larger
 * ones begin where the body begins, since their pages shall move when they grow; the rest of their
 * last page holds the canary.
 *
 * Freed, all of it loses its access, and so it waits, in the quarantine and then for an object of
 * as many pages (hardened_waiting.h): a use after free faults.  Its pages are cleared or given back
 * at once, and nobody can have written to them since.
 *
 * What is known of an object is in a table of its own.  States: LIVE; BUSY, a thread is changing
 * it; HELD, in the quarantine; SPARE, behind it.
 * Everything is guarded by one lock, never held over a system call but to enlarge the table, and to
 * take the pages of what waits.
 */
#ifndef MHEAP_HARDENED_LARGE_H
#define MHEAP_HARDENED_LARGE_H

#include "fatal.h"
#include "hardened.h"

/* `bytes` <= PTRDIFF_MAX - align.  All zero; NULL without memory. */
void *guarded_alloc(size_t bytes, size_t align, hardened_kind_t kind);

/* As slab_free, slab_ask. */
bool guarded_free(void *object, const hardened_freeing_t *freeing, line_t *what);
bool guarded_ask(const void *object, size_t *bytes, line_t *what);

/* Make it `bytes` large, where it is or by moving its pages; new bytes are zero.  NULL and `what`
 * empty: that cannot be, or there is no memory; the object is as it was, and *had_bytes large. */
void *guarded_resize(void *object, size_t bytes, size_t *had_bytes, line_t *what);

void guarded_trim(void); /* nothing waits any longer */
void guarded_stats(large_stats_t *stats);
bool guarded_check(violation_t *violation);

void guarded_fork_prepare(void);
void guarded_fork_parent(void);
void guarded_fork_child(void);

#endif /* MHEAP_HARDENED_LARGE_H */

/* SPDX-License-Identifier: MIT */
/*
 * trace.h - which call stack allocated each live object.
 *
 * A table from a key (an object's uoffset, or its address) to the object's size and call stack, and
 * for each call stack the sum.  Its memory comes from vm_map and never from malloc.  When that
 * runs out, records are lost and counted; an allocation never fails for it.
 *
 * Thread-safe: the table's own lock guards everything, and is the innermost of all locks.
 */
#ifndef MHEAP_TRACE_H
#define MHEAP_TRACE_H

#include "mheap.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct mheap_trace_table trace_table_t;

trace_table_t *trace_create(void);    /* NULL if there is no memory */
void trace_destroy(trace_table_t *t); /* may be NULL */

/* Record an object, in place of an older one of the same key.  False if the record was lost. */
bool trace_add(trace_table_t *t, uintptr_t key, uint64_t n_bytes, const uintptr_t *callers,
               uint32_t n_callers);

/* Forget an object.  A key that is not in the table is fine. */
void trace_remove(trace_table_t *t, uintptr_t key);

/* The object has a new size. */
void trace_resize(trace_table_t *t, uintptr_t key, uint64_t n_bytes);

uint64_t trace_n_lost(trace_table_t *t); /* records lost so far */

/*
 * The call stacks that have live objects, most bytes first: a copy in memory of its own, *n_rows
 * of them.  NULL if there is no memory for it, or (then *n_rows is 0) no row.
 */
mheap_trace_row_t *trace_snapshot(trace_table_t *t, size_t *n_rows);
void trace_snapshot_release(mheap_trace_row_t *rows, size_t n_rows);

/* The same, handed out one by one.  No lock is held: `func` may allocate.  False: no memory. */
bool trace_foreach(trace_table_t *t, mheap_trace_fn *func, void *arg);

/* Make the lock free whatever its state: only in a fork's child. */
void trace_reset_lock(trace_table_t *t);
void trace_lock(trace_table_t *t); /* held over a fork, so that the child finds the table whole */
void trace_unlock(trace_table_t *t);

/*
 * Return addresses of the calling functions, innermost first: at most `max` (up to
 * MHEAP_TRACE_CALLERS).  trace_capture leaves out `skip` of them (0: the first is the one where the
 * caller of trace_capture continues its own caller).  trace_capture_from begins at the address
 * `innermost`, usually __builtin_return_address(0), wherever that is among the callers.
 * Answers 0 within itself: the unwinder may allocate the first time.  Takes no lock of ours.
 */
uint32_t trace_capture(uintptr_t *callers, uint32_t max, unsigned skip);
uint32_t trace_capture_from(uintptr_t *callers, uint32_t max, const void *innermost);

/* Let the unwinder do now what it does only once: load libgcc, allocate. */
void trace_warm_up(void);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_TRACE_H */

/* SPDX-License-Identifier: MIT */
/*
 * mheap.h - the self-describing heap.  This is the only public header of libmheap.
 *
 * An mheap is one piece of memory that describes itself: a header, and right behind it a *vector*
 * of elements.  All functions name a heap by `v`, the address of its vector (the header lies just
 * below), and an object by its *uoffset*: the distance in bytes from `v` to the object's first
 * user byte.  The address of an object is therefore `(char *) v + uoffset`.  Everything inside the
 * heap is linked by such offsets, so a heap may be copied, mapped elsewhere, or read from outside.
 *
 * Derived from the design of the heap of the same name in FD.io's VPP (vppinfra, until 2020).
 *
 * Thread safety: a heap made with MHEAP_FLAG_THREAD_SAFE may be used by several threads at once;
 * any other heap by one thread at a time.  Different heaps are independent.
 *
 * Errors: functions that can run out of memory return NULL or MHEAP_GROUNDED and leave the heap
 * as it was; errno is not used unless said so.  A caller's mistake that can be recognised cheaply
 * (an object freed twice, an offset that is no object, a smashed boundary tag) prints one line on
 * standard error and aborts.
 */
#ifndef MHEAP_H
#define MHEAP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

#ifdef __cplusplus
extern "C" {
#endif

#pragma GCC visibility push(default) /* the library's other names are hidden */

#define MHEAP_VERSION_MAJOR 0
#define MHEAP_VERSION_MINOR 1
#define MHEAP_VERSION_PATCH 0

/* Distance in bytes from a heap's vector to an object's user data. */
typedef uint32_t mheap_uoffset_t;

/* "No object": the answer of a failed allocation, and the end of every list of offsets. */
#define MHEAP_GROUNDED                (~(mheap_uoffset_t)0)

/* Flags of a heap, for mheap_alloc_with_flags. */
#define MHEAP_FLAG_TRACE              (1u << 0) /* record the callers of live objects */
#define MHEAP_FLAG_DISABLE_VM         (1u << 1) /* never give free pages back to the system */
#define MHEAP_FLAG_THREAD_SAFE        (1u << 2) /* guard every operation by the heap's lock */
#define MHEAP_FLAG_SMALL_OBJECT_CACHE (1u << 3) /* keep freed small objects ready for reuse */
#define MHEAP_FLAG_VALIDATE           (1u << 4) /* check the whole heap around each operation */

/* ---- Creating and destroying ------------------------------------------------------------- */

/*
 * Make a heap that may grow to `size` bytes, header included (rounded down to whole pages; at most
 * 4 GiB less a page).  With `memory` NULL the heap maps its own memory, and only what it has used
 * so far is resident.  Otherwise it lives in the caller's `memory` of `size` bytes, of any
 * alignment, and never touches a byte outside it.  The vector starts on a page boundary.
 *
 * Returns the heap's vector, or NULL when `size` is too small or too large or no memory is left.
 * mheap_alloc uses the flags SMALL_OBJECT_CACHE for a heap that maps its own memory, and
 * SMALL_OBJECT_CACHE | DISABLE_VM for one in the caller's.
 */
void *mheap_alloc(void *memory, size_t size);
void *mheap_alloc_with_flags(void *memory, size_t size, uint32_t flags);

/*
 * Destroy a heap and everything in it: unmaps memory that the heap mapped itself; a caller's
 * memory is the caller's again.  `v` may be NULL.  Always returns NULL.
 */
void *mheap_free(void *v);

/* ---- Allocating -------------------------------------------------------------------------- */

/*
 * Allocate `n_user_data_bytes` (0 is taken as 1) such that the address of byte `align_offset` of
 * the object is a multiple of `align`, a power of two (0 is taken as 8; less than 8 is rounded up
 * to 8; up to the heap's size).  `align_offset` must be a multiple of 8 (objects are), below
 * `align`.  Sets `*offset_return` to the object's uoffset, or to MHEAP_GROUNDED when the heap has
 * no room left for it or an argument is not legal.  Returns `v`.
 * O(1): bitmap search over two-level size bins.
 */
void *mheap_get_aligned(void *v, size_t n_user_data_bytes, size_t align, size_t align_offset,
                        mheap_uoffset_t *offset_return);

/* mheap_get_aligned with the natural alignment of 8 bytes. */
void *mheap_get(void *v, size_t n_user_data_bytes, mheap_uoffset_t *offset_return);

/* Free the object at `uoffset`; MHEAP_GROUNDED is ignored.  O(1). */
void mheap_put(void *v, mheap_uoffset_t uoffset);

/*
 * Make the object at `uoffset` hold `n_user_data_bytes` without moving it, by giving up its tail or
 * taking the free space behind it.  False, and nothing changed, when that is not possible.
 */
bool mheap_resize(void *v, mheap_uoffset_t uoffset, size_t n_user_data_bytes);

/* ---- Asking ------------------------------------------------------------------------------ */

/* Usable bytes of the object at `uoffset`: what was asked for, rounded up. */
size_t mheap_data_bytes(void *v, mheap_uoffset_t uoffset);

/* Number of items of the type `*d` that the object at address `d` can hold. */
#define mheap_len(v, d)                                                                            \
    (mheap_data_bytes((v), (mheap_uoffset_t)((char *)(d) - (char *)(v))) / sizeof((d)[0]))

size_t mheap_elts(void *v);     /* number of allocated objects */
size_t mheap_bytes(void *v);    /* bytes of memory in use by the heap now, header included */
size_t mheap_max_size(void *v); /* bytes that the heap may grow to, header included */

/* True if `uoffset` is exactly the start of a live (allocated, not cached) object.  O(objects). */
bool mheap_is_heap_object(void *v, mheap_uoffset_t uoffset);

/*
 * Call `func(arg, v, user_data, n_user_data_bytes)` for each allocated object, in address order,
 * until it returns nonzero; returns that value, or 0.  `func` may not change the heap, and may ask
 * it nothing but mheap_data_bytes and mheap_max_size: a THREAD_SAFE heap is locked meanwhile.
 */
typedef uintptr_t mheap_foreach_fn(void *arg, void *v, void *user_data, size_t n_user_data_bytes);
uintptr_t mheap_foreach(void *v, mheap_foreach_fn *func, void *arg);

typedef struct {
    uint64_t object_count;         /* allocated objects */
    uint64_t bytes_total;          /* bytes of memory held, header included (mheap_bytes) */
    uint64_t bytes_used;           /* user bytes of allocated objects */
    uint64_t bytes_overhead;       /* header, boundary tags of allocated objects, end mark */
    uint64_t bytes_free;           /* free objects with their tags, and cached small objects */
    uint64_t bytes_free_reclaimed; /* part of bytes_free whose pages are back with the system */
    uint64_t bytes_max;            /* bytes the heap may grow to (mheap_max_size) */
} mheap_usage_t;

/* Fills `*usage`; bytes_total == bytes_used + bytes_overhead + bytes_free.  O(objects). */
void mheap_usage(void *v, mheap_usage_t *usage);

/* ---- Checking and showing ---------------------------------------------------------------- */

typedef struct {
    int invariant;           /* number of the violated invariant (mheap_layout.h), 0 if none */
    mheap_uoffset_t uoffset; /* the first corrupt object, or MHEAP_GROUNDED for the header */
    const char *what;        /* the invariant in words; "ok" if none is violated */
} mheap_corruption_t;

/* Check every invariant of the heap.  True if all hold.  Never aborts and never loops. */
bool mheap_validate(void *v);

/* The same; fills `*corruption` with the first violation in address order. */
bool mheap_validate_report(void *v, mheap_corruption_t *corruption);

/*
 * Write a description of the heap.  verbosity 0: totals; 1: also search and cache statistics and
 * the traced allocations; 2: also a histogram of free objects by bin and the first corrupt object.
 * mheap_format_to hands the text out in pieces, a line each, and allocates nothing; the heap is
 * not locked while `write` runs.
 */
typedef void mheap_write_fn(void *arg, const char *text, size_t n_bytes);
void mheap_format(void *v, FILE *file, int verbosity);
void mheap_format_to(void *v, mheap_write_fn *write, void *arg, int verbosity);

/*
 * Switch tracing on or off.  While on, each allocation records its call stack (up to
 * MHEAP_TRACE_CALLERS callers).  Objects that live across a switch stay valid; those from before
 * are not in the trace.  Switching off forgets what was recorded.  False if there is no memory.
 */
#define MHEAP_TRACE_CALLERS 12
bool mheap_trace(void *v, bool enable);

/* One row of the trace: the live allocations of one call stack. */
typedef struct {
    uint64_t n_allocations;                 /* live objects */
    uint64_t n_bytes;                       /* their user bytes */
    uint64_t sample;                        /* uoffset of one of them */
    uint32_t n_callers;                     /* valid entries of callers[] */
    uintptr_t callers[MHEAP_TRACE_CALLERS]; /* return addresses, innermost first */
} mheap_trace_row_t;

/* Call `func(arg, row)` for each call stack with live objects, most bytes first. */
typedef void mheap_trace_fn(void *arg, const mheap_trace_row_t *row);
void mheap_trace_foreach(void *v, mheap_trace_fn *func, void *arg);

#pragma GCC visibility pop

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_H */

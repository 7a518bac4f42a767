/* SPDX-License-Identifier: MIT */
/*
 * hardened.h - the allocator of libmheap-hardened.so: the exported names call it in place of
 * fast.h when they are compiled with MHEAP_HARDENED.  Slower, and made to notice; what it catches
 * and how is in docs/HARDENED.md.
 *
 *      up to SLAB_MAX_BYTES   a slot of a slab (hardened_slab.h), with a canary behind the object
 *      larger                 pages between guard pages (hardened_large.h), out of the large store
 *
 * Thread heaps, runs and elements are not used: nothing of what an allocator relies on shall lie
 * between a program's objects.  All functions are thread-safe, set errno as malloc's do and
 * otherwise keep it.
 */
#ifndef MHEAP_HARDENED_H
#define MHEAP_HARDENED_H

#include <stdbool.h>
#include <stddef.h>

#include "check.h"
#include "stats.h"

#ifndef MHEAP_HARDENED
#define MHEAP_HARDENED 0 /* the build says 1 for the hardened library */
#endif

/* How an object was allocated, or is said to have been: 0, or the log2 of the alignment that a C++
 * new expression asked for. */
typedef unsigned hardened_kind_t;
#define HARDENED_PLAIN   0u
#define HARDENED_N_KINDS 64u

void *hardened_malloc(size_t bytes);
void *hardened_calloc(size_t n, size_t bytes);
void *hardened_realloc(void *pointer, size_t bytes);
void *hardened_memalign(size_t align, size_t bytes); /* a power of two, as heap_memalign */
void *hardened_new_aligned(size_t align, size_t bytes);

/* Exactly what was asked for; 0 for NULL. */
size_t hardened_usable_bytes(void *pointer);

/* Words for the reports of both sizes of objects. */
#define HARDENED_WRONG_KIND                                                                        \
    "freed unlike it was allocated: aligned new and delete must agree in their alignment"
#define HARDENED_WRONG_SIZE "freed with a wrong size"

/* What a call that frees says about the object. */
typedef struct {
    const char *function; /* for the report */
    bool has_bytes;
    size_t bytes; /* with has_bytes: the size it was asked for with */
    hardened_kind_t kind;
} hardened_freeing_t;

void hardened_free_as(void *pointer, const hardened_freeing_t *freeing);
void hardened_free(void *pointer);
void hardened_free_sized(void *pointer, size_t bytes);
void hardened_free_aligned_sized(void *pointer, size_t align, size_t bytes);
void hardened_delete(void *pointer);
void hardened_delete_sized(void *pointer, size_t bytes);
void hardened_delete_aligned(void *pointer, size_t align);
void hardened_delete_sized_aligned(void *pointer, size_t bytes, size_t align);

/* ---- The whole allocator; see stats.h, check.h and heap_slow.h for the ordinary one's ---- */

size_t hardened_trim(void); /* bytes given back */
void hardened_stats(stats_t *stats);
uint64_t hardened_resident_bytes(void); /* without the large store's, see large.h */
bool hardened_check(violation_t *violation);

bool hardened_holds_lock(void); /* the calling thread holds one, or is about to */
void hardened_fork_prepare(void);
void hardened_fork_parent(void);
void hardened_fork_child(void);

#endif /* MHEAP_HARDENED_H */

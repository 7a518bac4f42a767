/* SPDX-License-Identifier: MIT */
/*
 * linear_heap.h - a test double: the plain binned boundary-tag heap.  Free objects are kept in
 * bins by power of two; the bin of the size asked for is searched from its head for the first
 * that fits, so a long list makes one allocation O(n).  core_rate measures the mheap against it.
 *
 * As plain as it is, it believes every tag and link.  A checked one compares what the mheap
 * compares (elt_is_sound, bin_remove) and ends the program when it finds damage.
 */
#ifndef LINEAR_HEAP_H
#define LINEAR_HEAP_H

#include <stdbool.h>
#include <stddef.h>

typedef struct linear_heap linear_heap_t;

/* A heap of up to `n_bytes` (below 16 GiB); NULL if there is no memory. */
linear_heap_t *linear_heap_create(size_t n_bytes, bool is_checked);

/* 8-byte aligned memory; NULL if none is left. */
void *linear_heap_get(linear_heap_t *heap, size_t n_bytes);
void linear_heap_put(linear_heap_t *heap, void *object);

/* Bytes from the heap's start to the end of its last element. */
size_t linear_heap_bytes(const linear_heap_t *heap);

#endif /* LINEAR_HEAP_H */

/* SPDX-License-Identifier: MIT */
/*
 * malloc_internal.h - the allocator behind the exported names.
 *
 * heap_* functions set errno as malloc's do (ENOMEM) and otherwise keep it; all are thread-safe.
 */
#ifndef MHEAP_MALLOC_INTERNAL_H
#define MHEAP_MALLOC_INTERNAL_H

#include <stddef.h>

void *heap_malloc(size_t bytes);
void heap_free(void *pointer);
void *heap_calloc(size_t n, size_t bytes);
void *heap_realloc(void *pointer, size_t bytes);

/* `align` is a power of two; less than 16 is taken as 16. */
void *heap_memalign(size_t align, size_t bytes);

/* 0 for NULL.  `function` names the caller in a report of misuse. */
size_t heap_usable_bytes(void *pointer, const char *function);

/* Slow paths of the inline functions in fast.h and fast_memalign.h. */
void *heap_malloc_slow(size_t bytes);
void heap_free_slow(void *pointer); /* not NULL */
void heap_free_full(void *pointer, size_t size_class); /* whose list is full, or drains */
void *heap_memalign_slow(size_t align, size_t bytes);
void heap_free_other(void *pointer); /* not of the calling thread's heap, or NULL */

#endif /* MHEAP_MALLOC_INTERNAL_H */

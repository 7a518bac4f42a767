/* SPDX-License-Identifier: MIT */
/* sparse.h - clearing memory of which little is resident, so that it stays so. */
#ifndef MHEAP_SPARSE_H
#define MHEAP_SPARSE_H

#include <stdbool.h>
#include <stddef.h>

/* Memory that was used before, for someone who would clear it: where few of its pages are there,
 * they are given back instead, and a sparse object stays sparse.  (Clearing a resident page takes a
 * tenth of the time of a page fault.)  True if all of it is zero now, else nothing has changed. */
__attribute__((cold)) bool sparse_clear(void *memory, size_t bytes);

/* The same for elements of thread heaps, of which some are asked for their pages only: the question
 * costs a fifth of what it takes to clear one of this size. */
#define SPARSE_MIN_BYTES ((size_t)64 << 10)
__attribute__((cold)) bool sparse_clear_element(void *memory, size_t bytes);

#endif /* MHEAP_SPARSE_H */

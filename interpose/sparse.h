/* SPDX-License-Identifier: MIT */
/* sparse.h - clearing memory of which little is resident, so that it stays so. */
#ifndef MHEAP_SPARSE_H
#define MHEAP_SPARSE_H

#include <stdbool.h>
#include <stddef.h>

/* Whole pages that were used before, for someone who would clear them: where few of them are there,
 * they are given back instead, and a sparse object stays sparse.  (Clearing a resident page takes a
 * tenth of the time of a page fault.)  True if all of it is zero now, else nothing has changed.
 *
 * Of less than SPARSE_SURE_BYTES some are asked for their pages only, of less than SPARSE_MIN_BYTES
 * none: the question costs a fifth of what it takes to clear so much. */
#define SPARSE_MIN_BYTES  ((size_t)64 << 10)
#define SPARSE_SURE_BYTES ((size_t)512 << 10)
bool sparse_clear(void *pages, size_t bytes);

#endif /* MHEAP_SPARSE_H */

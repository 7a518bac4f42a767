/* SPDX-License-Identifier: MIT */
/*
 * remote.h - blocks freed by a thread whose heap they are not: collected in batches, one for each
 * of a few owners, and handed over whole.
 *
 * The inbox is a stack: a batch is pushed by one compare-and-swap (release) and everything is taken
 * by one exchange (acquire).  Since only all of it is ever taken, there is no ABA.
 */
#ifndef MHEAP_REMOTE_H
#define MHEAP_REMOTE_H

#include "thread_heap.h"

/* Free `block` of `n_bytes` of the heap `owner`.  `self` is the calling thread's heap. */
void remote_free(thread_heap_t *self, block_t *block, owner_id_t owner, size_t n_bytes);

/* The same without a heap of one's own: handed over at once. */
void remote_free_now(block_t *block, owner_id_t owner, size_t n_bytes);

/* Hand over all batches of a heap that is the caller's.  No heap's lock may be held. */
void remote_flush_all(thread_heap_t *self);

/* Everything in the heap's inbox, as a list.  Under the heap's lock. */
block_t *remote_take_inbox(thread_heap_t *heap);

#endif /* MHEAP_REMOTE_H */

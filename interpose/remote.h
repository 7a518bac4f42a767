/* SPDX-License-Identifier: MIT */
/*
 * remote.h - blocks freed by a thread whose heap they are not: collected in batches, one for each
 * of a few owners, and handed over whole.
 *
 * What is handed over are pointers: nobody touches the blocks between the thread that frees one,
 * which has it in its cache, and the malloc that hands it out again.  An inbox is a ring of places
 * for them.  Who frees gets as many as it needs by one compare-and-swap, and fills them; who takes,
 * under the heap's lock, empties them in order up to the first that is not filled yet.
 *
 * When the ring is full, as that of an owner which sleeps, the blocks are linked to each other and
 * pushed on a stack by one compare-and-swap (release).  All of it is taken by one exchange
 * (acquire): so there is no ABA.
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

/* Take up to n_max blocks out of the ring of the heap's inbox; and: all that did not fit into it,
 * as a list (block_next).  Under the heap's lock. */
uint32_t remote_take(thread_heap_t *heap, block_t **blocks, uint32_t n_max);
block_t *remote_take_linked(thread_heap_t *heap);

/* Account for the pages of its header that the heap's inbox and outbox have used so far.  Under the
 * heap's lock. */
void remote_note_pages(thread_heap_t *heap);

/* In the child of a fork: the threads that were filling an inbox or an outbox are not there. */
void remote_fork_child(thread_heap_t *heap);

#endif /* MHEAP_REMOTE_H */

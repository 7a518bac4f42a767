/* SPDX-License-Identifier: MIT */
/*
 * remote.h - blocks freed by a thread whose heap they are not: collected in batches, one for each
 * of a few owners, and handed over whole.
 *
 * What is handed over are pointers, each with its block's class: nobody touches the blocks between
 * the thread that frees one, which has it in its cache, and the malloc that hands it out again.  An
 * inbox is a ring of places for them.  Who frees gets as many as it needs by one compare-and-swap,
 * and fills them; who takes, under the heap's lock, empties them in order up to the first that is
 * not filled yet.
 *
 * When the ring is full, as that of an owner which sleeps, the blocks are linked to each other and
 * pushed on a stack by one compare-and-swap (release).  All of it is taken by one exchange
 * (acquire): so there is no ABA.
 */
#ifndef MHEAP_REMOTE_H
#define MHEAP_REMOTE_H

#include "thread_heap.h"

/* A block on its way: its address, above that its class (size_class_below), and whether it is an
 * element. */
typedef uintptr_t sent_t;

#define SENT_ELEMENT_BIT ((sent_t)1 << 63)

static inline sent_t sent_make(const block_t *block, unsigned size_class, bool is_element) {
    return (uintptr_t)block | (sent_t)size_class << BLOCK_ADDRESS_BITS |
           (is_element ? SENT_ELEMENT_BIT : 0);
}

static inline block_t *sent_block(sent_t sent) {
    return (block_t *)(sent & (((uintptr_t)1 << BLOCK_ADDRESS_BITS) - 1));
}

static inline unsigned sent_class(sent_t sent) {
    return (unsigned)((sent & ~SENT_ELEMENT_BIT) >> BLOCK_ADDRESS_BITS);
}

static inline bool sent_is_element(sent_t sent) {
    return (sent & SENT_ELEMENT_BIT) != 0;
}

static inline sent_t sent_element(const block_t *block, size_t bytes) {
    return sent_make(block, size_class_below(bytes), true);
}

/* What inbox_bytes counts for it. */
static inline size_t sent_bytes(sent_t sent) {
    return size_class_bytes(sent_class(sent));
}

/* Bounds in bytes are divided by this: three medium objects reach the model's. */
#ifndef HANDOVER_PART
#define HANDOVER_PART 1u
#endif

/* A batch is handed over when it has BATCH_MAX_BLOCKS, or this many bytes. */
#define BATCH_MAX_BYTES (((uint32_t)64 << 10) / HANDOVER_PART)

static inline sent_t *remote_blocks_of(thread_heap_t *self, unsigned batch) {
    return (sent_t *)heap_slot(self, OUTBOX_OFFSET) + batch * BATCH_MAX_BLOCKS;
}

/* Hand a batch over. */
void remote_flush(thread_heap_t *self, unsigned batch);

/* remote_free, of the first block for another owner than the batch's. */
void remote_free_first(thread_heap_t *self, sent_t sent, owner_id_t owner);

/* Free a block of the heap `owner`.  `self` is the calling thread's heap. */
static inline void remote_free(thread_heap_t *self, sent_t sent, owner_id_t owner) {
    unsigned index = owner % N_REMOTE_BATCHES;
    remote_batch_t *batch = &self->remote[index];
    if (__builtin_expect(batch->owner != owner, 0))
        return remote_free_first(self, sent, owner);
    block_set_mark(sent_block(sent), self->key);
    uint32_t n_bytes = batch->n_bytes + (uint32_t)sent_bytes(sent), n_blocks = batch->n_blocks;
    remote_blocks_of(self, index)[n_blocks] = sent;
    batch->n_bytes = n_bytes;
    batch->n_blocks = n_blocks + 1;
    if (n_bytes >= BATCH_MAX_BYTES || n_blocks == BATCH_MAX_BLOCKS - 1)
        remote_flush(self, index);
}

/* The same without a heap of one's own: handed over at once. */
void remote_free_now(sent_t sent, owner_id_t owner);

/* Hand over all batches of a heap that is the caller's.  No heap's lock may be held. */
void remote_flush_all(thread_heap_t *self);

/* Take up to n_max blocks out of the ring of the heap's inbox; and: all that did not fit into it,
 * as a list (block_next).  Under the heap's lock. */
uint32_t remote_take(thread_heap_t *heap, sent_t *sent, uint32_t n_max);
block_t *remote_take_linked(thread_heap_t *heap);

/* The owner, which has so much resident, is about to take its inbox in.  Under the heap's lock. */
void remote_owner_looks(thread_heap_t *heap, uint64_t resident_bytes);

/* Account for the pages of its header that the heap's inbox and outbox have used so far.  Under the
 * heap's lock. */
void remote_note_pages(thread_heap_t *heap);

/* In the child of a fork: the threads that were filling an inbox or an outbox are not there. */
void remote_fork_child(thread_heap_t *heap);

#endif /* MHEAP_REMOTE_H */

/* SPDX-License-Identifier: MIT */
#include "remote.h"

#include "heap_slow.h"
#include "heaps.h"
#include "secret.h"

/* A batch is handed over when it has this many blocks or bytes. */
#define BATCH_MAX_BLOCKS 128u
#define BATCH_MAX_BYTES  ((uint32_t)64 << 10)

/* Each time an inbox has got so many bytes, whoever filled it asks whether its owner looks into it
 * at all, and empties it if the owner sleeps or is gone; if it is this full, in any case. */
#define INBOX_FULL_BYTES ((uint64_t)128 << 10)
#define INBOX_MAX_BYTES  ((uint64_t)1 << 20)

/* Relaxed: a hint.  Wrong answers come from two threads that fill it at once, and cost a walk. */
static bool has_looked_lately(thread_heap_t *heap) {
    uint32_t n_looks = atomic_load_explicit(&heap->n_looks, memory_order_relaxed);
    if (n_looks == atomic_load_explicit(&heap->n_looks_seen, memory_order_relaxed))
        return false;
    atomic_store_explicit(&heap->n_looks_seen, n_looks, memory_order_relaxed);
    return true;
}

static bool is_to_be_emptied(thread_heap_t *heap, uint64_t before, uint64_t now) {
    if (before / INBOX_FULL_BYTES == now / INBOX_FULL_BYTES)
        return false;
    return now > INBOX_MAX_BYTES || !has_looked_lately(heap);
}

/* Pairs with remote_take_inbox: the links, and what the users wrote before they freed, are seen by
 * the heap that reuses the blocks. */
static void push(thread_heap_t *heap, block_t *head, block_t *tail, size_t n_bytes) {
    block_t *old = atomic_load_explicit(&heap->inbox, memory_order_relaxed);
    do
        block_link(tail, old, heap->key);
    while (!atomic_compare_exchange_weak_explicit(&heap->inbox, &old, head, memory_order_release,
                                                  memory_order_relaxed));
    uint64_t before = atomic_fetch_add_explicit(&heap->inbox_bytes, n_bytes, memory_order_relaxed);
    if (is_to_be_emptied(heap, before, before + n_bytes) && heap_try_lock(heap)) {
        heap_take_inbox(heap);
        heap_unlock(heap);
    }
}

block_t *remote_take_inbox(thread_heap_t *heap) {
    if (!atomic_load_explicit(&heap->inbox, memory_order_relaxed))
        return NULL;
    /* The bytes are a hint for push: counted a little late or early does no harm. */
    atomic_store_explicit(&heap->inbox_bytes, 0, memory_order_relaxed);
    return atomic_exchange_explicit(&heap->inbox, NULL, memory_order_acquire);
}

static void flush(thread_heap_t *self, remote_batch_t *batch) {
    thread_heap_t *owner = heap_by_id(batch->owner);
    block_t *head = batch->head, *tail = batch->tail;
    uint32_t n_bytes = batch->n_bytes;
    *batch = (remote_batch_t){.owner = batch->owner};
    self->counts.n_remote_batches++;
    push(owner, head, tail, n_bytes);
}

void remote_free(thread_heap_t *self, block_t *block, owner_id_t owner, size_t n_bytes) {
    remote_batch_t *batch = &self->remote[owner % N_REMOTE_BATCHES];
    if (batch->owner != owner) {
        if (batch->head)
            flush(self, batch);
        batch->owner = owner;
    }
    block_set_mark(block, self->key);
    block_link(block, batch->head, self->key);
    if (!batch->head)
        batch->tail = block;
    batch->head = block;
    batch->n_bytes += (uint32_t)n_bytes;
    if (++batch->n_blocks >= BATCH_MAX_BLOCKS || batch->n_bytes >= BATCH_MAX_BYTES)
        flush(self, batch);
}

void remote_free_now(block_t *block, owner_id_t owner, size_t n_bytes) {
    block_set_mark(block, secret_key());
    push(heap_by_id(owner), block, block, n_bytes);
}

void remote_flush_all(thread_heap_t *self) {
    for (unsigned i = 0; i < N_REMOTE_BATCHES; i++)
        if (self->remote[i].head)
            flush(self, &self->remote[i]);
}

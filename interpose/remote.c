/* SPDX-License-Identifier: MIT */
#include "remote.h"

#include <string.h>

#include "heap_slow.h"
#include "heaps.h"
#include "secret.h"

/*
 * Each time an inbox has got so many bytes, whoever filled it asks whether its owner looks into it
 * at all, and empties it if the owner sleeps or is gone; if it is so many times as full, in any
 * case.  An owner that looks gets a part of what it has resident for a bound: it may just wait for
 * those who free, and what they empty goes home, piece by piece, while its lists are empty.  Each
 * time that others had to, it is halved.
 */
#define INBOX_LEAST_BYTES (((uint64_t)128 << 10) / HANDOVER_PART)
#define INBOX_MOST_BYTES  (((uint64_t)2 << 20) / HANDOVER_PART)
#define INBOX_PART        16u
#define INBOX_FULL_TIMES  8u

static void set_bound(thread_heap_t *heap, uint64_t bytes) {
    if (bytes < INBOX_LEAST_BYTES)
        bytes = INBOX_LEAST_BYTES;
    if (bytes > INBOX_MOST_BYTES)
        bytes = INBOX_MOST_BYTES;
    atomic_store_explicit(&heap->inbox_bound, bytes, memory_order_relaxed);
}

void remote_owner_looks(thread_heap_t *heap, uint64_t resident_bytes) {
    uint32_t n_looks = atomic_load_explicit(&heap->n_looks, memory_order_relaxed);
    atomic_store_explicit(&heap->n_looks, n_looks + 1, memory_order_relaxed);
    set_bound(heap, resident_bytes / INBOX_PART);
}

/* Relaxed: a hint.  Wrong answers come from two threads that fill it at once, and cost a walk. */
static bool has_looked_lately(thread_heap_t *heap) {
    uint32_t n_looks = atomic_load_explicit(&heap->n_looks, memory_order_relaxed);
    if (n_looks == atomic_load_explicit(&heap->n_looks_seen, memory_order_relaxed))
        return false;
    atomic_store_explicit(&heap->n_looks_seen, n_looks, memory_order_relaxed);
    return true;
}

static bool is_to_be_emptied(thread_heap_t *heap, uint64_t before, uint64_t now) {
    uint64_t bound = atomic_load_explicit(&heap->inbox_bound, memory_order_relaxed);
    if (before / bound == now / bound)
        return false;
    return now > bound * INBOX_FULL_TIMES || !has_looked_lately(heap);
}

/* ---- The ring ---- */

static _Atomic(sent_t) *ring_place(thread_heap_t *heap, uint64_t number) {
    _Atomic(sent_t) *ring = (void *)heap_slot(heap, INBOX_RING_OFFSET);
    return &ring[number % INBOX_RING_BLOCKS];
}

/*
 * Places are got by moving the tail, and filled after that.  The head is read first, and what it
 * acquires are the stores that emptied the places before it: so the tail is not before it, and what
 * we write to a place comes after its 0.
 */
static bool put_in_ring(thread_heap_t *heap, const sent_t *sent, uint32_t n_blocks) {
    uint64_t head, tail;
    do {
        head = atomic_load_explicit(&heap->ring_head, memory_order_acquire);
        tail = atomic_load_explicit(&heap->ring_tail, memory_order_relaxed);
        if (tail - head + n_blocks > INBOX_RING_BLOCKS)
            return false;
    } while (!atomic_compare_exchange_weak_explicit(&heap->ring_tail, &tail, tail + n_blocks,
                                                    memory_order_relaxed, memory_order_relaxed));
    for (uint32_t i = 0; i < n_blocks; i++)
        atomic_store_explicit(ring_place(heap, tail + i), sent[i], memory_order_release);
    return true;
}

/* Up to the first place that nobody has filled yet. */
uint32_t remote_take(thread_heap_t *heap, sent_t *sent, uint32_t n_max) {
    uint64_t head = atomic_load_explicit(&heap->ring_head, memory_order_relaxed);
    uint64_t n_there = atomic_load_explicit(&heap->ring_tail, memory_order_relaxed) - head;
    uint32_t n = 0;
    for (; n < n_max && n < n_there; n++) {
        _Atomic(sent_t) *place = ring_place(heap, head + n);
        sent[n] = atomic_load_explicit(place, memory_order_acquire);
        if (!sent[n])
            break;
        atomic_store_explicit(place, 0, memory_order_relaxed);
    }
    if (n > 0)
        atomic_store_explicit(&heap->ring_head, head + n, memory_order_release);
    return n;
}

/* Places that a thread had got and not filled would be waited for by all that follow. */
static void close_gaps(thread_heap_t *heap) {
    uint64_t to = heap->ring_head;
    for (uint64_t from = to; from != heap->ring_tail; from++) {
        sent_t sent = *ring_place(heap, from);
        *ring_place(heap, from) = 0;
        if (sent)
            *ring_place(heap, to++) = sent;
    }
    heap->ring_tail = to;
}

void remote_fork_child(thread_heap_t *heap) {
    close_gaps(heap);
    if (heap->ring_head == heap->ring_tail && !heap->inbox)
        heap->inbox_bytes = 0; /* no longer right if someone was about to change it */
    if (heap != self_heap)
        memset(heap->remote, 0, sizeof heap->remote);
}

/* ---- What the ring has no room for ---- */

/* Pairs with remote_take_linked: the links, and what the users wrote before they freed, are seen
 * by the heap that reuses the blocks. */
static void push_linked(thread_heap_t *heap, const sent_t *sent, uint32_t n_blocks) {
    block_t *tail = sent_block(sent[n_blocks - 1]);
    for (uint32_t i = 0; i < n_blocks - 1; i++)
        block_link(sent_block(sent[i]), sent_block(sent[i + 1]), heap->key);
    block_t *old = atomic_load_explicit(&heap->inbox, memory_order_relaxed);
    do
        block_link(tail, old, heap->key);
    while (!atomic_compare_exchange_weak_explicit(&heap->inbox, &old, sent_block(sent[0]),
                                                  memory_order_release, memory_order_relaxed));
}

block_t *remote_take_linked(thread_heap_t *heap) {
    if (!atomic_load_explicit(&heap->inbox, memory_order_relaxed))
        return NULL;
    return atomic_exchange_explicit(&heap->inbox, NULL, memory_order_acquire);
}

/* ---- Handing over ---- */

/* There is a block that could be taken: not if the next place was given away and is not filled. */
static bool inbox_is_ready(thread_heap_t *heap) {
    uint64_t head = atomic_load_explicit(&heap->ring_head, memory_order_relaxed);
    return atomic_load_explicit(ring_place(heap, head), memory_order_relaxed) ||
           atomic_load_explicit(&heap->inbox, memory_order_relaxed);
}

/*
 * By whoever filled it.  What others put in and find locked is left to us: so look again after
 * letting go of the lock.  Their change of inbox_bytes comes between putting and trying the lock,
 * ours between the lock and looking: if theirs is first we see their blocks, else they see the lock
 * free.
 */
static void empty_inbox(thread_heap_t *heap) {
    uint64_t n_bytes;
    do {
        if (!heap_try_lock(heap))
            return;
        heap_take_inbox(heap);
        set_bound(heap, atomic_load_explicit(&heap->inbox_bound, memory_order_relaxed) / 2);
        heap_unlock(heap);
        n_bytes = atomic_fetch_add_explicit(&heap->inbox_bytes, 0, memory_order_acq_rel);
    } while (n_bytes >= INBOX_LEAST_BYTES && inbox_is_ready(heap));
}

static void hand_over(thread_heap_t *heap, const sent_t *sent, uint32_t n_blocks, size_t n_bytes) {
    if (!put_in_ring(heap, sent, n_blocks))
        push_linked(heap, sent, n_blocks);
    uint64_t before = atomic_fetch_add_explicit(&heap->inbox_bytes, n_bytes, memory_order_acq_rel);
    if (is_to_be_emptied(heap, before, before + n_bytes))
        empty_inbox(heap);
}

void remote_flush(thread_heap_t *self, unsigned index) {
    remote_batch_t *batch = &self->remote[index];
    uint32_t n_blocks = batch->n_blocks, n_bytes = batch->n_bytes;
    batch->n_blocks = batch->n_bytes = 0;
    self->counts.n_remote_batches++;
    hand_over(heap_by_id(batch->owner), remote_blocks_of(self, index), n_blocks, n_bytes);
}

void remote_free_first(thread_heap_t *self, sent_t sent, owner_id_t owner) {
    unsigned index = owner % N_REMOTE_BATCHES;
    if (self->remote[index].n_blocks)
        remote_flush(self, index);
    self->remote[index].owner = owner;
    remote_free(self, sent, owner);
}

void remote_free_now(sent_t sent, owner_id_t owner) {
    block_set_mark(sent_block(sent), secret_key());
    hand_over(heap_by_id(owner), &sent, 1, sent_bytes(sent));
}

void remote_flush_all(thread_heap_t *self) {
    for (unsigned i = 0; i < N_REMOTE_BATCHES; i++)
        if (self->remote[i].n_blocks)
            remote_flush(self, i);
}

void remote_note_pages(thread_heap_t *heap) {
    region_t *region = region_of(heap);
    uint64_t n_used = heap->ring_tail < INBOX_RING_BLOCKS ? heap->ring_tail : INBOX_RING_BLOCKS;
    sent_t *ring = (sent_t *)heap_slot(heap, INBOX_RING_OFFSET);
    region_use_header(region, ring, ring + n_used);
    for (unsigned i = 0; i < N_REMOTE_BATCHES; i++)
        if (heap->remote[i].owner != OWNER_NONE) {
            sent_t *sent = remote_blocks_of(heap, i);
            region_use_header(region, sent, sent + BATCH_MAX_BLOCKS);
        }
}

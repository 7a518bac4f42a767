/* SPDX-License-Identifier: MIT */
#include "heap_drain.h"

#include <string.h>

#include "heap_slots.h"
#include "object.h"

#define WAITING_LOG2_BYTES 9u

_Static_assert(WAITING_MAX_BLOCKS * sizeof(sent_t) <= (size_t)1 << WAITING_LOG2_BYTES,
               "an array for all that wait");

void heap_drain_begin(thread_heap_t *heap, unsigned size_class) {
    if (!heap->waiting)
        heap->waiting = heap_slots_get(heap, WAITING_LOG2_BYTES);
    if (!heap->waiting)
        return;
    heap_list_release(heap, size_class);
    heap_list_set_limit(heap, size_class, heap_list_limit_at_first(size_class));
    heap->draining |= (uint64_t)1 << size_class;
}

/* Those that have their marks were freed twice: they are lost, if the program goes on. */
static inline bool mark(thread_heap_t *heap, block_t *block) {
    if (__builtin_expect(block_is_marked(block, heap->key), 0)) {
        misuse("free", block, "freed twice (found on its way home)");
        return false;
    }
    block_set_mark(block, heap->key);
    return true;
}

/* Some blocks, sorted by class. */
typedef struct {
    uint64_t classes; /* that there are, a bit each */
    uint8_t end[N_SMALL_CLASSES];
    block_t *blocks[1 + WAITING_MAX_BLOCKS]; /* behind NO_BLOCK (heap_put_blocks) */
} sorted_t;

static void count(sorted_t *sorted, const sent_t *sent, uint32_t n) {
    sorted->classes = 0;
    memset(sorted->end, 0, sizeof sorted->end);
    for (uint32_t i = 0; i < n; i++) {
        sorted->classes |= (uint64_t)1 << sent_class(sent[i]);
        sorted->end[sent_class(sent[i])]++;
    }
}

/* By counting: no branch depends on a block's class, which nobody could foresee. */
static void mark_and_sort(thread_heap_t *heap, sorted_t *sorted, const sent_t *sent, uint32_t n) {
    uint8_t first = 1;
    count(sorted, sent, n);
    for (uint64_t classes = sorted->classes; classes; classes &= classes - 1) {
        uint8_t *end = &sorted->end[__builtin_ctzll(classes)], n_blocks = *end;
        *end = first; /* moves on as they come */
        first = (uint8_t)(first + n_blocks);
    }
    sorted->blocks[0] = NO_BLOCK;
    for (uint32_t i = 0; i < n; i++) {
        uint8_t *end = &sorted->end[sent_class(sent[i])];
        block_t *block = sent_block(sent[i]);
        sorted->blocks[*end] = block;
        *end = (uint8_t)(*end + mark(heap, block));
    }
}

static void put_sorted(thread_heap_t *heap, const sorted_t *sorted) {
    block_t *const *first = sorted->blocks + 1;
    for (uint64_t classes = sorted->classes; classes; classes &= classes - 1) {
        unsigned c = (unsigned)__builtin_ctzll(classes);
        block_t *const *end = sorted->blocks + sorted->end[c];
        heap->n_sent_home[c] += (int32_t)(end - first);
        heap_put_blocks(heap, c, first, (uint32_t)(end - first));
        first = end;
    }
}

/* The first n that wait. */
static void send_home(thread_heap_t *heap, uint32_t n) {
    sorted_t sorted;
    sent_t *waiting = heap_waiting(heap);
    mark_and_sort(heap, &sorted, waiting, n);
    heap->n_waiting -= n;
    memmove(waiting, waiting + n, heap->n_waiting * sizeof *waiting);
    put_sorted(heap, &sorted);
}

void heap_drain_flush(thread_heap_t *heap) {
    if (heap_is_large(heap))
        send_home(heap, heap->n_waiting - WAITING_UNSEEN_BLOCKS);
    else
        heap_drain_end_any(heap);
}

void heap_drain_end(thread_heap_t *heap, unsigned size_class) {
    send_home(heap, heap->n_waiting);
    heap->draining &= ~((uint64_t)1 << size_class);
}

void heap_drain_end_any(thread_heap_t *heap) {
    send_home(heap, heap->n_waiting);
    heap->draining = 0;
    heap_slots_put(heap, heap->waiting, WAITING_LOG2_BYTES);
    heap->waiting = 0;
}

/* SPDX-License-Identifier: MIT */
#include "heap_lists.h"

#include <string.h>

#include "heap_drain.h"
#include "heap_elements.h"
#include "heap_runs.h"
#include "heap_slots.h"
#include "heaps.h"
#include "options.h"

/* A list's bound in bytes: at first, and at most after it has shown to be worth more. */
#define LIST_FIRST_BYTES        ((size_t)8 << 10)
#define LIST_LEAST_BLOCKS       8u
#define LIST_MAX_BYTES          ((size_t)256 << 10)
#define MEDIUM_LIST_FIRST_BYTES ((size_t)32 << 10)
#define MEDIUM_LIST_MAX_BYTES   ((size_t)1 << 20)

/* The list of a class that has so many runs and is refilled may hold so much, a 64th of what the
 * class has.  Else that of a program that only grows would stay as short as at first. */
#define LIST_MANY_RUNS          32u
#define LIST_MANY_RUNS_BYTES    ((size_t)32 << 10)

/* A list that was full so many times in a row, without being empty, is that of a program that
 * shrinks: what it holds will not be wanted soon. */
#define SHRINKING_FLUSHES       3u

/* So often all elements of a cold class go home when the last one is free, before its list keeps
 * them. */
#define COLD_RETURNS            3u

/* Idle lists are looked for when a heap has grown by this much, or by that much for each of
 * its mheaps. */
#define SWEEP_MIN_BYTES         ((uint64_t)1 << 20)

static int32_t list_limit(unsigned size_class, size_t small_bytes, size_t medium_bytes) {
    size_t bytes = size_class_bytes(size_class);
    bool is_small = size_class < N_SMALL_CLASSES;
    size_t n_blocks = (is_small ? small_bytes : medium_bytes) / bytes;
    size_t least = is_small ? LIST_LEAST_BLOCKS : 1;
    if (n_blocks > LIST_MAX_BLOCKS)
        return LIST_MAX_BLOCKS;
    return (int32_t)(n_blocks < least ? least : n_blocks);
}

int32_t heap_list_limit_at_first(unsigned size_class) {
    return list_limit(size_class, LIST_FIRST_BYTES, MEDIUM_LIST_FIRST_BYTES);
}

static bool is_cold(const thread_heap_t *heap, unsigned size_class) {
    return size_class < N_SMALL_CLASSES && heap->n_cold[size_class] < N_COLD_OBJECTS;
}

bool heap_is_large(const thread_heap_t *heap) {
    return heap_resident_bytes(heap) >= LARGE_HEAP_BYTES;
}

/* ---- Idle lists ---- */

/* The class's list goes home.  So a cold one has so many elements less. */
static void note_list_goes(thread_heap_t *heap, unsigned size_class) {
    if (!is_cold(heap, size_class))
        return;
    uint32_t n_blocks = list_n_blocks(heap, size_class), n_cold = heap->n_cold[size_class];
    heap->n_cold[size_class] = (uint8_t)(n_cold > n_blocks ? n_cold - n_blocks : 0);
}

void heap_put_bottom(thread_heap_t *heap, unsigned size_class, uint32_t n_blocks) {
    int32_t first = heap->slots.first[size_class];
    block_t **blocks = heap_slot(heap, first) + 1;
    uint32_t n_kept = list_n_blocks(heap, size_class) - n_blocks;
    heap_put_blocks(heap, size_class, blocks, n_blocks);
    memmove(blocks, blocks + n_blocks, n_kept * sizeof *blocks);
    heap->list_top[size_class] = first + (int32_t)(n_kept * sizeof *blocks);
}

void heap_put_list(thread_heap_t *heap, unsigned size_class) {
    note_list_goes(heap, size_class);
    heap_put_bottom(heap, size_class, list_n_blocks(heap, size_class));
}

/* Blocks are not looked at on their way home, but here there is time.  Damaged ones stay behind, as
 * in pop. */
static void check_marks(thread_heap_t *heap, unsigned size_class) {
    block_t **block = heap_slot(heap, heap->list_top[size_class]);
    for (; *block != NO_BLOCK; block--)
        if (block_is_damaged(*block, heap->key)) {
            report_damage(*block, "free");
            *block = *heap_slot(heap, heap->list_top[size_class]);
            heap->list_top[size_class] -= (int32_t)sizeof *block;
        }
}

void heap_put_all_lists(thread_heap_t *heap) {
    heap_drain_end_all(heap);
    for (unsigned c = 0; c < N_CLASSES; c++) {
        check_marks(heap, c);
        heap_put_list(heap, c);
        heap_list_release(heap, c);
    }
    heap_slots_reset(heap);
}

#define SWEEP_NOW (UINT64_MAX / 2)

void heap_sweep_soon(thread_heap_t *heap) {
    heap->grown_bytes = SWEEP_NOW;
}

/*
 * A list that is not used pins runs: a few free blocks in each of them are enough.  So before a
 * heap grows much, and about once a second, the lists on which nothing has happened since the last
 * time are taken home; and where nothing stays cold, those of cold classes: some are never empty,
 * so no refill makes them hot.
 */
void heap_sweep_if_due(thread_heap_t *heap) {
    if (heap->grown_bytes < heap->n_mheaps * SWEEP_MIN_BYTES)
        return;
    heap->grown_bytes = 0;
    heap_drain_end_all(heap);
    bool is_large = heap_is_large(heap);
    for (unsigned c = 0; c < N_CLASSES; c++) {
        uint32_t n_blocks = list_n_blocks(heap, c);
        bool gets_hot = is_large && is_cold(heap, c);
        if (n_blocks && (n_blocks == heap->n_swept[c] || gets_hot)) {
            heap_put_list(heap, c);
            heap_list_release(heap, c);
            heap_list_set_limit(heap, c, heap_list_limit_at_first(c));
            n_blocks = 0;
        }
        if (gets_hot)
            heap->n_cold[c] = N_COLD_OBJECTS;
        heap->n_swept[c] = (uint16_t)n_blocks;
    }
}

/* ---- How long a list may be ---- */

static bool has_many_runs(const thread_heap_t *heap, unsigned size_class) {
    return size_class < N_SMALL_CLASSES && heap->n_runs[size_class] >= LIST_MANY_RUNS;
}

bool heap_list_shrinks(const thread_heap_t *heap, unsigned size_class) {
    return heap->n_flushes[size_class] >= SHRINKING_FLUSHES;
}

void heap_note_flush(thread_heap_t *heap, unsigned size_class, uint32_t n_blocks) {
    heap->n_sent_home[size_class] += (int32_t)n_blocks;
    if (!heap_list_shrinks(heap, size_class)) {
        heap->n_flushes[size_class]++;
        return;
    }
    int32_t first = heap_list_limit_at_first(size_class), half = heap->limit[size_class] / 2;
    heap_list_set_limit(heap, size_class, half > first ? half : first);
}

/* With twice the room what is wanted back need not have gone. */
void heap_note_refill(thread_heap_t *heap, unsigned size_class) {
    int32_t limit = heap->limit[size_class],
            of_many = list_limit(size_class, LIST_MANY_RUNS_BYTES, 0);
    heap->n_flushes[size_class] = 0;
    if (heap->n_sent_home[size_class] > 0) {
        int32_t most = list_limit(size_class, LIST_MAX_BYTES, MEDIUM_LIST_MAX_BYTES);
        heap->n_sent_home[size_class] -= limit / 2;
        heap_list_set_limit(heap, size_class, limit * 2 < most ? limit * 2 : most);
    } else if (limit < of_many && has_many_runs(heap, size_class)) {
        heap_list_set_limit(heap, size_class, of_many);
    }
}

/* ---- Cold classes ---- */

bool heap_stays_cold(thread_heap_t *heap, unsigned size_class) {
    if (is_cold(heap, size_class) && heap_is_large(heap))
        heap->n_cold[size_class] = N_COLD_OBJECTS;
    return is_cold(heap, size_class);
}

/* Of a class about which little is known the list is full when all its elements but one are on it:
 * then the last one's free comes to heap_return_cold.  The list is empty.  (A damaged list can be
 * given up if the program is to go on, what is home cannot.) */
void heap_limit_to_cold(thread_heap_t *heap, unsigned size_class) {
    int32_t n = heap->n_cold[size_class] - 1, first = heap_list_limit_at_first(size_class);
    if (heap->n_returns[size_class] < COLD_RETURNS && options.abort)
        heap_list_set_limit(heap, size_class, n >= 0 && n < first ? n : first);
}

void heap_end_cold(thread_heap_t *heap, unsigned size_class) {
    int32_t first = heap_list_limit_at_first(size_class);
    if (heap->limit[size_class] < first)
        heap_list_set_limit(heap, size_class, first);
}

/* Larger ones have so few blocks on a page that their pages would be half empty. */
#define HOT_BY_USE_MAX_BYTES 512u

void heap_make_hot(thread_heap_t *heap, unsigned size_class) {
    heap->n_until_hot = FREES_UNTIL_HOT;
    if (!is_cold(heap, size_class) || size_class_bytes(size_class) > HOT_BY_USE_MAX_BYTES)
        return;
    heap_lock(heap);
    heap_put_list(heap, size_class);
    heap->n_cold[size_class] = N_COLD_OBJECTS;
    heap_end_cold(heap, size_class);
    heap_unlock(heap);
}

static void put_cold_list(thread_heap_t *heap, unsigned size_class) {
    heap_put_list(heap, size_class);
    heap_limit_to_cold(heap, size_class);
}

/* Are three of four elements of cold classes free? */
static bool are_most_cold_free(const thread_heap_t *heap) {
    int32_t n_out = 0, n_listed = 0;
    for (unsigned c = 0; c < N_SMALL_CLASSES; c++)
        if (is_cold(heap, c)) {
            n_out += heap->n_cold[c];
            n_listed += (int32_t)list_n_blocks(heap, c);
        }
    return n_listed * 4 >= n_out * 3;
}

/* The last element of a class that is hardly used: a thread that goes to sleep now would keep them
 * all, and what is free in other such classes.  One that does the same again and again does not get
 * here any more. */
bool heap_return_cold(thread_heap_t *heap, unsigned size_class, block_t *block) {
    if (!is_cold(heap, size_class) || heap->n_returns[size_class] >= COLD_RETURNS ||
        list_n_blocks(heap, size_class) + 1 != heap->n_cold[size_class])
        return false;
    heap->n_returns[size_class]++;
    block_set_mark(block, heap->key);
    heap_lock(heap);
    heap_put_list(heap, size_class);
    heap_put(heap, block);
    heap->n_cold[size_class] = 0;
    heap_end_cold(heap, size_class);
    if (are_most_cold_free(heap))
        for (unsigned c = 0; c < N_SMALL_CLASSES; c++)
            if (is_cold(heap, c) && list_n_blocks(heap, c) > 0)
                put_cold_list(heap, c);
    heap_purge_if_nearly_empty(heap);
    heap_unlock(heap);
    return true;
}

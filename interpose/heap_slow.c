/* SPDX-License-Identifier: MIT */
#include "heap_slow.h"

#include <string.h>

#include "decay.h"
#include "heap_drain.h"
#include "heap_elements.h"
#include "heap_lists.h"
#include "heap_purge.h"
#include "heap_runs.h"
#include "heap_slots.h"
#include "heaps.h"
#include "large.h"
#include "mheap_internal.h"
#include "remote.h"

/* A refill takes half a list's worth of blocks from runs, but not more than this at once. */
#define REFILL_MAX_BLOCKS   128u

/* Where a run has no block ready, pages are opened one by one, or as many as the refill takes, but
 * not more than four at once, in a heap that has many runs: an opened page is a resident page. */
#define OPEN_MORE_PAGES     4u
#define OPEN_MORE_FROM_RUNS 32u

/* Elements that a refill takes at once: this part of the list's limit, and at most so many. */
#define ROW_PART_OF_LIMIT   8u
#define ROW_MAX_ELEMENTS    8u

static unsigned n_pages_to_open(const thread_heap_t *heap, unsigned size_class, uint32_t n_blocks) {
    size_t n_pages = n_blocks * size_class_bytes(size_class) / RUN_PAGE_BYTES;
    if (heap->counts.n_runs_made < OPEN_MORE_FROM_RUNS || n_pages == 0)
        return 1;
    return n_pages < OPEN_MORE_PAGES ? (unsigned)n_pages : OPEN_MORE_PAGES;
}

/* ---- Refill ---- */

static bool refill_from_runs(thread_heap_t *heap, unsigned size_class) {
    uint32_t n_blocks = (uint32_t)heap->limit[size_class] / 2; /* LIST_LEAST_BLOCKS at least */
    if (n_blocks > REFILL_MAX_BLOCKS)
        n_blocks = REFILL_MAX_BLOCKS;
    n_blocks = heap_list_reserve(heap, size_class, n_blocks);
    unsigned n_pages = n_pages_to_open(heap, size_class, n_blocks);
    block_t **first = heap_slot(heap, heap->slots.first[size_class]) + 1;
    uint32_t n = heap_take_blocks(heap, size_class, n_blocks, n_pages, first + n_blocks);
    if (n < n_blocks)
        memmove(first, first + (n_blocks - n), n * sizeof *first);
    heap->list_top[size_class] = heap->slots.first[size_class] + (int32_t)(n * sizeof *first);
    return n > 0;
}

static void *get_cold(thread_heap_t *heap, unsigned size_class, bool *is_zero) {
    return heap_get_element(heap, element_bytes(size_class_bytes(size_class)), 16, is_zero);
}

/* An element and, side by side with it, some for the list, which is empty.  As its limit says how
 * much of the class comes and goes, one that is hardly used gets no more than it asked for. */
static void *refill_medium(thread_heap_t *heap, unsigned size_class, bool *is_zero) {
    uint32_t n = (uint32_t)heap->limit[size_class] / ROW_PART_OF_LIMIT;
    if (n < 2)
        return get_cold(heap, size_class, is_zero);
    if (n > ROW_MAX_ELEMENTS)
        n = ROW_MAX_ELEMENTS;
    n = 1 + heap_list_reserve(heap, size_class, n - 1);
    size_t bytes = element_bytes(size_class_bytes(size_class));
    char *first = heap_get_row(heap, bytes, &n, is_zero);
    for (uint32_t i = first ? n - 1 : 0; i > 0; i--)
        list_push(heap, size_class, (block_t *)(first + i * (bytes + MHEAP_TAG_BYTES)));
    return first;
}

/* NULL if the list is empty.  A block without its mark is lost, if the program goes on: it may be
 * here twice, and somebody's by now. */
static block_t *pop(thread_heap_t *heap, unsigned size_class) {
    block_t *block;
    while ((block = *heap_slot(heap, heap->list_top[size_class])) != NO_BLOCK) {
        heap->list_top[size_class] -= (int32_t)sizeof block;
        if (!block_is_damaged(block, heap->key))
            return block;
        report_damage(block, "malloc");
    }
    return NULL;
}

/* ---- Elements of larger classes ---- */

/*
 * A list that is hardly used ends with as many elements as its class ever had live, and so do those
 * of the classes beside it, if at other times.  So a medium class that had to take memory when next
 * to none was free that is resident takes elements from the lists of larger ones from then on,
 * until that has cost about as much time as to have so much faulted in; then it gets more of its
 * own.  One whose list has grown comes and goes so often that only time would be lost.
 */
#define LARGER_MAX_STEPS      4u   /* classes: at most half as large again */
#define LARGER_BYTES_FOR_ONE  128u /* of the class's own element */
#define LARGER_MAX_TIMES      4    /* the list's limit at first */
#define LARGER_MIN_FREE_BYTES ((uint64_t)64 << 10)
#define LARGER_FREE_PART      16u

static block_t *pop_larger(thread_heap_t *heap, unsigned size_class) {
    unsigned last = size_class + LARGER_MAX_STEPS;
    for (unsigned c = size_class + 1; c <= last && c < N_CLASSES; c++)
        if (!list_is_empty(heap, c)) {
            heap->n_larger[size_class - N_SMALL_CLASSES]--;
            return pop(heap, c);
        }
    return NULL;
}

static bool has_much_free(const thread_heap_t *heap) {
    uint64_t dirty = heap_dirty_bytes(heap);
    return dirty >= LARGER_MIN_FREE_BYTES && dirty >= heap_resident_bytes(heap) / LARGER_FREE_PART;
}

/* The class gets an element of its own. */
static void allow_larger(thread_heap_t *heap, unsigned size_class) {
    size_t n = size_class_bytes(size_class) / LARGER_BYTES_FOR_ONE;
    int32_t most = LARGER_MAX_TIMES * heap_list_limit_at_first(size_class);
    if (heap->limit[size_class] > most || has_much_free(heap))
        n = 0;
    heap->n_larger[size_class - N_SMALL_CLASSES] = (uint8_t)(n < UINT8_MAX ? n : UINT8_MAX);
}

/* Not what its own list sent home: there it is free, unless others have taken it. */
static bool may_take_larger(const thread_heap_t *heap, unsigned size_class) {
    if (size_class < N_SMALL_CLASSES)
        return false;
    return heap->n_larger[size_class - N_SMALL_CLASSES] > 0 && heap->n_sent_home[size_class] <= 0;
}

/* ---- Refill, under the lock ---- */

static void *refill_locked(thread_heap_t *heap, unsigned size_class, bool *is_zero) {
    heap->counts.n_refills++;
    if (list_drains(heap, size_class))
        heap_drain_end(heap, size_class);
    heap_sweep_if_due(heap);
    heap_note_refill(heap, size_class);
    remote_owner_looks(heap, heap_resident_bytes(heap));
    heap_take_inbox(heap); /* may put blocks on this very list */
    block_t *block = pop(heap, size_class);
    if (block)
        return block;
    if (size_class >= N_SMALL_CLASSES) {
        allow_larger(heap, size_class);
        return refill_medium(heap, size_class, is_zero);
    }
    if (heap_stays_cold(heap, size_class)) {
        heap->n_cold[size_class]++;
        heap_limit_to_cold(heap, size_class);
        return get_cold(heap, size_class, is_zero);
    }
    heap_end_cold(heap, size_class);
    if (!refill_from_runs(heap, size_class))
        return get_cold(heap, size_class, is_zero); /* no room for a run */
    return pop(heap, size_class);
}

void *heap_refill(thread_heap_t *heap, unsigned size_class, bool *is_zero) {
    *is_zero = false;
    block_t *block = pop(heap, size_class); /* malloc came here since it is damaged */
    if (block)
        return block;
    if (may_take_larger(heap, size_class) && (block = pop_larger(heap, size_class)))
        return block;
    heaps_decay_if_due();
    heap_lock(heap);
    block = refill_locked(heap, size_class, is_zero);
    uint64_t fresh_bytes = heap->fresh_bytes;
    heap->fresh_bytes = 0;
    heap_unlock(heap);
    if (fresh_bytes && large_has_dirty())
        large_exchange(fresh_bytes);
    if (heap->fast_id != heap->id)
        heap_flush_all(heap); /* whatever came with it must not be found by the fast path */
    return block;
}

void *heap_get_aligned(thread_heap_t *heap, size_t bytes, size_t align) {
    heap_lock(heap);
    heap_take_inbox(heap);
    void *pointer = heap_get_element(heap, element_bytes(bytes), align, NULL);
    heap_unlock(heap);
    return pointer;
}

/* ---- Out of other heaps ---- */

static void *get_from(thread_heap_t *heap, size_t bytes, size_t align) {
    unsigned size_class = size_class_of(bytes);
    block_t *block;
    if (size_class < N_SMALL_CLASSES && align <= 16 &&
        heap_take_blocks(heap, size_class, 1, 1, &block + 1))
        return block;
    return heap_get_element(heap, element_bytes(size_class_bytes(size_class)), align, NULL);
}

/* Each heap's lock is waited for: the alternative is to tell the program that there is no memory.
 */
__attribute__((cold)) void *heaps_get_from_any(size_t bytes, size_t align) {
    void *object = NULL;
    for (owner_id_t id = 1; !object && id <= heap_last_id(); id++) {
        thread_heap_t *heap = heap_by_id(id);
        heap_lock(heap);
        object = get_from(heap, bytes, align);
        heap_unlock(heap);
    }
    return object;
}

/* ---- Flush ---- */

/*
 * A full list gets a larger array, up to its limit.  Then the half goes home that has been there
 * for longest: what was freed last stays, and is warm, and so many mallocs or frees in a row find
 * blocks or room.  A list that shrinks goes home whole, and drains from then on.
 */
static uint32_t flush_locked(thread_heap_t *heap, unsigned size_class) {
    uint32_t n_home = list_n_blocks(heap, size_class);
    if (heap_list_shrinks(heap, size_class)) {
        bool may_drain = list_may_drain(heap, size_class);
        heap_put_list(heap, size_class);
        if (may_drain)
            heap_drain_begin(heap, size_class);
        return n_home;
    }
    n_home = (n_home + 1) / 2;
    heap_put_bottom(heap, size_class, n_home);
    return n_home;
}

/* At the end of each flush, and not under the lock any more. */
static void flushed(thread_heap_t *heap) {
    heap->counts.n_flushes++;
    heap_purge_if_due(heap);
    heap_unlock(heap);
    if (large_has_dirty())
        large_purge(false); /* what has been free for a while */
    heaps_decay_if_due();
}

void heap_make_room(thread_heap_t *heap, unsigned size_class) {
    heap_lock(heap);
    if (heap_list_grow(heap, size_class)) {
        heap_unlock(heap);
        return;
    }
    heap_note_flush(heap, size_class, flush_locked(heap, size_class));
    flushed(heap);
}

void heap_make_waiting_room(thread_heap_t *heap) {
    heap_lock(heap);
    heap_drain_flush(heap);
    flushed(heap);
}

void heap_flush_all(thread_heap_t *heap) {
    heap_lock(heap);
    heap_put_all_lists(heap);
    heap_unlock(heap);
}

void heap_put_now(thread_heap_t *heap, void *pointer) {
    block_set_mark(pointer, heap->key);
    heap_lock(heap);
    heap_put(heap, pointer);
    heap_purge_if_due(heap);
    heap_unlock(heap);
}

/* ---- Whole heaps ---- */

/* Blocks that came home go on the owner's own lists while there is room: they are wanted again. */
static bool take_to_list(thread_heap_t *heap, block_t *block, unsigned size_class) {
    if (list_is_full(heap, size_class) && !heap_list_grow(heap, size_class)) {
        heap->n_sent_home[size_class]++;
        return false;
    }
    list_push_marked(heap, size_class, block);
    return true;
}

/* Returns its bytes, as they were counted when it was freed. */
static size_t take_in(thread_heap_t *heap, sent_t sent) {
    unsigned size_class = sent_class(sent);
    bool is_wanted = heap == self_heap && heap->fast_id == heap->id && /* we have lists */
                     (!sent_is_element(sent) || thread_heap_wants_element(heap, size_class));
    heap->counts.n_inbox_blocks++;
    if (!is_wanted || !take_to_list(heap, sent_block(sent), size_class))
        heap_put(heap, sent_block(sent));
    return sent_bytes(sent);
}

/* As it was sent. */
static sent_t look_up(const block_t *block) {
    region_t *region = region_of(block);
    unsigned size_class = region_tile_class(region, block);
    if (size_class != TILE_ELEMENTS)
        return sent_make(block, size_class, false);
    const mheap_elt_t *e = elt_at(region_mheap(region), region_uoffset(region, block));
    return sent_element(block, elt_n_bytes(e));
}

void heap_take_inbox(thread_heap_t *heap) {
    sent_t sent[BATCH_MAX_BLOCKS];
    uint64_t n_bytes = 0;
    for (uint32_t n; (n = remote_take(heap, sent, BATCH_MAX_BLOCKS)) > 0;)
        for (uint32_t i = 0; i < n; i++)
            n_bytes += take_in(heap, sent[i]);
    for (block_t *block = remote_take_linked(heap), *next; block; block = next) {
        next = block_next(block, heap->key, "free");
        n_bytes += take_in(heap, look_up(block));
    }
    if (n_bytes == 0)
        return;
    atomic_fetch_sub_explicit(&heap->inbox_bytes, n_bytes, memory_order_relaxed);
    heap->decay.is_done = false;
    remote_note_pages(heap);
    heap_purge_if_due(heap);
}

void heap_adopted(thread_heap_t *heap) {
    remote_flush_all(heap);
    heap_lock(heap);
    heap->counts.n_adoptions++;
    heap_drain_end_all(heap); /* after fork as many may wait as can, and nobody is to flush them */
    heap_sweep_soon(heap);    /* what the thread before used may not be what this one needs */
    heap_take_inbox(heap);
    heap_unlock(heap);
}

static void trim_heap(void *bytes, thread_heap_t *heap) {
    heap_take_inbox(heap);
    if (heap == self_heap)
        heap_put_all_lists(heap);
    *(size_t *)bytes += heap_purge_all(heap);
}

size_t heaps_trim(void) {
    size_t bytes = 0;
    if (self_heap != NO_HEAP)
        remote_flush_all(self_heap);
    heap_foreach(trim_heap, &bytes);
    return bytes + large_purge(true);
}

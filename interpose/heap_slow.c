/* SPDX-License-Identifier: MIT */
#include "heap_slow.h"

#include "decay.h"
#include "heap_elements.h"
#include "heap_runs.h"
#include "heaps.h"
#include "large.h"
#include "mheap_internal.h"
#include "options.h"
#include "remote.h"

/* A list's bound in bytes: at first, and at most after it has shown to be worth more. */
#define LIST_FIRST_BYTES        ((size_t)8 << 10)
#define LIST_LEAST_BLOCKS       8u
#define LIST_MAX_BYTES          ((size_t)128 << 10)
#define MEDIUM_LIST_FIRST_BYTES ((size_t)32 << 10)
#define MEDIUM_LIST_MAX_BYTES   ((size_t)512 << 10)

/* A refill takes half a list's worth of blocks from runs, but not more than this at once. */
#define REFILL_MAX_BLOCKS       128u

/* Where a run has no block ready, pages are opened one by one, or four at once in a heap that has
 * many runs: a touched page is a resident page. */
#define OPEN_MORE_PAGES         4u
#define OPEN_MORE_FROM_RUNS     32u

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
    return (int32_t)(n_blocks < least ? least : n_blocks);
}

int32_t heap_list_limit_at_first(unsigned size_class) {
    return list_limit(size_class, LIST_FIRST_BYTES, MEDIUM_LIST_FIRST_BYTES);
}

/* ---- Idle lists ---- */

static int32_t n_on_lists(const thread_heap_t *heap, unsigned size_class) {
    return heap->limit[size_class] - heap->list[size_class].credit +
           heap->previous[size_class].n_blocks;
}

/* The class's lists go home.  So a cold one has so many elements less. */
static void note_lists_go(thread_heap_t *heap, unsigned size_class) {
    if (size_class >= N_SMALL_CLASSES || heap->n_cold[size_class] >= N_COLD_OBJECTS)
        return;
    int32_t n_cold = heap->n_cold[size_class] - n_on_lists(heap, size_class);
    heap->n_cold[size_class] = (uint8_t)(n_cold > 0 ? n_cold : 0);
}

/* Take the whole list home, and the one put aside. */
static void put_lists(thread_heap_t *heap, unsigned size_class) {
    block_list_t *list = &heap->list[size_class];
    note_lists_go(heap, size_class);
    heap_put_list(heap, heap->previous[size_class].head);
    heap_put_list(heap, list->head);
    heap->previous[size_class].head = NULL;
    heap->previous[size_class].n_blocks = 0;
    list->head = NULL;
    list->credit = heap->limit[size_class];
}

#define SWEEP_NOW (UINT64_MAX / 2)

void heap_sweep_soon(thread_heap_t *heap) {
    heap->grown_bytes = SWEEP_NOW;
}

/*
 * A list that is not used pins runs: a few free blocks in each of them are enough.  So before a
 * heap grows much, and about once a second, the lists on which nothing has happened since the last
 * time are taken home.
 */
static void sweep_if_due(thread_heap_t *heap) {
    if (heap->grown_bytes < heap->n_mheaps * SWEEP_MIN_BYTES)
        return;
    heap->grown_bytes = 0;
    for (unsigned c = 0; c < N_CLASSES; c++) {
        block_list_t *list = &heap->list[c];
        bool has_blocks = list->head || heap->previous[c].head;
        if (has_blocks && list->credit == heap->swept_credit[c]) {
            put_lists(heap, c);
            list->credit = heap->limit[c] = heap_list_limit_at_first(c);
        }
        heap->swept_credit[c] = list->credit;
    }
}

/* ---- How long a list may be ---- */

static void set_limit(thread_heap_t *heap, unsigned size_class, int32_t limit) {
    heap->list[size_class].credit += limit - heap->limit[size_class];
    heap->limit[size_class] = limit;
}

/* The list was full and sent blocks home. */
static void note_flush(thread_heap_t *heap, unsigned size_class, int32_t n_blocks) {
    heap->previous[size_class].n_sent_home += n_blocks;
    if (heap->n_flushes[size_class] < SHRINKING_FLUSHES) {
        heap->n_flushes[size_class]++;
        return;
    }
    int32_t first = heap_list_limit_at_first(size_class), half = heap->limit[size_class] / 2;
    set_limit(heap, size_class, half > first ? half : first);
}

/* Blocks that had been sent home are wanted back: with twice the room they need not have gone. */
static void note_refill(thread_heap_t *heap, unsigned size_class) {
    heap->n_flushes[size_class] = 0;
    if (heap->previous[size_class].n_sent_home <= 0)
        return;
    int32_t limit = heap->limit[size_class];
    int32_t most = list_limit(size_class, LIST_MAX_BYTES, MEDIUM_LIST_MAX_BYTES);
    heap->previous[size_class].n_sent_home -= limit;
    set_limit(heap, size_class, limit * 2 < most ? limit * 2 : most);
}

/* ---- Cold classes ---- */

static bool is_cold(const thread_heap_t *heap, unsigned size_class) {
    return size_class < N_SMALL_CLASSES && heap->n_cold[size_class] < N_COLD_OBJECTS;
}

/* Of a class about which little is known the list is full when all its elements but one are on it:
 * then the last one's free comes to heap_return_cold.  The list is empty.  (A damaged list can be
 * given up if the program is to go on, what is home cannot.) */
static void limit_to_cold(thread_heap_t *heap, unsigned size_class) {
    int32_t n = heap->n_cold[size_class] - 1, first = heap_list_limit_at_first(size_class);
    if (heap->n_returns[size_class] < COLD_RETURNS && options.abort)
        set_limit(heap, size_class, n >= 0 && n < first ? n : first);
}

static void end_cold(thread_heap_t *heap, unsigned size_class) {
    int32_t first = heap_list_limit_at_first(size_class);
    if (heap->limit[size_class] < first)
        set_limit(heap, size_class, first);
}

static void put_cold_lists(thread_heap_t *heap, unsigned size_class) {
    put_lists(heap, size_class);
    limit_to_cold(heap, size_class);
}

/* Are three of four elements of cold classes free? */
static bool are_most_cold_free(const thread_heap_t *heap) {
    int32_t n_out = 0, n_listed = 0;
    for (unsigned c = 0; c < N_SMALL_CLASSES; c++)
        if (is_cold(heap, c)) {
            n_out += heap->n_cold[c];
            n_listed += n_on_lists(heap, c);
        }
    return n_listed * 4 >= n_out * 3;
}

/* The last element of a class that is hardly used: a thread that goes to sleep now would keep them
 * all, and what is free in other such classes.  One that does the same again and again does not get
 * here any more. */
bool heap_return_cold(thread_heap_t *heap, unsigned size_class, block_t *block) {
    if (!is_cold(heap, size_class) || heap->n_returns[size_class] >= COLD_RETURNS ||
        heap->previous[size_class].head || heap->limit[size_class] != heap->n_cold[size_class] - 1)
        return false;
    heap->n_returns[size_class]++;
    heap_lock(heap);
    put_lists(heap, size_class);
    heap_put(heap, block);
    heap->n_cold[size_class] = 0;
    end_cold(heap, size_class);
    if (are_most_cold_free(heap))
        for (unsigned c = 0; c < N_SMALL_CLASSES; c++)
            if (is_cold(heap, c) && heap->list[c].head)
                put_cold_lists(heap, c);
    heap_purge_if_nearly_empty(heap);
    heap_unlock(heap);
    return true;
}

/* ---- Refill ---- */

static block_t *refill_from_runs(thread_heap_t *heap, unsigned size_class) {
    block_list_t *list = &heap->list[size_class];
    uint32_t n_blocks =
        (uint32_t)heap->limit[size_class] / 2; /* small: LIST_LEAST_BLOCKS at least */
    if (n_blocks > REFILL_MAX_BLOCKS)
        n_blocks = REFILL_MAX_BLOCKS;
    unsigned n_pages = heap->counts.n_runs_made >= OPEN_MORE_FROM_RUNS ? OPEN_MORE_PAGES : 1;
    uint32_t n = 0;
    block_t *head = heap_take_blocks(heap, size_class, n_blocks, n_pages, &n);
    list->credit -= (int32_t)n;
    return head;
}

static void *get_cold(thread_heap_t *heap, unsigned size_class, bool *is_zero) {
    return heap_get_element(heap, element_bytes(size_class_bytes(size_class)), 16, is_zero);
}

static block_t *pop(thread_heap_t *heap, unsigned size_class) {
    block_list_t *list = &heap->list[size_class];
    block_t *block = list->head;
    list->head = block_next(block, heap->key, "malloc");
    list->credit++;
    return block;
}

static void *refill_locked(thread_heap_t *heap, unsigned size_class, bool *is_zero) {
    heap->counts.n_refills++;
    sweep_if_due(heap);
    note_refill(heap, size_class);
    uint32_t n_looks = atomic_load_explicit(&heap->n_looks, memory_order_relaxed);
    atomic_store_explicit(&heap->n_looks, n_looks + 1, memory_order_relaxed);
    heap_take_inbox(heap); /* may put blocks on this very list */
    if (heap->list[size_class].head)
        return pop(heap, size_class);
    if (size_class >= N_SMALL_CLASSES)
        return get_cold(heap, size_class, is_zero);
    if (heap->n_cold[size_class] < N_COLD_OBJECTS) {
        heap->n_cold[size_class]++;
        limit_to_cold(heap, size_class);
        return get_cold(heap, size_class, is_zero);
    }
    end_cold(heap, size_class);
    heap->list[size_class].head = refill_from_runs(heap, size_class);
    if (!heap->list[size_class].head)
        return get_cold(heap, size_class, is_zero); /* no room for a run */
    return pop(heap, size_class);
}

/* The list that was put aside, if there is one. */
static bool take_previous(thread_heap_t *heap, unsigned size_class) {
    block_t *head = heap->previous[size_class].head;
    if (!head || heap->list[size_class].head)
        return false;
    heap->list[size_class].credit = heap->limit[size_class] - heap->previous[size_class].n_blocks;
    heap->previous[size_class].head = NULL;
    heap->previous[size_class].n_blocks = 0;
    heap->n_flushes[size_class] = 0;
    atomic_signal_fence(memory_order_seq_cst); /* as in heap_flush */
    heap->list[size_class].head = head;
    return true;
}

void *heap_refill(thread_heap_t *heap, unsigned size_class, bool *is_zero) {
    *is_zero = false;
    if (take_previous(heap, size_class))
        return pop(heap, size_class);
    heaps_decay_if_due();
    heap_lock(heap);
    block_t *block = refill_locked(heap, size_class, is_zero);
    heap_unlock(heap);
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
    uint32_t n_taken;
    void *block = size_class < N_SMALL_CLASSES && align <= 16
                      ? heap_take_blocks(heap, size_class, 1, 1, &n_taken)
                      : NULL;
    size_t n_element_bytes = element_bytes(size_class_bytes(size_class));
    return block ? block : heap_get_element(heap, n_element_bytes, align, NULL);
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
 * The full list is put aside and the one put aside before goes home: so what was freed last stays,
 * without walking the list, and an equal number of mallocs and frees in a row never gets here twice
 * (the two magazines of Bonwick and Adams, "Magazines and Vmem", 2001).
 */
static block_t *put_aside(thread_heap_t *heap, unsigned size_class) {
    block_list_t *list = &heap->list[size_class];
    block_t *home = heap->previous[size_class].head, *full = list->head;
    list->head = NULL;
    list->credit = heap->limit[size_class];
    /* A fork's child may see us between two stores: it may lose blocks, but not have them twice. */
    atomic_signal_fence(memory_order_seq_cst);
    heap->previous[size_class].head = full;
    heap->previous[size_class].n_blocks = heap->limit[size_class];
    return home;
}

/* A list that shrinks goes home whole. */
void heap_flush(thread_heap_t *heap, unsigned size_class) {
    bool is_shrinking = heap->n_flushes[size_class] >= SHRINKING_FLUSHES;
    int32_t n_home = heap->previous[size_class].n_blocks;
    block_t *home = is_shrinking ? NULL : put_aside(heap, size_class);
    if (!home && !is_shrinking)
        return;
    heap_lock(heap);
    heap->counts.n_flushes++;
    if (is_shrinking) {
        n_home += heap->limit[size_class];
        put_lists(heap, size_class);
    } else
        heap_put_list(heap, home);
    note_flush(heap, size_class, n_home);
    heap_purge_if_due(heap);
    heap_unlock(heap);
    large_purge(false); /* what has been free for a while; one load if there is nothing */
    heaps_decay_if_due();
}

void heap_put_all_lists(thread_heap_t *heap) {
    for (unsigned c = 0; c < N_CLASSES; c++)
        put_lists(heap, c);
}

void heap_flush_all(thread_heap_t *heap) {
    heap_lock(heap);
    heap_put_all_lists(heap);
    heap_unlock(heap);
}

void heap_put_now(thread_heap_t *heap, void *pointer) {
    heap_lock(heap);
    heap_put(heap, pointer);
    heap_purge_if_due(heap);
    heap_unlock(heap);
}

/* ---- Whole heaps ---- */

/* Blocks that came home go on the owner's own lists while there is room: they are wanted again. */
static bool take_to_list(thread_heap_t *heap, block_t *block) {
    region_t *region = region_of(block);
    unsigned size_class = region_tile_class(region, block);
    if (size_class == TILE_ELEMENTS) {
        mheap_elt_t *e = elt_at(region_mheap(region), region_uoffset(region, block));
        size_class = size_class_within(elt_n_bytes(e));
        if (!thread_heap_wants_element(heap, size_class))
            return false;
    }
    block_list_t *list = &heap->list[size_class];
    if (list->credit <= 0) {
        heap->previous[size_class].n_sent_home++;
        return false;
    }
    list->credit--;
    list_push(list, block, block_mask(block, heap->key));
    return true;
}

void heap_take_inbox(thread_heap_t *heap) {
    block_t *block = remote_take_inbox(heap);
    if (!block)
        return;
    bool is_own = heap == self_heap && heap->fast_id == heap->id;
    while (block) {
        block_t *next = block_next(block, heap->key, "free");
        heap->counts.n_inbox_blocks++;
        if (!is_own || !take_to_list(heap, block))
            heap_put(heap, block);
        block = next;
    }
    heap_purge_if_due(heap);
}

void heap_adopted(thread_heap_t *heap) {
    remote_flush_all(heap);
    heap_lock(heap);
    heap->counts.n_adoptions++;
    heap_sweep_soon(heap); /* what the thread before used may not be what this one needs */
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
    if (self_heap != &no_heap)
        remote_flush_all(self_heap);
    heap_foreach(trim_heap, &bytes);
    return bytes + large_purge(true);
}

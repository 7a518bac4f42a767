/* SPDX-License-Identifier: MIT */
#include "heap_slow.h"

#include "decay.h"
#include "heap_elements.h"
#include "heap_lists.h"
#include "heap_runs.h"
#include "heaps.h"
#include "large.h"
#include "mheap_internal.h"
#include "remote.h"

/* A refill takes half a list's worth of blocks from runs, but not more than this at once. */
#define REFILL_MAX_BLOCKS   128u

/* Where a run has no block ready, pages are opened one by one, or four at once in a heap that has
 * many runs: a touched page is a resident page. */
#define OPEN_MORE_PAGES     4u
#define OPEN_MORE_FROM_RUNS 32u

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
    heap_sweep_if_due(heap);
    heap_note_refill(heap, size_class);
    uint32_t n_looks = atomic_load_explicit(&heap->n_looks, memory_order_relaxed);
    atomic_store_explicit(&heap->n_looks, n_looks + 1, memory_order_relaxed);
    heap_take_inbox(heap); /* may put blocks on this very list */
    if (heap->list[size_class].head)
        return pop(heap, size_class);
    if (size_class >= N_SMALL_CLASSES)
        return get_cold(heap, size_class, is_zero);
    if (heap->n_cold[size_class] < N_COLD_OBJECTS) {
        heap->n_cold[size_class]++;
        heap_limit_to_cold(heap, size_class);
        return get_cold(heap, size_class, is_zero);
    }
    heap_end_cold(heap, size_class);
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
    bool is_shrinking = heap_list_shrinks(heap, size_class);
    int32_t n_home = heap->previous[size_class].n_blocks;
    block_t *home = is_shrinking ? NULL : put_aside(heap, size_class);
    if (!home && !is_shrinking)
        return;
    heap_lock(heap);
    heap->counts.n_flushes++;
    if (is_shrinking) {
        n_home += heap->limit[size_class];
        heap_put_lists(heap, size_class);
    } else
        heap_put_list(heap, home);
    heap_note_flush(heap, size_class, n_home);
    heap_purge_if_due(heap);
    heap_unlock(heap);
    large_purge(false); /* what has been free for a while; one load if there is nothing */
    heaps_decay_if_due();
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

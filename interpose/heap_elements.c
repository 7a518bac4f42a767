/* SPDX-License-Identifier: MIT */
#include "heap_elements.h"

#include "heaps.h"
#include "limits.h"
#include "mheap_internal.h"
#include "object.h"
#include "options.h"
#include "purge_budget.h"

static void *element_address(heap_mheap_t *entry, mheap_uoffset_t uoffset) {
    return (char *)region_vector(entry->region) + uoffset;
}

/* What the short scan over the mheaps looks at, after any change to one of them. */
static void note_change(heap_mheap_t *entry) {
    mheap_t *h = region_mheap(entry->region);
    entry->largest_bin = mheap_largest_bin(h);
    entry->tail_bytes = (uint32_t)mheap_tail_room(h);
    limits_account(&entry->accounted_bytes, mheap_resident_bytes(h));
}

static void *get_from_free_lists(thread_heap_t *heap, size_t bytes, size_t align, bool *is_zero) {
    uint32_t bin = bin_of(mheap_words(bytes));
    for (uint32_t i = 0; i < heap->n_mheaps; i++) {
        heap_mheap_t *entry = &heap->mheaps[i];
        if (entry->largest_bin == BIN_NONE || entry->largest_bin < bin)
            continue;
        mheap_uoffset_t uoffset =
            mheap_get_search_free_list(region_mheap(entry->region), bytes, align, 0, is_zero);
        if (uoffset != MHEAP_GROUNDED) {
            note_change(entry);
            return element_address(entry, uoffset);
        }
    }
    return NULL;
}

static void *get_from_end(thread_heap_t *heap, heap_mheap_t *entry, size_t bytes, size_t align,
                          bool *is_zero) {
    if (entry->tail_bytes < bytes + MHEAP_TAG_BYTES)
        return NULL;
    mheap_t *h = region_mheap(entry->region);
    uint64_t accessible_before = h->accessible_len;
    mheap_uoffset_t uoffset = mheap_get_extend(h, bytes, align, 0, is_zero);
    purge_budget_earn(h->accessible_len - accessible_before);
    if (uoffset == MHEAP_GROUNDED)
        return NULL;
    uint32_t tail_before = entry->tail_bytes;
    note_change(entry);
    heap->grown_bytes += tail_before - entry->tail_bytes;
    return element_address(entry, uoffset);
}

static void *get_anywhere(thread_heap_t *heap, size_t bytes, size_t align, bool *is_zero) {
    void *pointer = get_from_free_lists(heap, bytes, align, is_zero);
    for (uint32_t i = 0; !pointer && i < heap->n_mheaps; i++)
        pointer = get_from_end(heap, &heap->mheaps[i], bytes, align, is_zero);
    if (!pointer && heap_add_region(heap, bytes + align))
        pointer = get_from_end(heap, &heap->mheaps[heap->n_mheaps - 1], bytes, align, is_zero);
    return pointer;
}

static uint64_t accounted_bytes(const thread_heap_t *heap) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < heap->n_mheaps; i++)
        bytes += heap->mheaps[i].accounted_bytes;
    return bytes;
}

/* Past the hard limit only memory that is resident anyhow is to be had.  Where an element lies, and
 * whether it is, shows when it has been taken: then it goes back, with its pages. */
static void *get_within_limit(thread_heap_t *heap, size_t bytes, size_t align, bool *is_zero) {
    uint64_t before = accounted_bytes(heap);
    void *pointer = get_anywhere(heap, bytes, align, is_zero);
    if (!pointer || accounted_bytes(heap) <= before || !limits_would_exceed(0))
        return pointer;
    region_t *region = region_of(pointer);
    mheap_put_elt(region_mheap(region), region_uoffset(region, pointer));
    mheap_purge(region_mheap(region), SIZE_MAX);
    note_change(&heap->mheaps[region->heap_index]);
    return NULL;
}

void *heap_get_element(thread_heap_t *heap, size_t bytes, size_t align, bool *is_zero) {
    if (__builtin_expect(limits_are_on, 0))
        return get_within_limit(heap, bytes, align, is_zero);
    return get_anywhere(heap, bytes, align, is_zero);
}

bool heap_put_element(thread_heap_t *heap, void *pointer) {
    region_t *region = region_of(pointer);
    mheap_t *h = region_mheap(region);
    mheap_uoffset_t uoffset = region_uoffset(region, pointer);
    /* mheap_put_elt does not return from what it refuses. */
    if (!options.abort && !mheap_is_live(h, uoffset)) {
        misuse("free", pointer, mheap_reason(h, uoffset));
        return false;
    }
    mheap_put_elt(h, uoffset);
    note_change(&heap->mheaps[region->heap_index]);
    return true;
}

bool heap_resize_element(thread_heap_t *heap, void *pointer, size_t bytes) {
    region_t *region = region_of(pointer);
    if (!mheap_resize_elt(region_mheap(region), region_uoffset(region, pointer), bytes))
        return false;
    note_change(&heap->mheaps[region->heap_index]);
    return true;
}

bool heap_make_run(thread_heap_t *heap, unsigned size_class) {
    void *start = heap_get_element(heap, RUN_BYTES, TILE_BYTES, NULL);
    if (!start)
        return false;
    region_t *region = region_of(start);
    run_init(&region->runs[region_tile(start)], size_class);
    region_set_tile_class(region, region_tile(start), size_class);
    run_list_push(&heap->partial_run[size_class], run_tile_number(start));
    heap->counts.n_runs_made++;
    return true;
}

static void release_run(thread_heap_t *heap, void *start) {
    region_t *region = region_of(start);
    run_t *run = &region->runs[region_tile(start)];
    run_list_remove(&heap->partial_run[run->size_class], run_tile_number(start));
    region_set_tile_class(region, region_tile(start), TILE_ELEMENTS);
    heap_put_element(heap, start);
}

/* fast_free asks only whether the offset is a block's; here is who sees the count. */
static __attribute__((noinline, cold)) void refuse_block(const run_t *run, const block_t *block) {
    uint32_t offset = (uint32_t)((uintptr_t)block & (TILE_BYTES - 1));
    misuse("free", block,
           run_has_carved(run, offset) ? "freed twice (found on its way home)"
                                       : "never allocated (found on its way home)");
}

/* Inline, since whole lists go through it.  False: not taken, and reported. */
static inline bool put_block(thread_heap_t *heap, run_t *run, block_t *block) {
    if (__builtin_expect(!run_misses(run, block), 0))
        return refuse_block(run, block), false;
    run_push(run, block, heap->key);
    if (!run->is_partial)
        run_list_push(&heap->partial_run[run->size_class], run_tile_number(block));
    /* The last run with room of its class stays: it will be wanted again. */
    else if (run_is_empty(run) && (run->next || run->prev))
        release_run(heap, run_start(block));
    return true;
}

static inline bool put(thread_heap_t *heap, block_t *block) {
    region_t *region = region_of(block);
    unsigned tile = region_tile(block);
    if (region->tile_class[tile] == TILE_ELEMENTS)
        return heap_put_element(heap, block);
    return put_block(heap, &region->runs[tile], block);
}

void heap_put(thread_heap_t *heap, void *pointer) {
    put(heap, pointer);
}

void heap_put_list(thread_heap_t *heap, block_t *block) {
    while (block) {
        block_t *next = block_next(block, heap->key, "free");
        if (!put(heap, block))
            return; /* a list that holds a block twice has no end */
        block = next;
    }
}

/* ---- Giving back ---- */

/* Fewer dirty bytes than this in an mheap, or than a quarter of it, are likely to be used again
 * soon. */
#define PURGE_MIN_BYTES            ((uint64_t)2 << 20)

/* Near a limit, only a system call's cost counts. */
#define PURGE_MIN_BYTES_WHEN_TIGHT ((uint64_t)64 << 10)

void heap_purge_if_due(thread_heap_t *heap) {
    for (uint32_t i = 0; i < heap->n_mheaps; i++) {
        mheap_t *h = region_mheap(heap->mheaps[i].region);
        uint64_t dirty = mheap_dirty_bytes(h);
        bool is_due = limits_are_tight() ? dirty > PURGE_MIN_BYTES_WHEN_TIGHT
                                         : dirty > PURGE_MIN_BYTES && dirty > h->len / 4 &&
                                               purge_budget_take(dirty);
        if (is_due)
            mheap_purge(h, SIZE_MAX);
        limits_account(&heap->mheaps[i].accounted_bytes, mheap_resident_bytes(h));
    }
}

static void release_empty_runs(thread_heap_t *heap, unsigned size_class) {
    uint32_t tile_number = heap->partial_run[size_class];
    while (tile_number) {
        run_t *run = run_of_tile(tile_number);
        uint32_t next = run->next;
        if (run_is_empty(run))
            release_run(heap, run_at(tile_number));
        tile_number = next;
    }
}

size_t heap_purge_all(thread_heap_t *heap) {
    size_t bytes = 0;
    for (unsigned c = 0; c < N_SMALL_CLASSES; c++)
        release_empty_runs(heap, c);
    for (uint32_t i = 0; i < heap->n_mheaps; i++) {
        heap_mheap_t *entry = &heap->mheaps[i];
        bytes += mheap_purge(region_mheap(entry->region), SIZE_MAX);
        mheap_decommit_tail(region_mheap(entry->region));
        note_change(entry);
    }
    heap_release_empty_regions(heap);
    return bytes;
}

/* SPDX-License-Identifier: MIT */
#include "heap_elements.h"

#include "heaps.h"
#include "limits.h"
#include "mheap_internal.h"
#include "object.h"
#include "options.h"
#include "purge_budget.h"
#include "vm.h"

static void *element_address(heap_mheap_t *entry, mheap_uoffset_t uoffset) {
    return (char *)region_vector(entry->region) + uoffset;
}

/* Set an entry's figure, and the heap's sum of it. */
static inline void set_part(uint64_t *sum, uint32_t *part, uint64_t bytes) {
    *sum += bytes - *part;
    *part = (uint32_t)bytes;
}

void heap_note_resident(thread_heap_t *heap, heap_mheap_t *entry) {
    region_t *region = entry->region;
    const mheap_t *h = region_mheap(region);
    uint64_t resident = mheap_resident_bytes(h);
    set_part(&heap->sums.resident_bytes, &entry->resident_bytes, resident);
    set_part(&heap->sums.dirty_bytes, &entry->dirty_bytes, mheap_dirty_bytes(h));
    limits_account(&entry->accounted_bytes, resident - region->clean_run_bytes +
                                                region->n_header_pages * RUN_PAGE_BYTES);
}

void heap_note_change(thread_heap_t *heap, heap_mheap_t *entry) {
    mheap_t *h = region_mheap(entry->region);
    entry->largest_bin = mheap_largest_bin(h);
    entry->tail_bytes = (uint32_t)mheap_tail_room(h);
    if (entry->longest_bytes < h->len)
        set_part(&heap->sums.longest_bytes, &entry->longest_bytes, h->len);
    heap_note_resident(heap, entry);
}

void heap_note_leaves(thread_heap_t *heap, heap_mheap_t *entry) {
    set_part(&heap->sums.longest_bytes, &entry->longest_bytes, 0);
    set_part(&heap->sums.resident_bytes, &entry->resident_bytes, 0);
    set_part(&heap->sums.dirty_bytes, &entry->dirty_bytes, 0);
    limits_account(&entry->accounted_bytes, 0);
}

/* n: a row of so many; NULL: one. */
static mheap_uoffset_t search(mheap_t *h, size_t bytes, size_t align, uint32_t *n, bool *is_zero) {
    return n ? mheap_get_row(h, bytes, n) : mheap_get_search_free_list(h, bytes, align, 0, is_zero);
}

static void *get_from_free_lists(thread_heap_t *heap, size_t bytes, size_t align, uint32_t *n,
                                 bool *is_zero) {
    uint32_t bin = bin_of(mheap_words(bytes));
    for (uint32_t i = 0; i < heap->n_mheaps; i++) {
        heap_mheap_t *entry = &heap->mheaps[i];
        if (entry->largest_bin == BIN_NONE || entry->largest_bin < bin)
            continue;
        mheap_uoffset_t uoffset = search(region_mheap(entry->region), bytes, align, n, is_zero);
        if (uoffset != MHEAP_GROUNDED) {
            heap_note_change(heap, entry);
            return element_address(entry, uoffset);
        }
    }
    return NULL;
}

/*
 * Huge pages are declined for a region when so much of it is accessible that there could be one,
 * and not before: what the system is set to is read from a file, a hundredth of what a small
 * process takes.  The region's first huge page has small ones in use by then, the next is not
 * accessible as a whole before as much again.
 */
#define HUGE_PAGE_BYTES ((uint64_t)2 << 20)

static void keep_small_pages(heap_mheap_t *entry, uint64_t accessible_before) {
    const mheap_t *h = region_mheap(entry->region);
    uint64_t first = HUGE_PAGE_BYTES - REGION_HEADER_BYTES;
    if (accessible_before < first && h->accessible_len >= first)
        vm_keep_small_pages(entry->region, REGION_HEADER_BYTES + h->max_len);
}

static void *get_from_end(thread_heap_t *heap, heap_mheap_t *entry, size_t bytes, size_t align,
                          bool *is_zero) {
    if (entry->tail_bytes < bytes + MHEAP_TAG_BYTES)
        return NULL;
    mheap_t *h = region_mheap(entry->region);
    uint64_t accessible_before = h->accessible_len;
    mheap_uoffset_t uoffset = mheap_get_extend(h, bytes, align, 0, is_zero);
    uint64_t grown = h->accessible_len - accessible_before;
    keep_small_pages(entry, accessible_before);
    heap->fresh_bytes += grown;
    purge_budget_earn(grown + grown / 4); /* tags written when runs are cut out go back again */
    if (uoffset == MHEAP_GROUNDED)
        return NULL;
    uint32_t tail_before = entry->tail_bytes;
    heap_note_change(heap, entry);
    heap->grown_bytes += tail_before - entry->tail_bytes;
    return element_address(entry, uoffset);
}

static void *get_anywhere(thread_heap_t *heap, size_t bytes, size_t align, bool *is_zero) {
    void *pointer = get_from_free_lists(heap, bytes, align, NULL, is_zero);
    for (uint32_t i = 0; !pointer && i < heap->n_mheaps; i++)
        pointer = get_from_end(heap, &heap->mheaps[i], bytes, align, is_zero);
    if (!pointer && heap_add_region(heap, bytes + align))
        pointer = get_from_end(heap, &heap->mheaps[heap->n_mheaps - 1], bytes, align, is_zero);
    return pointer;
}

static void *get_row_from_end(thread_heap_t *heap, size_t bytes, uint32_t n) {
    size_t row_bytes = n * (bytes + MHEAP_TAG_BYTES) - MHEAP_TAG_BYTES;
    void *first = NULL;
    for (uint32_t i = 0; !first && i < heap->n_mheaps; i++)
        first = get_from_end(heap, &heap->mheaps[i], row_bytes, MHEAP_WORD_BYTES, NULL);
    if (first) {
        region_t *region = region_of(first);
        mheap_cut_row(region_mheap(region), region_uoffset(region, first), bytes, n);
    }
    return first;
}

/* With a hard limit each element is asked for by itself. */
void *heap_get_row(thread_heap_t *heap, size_t bytes, uint32_t *n, bool *is_zero) {
    if (*n > 1 && !options.limit_hard) {
        uint32_t n_wanted = *n;
        *is_zero = false;
        void *first = get_from_free_lists(heap, bytes, MHEAP_WORD_BYTES, n, NULL);
        if (!first)
            first = get_row_from_end(heap, bytes, *n = n_wanted);
        if (first)
            return first;
    }
    *n = 1;
    return heap_get_element(heap, bytes, 16, is_zero);
}

/* Past the hard limit only memory that is resident anyhow is to be had.  Where an element lies, and
 * whether it is, shows when it has been taken: then it goes back, with its pages. */
static void *get_within_limit(thread_heap_t *heap, size_t bytes, size_t align, bool *is_zero) {
    uint64_t before = heap_resident_bytes(heap);
    void *pointer = get_anywhere(heap, bytes, align, is_zero);
    if (!pointer || heap_resident_bytes(heap) <= before || !limits_would_exceed(0))
        return pointer;
    region_t *region = region_of(pointer);
    mheap_put_elt(region_mheap(region), region_uoffset(region, pointer));
    mheap_purge(region_mheap(region), SIZE_MAX);
    heap_note_change(heap, &heap->mheaps[region->heap_index]);
    return NULL;
}

void *heap_get_element(thread_heap_t *heap, size_t bytes, size_t align, bool *is_zero) {
    if (align <= 16) /* every element is so aligned, by its size (element_bytes) */
        align = MHEAP_WORD_BYTES;
    if (limits_is_set(&limits_are_on))
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
    heap_note_change(heap, &heap->mheaps[region->heap_index]);
    return true;
}

void heap_put_element_dirty(thread_heap_t *heap, void *pointer, uint64_t dirty_bytes) {
    region_t *region = region_of(pointer);
    mheap_put_elt_dirty(region_mheap(region), region_uoffset(region, pointer), dirty_bytes);
    heap_note_change(heap, &heap->mheaps[region->heap_index]);
}

bool heap_resize_element(thread_heap_t *heap, void *pointer, size_t bytes) {
    region_t *region = region_of(pointer);
    if (!mheap_resize_elt(region_mheap(region), region_uoffset(region, pointer), bytes))
        return false;
    heap_note_change(heap, &heap->mheaps[region->heap_index]);
    return true;
}

/* ---- Giving back ---- */

/* Fewer dirty bytes than this, or than this part of what is in use, are likely to be used again
 * soon. */
#define PURGE_MIN_BYTES            ((uint64_t)128 << 10)
#define PURGE_PART_OF_USE          2u
#define SHRUNK_PART_OF_CLEAN       16u

/* Near a limit, only a system call's cost counts. */
#define PURGE_MIN_BYTES_WHEN_TIGHT ((uint64_t)64 << 10)

/* Give up to max_bytes of the mheap back; returns how many went. */
static uint64_t purge_under_budget(thread_heap_t *heap, heap_mheap_t *entry, uint64_t max_bytes) {
    uint64_t granted = purge_budget_take_some(max_bytes);
    uint64_t purged = mheap_purge(region_mheap(entry->region), granted);
    purge_budget_settle(granted, purged);
    heap_note_resident(heap, entry);
    return purged;
}

uint64_t heap_purge_elements_some(thread_heap_t *heap, uint64_t max_bytes) {
    uint64_t purged = 0;
    for (uint32_t i = 0; i < heap->n_mheaps && purged < max_bytes; i++) {
        uint64_t dirty = heap->mheaps[i].dirty_bytes, most = max_bytes - purged;
        purged += purge_under_budget(heap, &heap->mheaps[i], dirty < most ? dirty : most);
    }
    return purged;
}

/* So little of what was ever used is resident that a burst has come to its end: what is free then
 * is not compared with what a few free blocks of many runs keep resident. */
static bool has_shrunk(const thread_heap_t *heap, uint64_t resident_bytes) {
    return resident_bytes < heap->demand.clean_bytes / SHRUNK_PART_OF_CLEAN;
}

uint64_t heap_purge_elements_if_due(thread_heap_t *heap, uint64_t max_bytes) {
    uint64_t dirty = heap_dirty_bytes(heap), resident = heap_resident_bytes(heap);
    if (dirty < PURGE_MIN_BYTES)
        return 0;
    if (dirty < (resident - dirty) / PURGE_PART_OF_USE && !has_shrunk(heap, resident))
        return 0;
    return heap_purge_elements_some(heap, max_bytes);
}

/* A heap in which so little is left is likely to be that of a thread that sleeps.  A large one is
 * heap_purge_elements_if_due's. */
#define EMPTY_MIN_BYTES ((uint64_t)8 << 10)
#define EMPTY_TIMES_USE 3u

void heap_purge_if_nearly_empty(thread_heap_t *heap) {
    uint64_t dirty = heap_dirty_bytes(heap);
    if (dirty >= EMPTY_MIN_BYTES && dirty < PURGE_MIN_BYTES &&
        dirty / EMPTY_TIMES_USE >= heap_resident_bytes(heap) - dirty)
        heap_purge_elements_some(heap, dirty);
}

void heap_purge_elements_when_tight(thread_heap_t *heap) {
    if (heap_dirty_bytes(heap) < PURGE_MIN_BYTES_WHEN_TIGHT)
        return;
    for (uint32_t i = 0; i < heap->n_mheaps; i++) {
        mheap_purge(region_mheap(heap->mheaps[i].region), SIZE_MAX);
        heap_note_resident(heap, &heap->mheaps[i]);
    }
}

size_t heap_purge_elements(thread_heap_t *heap) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < heap->n_mheaps; i++) {
        heap_mheap_t *entry = &heap->mheaps[i];
        bytes += mheap_purge(region_mheap(entry->region), SIZE_MAX);
        mheap_decommit_tail(region_mheap(entry->region));
        heap_note_change(heap, entry);
    }
    heap_release_empty_regions(heap);
    return bytes;
}

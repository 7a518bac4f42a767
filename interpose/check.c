/* SPDX-License-Identifier: MIT */
#include "check.h"

#include "hardened.h"
#include "heap_drain.h"
#include "heap_slots.h"
#include "heaps.h"
#include "large.h"
#include "mheap_internal.h"
#include "secret.h"

static bool violated(violation_t *violation, const char *what, const void *where) {
    *violation = (violation_t){what, where};
    return false;
}

static bool check_entry(const thread_heap_t *heap, uint32_t index, violation_t *violation) {
    const heap_mheap_t *entry = &heap->mheaps[index];
    const mheap_t *h = region_mheap(entry->region);
    if (owner_of(entry->region) != heap->id || entry->region->heap_index != index)
        return violated(violation, "H1: a region does not belong to its heap", entry->region);
    if (entry->largest_bin != mheap_largest_bin(h) || entry->tail_bytes != mheap_tail_room(h) ||
        entry->longest_bytes < h->len || entry->resident_bytes != mheap_resident_bytes(h) ||
        entry->dirty_bytes != mheap_dirty_bytes(h))
        return violated(violation, "H1: an mheap's entry is out of date", entry->region);
    return true;
}

/* The element of the first of the runs that are joined with this one ends not before this one. */
static bool check_run_element(region_t *region, unsigned tile) {
    unsigned first = tile;
    while (region->runs[first].is_joined && region->tile_class[first] != TILE_ELEMENTS && first > 0)
        first--;
    mheap_t *h = region_mheap(region);
    mheap_uoffset_t uoffset = region_uoffset(region, region_tile_start(region, first));
    if (region->tile_class[first] == TILE_ELEMENTS || !uoffset_is_plausible(h, uoffset))
        return false;
    uint64_t bytes = elt_n_bytes(elt_at(h, uoffset));
    bool ends_here = tile + 1 == N_REGION_TILES || region->tile_class[tile + 1] == TILE_ELEMENTS ||
                     !region->runs[tile + 1].is_joined;
    uint64_t bytes_to_here = (tile - first + 1) * TILE_BYTES - MHEAP_TAG_BYTES;
    return !elt_at(h, uoffset)->is_free &&
           (ends_here ? bytes == bytes_to_here : bytes > bytes_to_here);
}

static bool check_run(region_t *region, unsigned tile, violation_t *violation) {
    run_t *run = &region->runs[tile];
    void *start = region_tile_start(region, tile);
    if (!check_run_element(region, tile))
        return violated(violation, "H2: a run is not (part of) an allocated element", start);
    if (run->size_class != region->tile_class[tile])
        return violated(violation, "H3: a run's class is not its tile's", start);
    if (!run_is_sound(run, run_bits(run)))
        return violated(violation, "H4: a run's counts do not agree with its bitmap", start);
    if (run_state(run) != run->state)
        return violated(violation, "H5: a run is on the wrong list", start);
    const block_t *damaged = run_damaged_block(run, run_bits(run), start, secret_key());
    if (damaged)
        return violated(violation, "H6: a free block was written to", damaged);
    return true;
}

/* H5, the other way round: what is on a list are runs of the heap in that state, linked both ways.
 */
static bool check_list(const thread_heap_t *heap, uint32_t tile, unsigned size_class,
                       run_state_t state, uint64_t *n_listed, violation_t *violation) {
    uint32_t previous = 0;
    for (; tile; tile = run_of_tile(tile)->next) {
        void *start = run_at(tile);
        const run_t *run = run_of_tile(tile);
        if (owner_of(start) != heap->id || run->state != state || run->size_class != size_class ||
            run->prev != previous || (*n_listed)-- == 0)
            return violated(violation, "H5: a list of runs is damaged", start);
        previous = tile;
    }
    return true;
}

static bool check_lists(const thread_heap_t *heap, uint64_t n_listed, violation_t *violation) {
    for (unsigned c = 0; c < N_SMALL_CLASSES; c++)
        if (!check_list(heap, heap->ready_runs[c], c, RUN_READY, &n_listed, violation) ||
            !check_list(heap, heap->clean_runs[c], c, RUN_CLEAN, &n_listed, violation))
            return false;
    return n_listed == 0 || violated(violation, "H5: a run with free blocks is on no list", heap);
}

/* Counted while walking. */
typedef struct {
    heap_sums_t of_mheaps;
    uint64_t n_listed, ready_bytes;
    uint32_t n_runs[N_SMALL_CLASSES];
} sums_t;

static void add_entry(heap_sums_t *sums, const heap_mheap_t *entry) {
    sums->longest_bytes += entry->longest_bytes;
    sums->resident_bytes += entry->resident_bytes;
    sums->dirty_bytes += entry->dirty_bytes;
    sums->clean_run_bytes += entry->region->clean_run_bytes;
}

static bool are_equal(const heap_sums_t *a, const heap_sums_t *b) {
    return a->longest_bytes == b->longest_bytes && a->resident_bytes == b->resident_bytes &&
           a->dirty_bytes == b->dirty_bytes && a->clean_run_bytes == b->clean_run_bytes;
}

static bool check_region(region_t *region, sums_t *sums, violation_t *violation) {
    mheap_corruption_t corruption;
    if (!mheap_validate_report(region_vector(region), &corruption))
        return violated(violation, corruption.what,
                        corruption.uoffset == MHEAP_GROUNDED
                            ? (void *)region
                            : (char *)region_vector(region) + corruption.uoffset);
    uint64_t clean_bytes = 0;
    for (unsigned tile = 0; tile < N_REGION_TILES; tile++) {
        if (region->tile_class[tile] == TILE_ELEMENTS)
            continue;
        if (!check_run(region, tile, violation))
            return false;
        sums->n_listed += region->runs[tile].state != RUN_FULL;
        sums->ready_bytes += run_ready_bytes(&region->runs[tile]);
        sums->n_runs[region->tile_class[tile]]++;
        clean_bytes += run_clean_bytes(&region->runs[tile]);
    }
    return clean_bytes == region->clean_run_bytes ||
           violated(violation, "H4: the region's sum of clean bytes is wrong", region);
}

/* Is it one that may be on the list of this class? */
static bool is_listed_block(const thread_heap_t *heap, unsigned size_class, const block_t *block) {
    if (owner_of(block) != heap->id)
        return false;
    region_t *region = region_of(block);
    unsigned tile_class = region_tile_class(region, block);
    if (tile_class != TILE_ELEMENTS)
        return tile_class == size_class &&
               !run_block_is_free(run_bits(&region->runs[region_tile(block)]), block, size_class);
    const mheap_elt_t *e = elt_at(region_mheap(region), region_uoffset(region, block));
    return !e->is_free && size_class_within(elt_n_bytes(e)) == size_class;
}

/* The owner's lists, if that is the caller: nobody else can look at them while it runs. */
static bool check_own_lists(const thread_heap_t *heap, violation_t *violation) {
    for (unsigned c = 0; c < N_CLASSES; c++) {
        uint32_t n_blocks = 0;
        for (int64_t slot = heap->list_top[c]; *heap_slot(heap, slot) != NO_BLOCK;
             slot -= (int64_t)sizeof(block_t *))
            if (n_blocks++ == LIST_MAX_BLOCKS || !is_listed_block(heap, c, *heap_slot(heap, slot)))
                return violated(violation, "H7: a list holds what is no free block of its class",
                                *heap_slot(heap, slot));
        if (n_blocks != list_n_blocks(heap, c))
            return violated(violation, "H7: a list's array does not begin with NO_BLOCK",
                            &heap->list_top[c]);
        if (list_drains(heap, c) && (n_blocks > 0 || !list_is_full(heap, c)))
            return violated(violation, "H8: a list that drains has room", &heap->list_top[c]);
    }
    for (uint32_t i = 0; i < heap->n_waiting; i++) {
        sent_t sent = heap_waiting(heap)[i];
        if (!list_drains(heap, sent_class(sent)) ||
            !is_listed_block(heap, sent_class(sent), sent_block(sent)))
            return violated(violation, "H8: what waits is no block of a class that drains",
                            sent_block(sent));
    }
    return true;
}

bool check_heap(thread_heap_t *heap, violation_t *violation) {
    if (heap == self_heap && !check_own_lists(heap, violation))
        return false;
    sums_t sums = {.n_listed = 0};
    for (uint32_t i = 0; i < heap->n_mheaps; i++) {
        if (!check_entry(heap, i, violation) ||
            !check_region(heap->mheaps[i].region, &sums, violation))
            return false;
        add_entry(&sums.of_mheaps, &heap->mheaps[i]);
    }
    if (!are_equal(&sums.of_mheaps, &heap->sums))
        return violated(violation, "H1: the heap's sums over its mheaps are wrong", heap);
    if (sums.ready_bytes != heap->ready_bytes)
        return violated(violation, "H4: the heap's sum of ready bytes is wrong", heap);
    for (unsigned c = 0; c < N_SMALL_CLASSES; c++)
        if (sums.n_runs[c] != heap->n_runs[c])
            return violated(violation, "H4: the heap's number of runs of a class is wrong", heap);
    return check_lists(heap, sums.n_listed, violation);
}

bool check_all(violation_t *violation) {
    for (owner_id_t id = 1; id <= heap_last_id(); id++) {
        thread_heap_t *heap = heap_by_id(id);
        heap_lock(heap);
        bool is_sound = check_heap(heap, violation);
        heap_unlock(heap);
        if (!is_sound)
            return false;
    }
    if (MHEAP_HARDENED && !hardened_check(violation))
        return false;
    const char *what = large_validate();
    return !what || violated(violation, what, NULL);
}

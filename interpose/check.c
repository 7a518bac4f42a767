/* SPDX-License-Identifier: MIT */
#include "check.h"

#include "hardened.h"
#include "heaps.h"
#include "large.h"
#include "mheap_internal.h"

static bool violated(violation_t *violation, const char *what, const void *where) {
    *violation = (violation_t){what, where};
    return false;
}

static bool check_entry(const thread_heap_t *heap, uint32_t index, violation_t *violation) {
    const heap_mheap_t *entry = &heap->mheaps[index];
    const mheap_t *h = region_mheap(entry->region);
    if (owner_of(entry->region) != heap->id || entry->region->heap_index != index)
        return violated(violation, "H1: a region does not belong to its heap", entry->region);
    if (entry->largest_bin != mheap_largest_bin(h) || entry->tail_bytes != mheap_tail_room(h))
        return violated(violation, "H1: an mheap's entry is out of date", entry->region);
    return true;
}

static bool check_run_list(const thread_heap_t *heap, const run_t *run, uintptr_t start,
                           violation_t *violation) {
    const block_t *block = run->n_free ? run->free : NULL, *last = NULL;
    size_t bytes = size_class_bytes(run->size_class);
    for (uint32_t n = 0; n < run->n_free; n++) {
        size_t offset = (uintptr_t)block - start;
        if (offset >= run->n_carved * bytes || offset % bytes != 0)
            return violated(violation, "H4: a run's list leads out of the run", (void *)start);
        last = block;
        block = (const block_t *)block_decode(block, heap->key);
    }
    /* What follows the last block is left over from before: the count ends the list. */
    if (run->n_free && last != run->tail)
        return violated(violation, "H4: a run's list does not end at its tail", (void *)start);
    return true;
}

static bool check_run(const thread_heap_t *heap, region_t *region, unsigned tile,
                      violation_t *violation) {
    const run_t *run = &region->runs[tile];
    uintptr_t start = (uintptr_t)region + ((uintptr_t)tile << TILE_LOG2_BYTES);
    mheap_t *h = region_mheap(region);
    mheap_uoffset_t uoffset = region_uoffset(region, (void *)start);
    mheap_elt_t *e = elt_at(h, uoffset);
    if (!uoffset_is_plausible(h, uoffset) || e->is_free || elt_n_bytes(e) != RUN_BYTES)
        return violated(violation, "H2: a run is not an allocated element", (void *)start);
    if (run->size_class != region->tile_class[tile] || run->n_free > run->n_carved ||
        run->n_carved > run_capacity[run->size_class])
        return violated(violation, "H3: a run's class or counts are wrong", (void *)start);
    if (run_has_blocks(run) != (bool)run->is_partial)
        return violated(violation, "H5: a run is wrongly on, or not on, the partial list",
                        (void *)start);
    return check_run_list(heap, run, start, violation);
}

/* H5, the other way round: what is on the lists are partial runs of the heap, linked both ways. */
static bool check_partial_lists(const thread_heap_t *heap, uint64_t n_partial,
                                violation_t *violation) {
    for (unsigned c = 0; c < N_SMALL_CLASSES; c++) {
        uint32_t previous = 0;
        for (uint32_t tile = heap->partial_run[c]; tile; tile = run_of_tile(tile)->next) {
            void *start = run_at(tile);
            const run_t *run = run_of_tile(tile);
            if (owner_of(start) != heap->id || !run->is_partial || run->size_class != c ||
                run->prev != previous || n_partial-- == 0)
                return violated(violation, "H5: a list of partial runs is damaged", start);
            previous = tile;
        }
    }
    return n_partial == 0 || violated(violation, "H5: a partial run is on no list", heap);
}

static bool check_region(const thread_heap_t *heap, region_t *region, uint64_t *n_partial,
                         violation_t *violation) {
    mheap_corruption_t corruption;
    if (!mheap_validate_report(region_vector(region), &corruption))
        return violated(violation, corruption.what,
                        corruption.uoffset == MHEAP_GROUNDED
                            ? (void *)region
                            : (char *)region_vector(region) + corruption.uoffset);
    for (unsigned tile = 0; tile < N_REGION_TILES; tile++) {
        if (region->tile_class[tile] == TILE_ELEMENTS)
            continue;
        if (!check_run(heap, region, tile, violation))
            return false;
        *n_partial += region->runs[tile].is_partial;
    }
    return true;
}

bool check_heap(thread_heap_t *heap, violation_t *violation) {
    uint64_t n_partial = 0;
    for (uint32_t i = 0; i < heap->n_mheaps; i++)
        if (!check_entry(heap, i, violation) ||
            !check_region(heap, heap->mheaps[i].region, &n_partial, violation))
            return false;
    return check_partial_lists(heap, n_partial, violation);
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

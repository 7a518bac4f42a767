/* SPDX-License-Identifier: MIT */
#include "heap_purge.h"

#include <string.h>

#include "background.h"
#include "heap_demand.h"
#include "heap_elements.h"
#include "heap_run.h"
#include "limits.h"
#include "purge_budget.h"
#include "vm.h"

/* ---- Holes ---- */

/*
 * A block that comes home may be the last one live on its page.  So runs are searched when the
 * pages of as many blocks as came home would be worth it: so many bytes, and this part of what is
 * resident.  Only runs that blocks came home to are looked at, only if so much of one is free, and
 * not again before so much of what was live then was freed: pages become free by and by if blocks
 * are freed in order, and in random order when few live ones are left for each.  With many blocks
 * on a page that is very few: if the last search found none, the next one waits for longer.
 */
#define HOLES_MIN_BYTES        ((uint64_t)256 << 10)
#define HOLES_PART_OF_RESIDENT 32u
#define HOLES_PART_OF_RUN      4u
#define HOLES_READY_PART       3u
#define HOLES_READY_MIN_BYTES  ((uint64_t)256 << 10)
#define HOLES_STEPS_OF_LIVE    16u
#define HOLES_STEPS_OF_MANY    4u
#define HOLES_MANY_BLOCKS      (16u * N_RUN_PAGES) /* of a run */

static bool is_worth_searching(run_t *run) {
    uint32_t capacity = run_capacity[run->size_class], n_free = run->n_free;
    if (run->n_searched > n_free)
        run->n_searched = (uint16_t)n_free;
    uint32_t n_live_then = capacity - run->n_searched;
    bool found_none = !run->clean_pages;
    uint32_t n_steps =
        found_none && capacity >= HOLES_MANY_BLOCKS ? HOLES_STEPS_OF_MANY : HOLES_STEPS_OF_LIVE;
    if (n_free < capacity / HOLES_PART_OF_RUN || n_free - run->n_searched <= n_live_then / n_steps)
        return false;
    run->n_searched = (uint16_t)n_free;
    return true;
}

/* *is_done: no free page is left in it. */
static size_t purge_run(thread_heap_t *heap, void *start, size_t max_bytes, bool *is_done) {
    run_t *run = run_of_tile(run_tile_number(start));
    if (!is_worth_searching(run))
        return 0;
    uint32_t holes = run_holes(run, run_bits(run));
    if ((holes & RUN_LAST_PAGE) && !heap_run_join_next(region_of(start), region_tile(start)))
        holes &= ~RUN_LAST_PAGE;
    holes = run_whole_system_pages(holes);
    if (!holes)
        return 0;
    uint32_t gone = run_purge_pages(start, holes, (unsigned)(max_bytes / RUN_PAGE_BYTES));
    run_uncount(heap, run);
    run_set_clean(run, gone);
    run_count(heap, run);
    run_relist(heap, run, run_tile_number(start));
    *is_done = gone == holes;
    if (!*is_done)
        run->n_searched = 0;
    return (size_t)__builtin_popcount(gone) * RUN_PAGE_BYTES;
}

/* The tiles of eight bytes of got_blocks, which are searched as a word. */
#define N_TILES_AT_ONCE 8u

static uint64_t eight_tiles(const uint8_t *got_blocks) {
    uint64_t word;
    memcpy(&word, got_blocks, sizeof word);
    return word;
}

/* Free pages of the runs of some tiles, from `first` on. */
static size_t purge_tiles(thread_heap_t *heap, region_t *region, unsigned first, size_t max_bytes) {
    uint8_t *got_blocks = &region->got_blocks[first];
    size_t bytes = 0;
    bool is_done = true;
    for (uint64_t got = eight_tiles(got_blocks); got && max_bytes - bytes >= RUN_PAGE_BYTES;
         got &= got - 1) {
        unsigned i = (unsigned)__builtin_ctzll(got) / 8;
        if (region->tile_class[first + i] != TILE_ELEMENTS)
            bytes +=
                purge_run(heap, region_tile_start(region, first + i), max_bytes - bytes, &is_done);
        if (!is_done)
            break;
        got_blocks[i] = 0;
    }
    return bytes;
}

/* Free pages of the runs of all mheaps, in the order of their addresses. */
static size_t purge_runs(thread_heap_t *heap, size_t max_bytes) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < heap->n_mheaps; i++) {
        for (unsigned tile = 0; tile < N_REGION_TILES; tile += N_TILES_AT_ONCE)
            bytes += purge_tiles(heap, heap->mheaps[i].region, tile, max_bytes - bytes);
        heap_note_resident(heap, &heap->mheaps[i]);
    }
    return bytes;
}

/* Returns the bytes that went, of at most max_bytes. */
static uint64_t purge_runs_if_due(thread_heap_t *heap, uint64_t max_bytes) {
    uint64_t bytes = heap->n_puts * RUN_PAGE_BYTES;
    if (bytes < HOLES_MIN_BYTES)
        return 0;
    uint64_t resident = heap_resident_bytes(heap);
    if (bytes < resident / HOLES_PART_OF_RESIDENT)
        return 0;
    heap->n_puts = 0;
    /* As long as little is free in all, it is wanted again soon. */
    if (heap->ready_bytes < resident / HOLES_READY_PART ||
        heap->ready_bytes < HOLES_READY_MIN_BYTES)
        return 0;
    uint64_t granted = purge_budget_take_some(resident < max_bytes ? resident : max_bytes);
    uint64_t purged = purge_runs(heap, granted);
    purge_budget_settle(granted, purged);
    return purged;
}

/* ---- Giving back ---- */

/* Near a limit only a system call's cost counts. */
static void purge_when_tight(thread_heap_t *heap) {
    if (heap->n_puts * RUN_PAGE_BYTES >= heap_resident_bytes(heap) / HOLES_PART_OF_RESIDENT) {
        heap->n_puts = 0;
        purge_runs(heap, SIZE_MAX);
    }
    heap_purge_elements_when_tight(heap);
}

void heap_purge_if_due(thread_heap_t *heap) {
    background_notify();
    if (limits_are_tight()) {
        purge_when_tight(heap);
        return;
    }
    heap_demand_look(heap);
    uint64_t excess = heap_demand_excess(heap);
    if (!excess)
        return;
    uint64_t purged = purge_runs_if_due(heap, excess);
    if (purged < excess)
        purged += heap_purge_elements_if_due(heap, excess - purged);
    if (purged)
        heap_demand_purged(heap, purged);
}

static void release_empty_runs(thread_heap_t *heap, uint32_t tile_number) {
    while (tile_number) {
        run_t *run = run_of_tile(tile_number);
        uint32_t next = run->next;
        if (run_is_empty(run))
            heap_run_release(heap, run_at(tile_number));
        tile_number = next;
    }
}

size_t heap_purge_all(thread_heap_t *heap) {
    for (unsigned c = 0; c < N_SMALL_CLASSES; c++) {
        release_empty_runs(heap, heap->ready_runs[c]);
        release_empty_runs(heap, heap->clean_runs[c]);
    }
    size_t bytes = purge_runs(heap, SIZE_MAX) + heap_purge_elements(heap);
    heap_demand_forget(heap);
    return bytes;
}

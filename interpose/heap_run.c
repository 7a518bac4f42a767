/* SPDX-License-Identifier: MIT */
#include "heap_run.h"

#include "heap_elements.h"
#include "mheap_internal.h"
#include "purge_budget.h"
#include "vm.h"

/* ---- Lists and sums ---- */

static uint32_t *list_of(thread_heap_t *heap, const run_t *run) {
    return run->state == RUN_READY ? &heap->ready_runs[run->size_class]
                                   : &heap->clean_runs[run->size_class];
}

static void list_add(thread_heap_t *heap, run_t *run, uint32_t tile_number) {
    uint32_t *head = list_of(heap, run);
    run->prev = 0;
    run->next = *head;
    if (*head)
        run_of_tile(*head)->prev = tile_number;
    *head = tile_number;
}

static void list_remove(thread_heap_t *heap, run_t *run) {
    if (run->next)
        run_of_tile(run->next)->prev = run->prev;
    if (run->prev)
        run_of_tile(run->prev)->next = run->next;
    else
        *list_of(heap, run) = run->next;
    run->next = run->prev = 0;
}

void run_relist(thread_heap_t *heap, run_t *run, uint32_t tile_number) {
    run_state_t state = run_state(run);
    if (state == run->state)
        return;
    if (run->state != RUN_FULL)
        list_remove(heap, run);
    run->state = (uint8_t)state;
    if (state != RUN_FULL)
        list_add(heap, run, tile_number);
}

void run_uncount(thread_heap_t *heap, const run_t *run) {
    uint64_t clean_bytes = run_clean_bytes(run);
    region_of(run)->clean_run_bytes -= clean_bytes;
    heap->sums.clean_run_bytes -= clean_bytes;
    heap->ready_bytes -= run_ready_bytes(run);
}

void run_count(thread_heap_t *heap, const run_t *run) {
    uint64_t clean_bytes = run_clean_bytes(run);
    region_of(run)->clean_run_bytes += clean_bytes;
    heap->sums.clean_run_bytes += clean_bytes;
    heap->ready_bytes += run_ready_bytes(run);
}

/* ---- Pages ---- */

uint32_t run_whole_system_pages(uint32_t pages) {
    unsigned n = (unsigned)(vm_page_bytes() / RUN_PAGE_BYTES);
    if (n <= 1)
        return pages;
    uint32_t whole = 0, group = n < N_RUN_PAGES ? (1u << n) - 1 : RUN_ALL_PAGES;
    for (unsigned page = 0; page + n <= N_RUN_PAGES; page += n)
        if ((pages >> page & group) == group)
            whole |= group << page;
    return whole;
}

uint32_t run_purge_pages(char *start, uint32_t pages, unsigned n_pages) {
    uint32_t gone = 0;
    while (pages && n_pages) {
        unsigned first = (unsigned)__builtin_ctz(pages),
                 n = (unsigned)__builtin_ctz(~(pages >> first));
        if (n > n_pages)
            n = n_pages;
        if (!vm_purge(start + first * RUN_PAGE_BYTES, n * RUN_PAGE_BYTES))
            break;
        uint32_t stretch = ((1u << n) - 1) << first;
        gone |= stretch;
        pages &= ~stretch;
        n_pages -= n;
    }
    return gone;
}

/* ---- Runs come and go ---- */

/*
 * A run made of what elements left resident would be resident whole, though the first one of a
 * class may never need more than a few pages.  So these go back, but for the last, on which the
 * next element's tag lies, and which is opened first.
 */
static void purge_new_run(run_t *run, char *start) {
    uint32_t pages = run_whole_system_pages(RUN_ALL_PAGES & ~RUN_LAST_PAGE);
    uint64_t granted = purge_budget_take_some(RUN_BYTES);
    uint32_t gone = run_purge_pages(start, pages, (unsigned)(granted / RUN_PAGE_BYTES));
    run->zero_pages = (uint16_t)gone;
    purge_budget_settle(granted, (unsigned)__builtin_popcount(gone) * RUN_PAGE_BYTES);
}

bool heap_run_make(thread_heap_t *heap, unsigned size_class, uint32_t *absent_pages) {
    bool is_zero = false;
    uint64_t dirty_before = heap_dirty_bytes(heap);
    void *start = heap_get_element(heap, RUN_BYTES, TILE_BYTES, &is_zero);
    if (!start)
        return false;
    *absent_pages = dirty_before - heap_dirty_bytes(heap) < RUN_BYTES / 4 ? RUN_ALL_PAGES : 0;
    region_t *region = region_of(start);
    run_t *run = &region->runs[region_tile(start)];
    run->size_class = (uint8_t)size_class; /* says where the bitmap is */
    uint64_t *bits = run_bits(run);
    region_use_header(region, run, run + 1);
    region_use_header(region, bits, bits + run_capacity[size_class] / 64 + 1);
    run_init(run, bits, size_class, is_zero);
    if (!is_zero && heap->n_runs[size_class] == 0)
        purge_new_run(run, start);
    heap->n_runs[size_class]++;
    run_count(heap, run);
    region_set_tile_class(region, region_tile(start), size_class);
    run_relist(heap, run, run_tile_number(start));
    heap->counts.n_runs_made++;
    return true;
}

/*
 * The boundary tag between two runs lies on the last page of the first.  So that this page can go
 * back, too, their elements are joined to one, and cut again when one of them is released.  No
 * element of runs reaches over a multiple of so many tiles, so its first is found quickly.
 */
#define MAX_JOINED_RUNS 16u

/* Where the element begins that this run is a part of. */
static mheap_uoffset_t element_of_run(region_t *region, unsigned tile) {
    while (region->runs[tile].is_joined)
        tile--;
    return region_uoffset(region, region_tile_start(region, tile));
}

bool heap_run_join_next(region_t *region, unsigned tile) {
    unsigned next = tile + 1;
    if (next % MAX_JOINED_RUNS == 0 || region->tile_class[next] == TILE_ELEMENTS)
        return false;
    if (region->runs[next].is_joined)
        return true;
    mheap_join_elts(region_mheap(region), element_of_run(region, tile));
    region->runs[next].is_joined = 1;
    return true;
}

/* Cut an element of several runs before this one. */
static void cut_before(region_t *region, unsigned tile) {
    mheap_uoffset_t first = element_of_run(region, tile);
    mheap_uoffset_t here = region_uoffset(region, region_tile_start(region, tile));
    mheap_split_elt(region_mheap(region), first, here - first - MHEAP_TAG_BYTES);
    region->runs[tile].is_joined = 0;
}

/* Make the run an element of its own. */
static void cut_out(region_t *region, unsigned tile) {
    if (region->runs[tile].is_joined)
        cut_before(region, tile);
    if ((tile + 1) % MAX_JOINED_RUNS != 0 && region->tile_class[tile + 1] != TILE_ELEMENTS &&
        region->runs[tile + 1].is_joined)
        cut_before(region, tile + 1);
}

void heap_run_release(thread_heap_t *heap, void *start) {
    region_t *region = region_of(start);
    run_t *run = &region->runs[region_tile(start)];
    cut_out(region, region_tile(start));
    run_uncount(heap, run);
    list_remove(heap, run);
    heap->n_runs[run->size_class]--;
    region_set_tile_class(region, region_tile(start), TILE_ELEMENTS);
    heap_put_element_dirty(heap, start, TILE_BYTES - run_clean_bytes(run));
}

/* SPDX-License-Identifier: MIT */
#include "heap_runs.h"

#include "background.h"
#include "heap_demand.h"
#include "heap_elements.h"
#include "limits.h"
#include "mheap_internal.h"
#include "object.h"
#include "purge_budget.h"
#include "vm.h"

/* ---- Lists of runs ---- */

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

/* Put the run on the list that it belongs on by now. */
static void relist(thread_heap_t *heap, run_t *run, uint32_t tile_number) {
    run_state_t state = run_state(run);
    if (state == run->state)
        return;
    if (run->state != RUN_FULL)
        list_remove(heap, run);
    run->state = (uint8_t)state;
    if (state != RUN_FULL)
        list_add(heap, run, tile_number);
}

/* Take the run out of the sums before it changes, and into them again after that. */
static void uncount(thread_heap_t *heap, const run_t *run) {
    region_of(run)->clean_run_bytes -= run_clean_bytes(run);
    heap->ready_bytes -= run_ready_bytes(run);
}

static void count(thread_heap_t *heap, const run_t *run) {
    region_of(run)->clean_run_bytes += run_clean_bytes(run);
    heap->ready_bytes += run_ready_bytes(run);
}

/* ---- Runs come and go ---- */

/* The system's pages may be larger than the run's. */
static uint32_t whole_system_pages(uint32_t pages) {
    unsigned n = (unsigned)(vm_page_bytes() / RUN_PAGE_BYTES);
    if (n <= 1)
        return pages;
    uint32_t whole = 0, group = n < N_RUN_PAGES ? (1u << n) - 1 : RUN_ALL_PAGES;
    for (unsigned page = 0; page + n <= N_RUN_PAGES; page += n)
        if ((pages >> page & group) == group)
            whole |= group << page;
    return whole;
}

/* Give up to n_pages of `pages` back, in stretches.  Returns those that went. */
static uint32_t purge_pages(char *start, uint32_t pages, unsigned n_pages) {
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

#define LAST_PAGE (1u << (N_RUN_PAGES - 1))

/*
 * A run made of what elements left resident would be resident whole, though the first one of a
 * class may never need more than a few pages.  So these go back, but for the last, on which the
 * next element's tag lies, and which is opened first.
 */
static void purge_new_run(run_t *run, char *start) {
    uint32_t pages = whole_system_pages(RUN_ALL_PAGES & ~LAST_PAGE);
    uint64_t granted = purge_budget_take_some(RUN_BYTES);
    uint32_t gone = purge_pages(start, pages, (unsigned)(granted / RUN_PAGE_BYTES));
    run->zero_pages = (uint16_t)gone;
    purge_budget_settle(granted, (unsigned)__builtin_popcount(gone) * RUN_PAGE_BYTES);
}

/* *absent_pages: those that are probably not resident. */
static bool make_run(thread_heap_t *heap, unsigned size_class, uint32_t *absent_pages) {
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
    count(heap, run);
    region_set_tile_class(region, region_tile(start), size_class);
    relist(heap, run, run_tile_number(start));
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

/* Is the run behind this one part of the same element, or can it be made so? */
static bool join_next(region_t *region, unsigned tile) {
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

static void release_run(thread_heap_t *heap, void *start) {
    region_t *region = region_of(start);
    run_t *run = &region->runs[region_tile(start)];
    cut_out(region, region_tile(start));
    uncount(heap, run);
    list_remove(heap, run);
    heap->n_runs[run->size_class]--;
    region_set_tile_class(region, region_tile(start), TILE_ELEMENTS);
    heap_put_element_dirty(heap, start, TILE_BYTES - run_clean_bytes(run));
}

/* ---- Blocks out ---- */

static uint32_t take_ready(thread_heap_t *heap, uint32_t tile_number, uint32_t n_blocks,
                           block_t **end) {
    run_t *run = run_of_tile(tile_number);
    heap->ready_bytes -= run_ready_bytes(run);
    uint32_t n = run_take(run, run_bits(run), run_at(tile_number), n_blocks, end);
    heap->ready_bytes += run_ready_bytes(run);
    relist(heap, run, tile_number);
    return n;
}

/*
 * Where a class has so many runs, the next one is likely to be used as well: its pages are faulted
 * in with one system call.  So they are all opened: what is resident is ready, and goes back as
 * such.  That is at most one part in so many of what the class has.
 */
#define FAULT_IN_FROM_RUNS 32u
#define FAULT_IN_MIN_PAGES 4u

/* The pages that are opened next, as far as they are side by side and not resident; returns how
 * many, or n_pages if they are left to be faulted in one by one. */
static unsigned fault_in(const thread_heap_t *heap, const run_t *run, uint32_t absent_pages,
                         char *start, unsigned n_pages) {
    if (heap->n_runs[run->size_class] < FAULT_IN_FROM_RUNS || limits_is_set(&limits_are_on))
        return n_pages;
    uint32_t end = 32u - (unsigned)__builtin_clz(run->clean_pages);
    uint32_t others = ~absent_pages & ((1u << end) - 1);
    uint32_t first = others ? 32u - (unsigned)__builtin_clz(others) : 0;
    if (end - first < FAULT_IN_MIN_PAGES ||
        !vm_populate(start + first * RUN_PAGE_BYTES, (end - first) * RUN_PAGE_BYTES))
        return n_pages;
    return end - first;
}

/* Make some blocks ready that lie on clean pages; there may be none if a program has written to
 * them. */
static bool open_pages(thread_heap_t *heap, unsigned size_class, unsigned n_pages) {
    if (limits_would_exceed(n_pages * RUN_PAGE_BYTES))
        return false;
    uint32_t absent_pages = 0;
    if (!heap->clean_runs[size_class] && !make_run(heap, size_class, &absent_pages))
        return false;
    uint32_t tile_number = heap->clean_runs[size_class];
    run_t *run = run_of_tile(tile_number);
    region_t *region = region_of(run);
    n_pages = fault_in(heap, run, absent_pages | run->zero_pages, run_at(tile_number), n_pages);
    uncount(heap, run);
    const block_t *written =
        run_open_pages(run, run_bits(run), run_at(tile_number), n_pages, heap->key);
    count(heap, run);
    heap_note_resident(&heap->mheaps[region->heap_index]);
    relist(heap, run, tile_number);
    if (__builtin_expect(written != NULL, 0))
        misuse("malloc", written, "in use without having been allocated, or written to after free");
    return true;
}

uint32_t heap_take_blocks(thread_heap_t *heap, unsigned size_class, uint32_t n_blocks,
                          unsigned n_pages, block_t **end) {
    while (!heap->ready_runs[size_class])
        if (!open_pages(heap, size_class, n_pages))
            return 0;
    uint32_t n = 0;
    do
        n += take_ready(heap, heap->ready_runs[size_class], n_blocks - n, end - n);
    while (n < n_blocks && heap->ready_runs[size_class]);
    return n;
}

/* ---- Home ---- */

/* fast_free asks only whether the offset is a block's; the bitmap knows more. */
static __attribute__((noinline, cold)) void refuse_block(const run_t *run, const block_t *block) {
    uint32_t offset = (uint32_t)((uintptr_t)block & (TILE_BYTES - 1));
    bool is_behind = offset / size_class_bytes(run->size_class) == run_capacity[run->size_class];
    misuse("free", block,
           is_behind || run_is_clean_at(run, offset) ? "never allocated (found on its way home)"
                                                     : "freed twice (found on its way home)");
}

/* The run's state has changed with the block that came home. */
static __attribute__((noinline)) void note_put(thread_heap_t *heap, run_t *run, block_t *block) {
    relist(heap, run, run_tile_number(block));
    /* The last run with room of its class stays: it will be wanted again. */
    if (run_is_empty(run) && (run->next || run->prev || heap->clean_runs[run->size_class]))
        release_run(heap, run_start(block));
}

/* Inline, since whole lists go through it.  False: not taken, and reported.  What the heap counts
 * is left to the caller. */
static inline bool put_block(thread_heap_t *heap, region_t *region, unsigned tile,
                             unsigned size_class, block_t *block) {
    run_t *run = &region->runs[tile];
    if (__builtin_expect(!run_put(run, run_bits_of(region, tile, size_class), block, size_class),
                         0))
        return refuse_block(run, block), false;
    region->got_blocks[tile / 64] |= (uint64_t)1 << tile % 64;
    if (run->state != RUN_READY || run->n_free == run_capacity[size_class])
        note_put(heap, run, block);
    return true;
}

static inline void count_puts(thread_heap_t *heap, unsigned size_class, uint32_t n_blocks) {
    heap->n_puts += n_blocks;
    heap->ready_bytes += n_blocks * size_class_bytes(size_class);
}

void heap_put(thread_heap_t *heap, void *pointer) {
    region_t *region = region_of(pointer);
    unsigned tile = region_tile(pointer), tile_class = region->tile_class[tile];
    if (tile_class == TILE_ELEMENTS)
        heap_put_element(heap, pointer);
    else if (put_block(heap, region, tile, tile_class, pointer))
        count_puts(heap, tile_class, 1);
}

void heap_put_blocks(thread_heap_t *heap, unsigned size_class, block_t *const *blocks,
                     uint32_t n_blocks) {
    uint32_t n_put = 0;
    /* In this order neighbours merge before they merge with what is clean. */
    while (n_blocks-- > 0) {
        block_t *block = blocks[n_blocks];
        region_t *region = region_of(block);
        unsigned tile = region_tile(block);
        if (region->tile_class[tile] == size_class)
            n_put += put_block(heap, region, tile, size_class, block);
        else
            heap_put_element(heap, block);
    }
    count_puts(heap, size_class, n_put);
}

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
    if ((holes & LAST_PAGE) && !join_next(region_of(start), region_tile(start)))
        holes &= ~LAST_PAGE;
    holes = whole_system_pages(holes);
    if (!holes)
        return 0;
    uint32_t gone = purge_pages(start, holes, (unsigned)(max_bytes / RUN_PAGE_BYTES));
    uncount(heap, run);
    run_set_clean(run, gone);
    count(heap, run);
    relist(heap, run, run_tile_number(start));
    *is_done = gone == holes;
    if (!*is_done)
        run->n_searched = 0;
    return (size_t)__builtin_popcount(gone) * RUN_PAGE_BYTES;
}

/* Free pages of the runs of 64 tiles. */
static size_t purge_tiles(thread_heap_t *heap, region_t *region, unsigned first, size_t max_bytes) {
    uint64_t *got_blocks = &region->got_blocks[first / 64];
    size_t bytes = 0;
    bool is_done = true;
    while (*got_blocks && is_done && max_bytes - bytes >= RUN_PAGE_BYTES) {
        unsigned tile = first + (unsigned)__builtin_ctzll(*got_blocks);
        if (region->tile_class[tile] != TILE_ELEMENTS)
            bytes += purge_run(heap, region_tile_start(region, tile), max_bytes - bytes, &is_done);
        if (is_done)
            *got_blocks &= *got_blocks - 1;
    }
    return bytes;
}

/* Free pages of the runs of all mheaps, in the order of their addresses. */
static size_t purge_runs(thread_heap_t *heap, size_t max_bytes) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < heap->n_mheaps; i++) {
        for (unsigned tile = 0; tile < N_REGION_TILES; tile += 64)
            bytes += purge_tiles(heap, heap->mheaps[i].region, tile, max_bytes - bytes);
        heap_note_resident(&heap->mheaps[i]);
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
            release_run(heap, run_at(tile_number));
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

/* SPDX-License-Identifier: MIT */
#include "heap_runs.h"

#include "heap_elements.h"
#include "heap_run.h"
#include "limits.h"
#include "object.h"
#include "vm.h"

/* ---- Blocks out ---- */

static uint32_t take_ready(thread_heap_t *heap, uint32_t tile_number, uint32_t n_blocks,
                           block_t **end) {
    run_t *run = run_of_tile(tile_number);
    heap->ready_bytes -= run_ready_bytes(run);
    uint32_t n = run_take(run, run_bits(run), run_at(tile_number), n_blocks, end);
    heap->ready_bytes += run_ready_bytes(run);
    run_relist(heap, run, tile_number);
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

/*
 * All blocks of a page that is opened get their marks.  In a program that grows the next ones to be
 * opened are those below, or the next run's last: where this one's are resident so are those,
 * mostly, and their lines are fetched meanwhile.
 */
#define LINE_BYTES 64u

static void fetch_next_pages(const run_t *run, const char *start, unsigned n_pages) {
    uint32_t pages = run->clean_pages ? run->clean_pages : RUN_ALL_PAGES;
    if (!run->clean_pages)
        start += TILE_BYTES;
    unsigned end = 32u - (unsigned)__builtin_clz(pages), first = end > n_pages ? end - n_pages : 0;
    const char *from = start + first * RUN_PAGE_BYTES, *to = start + end * RUN_PAGE_BYTES;
    size_t bytes = size_class_bytes(run->size_class);
    size_t step = bytes < LINE_BYTES ? LINE_BYTES : bytes;
    from = start + run_index(from, run_reciprocal[run->size_class]) * bytes;
    for (const char *at = from; at < to; at += step)
        __builtin_prefetch(at, 1);
}

/* Make some blocks ready that lie on clean pages; there may be none if a program has written to
 * them. */
static bool open_pages(thread_heap_t *heap, unsigned size_class, unsigned n_pages) {
    if (limits_would_exceed(n_pages * RUN_PAGE_BYTES))
        return false;
    uint32_t absent_pages = 0;
    if (!heap->clean_runs[size_class] && !heap_run_make(heap, size_class, &absent_pages))
        return false;
    uint32_t tile_number = heap->clean_runs[size_class];
    run_t *run = run_of_tile(tile_number);
    region_t *region = region_of(run);
    absent_pages |= run->zero_pages;
    n_pages = fault_in(heap, run, absent_pages, run_at(tile_number), n_pages);
    run_uncount(heap, run);
    const block_t *written =
        run_open_pages(run, run_bits(run), run_at(tile_number), n_pages, heap->key);
    if (!absent_pages)
        fetch_next_pages(run, run_at(tile_number), n_pages);
    run_count(heap, run);
    heap_note_resident(heap, &heap->mheaps[region->heap_index]);
    run_relist(heap, run, tile_number);
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
static __attribute__((noinline, cold)) void refuse_block(const block_t *block) {
    const run_t *run = run_of_tile(run_tile_number(block));
    uint32_t offset = (uint32_t)((uintptr_t)block & (TILE_BYTES - 1));
    bool is_behind = offset / size_class_bytes(run->size_class) == run_capacity[run->size_class];
    misuse("free", block,
           is_behind || run_is_clean_at(run, offset) ? "never allocated (found on its way home)"
                                                     : "freed twice (found on its way home)");
}

/* The state of the block's run has changed with it. */
static __attribute__((noinline)) void note_put(thread_heap_t *heap, block_t *block) {
    run_t *run = run_of_tile(run_tile_number(block));
    run_relist(heap, run, run_tile_number(block));
    /* The last run with room of its class stays: it will be wanted again. */
    if (run_is_empty(run) && (run->next || run->prev || heap->clean_runs[run->size_class]))
        heap_run_release(heap, run_start(block));
}

/* What blocks of a small class need on their way home: looked up once for a whole list. */
typedef struct {
    unsigned size_class;
    uint32_t capacity;
    uint64_t reciprocal;
    run_bits_place_t bits_place;
} way_home_t;

static inline way_home_t way_home(unsigned size_class) {
    return (way_home_t){.size_class = size_class,
                        .capacity = run_capacity[size_class],
                        .reciprocal = run_reciprocal[size_class],
                        .bits_place = run_bits_place(size_class)};
}

/* Where a block lies. */
typedef struct {
    region_t *region;
    unsigned tile;
    uint32_t index;
} place_t;

static inline place_t place_of(const way_home_t *way, const block_t *block) {
    return (place_t){region_of(block), region_tile(block), run_index(block, way->reciprocal)};
}

/* Not so: it is an element. */
static inline bool is_in_run(const way_home_t *way, place_t place) {
    return place.region->tile_class[place.tile] == way->size_class;
}

/* n_blocks of the place's run, whose bits are in the same word. False: some of them are there
 * already, none is taken.  What the heap counts is left to the caller. */
static inline bool put_bits(thread_heap_t *heap, const way_home_t *way, place_t place,
                            block_t *block, uint64_t bits, uint32_t n_blocks) {
    run_t *run = &place.region->runs[place.tile];
    uint64_t *bitmap = run_bits_at(place.region, place.tile, way->bits_place);
    if (__builtin_expect(!run_put(run, bitmap, place.index / 64, bits, n_blocks), 0))
        return false;
    place.region->got_blocks[place.tile] = 1;
    if (run->state != RUN_READY || run->n_free == way->capacity)
        note_put(heap, block);
    return true;
}

/* Returns how many were taken. */
static inline uint32_t put_one(thread_heap_t *heap, const way_home_t *way, block_t *block) {
    place_t place = place_of(way, block);
    if (__builtin_expect(!is_in_run(way, place), 0))
        return heap_put_element(heap, block), 0;
    uint64_t bit = (uint64_t)1 << place.index % 64;
    if (__builtin_expect(!put_bits(heap, way, place, block, bit, 1), 0))
        return refuse_block(block), 0;
    return 1;
}

/* The blocks at the array's end whose bits are in one word are put at once.  There is NO_BLOCK
 * below the array, which is in no run.  Returns how many they are, *n_put: how many were taken. */
static inline uint32_t put_row(thread_heap_t *heap, const way_home_t *way, block_t *const *end,
                               uint32_t *n_put) {
    block_t *last = end[-1], *const *first = end - 1;
    place_t place = place_of(way, last);
    uint64_t bits = (uint64_t)1 << place.index % 64;
    void *start = run_start(last);
    while (run_start(first[-1]) == start) {
        uint32_t index = run_index(first[-1], way->reciprocal);
        if (index / 64 != place.index / 64 || bits >> index % 64 & 1)
            break;
        bits |= (uint64_t)1 << index % 64;
        first--;
    }
    uint32_t n_blocks = (uint32_t)(end - first);
    if (__builtin_expect(is_in_run(way, place) && put_bits(heap, way, place, last, bits, n_blocks),
                         1)) {
        *n_put += n_blocks;
        return n_blocks;
    }
    *n_put += put_one(heap, way, last);
    return 1;
}

static inline void count_puts(thread_heap_t *heap, unsigned size_class, uint32_t n_blocks) {
    heap->n_puts += n_blocks;
    heap->ready_bytes += n_blocks * size_class_bytes(size_class);
}

void heap_put(thread_heap_t *heap, void *pointer) {
    unsigned tile_class = region_tile_class(region_of(pointer), pointer);
    if (tile_class == TILE_ELEMENTS) {
        heap_put_element(heap, pointer);
        return;
    }
    way_home_t way = way_home(tile_class);
    count_puts(heap, tile_class, put_one(heap, &way, pointer));
}

/* In this order neighbours merge before they merge with what is clean. */
static void put_elements(thread_heap_t *heap, block_t *const *blocks, uint32_t n_blocks) {
    while (n_blocks-- > 0)
        heap_put_element(heap, blocks[n_blocks]);
}

/* To tell one by one what is right for it would be a guess of the processor's for each block. */
#define SAMPLE_BLOCKS 16u
#define LEAST_IN_ROWS 4u

bool heap_blocks_come_in_rows(block_t *const *blocks, uint32_t n_blocks) {
    uint32_t n_near = 0, n = n_blocks < SAMPLE_BLOCKS ? n_blocks : SAMPLE_BLOCKS;
    if (n < LEAST_IN_ROWS)
        return false;
    for (uint32_t i = 1; i < n; i++)
        n_near += run_start(blocks[n_blocks - i]) == run_start(blocks[n_blocks - i - 1]);
    return n_near * 4 >= n * 3;
}

void heap_put_blocks(thread_heap_t *heap, unsigned size_class, block_t *const *blocks,
                     uint32_t n_blocks) {
    if (size_class >= N_SMALL_CLASSES) {
        put_elements(heap, blocks, n_blocks);
        return;
    }
    const way_home_t way = way_home(size_class);
    block_t *const *end = blocks + n_blocks; /* from the end, as put_elements: there may be some */
    uint32_t n_put = 0;
    if (heap_blocks_come_in_rows(blocks, n_blocks))
        while (end > blocks)
            end -= put_row(heap, &way, end, &n_put);
    else
        while (end > blocks)
            n_put += put_one(heap, &way, *--end);
    count_puts(heap, size_class, n_put);
}

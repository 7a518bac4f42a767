/* SPDX-License-Identifier: MIT */
/*
 * region.h - the 64 MiB of address space that holds one mheap of a thread heap.
 *
 *      0            1 KiB        36 KiB                                     1216 KiB     64 MiB
 *      +------------+------------+---------------+-------+-------------+---------+-------------+
 *      | tile_class | runs[1024] | two bitmaps[] | slots | thread_heap | mheap_t | vector      |
 *      +------------+------------+---------------+-------+-------------+---------+-------------+
 *       ^ address & ~(64 MiB - 1)                 (the first region of a heap only)
 *
 * A tile is 64 KiB of address space.  tile_class says what lies in it: elements of the mheap, or a
 * run of blocks of one size class (run.h).  Only the pages of the header that are used are
 * resident: the run descriptors of the first tiles share a page with tile_class, the bitmaps of
 * eight tiles share one, or the short ones of 32, thread heap and mheap_t take two.  The slots are
 * the arrays of the thread heap's lists (heap_slots.h), the first of them on the thread heap's own
 * page.
 *
 * tile_class, runs[] and the bitmaps are written under the owning heap's lock.  Any thread may read
 * the tile_class of a tile in which it holds a live object: it cannot change before that is freed.
 */
#ifndef MHEAP_REGION_H
#define MHEAP_REGION_H

#include <stddef.h>
#include <stdint.h>

#include "mheap_layout.h"
#include "run.h"

#define REGION_LOG2_BYTES    26u
#define REGION_BYTES         ((size_t)1 << REGION_LOG2_BYTES)
#define REGION_HEADER_BYTES  ((size_t)1216 << 10)
#define REGION_HEADER_PAGES  (REGION_HEADER_BYTES / RUN_PAGE_BYTES)
#define N_REGION_TILES       (REGION_BYTES >> TILE_LOG2_BYTES)
#define N_HEADER_TILES       (REGION_HEADER_BYTES >> TILE_LOG2_BYTES) /* no runs lie there */

#define HEAP_SLOTS_BYTES     ((size_t)512 << 10)
#define HEAP_SLOTS_MAX_ARRAY ((size_t)16 << 10) /* of one list */
#define HEAP_HANDOVER_BYTES  ((size_t)16 << 10) /* pointers on their way from thread to thread */

#define TILE_ELEMENTS        N_CLASSES /* else the size class of the tile's run */

typedef struct region {
    uint8_t tile_class[N_REGION_TILES];
    uint32_t heap_index;      /* of this region's entry in the thread heap's mheaps[] */
    uint64_t clean_run_bytes; /* of its runs' clean pages */
    _Alignas(8) uint8_t got_blocks[N_REGION_TILES]; /* by tile: 1 if its run was not searched for
                                           free pages since blocks came home to it */
    uint64_t header_pages[REGION_HEADER_PAGES / 64 + 1]; /* bit per page: used, so resident */
    uint32_t n_header_pages;                             /* bits set */
    _Alignas(64) run_t runs[N_REGION_TILES];
    /* Of runs with more than 64 blocks.  The first that is used begins a page. */
    _Alignas(4096) uint64_t short_bitmaps[N_REGION_TILES - N_HEADER_TILES][RUN_SHORT_BITMAP_WORDS];
    _Alignas(4096) uint64_t bitmaps[N_REGION_TILES - N_HEADER_TILES][RUN_BITMAP_WORDS];
} region_t;

_Static_assert(sizeof(region_t) + HEAP_HANDOVER_BYTES + HEAP_SLOTS_BYTES + 16384 <
                       REGION_HEADER_BYTES &&
                   REGION_HEADER_BYTES % TILE_BYTES == 0,
               "the header also holds the thread heap, its slots and the mheap's header");

static inline region_t *region_of(const void *pointer) {
    return (region_t *)((uintptr_t)pointer & ~(uintptr_t)(REGION_BYTES - 1));
}

static inline unsigned region_tile(const void *pointer) {
    return (unsigned)((uintptr_t)pointer >> TILE_LOG2_BYTES) & (N_REGION_TILES - 1);
}

static inline void *region_tile_start(region_t *region, unsigned tile) {
    return (char *)region + tile * TILE_BYTES;
}

static inline unsigned region_tile_class(const region_t *region, const void *pointer) {
    size_t place = (uintptr_t)pointer - (uintptr_t)region;
    return __atomic_load_n(&region->tile_class[place / TILE_BYTES], __ATOMIC_RELAXED);
}

static inline void region_set_tile_class(region_t *region, unsigned tile, unsigned tile_class) {
    __atomic_store_n(&region->tile_class[tile], (uint8_t)tile_class, __ATOMIC_RELAXED);
}

static inline void *region_vector(region_t *region) {
    return (char *)region + REGION_HEADER_BYTES;
}

static inline mheap_t *region_mheap(region_t *region) {
    return mheap_header(region_vector(region));
}

static inline mheap_uoffset_t region_uoffset(region_t *region, const void *pointer) {
    return (mheap_uoffset_t)((const char *)pointer - (char *)region_vector(region));
}

/* These whole pages of the header were given back. */
static inline void region_forget_header(region_t *region, size_t page, size_t end) {
    for (; page < end; page++) {
        uint64_t bit = (uint64_t)1 << page % 64;
        region->n_header_pages -= (region->header_pages[page / 64] & bit) != 0;
        region->header_pages[page / 64] &= ~bit;
    }
}

/* This part of the header is used from now on. */
static inline void region_use_header(region_t *region, const void *from, const void *to) {
    size_t end = (size_t)((const char *)to - (char *)region);
    for (size_t at = (size_t)((const char *)from - (char *)region); at < end;
         at = (at | (RUN_PAGE_BYTES - 1)) + 1) {
        size_t page = at / RUN_PAGE_BYTES;
        uint64_t bit = (uint64_t)1 << page % 64;
        region->n_header_pages += !(region->header_pages[page / 64] & bit);
        region->header_pages[page / 64] |= bit;
    }
}

/* A run is known by its tile number in the whole address space, 0 is none. */
static inline void *run_at(uint32_t tile_number) {
    return (void *)((uintptr_t)tile_number << TILE_LOG2_BYTES);
}

static inline run_t *run_of_tile(uint32_t tile_number) {
    region_t *region = region_of(run_at(tile_number));
    return &region->runs[tile_number & (N_REGION_TILES - 1)];
}

/* Where the bitmaps of a class's runs lie: that of tile 0 would begin there in the region, and
 * those of two neighbours are so far apart. */
typedef struct {
    size_t offset, bytes;
} run_bits_place_t;

static inline run_bits_place_t run_bits_place(unsigned size_class) {
    if (size_class >= FIRST_CLASS_WITH_BITS_INSIDE)
        return (run_bits_place_t){offsetof(region_t, runs) + offsetof(run_t, bits_inside),
                                  sizeof(run_t)};
    bool is_short = size_class >= FIRST_CLASS_WITH_SHORT_BITMAP;
    size_t offset = is_short ? offsetof(region_t, short_bitmaps) : offsetof(region_t, bitmaps);
    size_t bytes = (is_short ? RUN_SHORT_BITMAP_WORDS : RUN_BITMAP_WORDS) * sizeof(uint64_t);
    return (run_bits_place_t){offset - N_HEADER_TILES * bytes, bytes};
}

/* The bitmap of the free blocks of the tile's run. */
static inline uint64_t *run_bits_at(region_t *region, unsigned tile, run_bits_place_t place) {
    return (uint64_t *)((char *)region + place.offset + tile * place.bytes);
}

static inline uint64_t *run_bits(run_t *run) {
    region_t *region = region_of(run);
    return run_bits_at(region, (unsigned)(run - region->runs), run_bits_place(run->size_class));
}

static inline uint32_t run_tile_number(const void *pointer) {
    return (uint32_t)((uintptr_t)pointer >> TILE_LOG2_BYTES);
}

#endif /* MHEAP_REGION_H */

/* SPDX-License-Identifier: MIT */
/*
 * run.h - a run: one tile of 64 KiB cut into equal blocks of one size class, without headers.
 *
 * A run is an element got with mheap_get_aligned(RUN_BYTES, 64 KiB), so its boundary tag is the
 * last eight bytes of the tile before it, and runs lie side by side.  (Elements of neighbouring
 * runs may have been joined, see heap_run.c.)
 *
 * Which of its blocks are free is a bitmap outside of the run, a bit per block.  So blocks go home
 * without being touched, leave in the order of their addresses, a block that comes home twice is
 * noticed, and finding pages that hold only free blocks is a matter of a few masks.  Such a page is
 * given back: it becomes *clean*, as are those that were never used, and its blocks are not handed
 * out before the page is *opened*, since a touched page is a resident page.
 *
 * A free block is *ready* if it lies on no clean page.  Then it has its mark (block.h).
 *
 *      live or in some thread's lists = capacity - n_free           (this equation always holds)
 *
 * Descriptor and bitmap lie in the region's header.  Everything here happens under the owning
 * heap's lock, except run_block_is_free.
 */
#ifndef MHEAP_RUN_H
#define MHEAP_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "size_class.h"

/* The last eight bytes of a tile are the next element's tag. */
#define TILE_LOG2_BYTES               16u
#define TILE_BYTES                    ((size_t)1 << TILE_LOG2_BYTES)
#define RUN_BYTES                     (TILE_BYTES - 8u)

/* Pages in the sense of a run; where the system's are larger they go back in groups. */
#define RUN_PAGE_BYTES                ((size_t)4096)
#define N_RUN_PAGES                   16u
#define RUN_ALL_PAGES                 0xffffu

/* Bitmaps of up to 64 blocks fit into the descriptor: classes from this one (1024 bytes) on. */
#define FIRST_CLASS_WITH_BITS_INSIDE  31u

/* Those of up to 1024, the space behind the last block included, are short: classes from this one
 * (64 bytes) on.  They lie by themselves, so that they are dense. */
#define FIRST_CLASS_WITH_SHORT_BITMAP 3u
#define RUN_SHORT_BITMAP_WORDS        (TILE_BYTES / 64u / 64u)
#define RUN_BITMAP_WORDS              (TILE_BYTES / 16u / 64u)

typedef enum {
    RUN_FULL,  /* no free block; on no list */
    RUN_READY, /* has ready blocks; on the heap's list of such */
    RUN_CLEAN, /* all its free blocks are on clean pages; on the heap's list of such */
} run_state_t;

typedef struct run {
    uint64_t bits_inside;
    uint32_t next, prev; /* on the heap's list for state and class, tile numbers, 0 ends */
    union {
        struct {
            uint16_t n_free;  /* bits set */
            uint16_t n_ready; /* of these, not on a clean page */
        };
        uint32_t n_free_and_ready;
    };
    uint16_t clean_pages; /* bit per page */
    uint16_t n_searched;  /* n_free when last searched for free pages (heap_purge.c) */
    uint8_t size_class;
    uint8_t state;       /* run_state_t */
    uint8_t is_joined;   /* to the element of the run before it */
    uint16_t zero_pages; /* of clean_pages, those that came zeroed or were given back */
} run_t;

_Static_assert(sizeof(run_t) == 32, "dense table in the region header");
_Static_assert(RUN_BYTES / 1024 <= 64 && RUN_BYTES / 960 > 64, "bits_inside");
_Static_assert(RUN_BYTES / 64 < RUN_SHORT_BITMAP_WORDS * 64, "the space behind the last block");

/* r = run_reciprocal[d] is 2^32 / d rounded up, by e / d with e < d.  Of n <= 2^16, n / d is the
 * upper half of n * r.  The lower half is (n / d) * e where n is a multiple of d, so less than
 * 2^16, and at least r where it is not: Lemire, Kaser, Kurz, "Faster remainder by direct
 * computation", 2019.  r itself is more than 2^16, so that all classes have one bound. */
#define RUN_BLOCK_PRODUCT_END ((uint32_t)1 << 16)
extern const uint32_t run_reciprocal[N_SMALL_CLASSES];
extern const uint16_t run_capacity[N_SMALL_CLASSES]; /* blocks in a run */

static inline bool run_offset_is_block(uint32_t offset, unsigned size_class) {
    return (uint32_t)(offset * run_reciprocal[size_class]) < RUN_BLOCK_PRODUCT_END;
}

/* The block's number; `reciprocal` is its class's. */
static inline uint32_t run_index(const void *block, uint64_t reciprocal) {
    return (uint32_t)(((uintptr_t)block & (TILE_BYTES - 1)) * reciprocal >> 32);
}

static inline void *run_start(const void *block) {
    return (void *)((uintptr_t)block & ~(uintptr_t)(TILE_BYTES - 1));
}

static inline bool run_is_empty(const run_t *run) {
    return run->n_free == run_capacity[run->size_class];
}

/* What its list should be. */
static inline run_state_t run_state(const run_t *run) {
    return run->n_ready ? RUN_READY : run->n_free ? RUN_CLEAN : RUN_FULL;
}

static inline size_t run_clean_bytes(const run_t *run) {
    return (unsigned)__builtin_popcount(run->clean_pages) * RUN_PAGE_BYTES;
}

/* Of its free blocks on pages that are resident. */
static inline size_t run_ready_bytes(const run_t *run) {
    return run->n_ready * size_class_bytes(run->size_class);
}

/* Take n_blocks back, which are marked: their bits in this word of the bitmap.  False if one is
 * there already; then none is taken.  (Relaxed stores: run_block_is_free.) */
static inline bool run_put(run_t *run, uint64_t *bitmap, uint32_t word, uint64_t bits,
                           uint32_t n_blocks) {
    uint64_t free_before = bitmap[word];
    if (__builtin_expect((free_before & bits) != 0, 0))
        return false;
    __atomic_store_n(&bitmap[word], free_before | bits, __ATOMIC_RELAXED);
    run->n_free_and_ready += n_blocks * 0x10001u; /* to both halves */
    return true;
}

/* Without the lock: a live block's bit does not change under its owner's hands. */
static inline bool run_block_is_free(const uint64_t *bits, const void *block, unsigned size_class) {
    uint32_t index = run_index(block, run_reciprocal[size_class]);
    return __atomic_load_n(&bits[index / 64], __ATOMIC_RELAXED) >> index % 64 & 1;
}

/* Does the block at this offset begin on a clean page?  Without the lock. */
static inline bool run_is_clean_at(const run_t *run, uint32_t offset) {
    return __atomic_load_n(&run->clean_pages, __ATOMIC_RELAXED) >> offset / RUN_PAGE_BYTES & 1;
}

/* All blocks free, all pages clean.  is_zero: its memory is known to be. */
void run_init(run_t *run, uint64_t *bits, unsigned size_class, bool is_zero);

/* Take at most n_blocks ready blocks of the run that begins at `start`: the one with the lowest
 * address is stored at end[-1], the next at end[-2], and so on.  Returns how many. */
uint32_t run_take(run_t *run, uint64_t *bits, void *start, uint32_t n_blocks, block_t **end);

/* Open clean pages, the highest first, since the next element's tag lies on the last: at least so
 * many, if there are, and as many as it takes to have a ready block.  Their blocks get marks.
 *
 * A block that was written to while its page was zero is not given out: it counts as live from now
 * on, since a program that freed an address without owning it may have got it from malloc.  The
 * last such block is returned, NULL if there is none. */
const block_t *run_open_pages(run_t *run, uint64_t *bits, void *start, unsigned n_pages,
                              uintptr_t key);

/* The pages that are not clean and hold no byte of a block that is not free. */
uint32_t run_holes(const run_t *run, const uint64_t *bits);

/* These pages of free blocks were given back. */
void run_set_clean(run_t *run, uint32_t pages);

/* The invariants that concern the run alone (H3, H4 in check.h). */
__attribute__((cold)) bool run_is_sound(const run_t *run, const uint64_t *bits);

/* A ready block of the run without its mark; NULL if there is none. */
__attribute__((cold)) const block_t *run_damaged_block(const run_t *run, const uint64_t *bits,
                                                       const void *start, uintptr_t key);

#endif /* MHEAP_RUN_H */

/* SPDX-License-Identifier: MIT */
/*
 * run.h - a run: one tile of 64 KiB cut into equal blocks of one size class, without headers.
 *
 * A run is an element got with mheap_get_aligned(RUN_BYTES, 64 KiB), so its boundary tag is the
 * last eight bytes of the tile before, and runs lie side by side.  Blocks are carved from the front
 * when needed, since a touched page is a resident page; blocks that came back are on a list.
 *
 *      live or in some thread's lists = n_carved - n_free           (this equation always holds)
 *
 * The descriptor lies in the region's header.  Everything here happens under the owning heap's
 * lock.
 */
#ifndef MHEAP_RUN_H
#define MHEAP_RUN_H

#include <stdbool.h>
#include <stdint.h>

#include "block.h"
#include "size_class.h"

#define TILE_LOG2_BYTES 16u
#define TILE_BYTES      ((size_t)1 << TILE_LOG2_BYTES)
#define RUN_BYTES       (TILE_BYTES - 8u) /* the last eight bytes are the next element's tag */

typedef struct run {
    block_t *free, *tail;  /* blocks that came back; tail is NULL if n_free is 0 */
    uint32_t next, prev;   /* in the heap's list of partial runs, tile numbers, 0 ends */
    uint16_t n_free;       /* blocks on the list */
    uint16_t n_carved;     /* blocks carved so far */
    uint16_t purged_pages; /* bit per page: given back, to be carved afresh */
    uint8_t size_class;
    uint8_t is_partial; /* on the heap's list */
} run_t;

_Static_assert(sizeof(run_t) == 32, "dense table in the region header");

/* For n < 2^16: n is a multiple of d exactly if (uint32_t)(n * run_reciprocal[d]) is less than
 * it: Lemire, Kaser, Kurz, "Faster remainder by direct computation", 2019. */
extern const uint32_t run_reciprocal[N_SMALL_CLASSES];
extern const uint16_t run_capacity[N_SMALL_CLASSES]; /* blocks in a run */

static inline bool run_offset_is_block(uint32_t offset, unsigned size_class) {
    uint32_t reciprocal = run_reciprocal[size_class];
    return (uint32_t)(offset * reciprocal) < reciprocal;
}

static inline void *run_start(const void *block) {
    return (void *)((uintptr_t)block & ~(uintptr_t)(TILE_BYTES - 1));
}

static inline bool run_is_empty(const run_t *run) {
    return run->n_free == run->n_carved;
}

static inline bool run_has_uncarved(const run_t *run) {
    return run->n_carved < run_capacity[run->size_class];
}

static inline bool run_has_blocks(const run_t *run) {
    return run->n_free > 0 || run_has_uncarved(run);
}

/* Was the block at this offset, a multiple of the block size, ever carved?  Relaxed, for those
 * without the lock: n_carved only grows while a block is live. */
static inline bool run_has_carved(const run_t *run, uint32_t offset) {
    uint32_t index = (uint32_t)((uint64_t)offset * run_reciprocal[run->size_class] >> 32);
    return index < __atomic_load_n(&run->n_carved, __ATOMIC_RELAXED);
}

/*
 * Can `block` come back?  Not if it was never carved, and not if it is back already.  That happens
 * when a block was freed, written to and freed again: its list then leads in a circle, and at the
 * second visit of the block its link, new since the first, leads down the run's own list, past
 * every block to the tail.
 */
static inline bool run_misses(const run_t *run, const block_t *block) {
    return run->n_free < run->n_carved && block != run->tail &&
           run_has_carved(run, (uint32_t)((uintptr_t)block & (TILE_BYTES - 1)));
}

/* Take `block` back. */
static inline void run_push(run_t *run, block_t *block, uintptr_t key) {
    if (run->n_free++ == 0) {
        run->tail = block;
        run->free = NULL;
    }
    block_link(block, run->free, key);
    run->free = block;
}

void run_init(run_t *run, unsigned size_class);

/* Put the run's whole free list in front of *head.  Returns the number of blocks. */
uint32_t run_take(run_t *run, block_t **head, uintptr_t key);

/* Carve up to `max_blocks` fresh blocks of the run that starts at `start` and put them in front
 * of *head, lowest address first.  Returns the number of blocks. */
uint32_t run_carve(run_t *run, void *start, uint32_t max_blocks, block_t **head, uintptr_t key);

/* Lists of partial runs.  *head and the arguments are tile numbers. */
void run_list_push(uint32_t *head, uint32_t tile_number);
void run_list_remove(uint32_t *head, uint32_t tile_number);

#endif /* MHEAP_RUN_H */

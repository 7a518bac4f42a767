/* SPDX-License-Identifier: MIT */
/*
 * hardened_arena.h - where slabs come from.  Private to hardened_slab*.c and hardened_arena.c.
 *
 * A few arenas for the process, each with a lock that guards everything in it and in its slabs.  A
 * thread allocates from one arena; whoever frees takes the lock of the slab's.
 */
#ifndef MHEAP_HARDENED_ARENA_H
#define MHEAP_HARDENED_ARENA_H

#include "hardened_held.h"
#include "hardened_lock.h"
#include "hardened_slab.h"

#define N_SLAB_ARENAS 8u

/* Addresses at which slabs are still to be made. */
typedef struct {
    char *memory; /* a region; NULL: none yet */
    struct slab_region *map;
    uint32_t next_tile, n_tiles;
    uint32_t group; /* slabs side by side between two guards */
} slab_source_t;

/* Metadata still to be given out. */
typedef struct {
    char *next;
    size_t n_bytes;
} slab_pool_t;

typedef struct {
    _Alignas(64) lock_t lock;
    uint32_t n_idle; /* slabs without an object whose pages may be there */
    hardened_random_t random;
    slab_source_t source;
    slab_pool_t pool;
    slab_t *slabs;                     /* all, by `other` */
    struct slab_region *regions;       /* all, by `next`, the source's, too */
    struct slab_region *spare_regions; /* descriptors of regions that were given up */
    slab_t *listed[N_SLAB_CLASSES];    /* see S5 */
    slab_t *spare[N_SLAB_CLASSES];     /* metadata of slabs without memory */
    held_t held[N_SLAB_CLASSES];
    uint64_t pool_bytes; /* metadata so far */
} slab_arena_t;

/* The calling thread's.  The first call sets the process up (boot.h). */
slab_arena_t *arena_self(void);
slab_arena_t *arena_at(unsigned index); /* below N_SLAB_ARENAS */

void arena_list_add(slab_arena_t *arena, slab_t *slab);
void arena_list_remove(slab_arena_t *arena, slab_t *slab);

/* A slab with no slot open, not listed; under the lock; NULL without memory. */
slab_t *arena_new_slab(slab_arena_t *arena, unsigned size_class);

/* A slab with no slot open loses its access, so that it does not count against a limit on data
 * (RLIMIT_DATA); and gets it again: false without memory. */
void arena_close(slab_t *slab);
bool arena_open(slab_t *slab);

/* Give up the address space of regions in which no slab has a slot open. */
void arena_give_up_regions(slab_arena_t *arena);

/* Room for the quarantine of a class; false without memory. */
bool arena_reserve_held(slab_arena_t *arena, unsigned size_class);

/* Calls visit(arg, arena) for each arena, locked. */
void arena_foreach(void (*visit)(void *arg, slab_arena_t *arena), void *arg);

#endif /* MHEAP_HARDENED_ARENA_H */

/* SPDX-License-Identifier: MIT */
/*
 * hardened_slab.h - objects of up to SLAB_MAX_BYTES with their canary, in slabs of equal slots.
 *
 *      region    | guard | slab ... slab | guard | slab ... slab | guard | ...       64 MiB
 *      slab      | slot | slot | slot | ...                                          64 KiB
 *      slot      | object: what was asked for | canary, at least CANARY_BYTES |
 *
 * Slabs lie in regions reserved without access; what is not a slab is never made accessible, so it
 * guards.  How many slabs share a guard grows with the number of regions (group_of), since each
 * group is two kernel mappings.  All that describes a slab lies in memory of its own (slab_t),
 * between guards, too: no pointer, size or link is within a program's objects or next to them.
 *
 * A slot is FREE and all zero, LIVE, or HELD: freed, zeroed, in the quarantine.  The free
 * pages of a slab go back to the system, its addresses stay its arena's and, while there are others
 * to be had, its size class's: an object of another size does not get them.  Only when memory has
 * run out are regions without an object given up.
 *
 * Invariants (slab_check has a line for each):
 *
 *  S1  n_open == n_ready + n_live + n_held <= n_slots; the counts are those of slots[]
 *  S2  ready[] names each FREE slot among the first n_open once
 *  S3  a LIVE slot's canary is whole
 *  S4  a FREE or HELD slot is all zero
 *  S5  exactly the slabs with a ready slot, or one not yet open, are on their class's list
 */
#ifndef MHEAP_HARDENED_SLAB_H
#define MHEAP_HARDENED_SLAB_H

#include <stddef.h>
#include <stdint.h>

#include "fatal.h"
#include "hardened.h"
#include "owner.h"
#include "size_class.h"

#define SLAB_BYTES     TILE_BYTES
#define SLAB_MAX_BYTES 16384u
#define N_SLAB_CLASSES 64u
#define CANARY_BYTES   8u

_Static_assert(N_SLAB_CLASSES == 8 + 8 * 7, "up to 128, then seven doublings to 16 KiB");

typedef enum { SLOT_FREE, SLOT_LIVE, SLOT_HELD } slot_state_t;

/* slots[]: the state, and the bytes of canary. */
#define SLOT_STATE_BITS 2u
_Static_assert(SLAB_MAX_BYTES <= 1u << (16 - SLOT_STATE_BITS), "slots[] holds any slack");

typedef struct slab {
    char *memory;             /* NULL: another class has it now, or nobody */
    struct slab *next, *prev; /* in the class's list (S5) */
    struct slab *other;       /* the arena's next slab */
    uint16_t *ready;          /* n_ready of them: slots to be handed out, in any order */
    uint32_t slot_bytes, reciprocal;
    uint16_t n_slots, n_open, n_ready, n_live, n_held;
    uint8_t size_class, arena;
    bool is_listed, is_closed; /* closed: without access, and no slot is open */
    uint16_t slots[];          /* a state and slack for each slot */
} slab_t;

/* Where a pointer lies, any value whatever; NULL: in no slab. */
slab_t *slab_of(const void *pointer);

/* Whether an object goes into a slab. */
static inline bool slab_takes(size_t bytes) {
    return bytes <= SLAB_MAX_BYTES - CANARY_BYTES;
}

/* An object, all zero, in a slot of at least `slot_bytes` (not under bytes + CANARY_BYTES).  NULL
 * without memory. */
void *slab_alloc(size_t bytes, size_t slot_bytes, hardened_kind_t kind);

/* Free it: into the quarantine.  False if it cannot be: then *what says why, in words. */
bool slab_free(slab_t *slab, void *object, const hardened_freeing_t *freeing, line_t *what);

/* Size of the object; false and *what if it is none that lives, or if its canary is damaged. */
bool slab_ask(slab_t *slab, void *object, size_t *bytes, line_t *what);

/* Make it `bytes` large where it is, if it would be given a place of the same size.  False and
 * `what` still empty: it does not fit; false with words in it: as slab_ask.  *had_bytes: before. */
bool slab_resize(slab_t *slab, void *object, size_t bytes, size_t *had_bytes, line_t *what);

/* End the quarantine and give all free pages back; returns their bytes. */
size_t slab_trim(void);

/* After a trim that was not enough: the address space of regions without an object, too. */
void slab_give_up_regions(void);

void slab_stats(stats_t *stats);
uint64_t slab_resident_bytes(void); /* as stats_resident_bytes; with all metadata */
bool slab_check(violation_t *violation);

void slab_fork_prepare(void);
void slab_fork_parent(void);
void slab_fork_child(void);

#endif /* MHEAP_HARDENED_SLAB_H */

/* SPDX-License-Identifier: MIT */
/*
 * demand.h - how much of the free memory is wanted again.
 *
 * A program that frees a burst and one that frees what it will allocate again in a moment look the
 * same while they free.  They differ in what comes next, so that is what is measured: by how much
 * the memory taken again exceeded the memory freed, at most, in any stretch of time.  Memory counts
 * as taken again if it was dirty, or if as much was given back lately: then it is missed.  So a
 * burst, all of it fresh memory, leaves no demand, and goes back as it is freed; a program that
 * swings loses its pages once, and has shown by how much it swings.
 *
 * Where objects come and go at a steady rate there is no such rise.  There it counts how much was
 * missed: it should have stayed.  But not more of that than is in use, since where free memory is
 * in pieces that do not fit, more of it would not help.
 *
 * The greatest rise is forgotten by half in each DEMAND_HALF_MS, as is what was given back;
 * but nothing before it is so old.
 *
 * Each thread heap has one (heap_demand.c), and the store of large objects (large_internal.h); the
 * same lock guards it.
 */
#ifndef MHEAP_DEMAND_H
#define MHEAP_DEMAND_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define DEMAND_HALF_MS 1000u

typedef struct {
    uint64_t halved_ms;
    size_t rise_bytes; /* taken again and not freed since, from the last low on */
    /* The greatest rise, what was given back, and what of that was missed: since halved_ms, and
     * what is left from before. */
    size_t greatest_bytes, greatest_before_bytes;
    size_t purged_bytes, purged_before_bytes;
    size_t missed_bytes, missed_before_bytes;
} demand_t;

/* For objects: from memory that was resident, and from memory that was not.  Everywhere now_ms is
 * the coarse clock's. */
void demand_taken(demand_t *demand, uint64_t now_ms, size_t dirty_bytes, size_t clean_bytes);
void demand_taken_again(demand_t *demand, uint64_t now_ms, size_t dirty_bytes); /* all resident */
void demand_freed(demand_t *demand, size_t bytes);
void demand_purged(demand_t *demand, uint64_t now_ms, size_t bytes);

/* So much free memory is likely to be used again, beside live_bytes in use. */
size_t demand_bytes(demand_t *demand, uint64_t now_ms, size_t live_bytes);

/* Nothing is known any more. */
void demand_forget(demand_t *demand, uint64_t now_ms);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_DEMAND_H */

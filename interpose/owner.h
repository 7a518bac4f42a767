/* SPDX-License-Identifier: MIT */
/*
 * owner.h - who owns which part of the address space.
 *
 * Memory comes in regions of 64 MiB, aligned to their size.  region_owner[address >> 26] names the
 * owner of a region: nobody of ours (0), a thread heap (its id), or the process-wide store of large
 * objects.  One load therefore tells `free` whether a pointer is ours at all and whether it belongs
 * to the calling thread.
 *
 * An entry is written once before any pointer into the region is handed out (release; the pointer's
 * own way to another thread is what orders it before that thread's relaxed load), and set back to 0
 * only after the last pointer into it is gone.
 */
#ifndef MHEAP_OWNER_H
#define MHEAP_OWNER_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "region.h"

#if defined(__x86_64__)
#define ADDRESS_BITS 47u /* of user space; the kernel gives out more only when asked */
#else
#define ADDRESS_BITS 48u
#endif
#define N_REGIONS      ((size_t)1 << (ADDRESS_BITS - REGION_LOG2_BYTES))

/* Where regions are by themselves (owner_reserve.c).  The others' owners are in a table that is
 * mapped when there is one: with it the library would be more than 2 MiB, which the kernel places
 * at a multiple of that, and libc below it, and there its windows are more than elsewhere. */
#define NEAR_BITS      45u
#define N_NEAR_REGIONS ((size_t)1 << (NEAR_BITS - REGION_LOG2_BYTES))

typedef uint16_t owner_id_t;
#define OWNER_NONE      ((owner_id_t)0)
#define OWNER_HEAP_MAX  ((owner_id_t)0xfdff) /* thread heaps are 1 .. OWNER_HEAP_MAX */
#define OWNER_SLAB      ((owner_id_t)0xfe00) /* hardened_slab.c, in the hardened library only */
#define OWNER_LARGE     ((owner_id_t)0xff00) /* and up to OWNER_LARGE_MAX: large_stores.c */
#define OWNER_LARGE_MAX ((owner_id_t)0xff0f)
#define OWNER_NOT_SELF  ((owner_id_t)0xffff) /* equal to no entry: sends every free the slow way */

extern _Atomic owner_id_t region_owner[N_NEAR_REGIONS]; /* sparse, in .bss */

/* Owner of a pointer into a near region; 0 for any other, ours or not. */
static inline owner_id_t owner_of_near(const void *pointer) {
    size_t index = (uintptr_t)pointer >> REGION_LOG2_BYTES;
    if (index >= N_NEAR_REGIONS)
        return OWNER_NONE;
    return atomic_load_explicit(&region_owner[index], memory_order_relaxed);
}

__attribute__((cold)) owner_id_t owner_of_far(const void *pointer);

/* Owner of any pointer value whatever, 0 if it is not ours. */
static inline owner_id_t owner_of(const void *pointer) {
    if (__builtin_expect((uintptr_t)pointer >> NEAR_BITS != 0, 0))
        return owner_of_far(pointer);
    return owner_of_near(pointer);
}

static inline bool owner_is_large(owner_id_t owner) {
    return owner >= OWNER_LARGE && owner <= OWNER_LARGE_MAX;
}

/*
 * Reserve `bytes` (a multiple of a page) of address space without access, aligned to `align` (a
 * power of two, at least REGION_BYTES), and never sharing a region with anything else of ours: the
 * caller owns every region it touches.  NULL if there is none.  Does not set the owner.
 */
void *owner_reserve(size_t bytes, size_t align);

/* There is a table for the owners of all regions that this touches.  owner_reserve has asked. */
bool owner_can_set(const void *memory, size_t bytes);

/* Set the owner of all regions that [memory, memory + bytes) touches. */
void owner_set(const void *memory, size_t bytes, owner_id_t owner);

#endif /* MHEAP_OWNER_H */

/* SPDX-License-Identifier: MIT */
/*
 * cache.h - the small-object cache: freed small objects, ready for reuse.
 *
 * A cached object stays an allocated element, marked is_cached in its own tag, on a LIFO list of
 * its exact size that is linked through its user data.  Neither neighbours nor bins are touched.
 * Without MHEAP_FLAG_SMALL_OBJECT_CACHE all lists stay empty.  Keeps M10.  The heap's lock guards
 * all.
 */
#ifndef MHEAP_CACHE_H
#define MHEAP_CACHE_H

#include "mheap_internal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Turn all cached objects into free elements.  O(objects in the cache). */
void cache_flush(mheap_t *h);

/* Free objects, from each list in turn, until there are no more than max_cached. */
void cache_evict(mheap_t *h);
void cache_evict_one(mheap_t *h);

/* The way out: a link, or a tag, in the cache was written to by a user. */
__attribute__((noreturn, cold)) void cache_blame(const mheap_t *h, mheap_uoffset_t uoffset);

/* What max_cached is to be.  As n_elts is the rest of the sum, the cache holds no more than MIN and
 * one for each PART of n_elts. */
static inline uint32_t cache_limit(const mheap_t *h) {
    uint64_t n_all = h->n_elts + h->n_cached;
    uint64_t most = (n_all + MHEAP_CACHE_MIN_ELTS * MHEAP_CACHE_PART) / (MHEAP_CACHE_PART + 1);
    return (uint32_t)(most < MHEAP_CACHE_MAX_ELTS ? most : MHEAP_CACHE_MAX_ELTS);
}

/* To be called when n_elts + n_cached has changed: not by what moves an object from one to the
 * other.
 */
static inline void cache_set_limit(mheap_t *h) {
    if (h->n_cache_lists)
        h->max_cached = cache_limit(h);
}

/* Bits of the lists whose objects may serve those of one: its own, and of sizes a little larger. */
extern const uint64_t cache_lists_that_serve[MHEAP_N_CACHE_LISTS];

/* A live one, the half of whose tag is its size. */
static inline bool cache_takes(const mheap_t *h, const mheap_elt_t *e) {
    return e->this_half <= h->n_cache_lists;
}

/* Take an object that is being freed, that the cache takes, and that is no longer counted in
 * n_elts. */
static inline void cache_push(mheap_t *h, mheap_elt_t *e) {
    uint32_t half = e->this_half, list = half - 1;
    e->cached_elt.next_uoffset = h->cache_heads[list];
    e->this_half = half | MHEAP_IS_CACHED_BIT;
    h->cache_heads[list] = elt_uoffset(h, e);
    h->non_empty_cache_heads |= (uint64_t)1 << list;
    if (++h->n_cached > h->max_cached)
        cache_evict(h);
}

/* The first object of a list that is not empty.  The link to it lay in memory that a user has
 * freed: check it. */
static inline mheap_elt_t *cache_head(const mheap_t *h, uint32_t list) {
    mheap_uoffset_t head = h->cache_heads[list];
    mheap_elt_t *e = elt_at(h, head);
    if (!uoffset_is_inside(head, elt_len(h)) || e->this_half != (MHEAP_IS_CACHED_BIT | (list + 1)))
        cache_blame(h, head);
    return e;
}

static inline void cache_remove_head(mheap_t *h, uint32_t list, mheap_elt_t *e) {
    mheap_uoffset_t next = h->cache_heads[list] = e->cached_elt.next_uoffset;
    h->non_empty_cache_heads ^= (uint64_t)(next == MHEAP_GROUNDED) << list;
    e->this_half = list + 1;
    h->n_cached--;
}

/* A cached object for `list`, aligned to a word, from a list that serves it; or NULL. */
static inline mheap_elt_t *cache_pop(mheap_t *h, uint64_t list) {
    uint64_t lists = h->non_empty_cache_heads & cache_lists_that_serve[list];
    if (!lists)
        return NULL;
    uint32_t found = (uint32_t)__builtin_ctzll(lists);
    mheap_elt_t *e = cache_head(h, found);
    cache_remove_head(h, found, e);
    return e;
}

/* The same, if its address suits. */
static inline mheap_elt_t *cache_pop_aligned(mheap_t *h, uint64_t list, size_t align,
                                             size_t align_offset) {
    uint64_t lists = h->non_empty_cache_heads & cache_lists_that_serve[list];
    if (!lists)
        return NULL;
    const mheap_elt_t *e = cache_head(h, (uint32_t)__builtin_ctzll(lists));
    uintptr_t address = (uintptr_t)e + MHEAP_TAG_BYTES + align_offset;
    return address & (align - 1) ? NULL : cache_pop(h, list);
}

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_CACHE_H */

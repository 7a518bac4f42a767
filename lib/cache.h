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

/* Free objects, from each list in turn, until the cache is no longer too full. */
void cache_evict(mheap_t *h);

/* The way out: a link, or a tag, in the cache was written to by a user. */
__attribute__((noreturn, cold)) void cache_blame(const mheap_t *h, mheap_uoffset_t uoffset);

static inline bool cache_is_too_full(const mheap_t *h) {
    return h->n_cached > MHEAP_CACHE_MIN_ELTS + h->n_elts / MHEAP_CACHE_PART ||
           h->n_cached > MHEAP_CACHE_MAX_ELTS;
}

/* Take an object that is being freed (no longer counted in n_elts).  False if the heap has no cache
 * or the object is not small. */
static inline bool cache_push(mheap_t *h, mheap_elt_t *e) {
    uint32_t list = e->n_user_data - 1;
    if (!(h->flags & MHEAP_FLAG_SMALL_OBJECT_CACHE) || list >= MHEAP_N_CACHE_LISTS)
        return false;
    e->cached_elt.next_uoffset = h->cache_heads[list];
    e->this_half |= MHEAP_IS_CACHED_BIT;
    h->cache_heads[list] = elt_uoffset(h, e);
    h->non_empty_cache_heads |= (uint64_t)1 << list;
    h->n_cached++;
    if (cache_is_too_full(h))
        cache_evict(h);
    return true;
}

/* The first object of a list that is not empty.  The link to it lay in memory that a user has
 * freed: check it. */
static inline mheap_elt_t *cache_head(const mheap_t *h, uint32_t list) {
    mheap_uoffset_t head = h->cache_heads[list];
    mheap_elt_t *e = elt_at(h, head);
    if (!uoffset_is_plausible(h, head) || e->this_half != (MHEAP_IS_CACHED_BIT | (list + 1)))
        cache_blame(h, head);
    return e;
}

static inline void cache_remove_head(mheap_t *h, uint32_t list, mheap_elt_t *e) {
    mheap_uoffset_t next = h->cache_heads[list] = e->cached_elt.next_uoffset;
    h->non_empty_cache_heads ^= (uint64_t)(next == MHEAP_GROUNDED) << list;
    e->this_half = list + 1;
    h->n_cached--;
}

/* A cached object of this size, or up to an eighth more, whose address suits; or NULL. */
static inline mheap_elt_t *cache_pop(mheap_t *h, uint64_t n_words, size_t align,
                                     size_t align_offset) {
    if (n_words > MHEAP_N_CACHE_LISTS)
        return NULL;
    uint64_t window = ((uint64_t)2 << n_words / 8) - 1;
    uint64_t lists = h->non_empty_cache_heads >> (n_words - 1) & window;
    if (!lists)
        return NULL;
    uint32_t list = (uint32_t)n_words - 1 + (uint32_t)__builtin_ctzll(lists);
    mheap_elt_t *e = cache_head(h, list);
    if (((uintptr_t)elt_user_data(e) + align_offset) & (align - 1))
        return NULL;
    cache_remove_head(h, list, e);
    return e;
}

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_CACHE_H */

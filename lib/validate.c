/* SPDX-License-Identifier: MIT */
/*
 * validate.c - a function for each invariant.  M1 to M5 are what a walk checks; here is the rest.
 *
 * Works without memory and without writing: what a list holds and what a walk finds are compared
 * as multisets, by their number and a sum of hashes.
 */
#include "validate.h"

#include "cache.h"

/* What the walk finds, to be compared with what the header and the lists say. */
typedef struct {
    uint64_t n_live, n_dirty_bytes, n_clean_bytes;
    uint64_t n_free, free_hash;     /* free elements, with their bins */
    uint64_t n_cached, cached_hash; /* cached objects, with their bins */
} census_t;

static uint64_t hash_of(uint64_t uoffset, uint32_t bin) {
    uint64_t hash = (uoffset << 16 | bin) * 0x9e3779b97f4a7c15ull;
    hash = (hash ^ hash >> 31) * 0xbf58476d1ce4e5b9ull;
    return hash ^ hash >> 29;
}

static bool has_cache(const mheap_t *h) {
    return h->flags & MHEAP_FLAG_SMALL_OBJECT_CACHE;
}

static mheap_elt_t *free_elt_at(const mheap_t *h, uint64_t uoffset) {
    if (!uoffset_is_plausible(h, uoffset))
        return NULL;
    mheap_elt_t *e = elt_at(h, uoffset);
    return e->is_free ? e : NULL;
}

/* ---- Per element, during the walk ---- */

/* M6 of one free element: where a list begins with it, it is its bin's. */
static bool m6_element(const mheap_t *h, const mheap_elt_t *e) {
    return e->free_elt.prev_uoffset != MHEAP_GROUNDED ||
           h->first_free_elt_uoffset_by_bin[bin_of(e->n_user_data)] == elt_uoffset(h, e);
}

/* M7 of one free element: the elements before and after it on the list are free and link back. */
static bool m7_element(const mheap_t *h, const mheap_elt_t *e) {
    mheap_uoffset_t uoffset = elt_uoffset(h, e);
    if (e->free_elt.next_uoffset != MHEAP_GROUNDED) {
        const mheap_elt_t *next = free_elt_at(h, e->free_elt.next_uoffset);
        if (!next || next->free_elt.prev_uoffset != uoffset)
            return false;
    }
    if (e->free_elt.prev_uoffset == MHEAP_GROUNDED)
        return true;
    const mheap_elt_t *prev = free_elt_at(h, e->free_elt.prev_uoffset);
    return prev && prev->free_elt.next_uoffset == uoffset;
}

/* M10 of one element: free ones are not cached; with a small-object cache, cached ones are small.
 */
static bool m10_element(const mheap_t *h, const mheap_elt_t *e) {
    if (!e->is_cached)
        return true;
    return !e->is_free && (!has_cache(h) || e->n_user_data <= MHEAP_N_CACHE_LISTS);
}

/* M11 of one free element: it does not have more dirty bytes than bytes, and the clean ones agree.
 */
static bool m11_element(const mheap_elt_t *e) {
    return !elt_keeps_n_dirty(e) ||
           (e->free_elt.n_dirty <= elt_n_bytes(e) && e->free_elt.n_clean == elt_clean_bytes(e));
}

static int broken_by_element(const mheap_t *h, const mheap_elt_t *e) {
    if (!m10_element(h, e))
        return 10;
    if (!e->is_free)
        return 0;
    if (!m7_element(h, e))
        return 7;
    if (!m6_element(h, e))
        return 6;
    return m11_element(e) ? 0 : 11;
}

static void count(census_t *census, const mheap_t *h, const mheap_elt_t *e) {
    uint64_t hash = hash_of(elt_uoffset(h, e), bin_of(e->n_user_data));
    if (e->is_free) {
        census->n_free++;
        census->free_hash += hash;
        census->n_dirty_bytes += elt_keeps_n_dirty(e) ? e->free_elt.n_dirty : 0;
        census->n_clean_bytes += elt_clean_bytes(e);
    } else if (e->is_cached && has_cache(h)) {
        census->n_cached++;
        census->cached_hash += hash;
    } else
        census->n_live++;
}

static mheap_corruption_t check_elements(const mheap_t *h, census_t *census) {
    walk_t w = walk_start(h);
    while (walk_next(&w)) {
        int invariant = broken_by_element(h, w.elt);
        if (invariant)
            return walk_corruption(invariant, w.uoffset);
        count(census, h, w.elt);
    }
    return w.corruption;
}

/* ---- The header's view, after the walk ---- */

/* M6 and M7 of the lists: they hold exactly the free elements that the walk found. */
static mheap_corruption_t check_lists(const mheap_t *h, const census_t *census) {
    uint64_t n_free = 0, hash = 0;
    for (uint32_t bin = 0; bin < MHEAP_N_BINS; bin++) {
        mheap_uoffset_t uoffset = h->first_free_elt_uoffset_by_bin[bin], prev = MHEAP_GROUNDED;
        while (uoffset != MHEAP_GROUNDED) {
            const mheap_elt_t *e = free_elt_at(h, uoffset);
            if (!e || e->n_user_data == 0 || elt_is_end_mark(e) || bin_of(e->n_user_data) != bin)
                return walk_corruption(6, uoffset);
            if (e->free_elt.prev_uoffset != prev || ++n_free > census->n_free)
                return walk_corruption(7, uoffset);
            hash += hash_of(uoffset, bin);
            prev = uoffset;
            uoffset = e->free_elt.next_uoffset;
        }
    }
    bool is_same = n_free == census->n_free && hash == census->free_hash;
    return is_same ? walk_no_corruption() : walk_corruption(6, MHEAP_GROUNDED);
}

static bool m8(const mheap_t *h) {
    for (uint32_t bin = 0; bin < MHEAP_N_BIN_WORDS * 64; bin++) {
        bool bit = h->non_empty_free_elt_heads[bin / 64] >> bin % 64 & 1;
        if (bit != (bin < MHEAP_N_BINS && h->first_free_elt_uoffset_by_bin[bin] != MHEAP_GROUNDED))
            return false;
    }
    for (uint32_t i = 0; i < 32; i++)
        if ((h->non_empty_bin_words >> i & 1) !=
            (i < MHEAP_N_BIN_WORDS && h->non_empty_free_elt_heads[i] != 0))
            return false;
    return true;
}

static bool m9(const mheap_t *h, const census_t *census) {
    return h->n_elts == census->n_live;
}

/* M10 of the cache: it holds exactly the cached objects that the walk found. */
static mheap_corruption_t check_cache(const mheap_t *h, const census_t *census) {
    uint64_t n_cached = 0, hash = 0;
    for (uint32_t list = 0; list < MHEAP_N_CACHE_LISTS; list++) {
        mheap_uoffset_t uoffset = h->cache_heads[list];
        if ((h->non_empty_cache_heads >> list & 1) != (uoffset != MHEAP_GROUNDED))
            return walk_corruption(10, uoffset);
        while (uoffset != MHEAP_GROUNDED) {
            if (!uoffset_is_plausible(h, uoffset) || ++n_cached > census->n_cached)
                return walk_corruption(10, uoffset);
            const mheap_elt_t *e = elt_at(h, uoffset);
            if (!e->is_cached || e->n_user_data != list + 1)
                return walk_corruption(10, uoffset);
            hash += hash_of(uoffset, bin_of(list + 1));
            uoffset = e->cached_elt.next_uoffset;
        }
    }
    bool is_same = n_cached == census->n_cached && hash == census->cached_hash &&
                   n_cached == h->n_cached &&
                   h->n_cache_lists == (has_cache(h) ? MHEAP_N_CACHE_LISTS : 0) &&
                   (!has_cache(h) || h->max_cached == cache_limit(h));
    return is_same ? walk_no_corruption() : walk_corruption(10, MHEAP_GROUNDED);
}

static bool m11(const mheap_t *h, const census_t *census) {
    return h->free_dirty_bytes == census->n_dirty_bytes &&
           h->free_clean_bytes == census->n_clean_bytes &&
           h->tail_dirty_bytes <= h->never_used_off - h->len;
}

mheap_corruption_t validate(const mheap_t *h) {
    census_t census = {0};
    mheap_corruption_t corruption = check_elements(h, &census);
    if (!corruption.invariant)
        corruption = check_lists(h, &census);
    if (!corruption.invariant && !m8(h))
        corruption = walk_corruption(8, MHEAP_GROUNDED);
    if (!corruption.invariant && !m9(h, &census))
        corruption = walk_corruption(9, MHEAP_GROUNDED);
    if (!corruption.invariant)
        corruption = check_cache(h, &census);
    if (!corruption.invariant && !m11(h, &census))
        corruption = walk_corruption(11, MHEAP_GROUNDED);
    return corruption;
}

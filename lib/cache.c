/* SPDX-License-Identifier: MIT */
#include "cache.h"

#include "fatal.h"

static bool is_small(uint64_t n_words) {
    return n_words <= MHEAP_N_SMALL_BINS;
}

/* The first object of a list.  The link to it lay in memory that a user has freed: check it. */
static mheap_elt_t *checked_head(const mheap_t *h, uint32_t bin) {
    mheap_uoffset_t head = h->cache_head_by_bin[bin];
    if (head == MHEAP_GROUNDED)
        return NULL;
    mheap_elt_t *e = elt_at(h, head);
    if (!uoffset_is_plausible(h, head) || e->is_free || !e->is_cached || e->n_user_data != bin + 1)
        fatal("mheap", elt_user_data(e),
              "link of a cached object is damaged (written to after it was freed?)");
    return e;
}

static void remove_head(mheap_t *h, uint32_t bin, mheap_elt_t *e) {
    h->cache_head_by_bin[bin] = e->cached_elt.next_uoffset;
    h->cache_n_bytes -= elt_n_bytes(e);
    e->is_cached = 0;
}

void cache_flush(mheap_t *h) {
    for (uint32_t bin = 0; bin < MHEAP_N_SMALL_BINS; bin++) {
        mheap_elt_t *e;
        while ((e = checked_head(h, bin))) {
            remove_head(h, bin, e);
            mheap_release_elt(h, e);
        }
    }
    h->stats.n_cache_flushes++;
}

bool cache_push(mheap_t *h, mheap_elt_t *e) {
    if (!(h->flags & MHEAP_FLAG_SMALL_OBJECT_CACHE) || !is_small(e->n_user_data))
        return false;
    uint64_t n_bytes = elt_n_bytes(e);
    if (h->cache_n_bytes + n_bytes > MHEAP_CACHE_MAX_BYTES)
        cache_flush(h);
    uint32_t bin = bin_of(e->n_user_data);
    e->cached_elt.next_uoffset = h->cache_head_by_bin[bin];
    e->is_cached = 1;
    h->cache_head_by_bin[bin] = elt_uoffset(h, e);
    h->cache_n_bytes += n_bytes;
    return true;
}

mheap_elt_t *cache_pop(mheap_t *h, uint64_t n_words, size_t align, size_t align_offset) {
    if (!is_small(n_words))
        return NULL;
    uint32_t bin = bin_of(n_words);
    mheap_elt_t *e = checked_head(h, bin);
    if (!e || (((uintptr_t)elt_user_data(e) + align_offset) & (align - 1)))
        return NULL;
    remove_head(h, bin, e);
    return e;
}

/* SPDX-License-Identifier: MIT */
#include "cache.h"

#include "fatal.h"

void cache_blame(const mheap_t *h, mheap_uoffset_t uoffset) {
    fatal("mheap", elt_user_data(elt_at(h, uoffset)),
          "link of a cached object is damaged (written to after it was freed?)");
}

static void release_head(mheap_t *h, uint32_t list) {
    mheap_elt_t *e = cache_head(h, list);
    cache_remove_head(h, list, e);
    mheap_release_elt(h, e);
}

void cache_flush(mheap_t *h) {
    while (h->non_empty_cache_heads)
        release_head(h, (uint32_t)__builtin_ctzll(h->non_empty_cache_heads));
    h->stats.n_cache_flushes++;
}

void cache_evict(mheap_t *h) {
    while (cache_is_too_full(h)) {
        uint64_t lists = h->non_empty_cache_heads, from_here = lists >> h->cache_next_out;
        uint32_t list = from_here ? h->cache_next_out + (uint32_t)__builtin_ctzll(from_here)
                                  : (uint32_t)__builtin_ctzll(lists);
        release_head(h, list);
        h->cache_next_out = (list + 1) % MHEAP_N_CACHE_LISTS;
    }
}

/* SPDX-License-Identifier: MIT */
#include "cache.h"

#include "fatal.h"

void cache_blame(const mheap_t *h, mheap_uoffset_t uoffset) {
    fatal("mheap", elt_user_data(elt_at(h, uoffset)),
          "link of a cached object is damaged (written to after it was freed?)");
}

/* Those of list + 1 words, and from 8 words on those of an eighth and nearly two words more.  Of
 * the least ones a word more would be a large part, and there are few sizes of them. */
#define N_LARGER(list) ((list) < 7 ? 0 : ((list) + 16) / 8)
#define SERVE(list)    ((((uint64_t)2 << N_LARGER(list)) - 1) << (list))
#define SERVE_8(list)                                                                              \
    SERVE(list), SERVE((list) + 1), SERVE((list) + 2), SERVE((list) + 3), SERVE((list) + 4),       \
        SERVE((list) + 5), SERVE((list) + 6), SERVE((list) + 7)

const uint64_t cache_lists_that_serve[MHEAP_N_CACHE_LISTS] = {SERVE_8(0),  SERVE_8(8),  SERVE_8(16),
                                                              SERVE_8(24), SERVE_8(32), SERVE_8(40),
                                                              SERVE_8(48), SERVE_8(56)};

static void release_head(mheap_t *h, uint32_t list) {
    mheap_elt_t *e = cache_head(h, list);
    cache_remove_head(h, list, e);
    mheap_release_elt(h, e);
}

void cache_flush(mheap_t *h) {
    while (h->non_empty_cache_heads)
        release_head(h, (uint32_t)__builtin_ctzll(h->non_empty_cache_heads));
    cache_set_limit(h);
    h->stats.n_cache_flushes++;
}

void cache_evict_one(mheap_t *h) {
    uint64_t lists = h->non_empty_cache_heads, from_here = lists >> h->cache_next_out;
    uint32_t list = from_here ? h->cache_next_out + (uint32_t)__builtin_ctzll(from_here)
                              : (uint32_t)__builtin_ctzll(lists);
    release_head(h, list);
    h->cache_next_out = (uint16_t)((list + 1) % MHEAP_N_CACHE_LISTS);
    cache_set_limit(h);
}

void cache_evict(mheap_t *h) {
    while (h->n_cached > h->max_cached)
        cache_evict_one(h);
}

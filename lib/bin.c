/* SPDX-License-Identifier: MIT */
#include "bin.h"

#include "fatal.h"

uint32_t bin_first_non_empty(const mheap_t *h, uint32_t bin) {
    if (bin >= MHEAP_N_BINS)
        return BIN_NONE;
    uint32_t i = bin / 64;
    uint64_t word = h->non_empty_free_elt_heads[i] & (~(uint64_t)0 << bin % 64);
    while (!word) {
        if (++i == MHEAP_N_BIN_WORDS)
            return BIN_NONE;
        word = h->non_empty_free_elt_heads[i];
    }
    return i * 64 + (uint32_t)__builtin_ctzll(word);
}

uint32_t bin_last_non_empty(const mheap_t *h, uint32_t end) {
    for (uint32_t i = (end + 63) / 64; i-- > 0;) {
        uint64_t word = h->non_empty_free_elt_heads[i];
        if (i == end / 64)
            word &= ((uint64_t)1 << end % 64) - 1;
        if (word)
            return i * 64 + 63 - (uint32_t)__builtin_clzll(word);
    }
    return BIN_NONE;
}

void bin_push(mheap_t *h, mheap_elt_t *e, uint64_t n_dirty_bytes) {
    uint32_t bin = bin_of(e->n_user_data);
    mheap_uoffset_t uoffset = elt_uoffset(h, e);
    mheap_uoffset_t head = h->first_free_elt_uoffset_by_bin[bin];
    if (elt_keeps_n_dirty(e)) {
        uint64_t n_bytes = elt_n_bytes(e);
        e->free_elt.n_dirty = (uint32_t)(n_dirty_bytes < n_bytes ? n_dirty_bytes : n_bytes);
        h->free_dirty_bytes += e->free_elt.n_dirty;
        h->free_clean_bytes += n_bytes - e->free_elt.n_dirty;
    }
    e->free_elt.next_uoffset = head;
    e->free_elt.prev_uoffset = MHEAP_GROUNDED;
    if (head != MHEAP_GROUNDED)
        elt_at(h, head)->free_elt.prev_uoffset = uoffset;
    h->first_free_elt_uoffset_by_bin[bin] = uoffset;
    h->non_empty_free_elt_heads[bin / 64] |= (uint64_t)1 << bin % 64;
}

/* The element that a link to `uoffset` names, if it links back to `back`; NULL if it does not. */
static mheap_elt_t *elt_if_linked_back(const mheap_t *h, uint64_t uoffset, mheap_uoffset_t back) {
    if (!uoffset_is_plausible(h, uoffset))
        return NULL;
    mheap_elt_t *e = elt_at(h, uoffset);
    return e->is_free && e->free_elt.prev_uoffset == back ? e : NULL;
}

static void blame_links(const mheap_elt_t *e) {
    fatal("mheap", (const char *)e + MHEAP_TAG_BYTES,
          "links of a free object are damaged (written to after it was freed?)");
}

mheap_elt_t *bin_head(const mheap_t *h, uint32_t bin) {
    mheap_uoffset_t head = h->first_free_elt_uoffset_by_bin[bin];
    if (head == MHEAP_GROUNDED)
        return NULL;
    mheap_elt_t *e = elt_if_linked_back(h, head, MHEAP_GROUNDED);
    if (!e)
        blame_links(elt_at(h, head));
    return e;
}

mheap_elt_t *bin_next(const mheap_t *h, const mheap_elt_t *e) {
    mheap_uoffset_t next_uoffset = e->free_elt.next_uoffset;
    if (next_uoffset == MHEAP_GROUNDED)
        return NULL;
    mheap_elt_t *next = elt_if_linked_back(h, next_uoffset, elt_uoffset(h, e));
    if (!next)
        blame_links(e);
    return next;
}

/* Does what lies before e on its list lead to e? */
static bool is_linked_from_prev(const mheap_t *h, const mheap_elt_t *e, uint32_t bin) {
    mheap_uoffset_t uoffset = elt_uoffset(h, e), prev = e->free_elt.prev_uoffset;
    if (prev == MHEAP_GROUNDED)
        return h->first_free_elt_uoffset_by_bin[bin] == uoffset;
    return uoffset_is_plausible(h, prev) && elt_at(h, prev)->free_elt.next_uoffset == uoffset;
}

uint64_t bin_remove(mheap_t *h, mheap_elt_t *e) {
    if (!e->is_free || !elt_agrees_with_next(h, e))
        fatal("mheap", elt_user_data(e),
              "boundary tag of a free object is damaged (overflow of an object next to it?)");
    uint32_t bin = bin_of(e->n_user_data);
    mheap_elt_t *next = bin_next(h, e);
    if (!is_linked_from_prev(h, e, bin))
        blame_links(e);

    uint64_t dirty_bytes = elt_dirty_bytes(e);
    if (elt_keeps_n_dirty(e)) {
        h->free_dirty_bytes -= dirty_bytes;
        h->free_clean_bytes -= elt_n_bytes(e) - dirty_bytes;
    }
    mheap_uoffset_t prev = e->free_elt.prev_uoffset;
    if (next)
        next->free_elt.prev_uoffset = prev;
    if (prev != MHEAP_GROUNDED)
        elt_at(h, prev)->free_elt.next_uoffset = e->free_elt.next_uoffset;
    else {
        h->first_free_elt_uoffset_by_bin[bin] = e->free_elt.next_uoffset;
        if (!next)
            h->non_empty_free_elt_heads[bin / 64] &= ~((uint64_t)1 << bin % 64);
    }
    return dirty_bytes;
}

/* SPDX-License-Identifier: MIT */
/*
 * bin.h - free elements by size: a two-level index, lists linked by offsets, a bitmap.
 *
 * Keeps M6 (every free element is listed in its bin), M7 (links), M8 (bitmap) and M11 (dirty
 * bytes).  The heap's lock guards all.
 */
#ifndef MHEAP_BIN_H
#define MHEAP_BIN_H

#include "elt.h"

#ifdef __cplusplus
extern "C" {
#endif

#define BIN_NONE (~(uint32_t)0)

static_assert(MHEAP_N_SMALL_BINS * MHEAP_WORD_BYTES == 1u << MHEAP_LOG2_SMALL_MAX,
              "the exact bins end where the powers of two begin");

/* The bin of elements of n_words (1 .. 2^29) words.  The original's user_data_size_to_bin_index. */
static inline uint32_t bin_of(uint64_t n_words) {
    if (n_words <= MHEAP_N_SMALL_BINS)
        return (uint32_t)n_words - 1;
    uint64_t n_bytes = n_words * MHEAP_WORD_BYTES;
    uint32_t log2 = 63 - (uint32_t)__builtin_clzll(n_bytes);
    uint32_t part = (uint32_t)(n_bytes >> (log2 - MHEAP_LOG2_BINS_PER_DOUBLE)) &
                    ((1u << MHEAP_LOG2_BINS_PER_DOUBLE) - 1);
    return MHEAP_N_SMALL_BINS + ((log2 - MHEAP_LOG2_SMALL_MAX) << MHEAP_LOG2_BINS_PER_DOUBLE) +
           part;
}

/* The first bin whose elements all have at least n_words; MHEAP_N_BINS if there is none. */
static inline uint32_t bin_all_at_least(uint64_t n_words) {
    if (n_words <= MHEAP_N_SMALL_BINS)
        return (uint32_t)n_words - 1;
    uint64_t n_bytes = n_words * MHEAP_WORD_BYTES;
    uint32_t log2 = 63 - (uint32_t)__builtin_clzll(n_bytes);
    uint64_t part_bytes = (uint64_t)1 << (log2 - MHEAP_LOG2_BINS_PER_DOUBLE);
    n_words += part_bytes / MHEAP_WORD_BYTES - 1;
    return n_words * MHEAP_WORD_BYTES >> 32 ? MHEAP_N_BINS : bin_of(n_words);
}

/* The smallest size of a bin, in bytes. */
static inline uint64_t bin_min_bytes(uint32_t bin) {
    if (bin < MHEAP_N_SMALL_BINS)
        return (uint64_t)(bin + 1) * MHEAP_WORD_BYTES;
    uint32_t i = bin - MHEAP_N_SMALL_BINS;
    uint32_t log2 = MHEAP_LOG2_SMALL_MAX + (i >> MHEAP_LOG2_BINS_PER_DOUBLE);
    uint64_t part = i & ((1u << MHEAP_LOG2_BINS_PER_DOUBLE) - 1);
    uint64_t n_bytes = ((uint64_t)1 << log2) + (part << (log2 - MHEAP_LOG2_BINS_PER_DOUBLE));
    return bin == MHEAP_N_SMALL_BINS ? n_bytes + MHEAP_WORD_BYTES : n_bytes; /* 256 has its own */
}

/* ---- The bitmap ---- */

/* The first non-empty bin from `bin` on, or BIN_NONE. */
static inline uint32_t bin_first_non_empty(const mheap_t *h, uint32_t bin) {
    if (bin >= MHEAP_N_BINS)
        return BIN_NONE;
    uint32_t i = bin / 64;
    uint64_t word = h->non_empty_free_elt_heads[i] & (~(uint64_t)0 << bin % 64);
    if (!word) {
        uint32_t words_above = h->non_empty_bin_words & (~(uint32_t)1 << i);
        if (!words_above)
            return BIN_NONE;
        i = (uint32_t)__builtin_ctz(words_above);
        word = h->non_empty_free_elt_heads[i];
    }
    return i * 64 + (uint32_t)__builtin_ctzll(word);
}

/* The last non-empty bin before `end`, or BIN_NONE. */
static inline uint32_t bin_last_non_empty(const mheap_t *h, uint32_t end) {
    uint32_t i = end / 64;
    uint64_t word = 0;
    if (end % 64)
        word = h->non_empty_free_elt_heads[i] & (((uint64_t)1 << end % 64) - 1);
    if (!word) {
        uint32_t words_below = h->non_empty_bin_words & (((uint32_t)1 << i) - 1);
        if (!words_below)
            return BIN_NONE;
        i = 31 - (uint32_t)__builtin_clz(words_below);
        word = h->non_empty_free_elt_heads[i];
    }
    return i * 64 + 63 - (uint32_t)__builtin_clzll(word);
}

static inline void bin_set_bit(mheap_t *h, uint32_t bin) {
    h->non_empty_free_elt_heads[bin / 64] |= (uint64_t)1 << bin % 64;
    h->non_empty_bin_words |= (uint32_t)1 << bin / 64;
}

static inline void bin_clear_bit(mheap_t *h, uint32_t bin) {
    if (!(h->non_empty_free_elt_heads[bin / 64] &= ~((uint64_t)1 << bin % 64)))
        h->non_empty_bin_words &= ~((uint32_t)1 << bin / 64);
}

/* ---- The lists.  Inline: an allocation or a free is made of little else ---- */

/* Ways out: the tag, or the links, of a free element were written to by a user. */
__attribute__((noreturn, cold)) void bin_blame_tag(const mheap_elt_t *e);
__attribute__((noreturn, cold)) void bin_blame_links(const mheap_elt_t *e);

/* The element that a link to `uoffset` names: checked to be free and to link back to `back`.  `e`
 * is the one to blame. */
static inline mheap_elt_t *bin_linked(const mheap_t *h, mheap_uoffset_t uoffset,
                                      mheap_uoffset_t back, const mheap_elt_t *e) {
    mheap_elt_t *linked = elt_at(h, uoffset);
    if (!uoffset_is_plausible(h, uoffset) || !linked->is_free ||
        linked->free_elt.prev_uoffset != back)
        bin_blame_links(e);
    return linked;
}

/* Walk a bin's list: its first element, and the one after e; NULL at the end.  The links lie in
 * memory that a user owned, and are checked: aborts if they were written to. */
static inline mheap_elt_t *bin_head(const mheap_t *h, uint32_t bin) {
    mheap_uoffset_t head = h->first_free_elt_uoffset_by_bin[bin];
    return head == MHEAP_GROUNDED ? NULL : bin_linked(h, head, MHEAP_GROUNDED, elt_at(h, head));
}

static inline mheap_elt_t *bin_next(const mheap_t *h, const mheap_elt_t *e) {
    mheap_uoffset_t next = e->free_elt.next_uoffset;
    return next == MHEAP_GROUNDED ? NULL : bin_linked(h, next, elt_uoffset(h, e), e);
}

/* Put a free element (tags set) at the head of its bin's list.  n_dirty_bytes: an upper bound of
 * its bytes that may be resident. */
static inline void bin_push(mheap_t *h, mheap_elt_t *e, uint64_t n_dirty_bytes) {
    uint32_t bin = bin_of(e->n_user_data);
    mheap_uoffset_t uoffset = elt_uoffset(h, e), head = h->first_free_elt_uoffset_by_bin[bin];
    if (elt_keeps_n_dirty(e)) {
        uint64_t n_bytes = elt_n_bytes(e);
        e->free_elt.n_dirty = (uint32_t)(n_dirty_bytes < n_bytes ? n_dirty_bytes : n_bytes);
        h->free_dirty_bytes += e->free_elt.n_dirty;
        e->free_elt.n_clean = (uint32_t)elt_clean_bytes(e);
        h->free_clean_bytes += e->free_elt.n_clean;
    }
    e->free_elt.next_uoffset = head;
    e->free_elt.prev_uoffset = MHEAP_GROUNDED;
    if (head != MHEAP_GROUNDED)
        elt_at(h, head)->free_elt.prev_uoffset = uoffset;
    h->first_free_elt_uoffset_by_bin[bin] = uoffset;
    bin_set_bit(h, bin);
}

/* Let the list lead past e to `next`, its checked follower or NULL; what lies before e must lead to
 * it. */
static inline void bin_unlink(mheap_t *h, const mheap_elt_t *e, mheap_elt_t *next) {
    mheap_uoffset_t uoffset = elt_uoffset(h, e), prev = e->free_elt.prev_uoffset;
    uint32_t bin = bin_of(e->n_user_data);
    mheap_uoffset_t *link = &h->first_free_elt_uoffset_by_bin[bin];
    if (prev != MHEAP_GROUNDED) {
        if (!uoffset_is_plausible(h, prev))
            bin_blame_links(e);
        link = &elt_at(h, prev)->free_elt.next_uoffset;
    }
    if (*link != uoffset)
        bin_blame_links(e);
    *link = e->free_elt.next_uoffset;
    if (next)
        next->free_elt.prev_uoffset = prev;
    else if (prev == MHEAP_GROUNDED)
        bin_clear_bit(h, bin);
}

/* Take a free element off its list; returns its dirty bytes.  Aborts if its tag or links were
 * written to by a user. */
static inline uint64_t bin_remove(mheap_t *h, mheap_elt_t *e) {
    if (!e->is_free || !elt_agrees_with_next(h, e))
        bin_blame_tag(e);
    bin_unlink(h, e, bin_next(h, e));
    uint64_t dirty_bytes = elt_dirty_bytes(e);
    if (elt_keeps_n_dirty(e)) {
        h->free_dirty_bytes -= dirty_bytes;
        h->free_clean_bytes -= e->free_elt.n_clean;
    }
    return dirty_bytes;
}

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_BIN_H */

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

static_assert(MHEAP_N_SMALL_BINS == 2u << MHEAP_LOG2_BINS_PER_DOUBLE, "the formula of bin_of");

/* The bin of elements of n_words (1 .. 2^29) words.  The original's user_data_size_to_bin_index.
 * Without a branch: sizes below 32 are not shifted, all others to 16 .. 31.  Then each is a bin too
 * far up to 32, since there is no size 0 and 32 has a bin of its own. */
static inline uint32_t bin_of(uint64_t n_words) {
    uint32_t log2 = 63 - (uint32_t)__builtin_clzll(n_words | 1u << MHEAP_LOG2_BINS_PER_DOUBLE);
    uint32_t shift = log2 - MHEAP_LOG2_BINS_PER_DOUBLE;
    return (shift << MHEAP_LOG2_BINS_PER_DOUBLE) + (uint32_t)(n_words >> shift) -
           (n_words <= MHEAP_N_SMALL_BINS);
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

/* Of a bin whose bit is set. */
static inline void bin_clear_bit_if(mheap_t *h, uint32_t bin, bool is_empty) {
    if (!(h->non_empty_free_elt_heads[bin / 64] ^= (uint64_t)is_empty << bin % 64))
        h->non_empty_bin_words &= ~((uint32_t)1 << bin / 64);
}

/* ---- The lists.  Inline: an allocation or a free is made of little else ---- */

/* Ways out: the tag, or the links, of a free element were written to by a user. */
__attribute__((noreturn, cold)) void bin_blame_tag(const mheap_elt_t *e);
__attribute__((noreturn, cold)) void bin_blame_links(const mheap_elt_t *e);

/* The element that a link to `uoffset` names: checked to be free and to link back to `back`.  `e`
 * is the one to blame. */
static inline mheap_elt_t *bin_linked(const mheap_t *h, uint64_t len, mheap_uoffset_t uoffset,
                                      mheap_uoffset_t back, const mheap_elt_t *e) {
    mheap_elt_t *linked = elt_at(h, uoffset);
    if (!uoffset_is_inside(uoffset, len) || !linked->is_free ||
        linked->free_elt.prev_uoffset != back)
        bin_blame_links(e);
    return linked;
}

/* Walk a bin's list: its first element, and the one after e; NULL at the end.  The links lie in
 * memory that a user owned, and are checked: aborts if they were written to. */
static inline mheap_elt_t *bin_head(const mheap_t *h, uint32_t bin) {
    mheap_uoffset_t head = h->first_free_elt_uoffset_by_bin[bin];
    return head == MHEAP_GROUNDED
               ? NULL
               : bin_linked(h, elt_len(h), head, MHEAP_GROUNDED, elt_at(h, head));
}

static inline mheap_elt_t *bin_next(const mheap_t *h, const mheap_elt_t *e) {
    mheap_uoffset_t next = e->free_elt.next_uoffset;
    return next == MHEAP_GROUNDED ? NULL : bin_linked(h, elt_len(h), next, elt_uoffset(h, e), e);
}

/* a or b, without a branch: whether another element follows on a list is even odds, and a branch
 * that is guessed wrong costs more than all the rest.  (Compilers make it one again where they see
 * what comes of b.) */
static inline mheap_uoffset_t bin_select(bool is_a, mheap_uoffset_t a, mheap_uoffset_t b) {
    mheap_uoffset_t selected = is_a ? a : b;
    __asm__("" : "+r"(selected));
    return selected;
}

/* Put a free element of n_words (tags set) at the head of its bin's list.  n_dirty_bytes: an upper
 * bound of its bytes that may be resident. */
static inline void bin_push(mheap_t *h, mheap_elt_t *e, uint64_t n_words, uint64_t n_dirty_bytes) {
    uint32_t bin = bin_of(n_words);
    mheap_uoffset_t uoffset = elt_uoffset(h, e), head = h->first_free_elt_uoffset_by_bin[bin];
    if (elt_words_keep_n_dirty(n_words)) {
        uint64_t n_bytes = n_words * MHEAP_WORD_BYTES;
        e->free_elt.n_dirty = (uint32_t)(n_dirty_bytes < n_bytes ? n_dirty_bytes : n_bytes);
        h->free_dirty_bytes += e->free_elt.n_dirty;
        e->free_elt.n_clean = (uint32_t)elt_clean_bytes(e);
        h->free_clean_bytes += e->free_elt.n_clean;
    }
    h->first_free_elt_uoffset_by_bin[bin] = uoffset;
    e->free_elt.next_uoffset = head;
    /* Where there was no head, e's own link is written twice. */
    mheap_uoffset_t follower = bin_select(head != MHEAP_GROUNDED, head, uoffset);
    elt_at(h, follower)->free_elt.prev_uoffset = uoffset;
    e->free_elt.prev_uoffset = MHEAP_GROUNDED;
    bin_set_bit(h, bin);
}

/* Let the list lead past e.  What lies before and behind e must lead to it. */
static inline void bin_unlink(mheap_t *h, uint64_t len, uint32_t bin, mheap_elt_t *e) {
    mheap_uoffset_t uoffset = elt_uoffset(h, e);
    mheap_uoffset_t next = e->free_elt.next_uoffset, prev = e->free_elt.prev_uoffset;
    /* Where none follows, e stands in: it is free, and from here on leads back to itself. */
    e->free_elt.prev_uoffset = uoffset;
    mheap_uoffset_t follower = bin_select(next != MHEAP_GROUNDED, next, uoffset);
    bin_linked(h, len, follower, uoffset, e)->free_elt.prev_uoffset = prev;

    mheap_uoffset_t *link = &h->first_free_elt_uoffset_by_bin[bin];
    if (prev != MHEAP_GROUNDED) {
        if (!uoffset_is_inside(prev, len))
            bin_blame_links(e);
        link = &elt_at(h, prev)->free_elt.next_uoffset;
    }
    if (*link != uoffset)
        bin_blame_links(e);
    *link = next;
    bin_clear_bit_if(h, bin, (prev & next) == MHEAP_GROUNDED);
}

/* Take a free element off the list of its bin; returns its dirty bytes.  Aborts if its tag or links
 * were written to by a user. */
static inline uint64_t bin_remove_from(mheap_t *h, uint32_t bin, mheap_elt_t *e) {
    uint64_t len = elt_len(h);
    uint32_t half = e->this_half, n_words = half ^ MHEAP_IS_FREE_BIT;
    if (!elt_is_repeated(h, e, len, elt_last_word(n_words), half)) /* too many, with other flags */
        bin_blame_tag(e);
    bin_unlink(h, len, bin, e);
    if (!elt_words_keep_n_dirty(n_words))
        return (uint64_t)n_words * MHEAP_WORD_BYTES;
    h->free_dirty_bytes -= e->free_elt.n_dirty;
    h->free_clean_bytes -= e->free_elt.n_clean;
    return e->free_elt.n_dirty;
}

/* The same of one that was not found there: its tag tells the bin. */
static inline uint64_t bin_remove(mheap_t *h, mheap_elt_t *e) {
    return bin_remove_from(h, bin_of(e->n_user_data), e);
}

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_BIN_H */

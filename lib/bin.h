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

/* The first non-empty bin from `bin` on, or BIN_NONE. */
uint32_t bin_first_non_empty(const mheap_t *h, uint32_t bin);

/* The last non-empty bin before `end`, or BIN_NONE. */
uint32_t bin_last_non_empty(const mheap_t *h, uint32_t end);

/* Walk a bin's list: its first element, and the one after e; NULL at the end.  The links lie in
 * memory that a user owned, and are checked: aborts if they were written to. */
mheap_elt_t *bin_head(const mheap_t *h, uint32_t bin);
mheap_elt_t *bin_next(const mheap_t *h, const mheap_elt_t *e);

/* Put a free element (tags set) at the head of its bin's list.  n_dirty_bytes: an upper bound of
 * its bytes that may be resident. */
void bin_push(mheap_t *h, mheap_elt_t *e, uint64_t n_dirty_bytes);

/* Take a free element off its list; returns its dirty bytes.  Aborts if its tag or links were
 * written to by a user. */
uint64_t bin_remove(mheap_t *h, mheap_elt_t *e);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_BIN_H */

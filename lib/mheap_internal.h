/* SPDX-License-Identifier: MIT */
/*
 * mheap_internal.h - the heap without lock, trace and validation: what the public functions, and
 * the interposer for its own mheaps, are made of.
 *
 * The caller synchronises: it holds the heap's lock, or is the heap's only user.  All are O(1)
 * unless said so.  A mistake of the user's that shows in the tags aborts with one line.
 */
#ifndef MHEAP_INTERNAL_H
#define MHEAP_INTERNAL_H

#include "bin.h"

#ifdef __cplusplus
extern "C" {
#endif

/*
 * Make a heap with its header at `header` and its vector right behind it, which may grow to
 * `max_len` bytes.  The header and `accessible_len` bytes of vector must be readable and writable
 * (and zero with MHEAP_INTERNAL_FLAG_ZEROED).  With MHEAP_INTERNAL_FLAG_RESERVED the rest of
 * max_len is reserved address space, which the heap makes accessible as it grows: then the vector
 * must begin on a page, both lengths be multiples of a page.  Otherwise both lengths are equal.
 * NULL if there is no room for one object.  Never makes a system call.
 */
mheap_t *mheap_init(void *header, uint64_t max_len, uint64_t accessible_len, uint32_t flags);

/*
 * Allocate `n_bytes` (rounded up to words, at least one) such that the address of byte
 * `align_offset` is a multiple of `align`; both as in mheap_get_aligned but already legal: align
 * a power of two of at least 8, align_offset a multiple of 8 below it.  The object's uoffset, or
 * MHEAP_GROUNDED.  `*is_zero` (may be NULL) tells whether all user bytes are known to be zero.
 * The first looks only at free elements, the second only takes from the end of the vector.
 */
mheap_uoffset_t mheap_get_search_free_list(mheap_t *h, size_t n_bytes, size_t align,
                                           size_t align_offset, bool *is_zero);
mheap_uoffset_t mheap_get_extend(mheap_t *h, size_t n_bytes, size_t align, size_t align_offset,
                                 bool *is_zero);

/*
 * Objects side by side, each of n_bytes and a tag after the one before: up to *n of the free
 * element that a single one would be taken from.  The first one's uoffset, and *n how many, or
 * MHEAP_GROUNDED.  The last one may be longer by a word.  And make such a row of one object that is
 * long enough for it.
 */
mheap_uoffset_t mheap_get_row(mheap_t *h, size_t n_bytes, uint32_t *n);
void mheap_cut_row(mheap_t *h, mheap_uoffset_t uoffset, size_t n_bytes, uint32_t n);

/* Free an object: coalesce it with free neighbours, or shrink the vector.  Never purges. */
void mheap_put_elt(mheap_t *h, mheap_uoffset_t uoffset);

/* The same, where at most dirty_bytes of the object are resident. */
void mheap_put_elt_dirty(mheap_t *h, mheap_uoffset_t uoffset, uint64_t dirty_bytes);

/* Make one object of an allocated one and the allocated one behind it: no tag lies between them any
 * more.  And cut an object in two, the first of n_bytes.  (join.c) */
void mheap_join_elts(mheap_t *h, mheap_uoffset_t uoffset);
void mheap_split_elt(mheap_t *h, mheap_uoffset_t uoffset, size_t n_bytes);

/* mheap_resize's work: in place or not at all. */
bool mheap_resize_elt(mheap_t *h, mheap_uoffset_t uoffset, size_t n_bytes);

/* The largest non-empty bin, or BIN_NONE.  A request that no bin up to it can hold needs no try. */
static inline uint32_t mheap_largest_bin(const mheap_t *h) {
    return bin_last_non_empty(h, MHEAP_N_BINS);
}

/* Bytes by which the vector may still grow. */
static inline uint64_t mheap_tail_room(const mheap_t *h) {
    return h->max_len - h->len;
}

/* Bytes that mheap_purge could give back, about: in free elements, and behind the vector. */
static inline uint64_t mheap_dirty_bytes(const mheap_t *h) {
    return h->free_dirty_bytes + h->tail_dirty_bytes;
}

/* Bytes of the vector that may be resident: all that was ever used, but for what was given back. */
static inline uint64_t mheap_resident_bytes(const mheap_t *h) {
    return h->len - h->free_clean_bytes + h->tail_dirty_bytes;
}

/*
 * Give dirty whole pages back to the system: first those behind the end of the vector, then those
 * inside free elements, largest elements first, until `max_bytes` are done.  A piece goes whole, so
 * it may be more; one of more than twice what is left to do stays.  Returns the bytes given back.
 * O(free elements of MHEAP_PURGE_MIN_BYTES).
 */
size_t mheap_purge(mheap_t *h, size_t max_bytes);

/* Take access away from the memory behind the end of the vector, so that it no longer counts
 * against limits on writable memory; it is made accessible again as the heap grows.  Only with
 * MHEAP_INTERNAL_FLAG_RESERVED.  Returns the bytes. */
size_t mheap_decommit_tail(mheap_t *h);

/* mheap_put's policy: purge if enough has become dirty since the last time to be worth it. */
#define MHEAP_PURGE_DUE_MIN_BYTES (1u << 20)
void mheap_purge_if_worth_it(mheap_t *h);
static inline void mheap_purge_if_due(mheap_t *h) {
    uint64_t dirty_bytes = mheap_dirty_bytes(h);
    h->n_puts_since_purge++;
    if (h->kept_dirty_bytes > dirty_bytes)
        h->kept_dirty_bytes = dirty_bytes;
    if (dirty_bytes - h->kept_dirty_bytes > MHEAP_PURGE_DUE_MIN_BYTES)
        mheap_purge_if_worth_it(h);
}

/* ---- Between the files of the core ---- */

/* What is wrong with a uoffset that mheap_is_live refuses, in words.  O(objects). */
const char *mheap_reason(const mheap_t *h, mheap_uoffset_t uoffset);

/* The live element that holds the byte at uoffset (or what was one: a free element's tag), NULL if
 * that cannot be told.  Believes no tag further than that it stays inside the heap, and needs no
 * lock to be safe.  O(objects). */
const mheap_elt_t *mheap_elt_around(const mheap_t *h, mheap_uoffset_t uoffset);

/* Say in one line what is wrong with a uoffset that mheap_checked_elt refuses.  O(objects). */
__attribute__((noreturn, cold)) void mheap_blame(const mheap_t *h, mheap_uoffset_t uoffset,
                                                 const char *function);

/* Is it the uoffset of a live object whose tags agree with its neighbours'? */
static inline bool mheap_is_live(const mheap_t *h, mheap_uoffset_t uoffset) {
    const mheap_elt_t *e = elt_at(h, uoffset);
    uint64_t len = elt_len(h);
    /* A half with a flag is too large a size. */
    return uoffset_is_inside(uoffset, len) &&
           elt_is_repeated(h, e, len, elt_last_word(e->this_half), e->this_half) &&
           elt_agrees_with_prev(h, e);
}

/* The tags of an object that a user names, checked; `function` is for the message. */
__attribute__((always_inline)) static inline mheap_elt_t *
mheap_checked_elt(const mheap_t *h, mheap_uoffset_t uoffset, const char *function) {
    if (!mheap_is_live(h, uoffset))
        mheap_blame(h, uoffset, function);
    return elt_at(h, uoffset);
}

/* Turn an element that is on no list, whose old size and state are in the tags, into free space. */
void mheap_release_elt(mheap_t *h, mheap_elt_t *e);

/* Make the first `len` bytes of the vector accessible. */
bool mheap_make_accessible(mheap_t *h, uint64_t len);

/* The vector's new length, at which the end mark is set; memory up to there counts as used. */
void mheap_set_len(mheap_t *h, uint64_t len);

static inline uint64_t mheap_words(size_t n_bytes) {
    return (n_bytes - (n_bytes != 0)) / MHEAP_WORD_BYTES + 1;
}

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_INTERNAL_H */

/* SPDX-License-Identifier: MIT */
/*
 * elt.h - verbs on one element and its boundary tags (mheap_layout.h shows them).
 *
 * elt_* functions believe the tags they read.  Whoever holds a uoffset that a user or a user's
 * memory supplied asks uoffset_is_plausible and elt_is_sound first.  The heap's lock guards all.
 */
#ifndef MHEAP_ELT_H
#define MHEAP_ELT_H

#include "mheap_layout.h"
#include "vm.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The smallest element, tag included: what a piece split off must have at least. */
#define ELT_MIN_BYTES (MHEAP_TAG_BYTES + MHEAP_WORD_BYTES)

static inline mheap_elt_t *elt_at(const mheap_t *h, uint64_t uoffset) {
    return (mheap_elt_t *)((char *)(h + 1) + uoffset - MHEAP_TAG_BYTES);
}

static inline mheap_uoffset_t elt_uoffset(const mheap_t *h, const mheap_elt_t *e) {
    return (mheap_uoffset_t)((const char *)e + MHEAP_TAG_BYTES - (const char *)(h + 1));
}

static inline void *elt_user_data(mheap_elt_t *e) {
    return (char *)e + MHEAP_TAG_BYTES;
}

static inline uint64_t elt_n_bytes(const mheap_elt_t *e) {
    return (uint64_t)e->n_user_data * MHEAP_WORD_BYTES;
}

static inline mheap_elt_t *elt_next(const mheap_elt_t *e) {
    return (mheap_elt_t *)((char *)e + MHEAP_TAG_BYTES + elt_n_bytes(e));
}

static inline mheap_elt_t *elt_prev(const mheap_elt_t *e) {
    uint64_t prev_bytes = (uint64_t)e->prev_n_user_data * MHEAP_WORD_BYTES;
    return (mheap_elt_t *)((char *)e - prev_bytes - MHEAP_TAG_BYTES);
}

static inline bool elt_is_end_mark(const mheap_elt_t *e) {
    return e->n_user_data == MHEAP_N_USER_DATA_INVALID;
}

/* The half of a tag that says so, of an element that is not cached. */
static inline uint32_t elt_half(uint64_t n_user_data, bool is_free) {
    return (uint32_t)n_user_data | (is_free ? MHEAP_IS_FREE_BIT : 0);
}

/* The element behind one of so many words. */
static inline mheap_elt_t *elt_behind(mheap_elt_t *e, uint64_t n_words) {
    return (mheap_elt_t *)((char *)e + MHEAP_TAG_BYTES + n_words * MHEAP_WORD_BYTES);
}

/* Give the element its size and state, and repeat both in the tag behind it (M3), which is
 * returned.
 */
static inline mheap_elt_t *elt_set(mheap_elt_t *e, uint64_t n_user_data, bool is_free) {
    mheap_elt_t *next = elt_behind(e, n_user_data);
    e->this_half = next->prev_half = elt_half(n_user_data, is_free);
    return next;
}

static inline void elt_set_end_mark(mheap_elt_t *e) {
    e->this_half = MHEAP_N_USER_DATA_INVALID;
}

/* Free elements of this size and up keep n_dirty. */
static inline bool elt_words_keep_n_dirty(uint64_t n_words) {
    return n_words >= MHEAP_PURGE_MIN_BYTES / MHEAP_WORD_BYTES;
}

static inline bool elt_keeps_n_dirty(const mheap_elt_t *e) {
    return elt_words_keep_n_dirty(e->n_user_data);
}

/* An upper bound of the bytes of a free element that may be resident. */
static inline uint64_t elt_dirty_bytes(const mheap_elt_t *e) {
    return elt_keeps_n_dirty(e) ? e->free_elt.n_dirty : elt_n_bytes(e);
}

/* What n_clean is to be: bytes that are known to be back with the system. */
static inline uint64_t elt_clean_bytes(const mheap_elt_t *e) {
    uint64_t n_bytes = elt_n_bytes(e), n_dirty = elt_dirty_bytes(e);
    if (n_dirty >= n_bytes)
        return 0;
    uintptr_t page_mask = vm_page_bytes() - 1;
    uintptr_t start = ((uintptr_t)(e + 1) + page_mask) & ~page_mask;
    uintptr_t end = ((uintptr_t)e + MHEAP_TAG_BYTES + n_bytes) & ~page_mask;
    return end > start && n_dirty < end - start ? end - start - n_dirty : 0;
}

static inline uint64_t elt_len(const mheap_t *h) {
    return __atomic_load_n(&h->len, __ATOMIC_RELAXED);
}

/* Could this be the uoffset of an element at all?  Then its tag may be read. */
static inline bool uoffset_is_plausible(const mheap_t *h, uint64_t uoffset) {
    return uoffset >= MHEAP_FIRST_UOFFSET && uoffset < elt_len(h) &&
           uoffset % MHEAP_WORD_BYTES == 0;
}

/* The same in one comparison, for who compares what is there at once: 0 and 8 pass too.  There the
 * end of the header and the pad lie, which are neither a free, nor a cached, nor a sound element.
 * What is no multiple of 8 becomes larger than any length. */
static inline bool uoffset_is_inside(uint64_t uoffset, uint64_t len) {
    static_assert(MHEAP_WORD_BYTES == 8, "three bits are turned to the top");
    return (uoffset >> 3 | uoffset << 61) < len >> 3;
}

/*
 * A tag's half, less its flags, names a size, at most MHEAP_N_USER_DATA_MASK.  The checks below
 * count in words less one: 0 words, which no element has, become the largest number, and fail as
 * any size does that is too large.
 */
static inline uint64_t elt_last_word(uint32_t n_words) {
    return n_words - 1; /* in 32 bits */
}

/* An element of so many words at `e` ends inside the heap, and the tag behind it says `half`. */
static inline bool elt_is_repeated(const mheap_t *h, const mheap_elt_t *e, uint64_t len,
                                   uint64_t last_word, uint32_t half) {
    const char *next = (const char *)(e->user_data + 1) + last_word * MHEAP_WORD_BYTES;
    return next + MHEAP_TAG_BYTES <= (const char *)(h + 1) + len &&
           ((const mheap_elt_t *)next)->prev_half == half;
}

/* Does the element end inside the heap, and does the tag behind it repeat its size and state? */
static inline bool elt_agrees_with_next(const mheap_t *h, const mheap_elt_t *e) {
    uint32_t half = e->this_half & ~MHEAP_IS_CACHED_BIT;
    return elt_is_repeated(h, e, elt_len(h), elt_last_word(half & MHEAP_N_USER_DATA_MASK), half);
}

/* Does its tag repeat size and state of an element before it, inside the heap? */
static inline bool elt_agrees_with_prev(const mheap_t *h, const mheap_elt_t *e) {
    uint32_t half = e->prev_half; /* with prev_spare it is too large a size */
    uint64_t last_word = elt_last_word(half & ~MHEAP_IS_FREE_BIT);
    const char *first = (const char *)(h + 1) + MHEAP_FIRST_UOFFSET - MHEAP_TAG_BYTES;
    uint64_t room = (uint64_t)((const char *)e - first);
    uint64_t n_bytes = (last_word + 1) * MHEAP_WORD_BYTES;
    if (__builtin_expect(n_bytes + MHEAP_TAG_BYTES > room, 0))
        return room == 0 && half == 0; /* the first */
    const mheap_elt_t *prev = (const mheap_elt_t *)((const char *)e - n_bytes - MHEAP_TAG_BYTES);
    return (prev->this_half & ~MHEAP_IS_CACHED_BIT) == half;
}

static inline bool elt_is_sound(const mheap_t *h, const mheap_elt_t *e) {
    return elt_agrees_with_next(h, e) && elt_agrees_with_prev(h, e);
}

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_ELT_H */

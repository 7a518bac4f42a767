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

/* Give the element its size and state, and repeat both in the tag behind it (M3). */
static inline void elt_set(mheap_elt_t *e, uint64_t n_user_data, bool is_free) {
    e->this_half = elt_half(n_user_data, is_free);
    elt_next(e)->prev_half = e->this_half;
}

static inline void elt_set_end_mark(mheap_elt_t *e) {
    e->this_half = MHEAP_N_USER_DATA_INVALID;
}

/* Free elements of this size and up keep n_dirty. */
static inline bool elt_keeps_n_dirty(const mheap_elt_t *e) {
    return elt_n_bytes(e) >= MHEAP_PURGE_MIN_BYTES;
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

/* Could this be the uoffset of an element at all?  Then its tag may be read. */
static inline bool uoffset_is_plausible(const mheap_t *h, uint64_t uoffset) {
    uint64_t len = __atomic_load_n(&h->len, __ATOMIC_RELAXED);
    return uoffset >= MHEAP_FIRST_UOFFSET && uoffset < len && uoffset % MHEAP_WORD_BYTES == 0;
}

/* Does the element end inside the heap, and does the tag behind it repeat its size and state? */
static inline bool elt_agrees_with_next(const mheap_t *h, const mheap_elt_t *e) {
    uint32_t half = e->this_half & ~MHEAP_IS_CACHED_BIT;
    uint64_t n_bytes = (uint64_t)(half & MHEAP_N_USER_DATA_MASK) * MHEAP_WORD_BYTES;
    uint64_t len = __atomic_load_n(&h->len, __ATOMIC_RELAXED);
    const mheap_elt_t *next = (const mheap_elt_t *)((const char *)e + MHEAP_TAG_BYTES + n_bytes);
    return n_bytes && elt_uoffset(h, e) + n_bytes + MHEAP_TAG_BYTES <= len &&
           next->prev_half == half;
}

/* Does its tag repeat size and state of an element before it, inside the heap? */
static inline bool elt_agrees_with_prev(const mheap_t *h, const mheap_elt_t *e) {
    uint32_t half = e->prev_half;
    uint64_t n_bytes = (uint64_t)(half & MHEAP_N_USER_DATA_MASK) * MHEAP_WORD_BYTES;
    uint64_t room = elt_uoffset(h, e) - MHEAP_FIRST_UOFFSET;
    if (room == 0)
        return half == 0;
    const mheap_elt_t *prev = (const mheap_elt_t *)((const char *)e - n_bytes - MHEAP_TAG_BYTES);
    return n_bytes && n_bytes + MHEAP_TAG_BYTES <= room &&
           (prev->this_half & ~MHEAP_IS_CACHED_BIT) == half;
}

static inline bool elt_is_sound(const mheap_t *h, const mheap_elt_t *e) {
    return elt_agrees_with_next(h, e) && elt_agrees_with_prev(h, e);
}

/* An allocated, not cached element: nothing but n_user_data is set in its half. */
static inline bool elt_is_in_use(const mheap_elt_t *e) {
    return e->this_half <= MHEAP_N_USER_DATA_MASK;
}

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_ELT_H */

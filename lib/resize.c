/* SPDX-License-Identifier: MIT */
/* resize.c - grow and shrink an object where it is. */
#include "mheap_internal.h"

/* Make e, whose words up to `total` are its own, hold n_words; what is left over becomes free. */
static void trim(mheap_t *h, mheap_elt_t *e, uint64_t total, uint64_t n_words,
                 uint64_t dirty_bytes) {
    if (total - n_words < ELT_MIN_BYTES / MHEAP_WORD_BYTES) {
        elt_set(e, total, false);
        return;
    }
    elt_set(e, n_words, false);
    mheap_elt_t *rest = elt_next(e);
    elt_set(rest, total - n_words - 1, true);
    bin_push(h, rest, total - n_words - 1, dirty_bytes);
}

static void shrink(mheap_t *h, mheap_elt_t *e, uint64_t n_words) {
    uint64_t rest_words = e->n_user_data - n_words;
    if (rest_words < ELT_MIN_BYTES / MHEAP_WORD_BYTES)
        return;
    elt_set(e, n_words, false);
    mheap_elt_t *rest = elt_next(e);
    elt_set(rest, rest_words - 1, false); /* an object for a moment, so freeing it coalesces */
    mheap_release_elt(h, rest);
}

static bool grow_at_end(mheap_t *h, mheap_elt_t *e, uint64_t n_words) {
    uint64_t new_len = elt_uoffset(h, e) + n_words * MHEAP_WORD_BYTES + MHEAP_TAG_BYTES;
    if (new_len > h->max_len || !mheap_make_accessible(h, new_len))
        return false;
    elt_set(e, n_words, false);
    mheap_set_len(h, new_len);
    return true;
}

static bool grow_into_next(mheap_t *h, mheap_elt_t *e, mheap_elt_t *next, uint64_t n_words) {
    uint64_t total = (uint64_t)e->n_user_data + 1 + next->n_user_data;
    if (n_words > total)
        return false;
    trim(h, e, total, n_words, bin_remove(h, next));
    return true;
}

bool mheap_resize_elt(mheap_t *h, mheap_uoffset_t uoffset, size_t n_bytes) {
    mheap_elt_t *e = mheap_checked_elt(h, uoffset, "realloc");
    if (n_bytes > h->max_len)
        return false;
    uint64_t n_words = mheap_words(n_bytes);
    if (n_words <= e->n_user_data) {
        shrink(h, e, n_words);
        return true;
    }
    mheap_elt_t *next = elt_next(e);
    if (elt_is_end_mark(next))
        return grow_at_end(h, e, n_words);
    return next->is_free && grow_into_next(h, e, next, n_words);
}

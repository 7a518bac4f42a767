/* SPDX-License-Identifier: MIT */
#include "walk.h"

#include "api.h"

/* Texts, not pointers to texts, here and elsewhere: each pointer would be a relocation at start. */
static const char invariant_text[][80] = {
    "ok",
    "M1: the header's magic, version or lengths are wrong",
    "M2: the elements do not end in an end mark at the end of the vector",
    "M3: a boundary tag does not repeat size and state of the element before it",
    "M4: an element is empty or reaches past the end mark",
    "M5: two free elements are neighbours, or the last element is free",
    "M6: a free element is not on the list of its bin, or a list holds something else",
    "M7: the links of a list of free elements do not agree",
    "M8: the bitmap of non-empty bins does not agree with the lists",
    "M9: the number of allocated objects is wrong",
    "M10: the small-object cache does not hold exactly the cached objects",
    "M11: the sum of dirty or clean bytes in free elements is wrong",
};

mheap_corruption_t walk_corruption(int invariant, uint64_t uoffset) {
    return (mheap_corruption_t){invariant, (mheap_uoffset_t)uoffset, invariant_text[invariant]};
}

mheap_corruption_t walk_no_corruption(void) {
    return walk_corruption(0, MHEAP_GROUNDED);
}

static bool header_is_sound(const mheap_t *h) {
    return h->magic == MHEAP_MAGIC && h->layout_version == MHEAP_LAYOUT_VERSION &&
           h->len >= MHEAP_FIRST_UOFFSET && h->len % MHEAP_WORD_BYTES == 0 &&
           h->len <= h->never_used_off && h->never_used_off <= h->accessible_len &&
           h->accessible_len <= h->max_len && h->max_len < MHEAP_GROUNDED &&
           (h->plain_magic != MHEAP_MAGIC || api_may_be_plain(h));
}

walk_t walk_start(const mheap_t *h) {
    return (walk_t){
        .h = h,
        .next = MHEAP_FIRST_UOFFSET,
        .corruption =
            header_is_sound(h) ? walk_no_corruption() : walk_corruption(1, MHEAP_GROUNDED),
    };
}

/* Which invariant does the element at w->next, which begins inside the heap, break?  0: none. */
static int broken_invariant(const walk_t *w, const mheap_elt_t *e) {
    if (e->prev_n_user_data != w->prev_n_user_data || e->prev_is_free != w->prev_is_free ||
        e->prev_spare)
        return 3;
    if (w->next == w->h->len) {
        if (!elt_is_end_mark(e) || e->is_free)
            return 2;
        return w->prev_is_free ? 5 : 0;
    }
    if (elt_is_end_mark(e))
        return 2;
    if (e->n_user_data == 0 || w->next + elt_n_bytes(e) + MHEAP_TAG_BYTES > w->h->len)
        return 4;
    return w->prev_is_free && e->is_free ? 5 : 0;
}

bool walk_next(walk_t *w) {
    if (w->corruption.invariant)
        return false;
    mheap_elt_t *e = elt_at(w->h, w->next);
    int invariant = broken_invariant(w, e);
    if (invariant) {
        w->corruption = walk_corruption(invariant, w->next);
        return false;
    }
    if (w->next == w->h->len)
        return false;
    w->elt = e;
    w->uoffset = w->next;
    w->prev_n_user_data = e->n_user_data;
    w->prev_is_free = e->is_free;
    w->next += (mheap_uoffset_t)elt_n_bytes(e) + MHEAP_TAG_BYTES;
    return true;
}

/* SPDX-License-Identifier: MIT */
/* join.c - objects that lie side by side made one, and one made two again. */
#include "mheap_internal.h"

#include "fatal.h"

void mheap_join_elts(mheap_t *h, mheap_uoffset_t uoffset) {
    mheap_elt_t *e = mheap_checked_elt(h, uoffset, "mheap");
    mheap_elt_t *next = elt_next(e);
    mheap_checked_elt(h, elt_uoffset(h, next), "mheap");
    elt_set(e, (uint64_t)e->n_user_data + 1 + next->n_user_data, false);
    h->n_elts--;
}

void mheap_split_elt(mheap_t *h, mheap_uoffset_t uoffset, size_t n_bytes) {
    mheap_elt_t *e = mheap_checked_elt(h, uoffset, "mheap");
    uint64_t total = e->n_user_data, n_words = mheap_words(n_bytes);
    if (n_words + ELT_MIN_BYTES / MHEAP_WORD_BYTES > total)
        fatal("mheap", elt_user_data(e), "an object is to be cut behind its end");
    elt_set(e, n_words, false);
    elt_set(elt_next(e), total - n_words - 1, false);
    h->n_elts++;
}

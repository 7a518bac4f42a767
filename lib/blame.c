/* SPDX-License-Identifier: MIT */
/* blame.c - what exactly is wrong with an offset that is no live object, in words, then abort. */
#include "fatal.h"
#include "mheap_internal.h"

/*
 * The element that holds the byte at uoffset: walks from the first one, believing only sizes, and
 * stops before anything implausible.  NULL if the walk does not get there.
 */
static const mheap_elt_t *elt_holding(const mheap_t *h, uint64_t uoffset) {
    uint64_t at = MHEAP_FIRST_UOFFSET;
    while (uoffset_is_plausible(h, at)) {
        const mheap_elt_t *e = elt_at(h, at);
        uint64_t next = at + elt_n_bytes(e) + MHEAP_TAG_BYTES;
        if (e->n_user_data == 0 || next > h->len)
            return at == uoffset ? e : NULL;
        if (uoffset < next)
            return e;
        at = next;
    }
    return NULL;
}

const char *mheap_reason(const mheap_t *h, mheap_uoffset_t uoffset) {
    if (uoffset % MHEAP_WORD_BYTES || uoffset < MHEAP_FIRST_UOFFSET)
        return "not the start of an object";
    if (uoffset >= h->len)
        return "not the start of an object: behind the last one (already free?)";

    const mheap_elt_t *e = elt_at(h, uoffset), *holder = elt_holding(h, uoffset);
    if (holder && holder != e) {
        if (!holder->is_free && !holder->is_cached)
            return "not the start of an object";
        if (e->is_free) /* what mheap_release_elt leaves in a tag that it merges */
            return "already free (double free)";
        return "not the start of an object: inside a free one (already free?)";
    }
    if (!elt_agrees_with_prev(h, e))
        return "boundary tag before the object is damaged (overflow of the object before it?)";
    if (e->is_free || e->is_cached)
        return "already free (double free)";
    return "boundary tag behind the object is damaged (overflow?)";
}

const mheap_elt_t *mheap_elt_around(const mheap_t *h, mheap_uoffset_t uoffset) {
    const mheap_elt_t *holder = elt_holding(h, uoffset);
    /* A tag that coalescing swallowed still says how long its object was. */
    if ((!holder || holder->is_free) && uoffset_is_plausible(h, uoffset))
        holder = elt_at(h, uoffset)->is_free ? elt_at(h, uoffset) : NULL;
    bool fits = holder && holder->n_user_data &&
                elt_uoffset(h, holder) + elt_n_bytes(holder) + MHEAP_TAG_BYTES <= h->len;
    return fits ? holder : NULL;
}

void mheap_blame(const mheap_t *h, mheap_uoffset_t uoffset, const char *function) {
    const char *pointer = (const char *)(h + 1) + uoffset;
    const mheap_elt_t *e = mheap_elt_around(h, uoffset);
    line_t line = {.n_bytes = 0};
    line_misuse(&line, function, pointer, mheap_reason(h, uoffset));
    if (e)
        line_object(&line, pointer, (const char *)e + MHEAP_TAG_BYTES, elt_n_bytes(e), 0);
    fatal_line(&line);
}

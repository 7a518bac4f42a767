/* SPDX-License-Identifier: MIT */
/* ask.c - the public functions that look at a heap without changing it. */
#include "api.h"
#include "fatal.h"
#include "validate.h"
#include "vm.h"

size_t mheap_data_bytes(void *v, mheap_uoffset_t uoffset) {
    /* Without the lock: an object's own half of its tag belongs to its user. */
    const mheap_t *h = mheap_header(v);
    const mheap_elt_t *e = elt_at(h, uoffset);
    if (uoffset % MHEAP_WORD_BYTES || uoffset < MHEAP_FIRST_UOFFSET || uoffset >= h->max_len ||
        e->is_free || e->is_cached || e->n_user_data == 0 || elt_is_end_mark(e))
        mheap_blame(h, uoffset, "mheap_data_bytes");
    return elt_n_bytes(e);
}

size_t mheap_elts(void *v) {
    mheap_t *h = api_enter(v, "mheap_elts");
    uint64_t n_elts = h->n_elts;
    api_leave(h);
    return n_elts;
}

size_t mheap_bytes(void *v) {
    mheap_t *h = api_enter(v, "mheap_bytes");
    uint64_t n_bytes = sizeof *h + h->len;
    api_leave(h);
    return n_bytes;
}

size_t mheap_max_size(void *v) {
    return mheap_header(v)->max_size; /* never changes */
}

/* Those who need all objects cannot go on when a walk found damage: say so and abort. */
static void abort_if_damaged(const walk_t *w, const char *function) {
    if (w->corruption.invariant)
        fatal(function, (const char *)(w->h + 1) + w->corruption.uoffset, w->corruption.what);
}

bool mheap_is_heap_object(void *v, mheap_uoffset_t uoffset) {
    mheap_t *h = api_enter(v, "mheap_is_heap_object");
    bool is_object = false;
    walk_t w = walk_start(h);
    while (w.next <= uoffset && walk_next(&w))
        if (w.uoffset == uoffset)
            is_object = !w.elt->is_free && !w.elt->is_cached;
    api_leave(h);
    return is_object;
}

uintptr_t mheap_foreach(void *v, mheap_foreach_fn *func, void *arg) {
    mheap_t *h = api_enter(v, "mheap_foreach");
    uintptr_t answer = 0;
    walk_t w = walk_start(h);
    while (!answer && walk_next(&w))
        if (!w.elt->is_free && !w.elt->is_cached)
            answer = func(arg, v, elt_user_data(w.elt), elt_n_bytes(w.elt));
    abort_if_damaged(&w, "mheap_foreach");
    api_leave(h);
    return answer;
}

void mheap_usage(void *v, mheap_usage_t *usage) {
    mheap_t *h = api_enter(v, "mheap_usage");
    *usage = (mheap_usage_t){.bytes_max = h->max_size, .bytes_total = sizeof *h + h->len};
    walk_t w = walk_start(h);
    while (walk_next(&w)) {
        uint64_t n_bytes = elt_n_bytes(w.elt);
        if (w.elt->is_free)
            usage->bytes_free_reclaimed += elt_clean_bytes(w.elt);
        if (w.elt->is_free || w.elt->is_cached) {
            usage->bytes_free += n_bytes + MHEAP_TAG_BYTES;
            continue;
        }
        usage->object_count++;
        usage->bytes_used += n_bytes;
    }
    abort_if_damaged(&w, "mheap_usage");
    usage->bytes_overhead = usage->bytes_total - usage->bytes_used - usage->bytes_free;
    api_leave(h);
}

bool mheap_validate_report(void *v, mheap_corruption_t *corruption) {
    mheap_t *h = mheap_header(v);
    if (h->magic != MHEAP_MAGIC) { /* a report, where the others abort */
        *corruption = walk_corruption(1, MHEAP_GROUNDED);
        return false;
    }
    api_enter(v, "mheap_validate");
    *corruption = validate(h);
    api_leave(h);
    return corruption->invariant == 0;
}

bool mheap_validate(void *v) {
    mheap_corruption_t corruption;
    return mheap_validate_report(v, &corruption);
}

/* SPDX-License-Identifier: MIT */
/* purge.c - give free pages back to the system, and when. */
#include "mheap_internal.h"
#include "vm.h"

/* mheap_put's policy: not only so many dirty bytes, but so large a part of the heap is worth it. */
#define DUE_PART_OF_LEN      4
/* A heap that frees and reuses the same large object must not make a system call for each free:
 * the fewer bytes there are, the more frees must have passed (1 MiB: 16, 16 MiB: 1). */
#define DUE_BYTES_TIMES_PUTS (16u << 20)

typedef struct {
    char *start;
    size_t n_bytes;
} pages_t;

/* The whole pages between two addresses. */
static pages_t whole_pages(const void *from, const void *to) {
    uintptr_t page_mask = vm_page_bytes() - 1;
    uintptr_t start = ((uintptr_t)from + page_mask) & ~page_mask, end = (uintptr_t)to & ~page_mask;
    return (pages_t){(char *)start, end > start ? end - start : 0};
}

/* The whole pages of a free element behind its links. */
static pages_t pages_inside(mheap_elt_t *e) {
    return whole_pages((char *)e + sizeof *e, elt_next(e));
}

static uint64_t count_purged(mheap_t *h, size_t n_bytes) {
    h->stats.n_purges++;
    h->stats.n_purged_bytes += n_bytes;
    return n_bytes;
}

/*
 * Memory that the vector used before it became shorter.  Where that ends inside a page, the page
 * counts whole if the heap owns all of it: nothing there was ever used.
 */
static size_t purge_tail(mheap_t *h) {
    char *v = mheap_vector(h), *used_end = v + h->never_used_off;
    char *end = (char *)vm_round_up((uintptr_t)used_end);
    if (end > v + h->accessible_len)
        end = v + h->accessible_len;
    pages_t pages = whole_pages(v + h->len, end);
    if (used_end < pages.start + vm_page_bytes() || !pages.n_bytes || !h->tail_dirty_bytes)
        return 0;
    if (!vm_purge(pages.start, pages.n_bytes))
        return 0;
    if (pages.start + pages.n_bytes >= used_end)
        h->never_used_off = (uint64_t)(pages.start - v);
    uint64_t n_dirty = h->tail_dirty_bytes, n_kept = h->never_used_off - h->len;
    if (n_kept >= pages.n_bytes) /* the last page, part of which is another's, stays */
        n_kept -= pages.n_bytes;
    h->tail_dirty_bytes = n_dirty < n_kept ? n_dirty : n_kept;
    return count_purged(h, n_dirty < pages.n_bytes ? n_dirty : pages.n_bytes);
}

static size_t purge_elt(mheap_t *h, mheap_elt_t *e) {
    uint64_t n_dirty = e->free_elt.n_dirty;
    pages_t pages = pages_inside(e);
    if (n_dirty == 0 || !pages.n_bytes || !vm_purge(pages.start, pages.n_bytes))
        return 0;
    h->free_dirty_bytes -= n_dirty;
    h->free_clean_bytes -= e->free_elt.n_clean;
    e->free_elt.n_dirty = 0;
    e->free_elt.n_clean = (uint32_t)elt_clean_bytes(e);
    h->free_clean_bytes += e->free_elt.n_clean;
    return count_purged(h, n_dirty < pages.n_bytes ? n_dirty : pages.n_bytes);
}

/* A piece goes whole or not at all, and may be as much more than what is left to do as it would be
 * less. */
static bool is_too_much(uint64_t n_dirty, size_t left) {
    return n_dirty / 2 > left;
}

size_t mheap_purge(mheap_t *h, size_t max_bytes) {
    if (!max_bytes)
        return 0;
    size_t done = is_too_much(h->tail_dirty_bytes, max_bytes) ? 0 : purge_tail(h);
    uint32_t smallest = bin_of(MHEAP_PURGE_MIN_BYTES / MHEAP_WORD_BYTES);
    uint32_t bin = mheap_largest_bin(h);
    while (bin != BIN_NONE && bin >= smallest && h->free_dirty_bytes) {
        for (mheap_elt_t *e = bin_head(h, bin); e; e = bin_next(h, e)) {
            if (done >= max_bytes)
                return done;
            if (!is_too_much(e->free_elt.n_dirty, max_bytes - done))
                done += purge_elt(h, e);
        }
        bin = bin_last_non_empty(h, bin);
    }
    return done;
}

void mheap_purge_if_worth_it(mheap_t *h) {
    uint64_t new_bytes = mheap_dirty_bytes(h) - h->kept_dirty_bytes;
    if (new_bytes <= h->len / DUE_PART_OF_LEN ||
        new_bytes * h->n_puts_since_purge < DUE_BYTES_TIMES_PUTS)
        return;
    mheap_purge(h, SIZE_MAX);
    h->kept_dirty_bytes = mheap_dirty_bytes(h);
    h->n_puts_since_purge = 0;
}

size_t mheap_decommit_tail(mheap_t *h) {
    if (!(h->flags & MHEAP_INTERNAL_FLAG_RESERVED))
        return 0;
    char *v = mheap_vector(h);
    pages_t pages = whole_pages(v + h->len, v + h->accessible_len);
    if (!pages.n_bytes || !vm_decommit(pages.start, pages.n_bytes))
        return 0;
    h->accessible_len -= pages.n_bytes;
    if (h->never_used_off > h->accessible_len)
        h->never_used_off = h->accessible_len;
    if (h->tail_dirty_bytes > h->never_used_off - h->len)
        h->tail_dirty_bytes = h->never_used_off - h->len;
    return pages.n_bytes;
}

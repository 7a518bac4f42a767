/* SPDX-License-Identifier: MIT */
/* mheap.c - the heap itself: search, split, extend, free, coalesce. */
#include "cache.h"

#include "vm.h"

/* Elements looked at in the request's own bin, and in those above that may or may not fit. */
#define N_TRIES           4

/* The vector becomes accessible in steps of at least this, or an eighth of its length. */
#define COMMIT_STEP_BYTES (256u << 10)

mheap_t *mheap_init(void *header, uint64_t max_len, uint64_t accessible_len, uint32_t flags) {
    mheap_t *h = header;
    if (max_len < MHEAP_FIRST_UOFFSET + ELT_MIN_BYTES || accessible_len < MHEAP_FIRST_UOFFSET ||
        max_len >= MHEAP_GROUNDED)
        return NULL;
    *h = (mheap_t){0};
    for (uint32_t bin = 0; bin < MHEAP_N_BINS; bin++)
        h->first_free_elt_uoffset_by_bin[bin] = MHEAP_GROUNDED;
    for (uint32_t list = 0; list < MHEAP_N_CACHE_LISTS; list++)
        h->cache_heads[list] = MHEAP_GROUNDED;
    h->max_len = max_len;
    h->accessible_len = accessible_len;
    h->max_size = sizeof *h + max_len;
    h->flags = flags;
    h->n_cache_lists = flags & MHEAP_FLAG_SMALL_OBJECT_CACHE ? MHEAP_N_CACHE_LISTS : 0;
    h->max_cached = cache_limit(h); /* without a cache it stays so, and is never reached */
    h->layout_version = MHEAP_LAYOUT_VERSION;
    h->magic = MHEAP_MAGIC;

    *(uint64_t *)mheap_vector(h) = 0; /* the pad */
    mheap_elt_t *end = elt_at(h, MHEAP_FIRST_UOFFSET);
    end->prev_n_user_data = 0;
    end->prev_spare = 0;
    end->prev_is_free = 0;
    mheap_set_len(h, MHEAP_FIRST_UOFFSET);
    return h;
}

void mheap_set_len(mheap_t *h, uint64_t len) {
    elt_set_end_mark(elt_at(h, len));
    /* Relaxed: free looks at it without the lock, for a sound object's bounds any value it had
     * since that was allocated will do. */
    __atomic_store_n(&h->len, len, __ATOMIC_RELAXED);
    if (h->never_used_off < len)
        h->never_used_off = len;
    if (h->tail_dirty_bytes > h->never_used_off - len)
        h->tail_dirty_bytes = h->never_used_off - len;
}

bool mheap_make_accessible(mheap_t *h, uint64_t len) {
    if (len <= h->accessible_len)
        return true;
    if (len > h->max_len || !(h->flags & MHEAP_INTERNAL_FLAG_RESERVED))
        return false;
    uint64_t need = vm_round_up(len - h->accessible_len);
    uint64_t step = vm_round_up(h->accessible_len / 8);
    if (step < COMMIT_STEP_BYTES)
        step = COMMIT_STEP_BYTES;
    if (step < need)
        step = need;
    if (step > h->max_len - h->accessible_len)
        step = h->max_len - h->accessible_len;

    char *from = (char *)mheap_vector(h) + h->accessible_len;
    if (!vm_commit(from, step)) {
        if (step == need || !vm_commit(from, need))
            return false;
        step = need;
    }
    h->accessible_len += step;
    return true;
}

/*
 * Bytes to leave free before an object that could begin at uoffset, to align it.  They become an
 * element, so they are either none or enough for one: a multiple of words, but not just one word.
 */
static uint64_t gap_bytes(const mheap_t *h, uint64_t uoffset, size_t align, size_t align_offset) {
    uintptr_t address = (uintptr_t)(h + 1) + uoffset + align_offset;
    uint64_t gap = -address & (align - 1);
    return gap == MHEAP_WORD_BYTES ? gap + align : gap;
}

/* No gap is longer than this.  (For the natural alignment there is none.) */
static uint64_t max_gap_words(size_t align) {
    return align > MHEAP_WORD_BYTES ? align / MHEAP_WORD_BYTES + 1 : 0;
}

typedef struct {
    uint64_t n_words;
    size_t align, align_offset;
} request_t;

static bool elt_fits(const mheap_t *h, const mheap_elt_t *e, const request_t *r) {
    if (e->n_user_data < r->n_words)
        return false;
    uint64_t gap = gap_bytes(h, elt_uoffset(h, e), r->align, r->align_offset);
    return gap <= elt_n_bytes(e) - r->n_words * MHEAP_WORD_BYTES;
}

/* A free element and the bin that it was found in. */
typedef struct {
    mheap_elt_t *e;
    uint32_t bin;
} found_t;

/* The first of up to *n_tries elements of the bin's list that fits, or NULL. */
static inline mheap_elt_t *find_in_bin(mheap_t *h, uint32_t bin, const request_t *r,
                                       unsigned *n_tries) {
    mheap_elt_t *e = bin_head(h, bin);
    for (; e && *n_tries; e = bin_next(h, e)) {
        --*n_tries;
        h->stats.n_search_tries++;
        if (elt_fits(h, e, r))
            return e;
    }
    return NULL;
}

/* The request's own bin, then bins where the alignment may be lucky, then one that surely fits. */
static found_t find_aligned(mheap_t *h, const request_t *r) {
    uint32_t own_bin = bin_of(r->n_words);
    uint32_t sure_bin = bin_all_at_least(r->n_words + max_gap_words(r->align));
    unsigned n_tries = N_TRIES;
    mheap_elt_t *e = find_in_bin(h, own_bin, r, &n_tries);
    if (e)
        return (found_t){e, own_bin};

    uint32_t bin = bin_first_non_empty(h, own_bin + 1);
    for (n_tries = N_TRIES; n_tries && bin < sure_bin; bin = bin_first_non_empty(h, bin + 1)) {
        e = find_in_bin(h, bin, r, &n_tries);
        if (e)
            return (found_t){e, bin};
    }
    bin = bin_first_non_empty(h, sure_bin > own_bin ? sure_bin : own_bin + 1);
    n_tries = 1;
    return (found_t){bin == BIN_NONE ? NULL : find_in_bin(h, bin, r, &n_tries), bin};
}

/* The same where every address will do: whatever a bin of larger sizes holds fits. */
static inline found_t find_natural(mheap_t *h, uint64_t n_words) {
    uint32_t bin = bin_of(n_words);
    if (n_words > MHEAP_N_SMALL_BINS) { /* the own bin holds several sizes */
        const request_t r = {n_words, MHEAP_WORD_BYTES, 0};
        unsigned n_tries = N_TRIES;
        mheap_elt_t *e = find_in_bin(h, bin, &r, &n_tries);
        if (e)
            return (found_t){e, bin};
        bin++;
    }
    bin = bin_first_non_empty(h, bin);
    if (bin == BIN_NONE)
        return (found_t){NULL, bin};
    h->stats.n_search_tries++;
    return (found_t){bin_head(h, bin), bin};
}

/* Turn a free element into a gap (free again), the object, and what is left over (free again). */
static mheap_elt_t *split_free_elt(mheap_t *h, found_t found, uint64_t gap, uint64_t n_words) {
    mheap_elt_t *e = found.e;
    uint64_t dirty_bytes = bin_remove_from(h, found.bin, e);
    uint64_t total = e->n_user_data;
    if (gap) {
        uint64_t gap_words = gap / MHEAP_WORD_BYTES;
        mheap_elt_t *rest = elt_set(e, gap_words - 1, true);
        bin_push(h, e, gap_words - 1, dirty_bytes);
        e = rest;
        total -= gap_words;
    }
    if (total - n_words < ELT_MIN_BYTES / MHEAP_WORD_BYTES) {
        elt_set(e, total, false);
        return e;
    }
    mheap_elt_t *rest = elt_set(e, n_words, false);
    elt_set(rest, total - n_words - 1, true);
    bin_push(h, rest, total - n_words - 1, dirty_bytes);
    return e;
}

static inline mheap_uoffset_t take(mheap_t *h, found_t found, uint64_t gap, uint64_t n_words) {
    h->n_elts++;
    return elt_uoffset(h, split_free_elt(h, found, gap, n_words));
}

static __attribute__((noinline)) mheap_uoffset_t search_aligned(mheap_t *h, const request_t *r) {
    found_t found = find_aligned(h, r);
    if (!found.e)
        return MHEAP_GROUNDED;
    uint64_t gap = gap_bytes(h, elt_uoffset(h, found.e), r->align, r->align_offset);
    return take(h, found, gap, r->n_words);
}

mheap_uoffset_t mheap_get_search_free_list(mheap_t *h, size_t n_bytes, size_t align,
                                           size_t align_offset, bool *is_zero) {
    if (is_zero)
        *is_zero = false;
    if (n_bytes > h->max_len || align > h->max_len)
        return MHEAP_GROUNDED;
    h->stats.n_searches++;
    uint64_t n_words = mheap_words(n_bytes);
    if (align > MHEAP_WORD_BYTES)
        return search_aligned(h, &(request_t){n_words, align, align_offset});
    found_t found = find_natural(h, n_words);
    return found.e ? take(h, found, 0, n_words) : MHEAP_GROUNDED;
}

void mheap_cut_row(mheap_t *h, mheap_uoffset_t uoffset, size_t n_bytes, uint32_t n) {
    mheap_elt_t *e = elt_at(h, uoffset);
    uint64_t n_words = mheap_words(n_bytes);
    for (; n > 1; n--) {
        uint64_t rest = e->n_user_data - n_words - 1;
        e = elt_set(e, n_words, false);
        elt_set(e, rest, false);
        h->n_elts++;
    }
}

mheap_uoffset_t mheap_get_row(mheap_t *h, size_t n_bytes, uint32_t *n) {
    uint64_t n_words = mheap_words(n_bytes);
    h->stats.n_searches++;
    found_t found = find_natural(h, n_words);
    if (!found.e)
        return MHEAP_GROUNDED;
    uint64_t n_fit = ((uint64_t)found.e->n_user_data + 1) / (n_words + 1);
    if (*n > n_fit)
        *n = (uint32_t)n_fit;
    mheap_uoffset_t uoffset = take(h, found, 0, *n * (n_words + 1) - 1);
    mheap_cut_row(h, uoffset, n_bytes, *n);
    return uoffset;
}

mheap_uoffset_t mheap_get_extend(mheap_t *h, size_t n_bytes, size_t align, size_t align_offset,
                                 bool *is_zero) {
    if (n_bytes > h->max_len || align > h->max_len)
        return MHEAP_GROUNDED;
    uint64_t n_words = mheap_words(n_bytes);
    uint64_t gap = gap_bytes(h, h->len, align, align_offset);
    uint64_t uoffset = h->len + gap;
    uint64_t new_len = uoffset + n_words * MHEAP_WORD_BYTES + MHEAP_TAG_BYTES;
    if (new_len > h->max_len || !mheap_make_accessible(h, new_len))
        return MHEAP_GROUNDED;

    if (is_zero)
        *is_zero = (h->flags & MHEAP_INTERNAL_FLAG_ZEROED) && uoffset >= h->never_used_off;
    mheap_elt_t *e = elt_at(h, h->len); /* the end mark becomes the gap, or the object */
    if (gap) {
        mheap_elt_t *behind = elt_set(e, gap / MHEAP_WORD_BYTES - 1, true);
        bin_push(h, e, gap / MHEAP_WORD_BYTES - 1, h->tail_dirty_bytes);
        e = behind;
    }
    elt_set(e, n_words, false);
    mheap_set_len(h, new_len);
    h->n_elts++;
    h->stats.n_extends++;
    return (mheap_uoffset_t)uoffset;
}

/*
 * Take a free neighbour off its list, to be merged; returns what it adds to the dirty bytes.  If it
 * was purged, its first and last page were not: the one at the joint is about to be a whole page.
 */
static inline uint64_t absorb(mheap_t *h, mheap_elt_t *e, uint64_t n_words) {
    uint64_t joint_bytes = elt_words_keep_n_dirty(n_words) ? vm_page_bytes() : 0;
    return bin_remove_from(h, bin_of(n_words), e) + joint_bytes + MHEAP_TAG_BYTES;
}

/*
 * A tag that coalescing swallows keeps saying "free": if its object is freed again before the
 * memory is reused, mheap_checked_elt can tell.
 */
static void release_elt(mheap_t *h, mheap_elt_t *e, uint64_t dirty_bytes) {
    uint64_t n_words = e->n_user_data;
    mheap_elt_t *next = elt_behind(e, n_words);
    e->this_half = elt_half(n_words, true);
    if (next->is_free) {
        uint64_t n_more = next->n_user_data;
        dirty_bytes += absorb(h, next, n_more);
        n_words += 1 + n_more;
    }
    if (e->prev_is_free) {
        uint64_t n_more = e->prev_n_user_data; /* its tag is compared with this one */
        e = elt_prev(e);
        dirty_bytes += absorb(h, e, n_more);
        n_words += 1 + n_more;
    }
    uint64_t uoffset = elt_uoffset(h, e);
    if (uoffset + (n_words + 1) * MHEAP_WORD_BYTES == h->len) {
        h->tail_dirty_bytes += dirty_bytes + 2 * MHEAP_TAG_BYTES; /* its own, and the end mark */
        mheap_set_len(h, uoffset);
        return;
    }
    elt_set(e, n_words, true);
    bin_push(h, e, n_words, dirty_bytes);
}

void mheap_release_elt(mheap_t *h, mheap_elt_t *e) {
    release_elt(h, e, elt_n_bytes(e));
}

void mheap_put_elt(mheap_t *h, mheap_uoffset_t uoffset) {
    mheap_elt_t *e = mheap_checked_elt(h, uoffset, "free");
    h->n_elts--;
    mheap_release_elt(h, e);
}

void mheap_put_elt_dirty(mheap_t *h, mheap_uoffset_t uoffset, uint64_t dirty_bytes) {
    mheap_elt_t *e = mheap_checked_elt(h, uoffset, "free");
    h->n_elts--;
    release_elt(h, e, dirty_bytes);
}

/* SPDX-License-Identifier: MIT */
/* api.c - the public functions that allocate and free: lock, check, do, trace. */
#include "api.h"

#include "cache.h"
#include "fatal.h"
#include "trace.h"
#include "validate.h"

mheap_t *api_enter(void *v, const char *function) {
    mheap_t *h = mheap_header(v);
    if (h->magic != MHEAP_MAGIC)
        fatal(function, v, "not a heap (freed, or its header was overwritten?)");
    if (h->flags & MHEAP_FLAG_THREAD_SAFE)
        lock_acquire(&h->lock);
    return h;
}

void api_leave(mheap_t *h) {
    if (h->flags & MHEAP_FLAG_THREAD_SAFE)
        lock_release(&h->lock);
}

static void check_all(const mheap_t *h, const char *function) {
    if (!(h->flags & MHEAP_FLAG_VALIDATE))
        return;
    mheap_corruption_t corruption = validate(h);
    if (!corruption.invariant)
        return;
    const char *v = (const char *)(h + 1);
    fatal(function, corruption.uoffset == MHEAP_GROUNDED ? v : v + corruption.uoffset,
          corruption.what);
}

mheap_t *api_begin_change(void *v, const char *function) {
    mheap_t *h = api_enter(v, function);
    check_all(h, function);
    return h;
}

void api_end_change(mheap_t *h, const char *function) {
    check_all(h, function);
    api_leave(h);
}

/*
 * A heap that only this thread uses, neither traced nor validated around each operation: then there
 * is nothing to do but the work itself.  Everything else takes the long way below.
 */
bool api_may_be_plain(const mheap_t *h) {
    return h->magic == MHEAP_MAGIC &&
           !(h->flags & (MHEAP_FLAG_THREAD_SAFE | MHEAP_FLAG_VALIDATE)) && !h->trace;
}

void api_set_plain(mheap_t *h) {
    uint64_t magic = api_may_be_plain(h) ? MHEAP_MAGIC : 0;
    if (h->plain_magic != magic) /* in a THREAD_SAFE heap, where others read it, it never changes */
        h->plain_magic = magic;
}

/* ---- Allocating ---- */

/* Free elements first, then the end of the vector.  Cached objects, merged with what is around
 * them, are given a chance before the heap grows: it shall not become longer for the cache's sake.
 */
static mheap_uoffset_t get_uncached(mheap_t *h, size_t n_bytes, size_t align, size_t align_offset) {
    h->stats.n_other_gets++;
    /* The put that follows would have to, most likely: but it could not foresee when, and here all
     * is slow anyway. */
    if (h->n_cached >= h->max_cached)
        cache_evict_one(h);
    mheap_uoffset_t uoffset = mheap_get_search_free_list(h, n_bytes, align, align_offset, NULL);
    if (uoffset == MHEAP_GROUNDED && h->n_cached) {
        cache_flush(h);
        uoffset = mheap_get_search_free_list(h, n_bytes, align, align_offset, NULL);
    }
    if (uoffset == MHEAP_GROUNDED)
        uoffset = mheap_get_extend(h, n_bytes, align, align_offset, NULL);
    h->stats.n_failures += uoffset == MHEAP_GROUNDED;
    cache_set_limit(h);
    return uoffset;
}

static inline mheap_uoffset_t count_hit(mheap_t *h, const mheap_elt_t *e) {
    h->n_elts++;
    h->stats.n_cache_hits++;
    return elt_uoffset(h, e);
}

static mheap_uoffset_t get_legal(mheap_t *h, size_t n_bytes, size_t align, size_t align_offset) {
    uint64_t n_words = mheap_words(n_bytes);
    if (n_words <= MHEAP_N_CACHE_LISTS) {
        const mheap_elt_t *e = cache_pop_aligned(h, n_words - 1, align, align_offset);
        if (e)
            return count_hit(h, e);
    }
    return get_uncached(h, n_bytes, align, align_offset);
}

/* Whether tracing is on may change at any time in a THREAD_SAFE heap: this is only a hint. */
static bool is_probably_traced(const mheap_t *h) {
    return __atomic_load_n(&h->trace, __ATOMIC_RELAXED);
}

static inline bool is_legal(const mheap_t *h, size_t n_bytes, size_t align, size_t align_offset) {
    return (align & (align - 1)) == 0 && align_offset % MHEAP_WORD_BYTES == 0 &&
           align_offset < align && align <= h->max_size && n_bytes <= h->max_size;
}

/* `innermost` is where the public function continues its caller. */
static __attribute__((noinline)) mheap_uoffset_t get_carefully(void *v, size_t n_bytes,
                                                               size_t align, size_t align_offset,
                                                               const void *innermost,
                                                               const char *function) {
    uintptr_t callers[MHEAP_TRACE_CALLERS];
    uint32_t n_callers = 0;
    /* Before the lock is taken: the unwinder may allocate, from this heap perhaps. */
    if (is_probably_traced(mheap_header(v)))
        n_callers = trace_capture_from(callers, MHEAP_TRACE_CALLERS, innermost);

    mheap_t *h = api_begin_change(v, function);
    mheap_uoffset_t uoffset = MHEAP_GROUNDED;
    if (is_legal(h, n_bytes, align, align_offset))
        uoffset = get_legal(h, n_bytes, align, align_offset);
    if (uoffset != MHEAP_GROUNDED && h->trace && n_callers)
        trace_add(h->trace, uoffset, elt_n_bytes(elt_at(h, uoffset)), callers, n_callers);
    api_end_change(h, function);
    return uoffset;
}

/* Whatever is asked of whatever heap: the long way or a short one. */
static inline void *get_any(void *v, size_t n_bytes, size_t align, size_t align_offset,
                            mheap_uoffset_t *offset_return, const void *innermost,
                            const char *function) {
    mheap_t *h = mheap_header(v);
    if (api_may_be_plain(h) && is_legal(h, n_bytes, align, align_offset))
        *offset_return = get_legal(h, n_bytes, align, align_offset);
    else
        *offset_return = get_carefully(v, n_bytes, align, align_offset, innermost, function);
    return v;
}

static __attribute__((noinline)) void *
get_any_word(void *v, size_t n_bytes, mheap_uoffset_t *offset_return, const void *innermost) {
    return get_any(v, n_bytes, MHEAP_WORD_BYTES, 0, offset_return, innermost, "mheap_get");
}

static __attribute__((noinline)) void *get_any_aligned(void *v, size_t n_bytes, size_t align,
                                                       size_t align_offset,
                                                       mheap_uoffset_t *offset_return,
                                                       const void *innermost) {
    if (align <= MHEAP_WORD_BYTES && (align & (align - 1)) == 0)
        align = MHEAP_WORD_BYTES;
    return get_any(v, n_bytes, align, align_offset, offset_return, innermost, "mheap_get_aligned");
}

/* The cache has none. */
static __attribute__((noinline)) void *get_plain_uncached(mheap_t *h, size_t n_bytes,
                                                          mheap_uoffset_t *offset_return) {
    *offset_return = get_uncached(h, n_bytes, MHEAP_WORD_BYTES, 0);
    return mheap_vector(h);
}

/* A small object of a plain heap, at any address.  What is not nearly always so is called last, in
 * the public functions too: it needs no frame. */
__attribute__((always_inline)) static inline bool is_small(const mheap_t *h, size_t n_bytes) {
    return h->plain_magic == MHEAP_MAGIC && n_bytes - 1 < MHEAP_N_CACHE_LISTS * MHEAP_WORD_BYTES;
}

__attribute__((always_inline)) static inline void *get_small(mheap_t *h, size_t n_bytes,
                                                             mheap_uoffset_t *offset_return) {
    const mheap_elt_t *e = cache_pop(h, (n_bytes - 1) / MHEAP_WORD_BYTES);
    if (!e)
        return get_plain_uncached(h, n_bytes, offset_return);
    *offset_return = count_hit(h, e);
    return mheap_vector(h);
}

__attribute__((noinline)) void *mheap_get(void *v, size_t n_user_data_bytes,
                                          mheap_uoffset_t *offset_return) {
    mheap_t *h = mheap_header(v);
    if (is_small(h, n_user_data_bytes))
        return get_small(h, n_user_data_bytes, offset_return);
    return get_any_word(v, n_user_data_bytes, offset_return, __builtin_return_address(0));
}

__attribute__((noinline)) void *mheap_get_aligned(void *v, size_t n_user_data_bytes, size_t align,
                                                  size_t align_offset,
                                                  mheap_uoffset_t *offset_return) {
    mheap_t *h = mheap_header(v);
    if (align == MHEAP_WORD_BYTES && align_offset == 0 && is_small(h, n_user_data_bytes))
        return get_small(h, n_user_data_bytes, offset_return);
    return get_any_aligned(v, n_user_data_bytes, align, align_offset, offset_return,
                           __builtin_return_address(0));
}

/* ---- Freeing, resizing ---- */

static __attribute__((noinline)) void put_uncached(mheap_t *h, mheap_elt_t *e) {
    mheap_release_elt(h, e);
    cache_set_limit(h);
    if (!(h->flags & MHEAP_FLAG_DISABLE_VM))
        mheap_purge_if_due(h);
}

/* A checked one. */
static inline void put(mheap_t *h, mheap_elt_t *e) {
    h->stats.n_puts++;
    h->n_elts--;
    if (cache_takes(h, e))
        cache_push(h, e);
    else
        put_uncached(h, e);
}

static __attribute__((noinline)) void put_carefully(void *v, mheap_uoffset_t uoffset) {
    if (uoffset == MHEAP_GROUNDED)
        return;
    mheap_t *h = api_begin_change(v, "mheap_put");
    mheap_elt_t *e = mheap_checked_elt(h, uoffset, "mheap_put");
    if (h->trace)
        trace_remove(h->trace, uoffset);
    put(h, e);
    api_end_change(h, "mheap_put");
}

void mheap_put(void *v, mheap_uoffset_t uoffset) {
    mheap_t *h = mheap_header(v);
    if (__builtin_expect(h->plain_magic == MHEAP_MAGIC && mheap_is_live(h, uoffset), 1))
        put(h, elt_at(h, uoffset));
    else
        put_carefully(v, uoffset);
}

bool mheap_resize(void *v, mheap_uoffset_t uoffset, size_t n_user_data_bytes) {
    mheap_t *h = api_begin_change(v, "mheap_resize");
    mheap_elt_t *e = mheap_checked_elt(h, uoffset, "mheap_resize");
    bool done = mheap_resize_elt(h, uoffset, n_user_data_bytes);
    if (done && h->trace)
        trace_resize(h->trace, uoffset, elt_n_bytes(e));
    if (done && !(h->flags & MHEAP_FLAG_DISABLE_VM))
        mheap_purge_if_due(h);
    api_end_change(h, "mheap_resize");
    return done;
}

/* ---- Tracing ---- */

bool mheap_trace(void *v, bool enable) {
    if (enable)
        trace_warm_up();
    mheap_t *h = api_enter(v, "mheap_trace");
    bool done = true;
    if (!enable) {
        trace_destroy(h->trace);
        __atomic_store_n(&h->trace, NULL, __ATOMIC_RELAXED); /* see is_probably_traced */
    } else if (!h->trace) {
        __atomic_store_n(&h->trace, trace_create(), __ATOMIC_RELAXED);
        done = h->trace;
    }
    api_set_plain(h);
    api_leave(h);
    return done;
}

void mheap_trace_foreach(void *v, mheap_trace_fn *func, void *arg) {
    size_t n_rows = 0;
    mheap_t *h = api_enter(v, "mheap_trace_foreach");
    mheap_trace_row_t *rows = h->trace ? trace_snapshot(h->trace, &n_rows) : NULL;
    api_leave(h);
    if (!rows)
        return;
    for (size_t i = 0; i < n_rows; i++) /* without the lock: func may use the heap */
        func(arg, &rows[i]);
    trace_snapshot_release(rows, n_rows);
}

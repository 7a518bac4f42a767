/* SPDX-License-Identifier: MIT */
/*
 * format.c - a heap in words.  First everything is gathered under the heap's lock, damaged or not,
 * then written without it: whatever receives the text may use the heap.
 */
#include "api.h"
#include "fatal.h"
#include "trace.h"
#include "validate.h"

typedef struct {
    uint64_t n_objects, n_bytes;
} tally_t;

typedef struct {
    tally_t live, cached, free;
    tally_t free_by_bin[MHEAP_N_BINS];
    uint64_t len, max_len, accessible_len, dirty_bytes;
    uint32_t flags;
    mheap_stats_t stats;
    mheap_corruption_t corruption; /* by validation if that is shown, else by the walk alone */
    bool is_traced;
    uint64_t n_trace_lost;
} picture_t;

typedef struct {
    mheap_write_fn *write;
    void *arg;
} writer_t;

/* ---- Gathering ---- */

static void add(tally_t *tally, uint64_t n_bytes) {
    tally->n_objects++;
    tally->n_bytes += n_bytes;
}

static void take_picture(picture_t *p, const mheap_t *h, int verbosity) {
    *p = (picture_t){
        .len = h->len,
        .max_len = h->max_len,
        .accessible_len = h->accessible_len,
        .dirty_bytes = mheap_dirty_bytes(h),
        .flags = h->flags,
        .stats = h->stats,
        .is_traced = h->trace,
        .n_trace_lost = h->trace ? trace_n_lost(h->trace) : 0,
    };
    walk_t w = walk_start(h);
    while (walk_next(&w)) {
        uint64_t n_bytes = elt_n_bytes(w.elt);
        if (w.elt->is_free) {
            add(&p->free, n_bytes);
            add(&p->free_by_bin[bin_of(w.elt->n_user_data)], n_bytes);
        } else
            add(w.elt->is_cached ? &p->cached : &p->live, n_bytes);
    }
    p->corruption = verbosity >= 2 ? validate(h) : w.corruption;
}

/* ---- Writing ---- */

static void put_line(const writer_t *w, line_t *line) {
    line->text[line->n_bytes++] = '\n';
    w->write(w->arg, line->text, line->n_bytes);
    line->n_bytes = 0;
}

static void put_count(line_t *line, const char *before, uint64_t number, const char *after) {
    line_text(line, before);
    line_decimal(line, number);
    line_text(line, after);
}

/* 0 .. 2^64 bytes in a few digits: 999, 9.9k, 99.9M.  Exact numbers stay exact. */
static void put_bytes(line_t *line, const char *before, uint64_t n_bytes) {
    static const char units[][2] = {"k", "M", "G"};
    line_text(line, before);
    unsigned unit = 0;
    while (unit < 3 && n_bytes >> (10 * (unit + 1)))
        unit++;
    if (!unit) {
        line_decimal(line, n_bytes);
        return;
    }
    uint64_t tenths = (n_bytes * 10) >> (10 * unit);
    line_decimal(line, tenths / 10);
    if (tenths % 10) {
        line_text(line, ".");
        line_decimal(line, tenths % 10);
    }
    line_text(line, units[unit - 1]);
}

static void put_tally(line_t *line, const char *before, const tally_t *tally) {
    put_bytes(line, before, tally->n_bytes);
    put_count(line, " in ", tally->n_objects, "");
}

static void put_totals(const writer_t *w, const picture_t *p, const void *v) {
    line_t line = {.n_bytes = 0};
    put_count(&line, "", p->live.n_objects, " objects, ");
    put_bytes(&line, "", p->len);
    put_bytes(&line, " of ", p->max_len);
    put_tally(&line, ", used ", &p->live);
    put_tally(&line, ", free ", &p->free);
    put_tally(&line, ", cached ", &p->cached);
    line_text(&line, ", heap at ");
    line_pointer(&line, v);
    put_line(w, &line);
}

static void put_flags(const writer_t *w, const picture_t *p) {
    static const char names[][20] = {"trace", "disable-vm", "thread-safe", "small-object-cache",
                                     "validate"};
    line_t line = {.n_bytes = 0};
    line_text(&line, "  flags:");
    for (unsigned i = 0; i < sizeof names / sizeof *names; i++)
        if (p->flags >> i & 1) {
            line_text(&line, " ");
            line_text(&line, names[i]);
        }
    put_line(w, &line);
}

/* Per search, in hundredths: no floating point here. */
static void put_ratio(line_t *line, uint64_t part, uint64_t whole) {
    uint64_t hundredths = whole ? (part * 100 + whole / 2) / whole : 0;
    line_decimal(line, hundredths / 100);
    line_text(line, hundredths % 100 < 10 ? ".0" : ".");
    line_decimal(line, hundredths % 100);
}

static void put_statistics(const writer_t *w, const picture_t *p) {
    const mheap_stats_t *s = &p->stats;
    line_t line = {.n_bytes = 0};
    put_count(&line, "  gets ", s->n_cache_hits + s->n_other_gets, "");
    put_count(&line, ", puts ", s->n_puts, "");
    put_count(&line, ", no memory ", s->n_failures, "");
    put_line(w, &line);
    put_count(&line, "  small-object cache: hits ", s->n_cache_hits, "");
    put_count(&line, ", flushes ", s->n_cache_flushes, "");
    put_line(w, &line);
    put_count(&line, "  search: ", s->n_searches, " searches, ");
    put_ratio(&line, s->n_search_tries, s->n_searches);
    put_count(&line, " tries each; vector extended ", s->n_extends, " times");
    put_line(w, &line);
    put_bytes(&line, "  pages: accessible ", p->accessible_len);
    put_bytes(&line, ", free but not given back ", p->dirty_bytes);
    put_bytes(&line, ", given back ", s->n_purged_bytes);
    put_count(&line, " in ", s->n_purges, " calls");
    put_line(w, &line);
}

static void put_histogram(const writer_t *w, const picture_t *p) {
    line_t line = {.n_bytes = 0};
    line_text(&line, "  free objects by bin (from bytes: objects, bytes)");
    put_line(w, &line);
    for (uint32_t bin = 0; bin < MHEAP_N_BINS; bin++) {
        const tally_t *tally = &p->free_by_bin[bin];
        if (!tally->n_objects)
            continue;
        put_count(&line, "    ", bin_min_bytes(bin), ": ");
        put_count(&line, "", tally->n_objects, ", ");
        line_decimal(&line, tally->n_bytes);
        put_line(w, &line);
    }
}

static void put_corruption(const writer_t *w, const picture_t *p, const char *v) {
    if (!p->corruption.invariant)
        return;
    line_t line = {.n_bytes = 0};
    line_text(&line, "  corrupt: ");
    line_text(&line, p->corruption.what);
    if (p->corruption.uoffset != MHEAP_GROUNDED) {
        line_text(&line, ", at ");
        line_pointer(&line, v + p->corruption.uoffset);
        put_count(&line, " (uoffset ", p->corruption.uoffset, ")");
    }
    put_line(w, &line);
}

static void put_trace_row(void *arg, const mheap_trace_row_t *row) {
    line_t line = {.n_bytes = 0};
    put_count(&line, "    ", row->n_bytes, " bytes");
    put_count(&line, " in ", row->n_allocations, " objects");
    put_count(&line, ", one at uoffset ", row->sample, ", from");
    put_line(arg, &line);
    for (uint32_t i = 0; i < row->n_callers; i++) {
        line_text(&line, "      ");
        line_hex(&line, row->callers[i]);
        put_line(arg, &line);
    }
}

static void put_trace(writer_t *w, const picture_t *p, void *v) {
    if (!p->is_traced)
        return;
    line_t line = {.n_bytes = 0};
    put_count(&line, "  traced objects by call stack (", p->n_trace_lost, " records lost)");
    put_line(w, &line);
    mheap_trace_foreach(v, put_trace_row, w);
}

void mheap_format_to(void *v, mheap_write_fn *write, void *arg, int verbosity) {
    writer_t writer = {write, arg};
    picture_t picture;
    mheap_t *h = api_enter(v, "mheap_format");
    take_picture(&picture, h, verbosity);
    api_leave(h);

    put_totals(&writer, &picture, v);
    if (verbosity >= 1) {
        put_flags(&writer, &picture);
        put_statistics(&writer, &picture);
        put_trace(&writer, &picture, v);
    }
    if (verbosity >= 2)
        put_histogram(&writer, &picture);
    put_corruption(&writer, &picture, v);
}

static void write_to_file(void *arg, const char *text, size_t n_bytes) {
    fwrite(text, 1, n_bytes, arg);
}

void mheap_format(void *v, FILE *file, int verbosity) {
    mheap_format_to(v, write_to_file, file, verbosity);
}

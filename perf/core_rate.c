/* SPDX-License-Identifier: MIT */
/*
 * core_rate - the core by itself, without the interposer: how many get/put pairs a microsecond one
 * heap does with `live` objects in it.  --heap mheap: mheap_get_aligned and mheap_put; linear: the
 * reference with linearly searched bins (linear_heap.h); checked: that with checks like the
 * mheap's; none: objects stay where they are, what is left is this program's own part.
 *
 * All heaps are asked for the same sizes in the same order, aligned to 8 bytes (--align: the
 * mheap's only).  --window 0 replaces objects anywhere, so a large heap also pays for cache misses;
 * --window N replaces them within N neighbours that slide over the whole heap: what is left is the
 * allocator's own work.  --flags: the mheap's flags, as a number (mheap.h).  --pairs N does so many
 * instead of so many milliseconds' worth: the same sequence for all, to compare the length that the
 * heap came to (mean_heap_kb, max_heap_kb).
 */
#include "linear_heap.h"
#include "mheap.h"
#include "perf.h"

#include <string.h>
#include <time.h>

static uint64_t live = 10000, window = 0, milliseconds = 500, pairs = 0, align = 8;
static uint64_t flags = MHEAP_FLAG_SMALL_OBJECT_CACHE;
static const char *distribution = "16-512", *which = "mheap";

#define HEAP_BYTES (3ull << 30)

static void *mheap;
static linear_heap_t *linear;
static void **objects;
static perf_sizes_t *sizes;
static double sum_heap_kb, max_heap_kb; /* of the heap's length, looked at now and then */
static char *nowhere; /* --heap none: the next object's place, while the heap is filled */
static bool is_none;

static void *get(size_t size, void *old) {
    if (linear)
        return linear_heap_get(linear, size);
    if (is_none)
        return old ? old : (nowhere += (size + 15) & ~(size_t)7);
    mheap_uoffset_t uoffset;
    mheap_get_aligned(mheap, size, align, 0, &uoffset);
    return uoffset == MHEAP_GROUNDED ? NULL : (char *)mheap + uoffset;
}

static void put(void *object) {
    if (linear)
        linear_heap_put(linear, object);
    else if (!is_none)
        mheap_put(mheap, (mheap_uoffset_t)((char *)object - (char *)mheap));
}

static void create(void) {
    bool is_checked = !strcmp(which, "checked");
    if (is_checked || !strcmp(which, "linear"))
        linear = linear_heap_create(HEAP_BYTES, is_checked);
    else if (!strcmp(which, "mheap"))
        mheap = mheap_alloc_with_flags(NULL, HEAP_BYTES, (uint32_t)flags);
    else if ((is_none = !strcmp(which, "none")))
        nowhere = perf_table(live * 1024);
    PERF_CHECK(linear || mheap || nowhere);
}

static void look_at_heap(void) {
    size_t bytes = linear ? linear_heap_bytes(linear) : mheap ? mheap_bytes(mheap) : 0;
    double heap_kb = (double)bytes / 1024;
    sum_heap_kb += heap_kb;
    if (max_heap_kb < heap_kb)
        max_heap_kb = heap_kb;
}

/* One object replaced by another, within the window from `first` on. */
static void replace(perf_rng_t *rng, uint64_t first) {
    uint64_t i = first + perf_below(rng, window ? window : live);
    if (i >= live)
        i -= live;
    perf_verify(objects[i], i);
    put(objects[i]);
    size_t size = perf_next_size(sizes);
    objects[i] = get(size, objects[i]);
    perf_fill(objects[i], size, i);
}

/* Processor time: this program has one thread, and the machine may do other work too. */
static uint64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Replaces n_min objects, and more until so many milliseconds have passed, but no more than n_max;
 * returns how many.  Every fourth step the window slides by one. */
static uint64_t replace_for(uint64_t ms, uint64_t n_min, uint64_t n_max, perf_rng_t *rng) {
    static uint64_t first;
    uint64_t end = cpu_ns() + ms * 1000000u, n = 0;
    do {
        for (int i = 0; i < 256; i++, n++) {
            replace(rng, first);
            if (window && i % 4 == 0 && ++first == live)
                first = 0;
        }
        look_at_heap();
    } while (n < n_min || (n < n_max && cpu_ns() < end));
    return n;
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {
        {"--heap", NULL, &which},    {"--live", &live, NULL},
        {"--window", &window, NULL}, {"--milliseconds", &milliseconds, NULL},
        {"--flags", &flags, NULL},   {"--dist", NULL, &distribution},
        {"--pairs", &pairs, NULL},   {"--align", &align, NULL}};
    PERF_INIT(argc, argv, "core_rate", options);
    create();
    objects = perf_table(live * sizeof *objects);
    sizes = perf_sizes(distribution, 0);
    perf_rng_t rng = perf_rng(0);
    for (uint64_t i = 0; i < live; i++) {
        size_t size = perf_next_size(sizes);
        objects[i] = get(size, NULL);
        perf_fill(objects[i], size, i);
    }
    /* Age the heap first: a fresh one has no free objects to search.  (The linear heap's time for
     * this has a limit: with many objects it would not get done.  It is the faster for it.) */
    uint64_t age_ms = pairs ? 0 : 4 * milliseconds;
    replace_for(age_ms, pairs, 4 * live, &rng);
    sum_heap_kb = max_heap_kb = 0;
    uint64_t start = cpu_ns();
    perf_start();
    uint64_t ops = replace_for(pairs ? 0 : milliseconds, pairs, pairs ? 0 : UINT64_MAX, &rng);
    perf_stop();
    perf_metric("pairs_per_us", (double)ops * 1000 / (double)(cpu_ns() - start));
    perf_metric("mean_heap_kb", sum_heap_kb * 256 / (double)ops);
    perf_metric("max_heap_kb", max_heap_kb);
    perf_report(ops);
}

/* SPDX-License-Identifier: MIT */
/*
 * core_rate - the core by itself, without the interposer: how many get/put pairs a second one heap
 * does with `live` objects in it.  --heap mheap: mheap_get_aligned and mheap_put; --heap linear:
 * the reference with linearly searched bins (linear_heap.h).
 *
 * --window 0 replaces objects anywhere, so a large heap also pays for cache misses; --window N
 * replaces them within N neighbours that slide over the whole heap: what is left is the
 * allocator's own work.  --flags: the mheap's flags, as a number (mheap.h).
 */
#include "linear_heap.h"
#include "mheap.h"
#include "perf.h"

#include <string.h>
#include <time.h>

static uint64_t live = 10000, window = 0, milliseconds = 500;
static uint64_t flags = MHEAP_FLAG_SMALL_OBJECT_CACHE;
static const char *distribution = "16-512", *which = "mheap";

#define HEAP_BYTES (3ull << 30)

static void *mheap;
static linear_heap_t *linear;
static void **objects;
static perf_sizes_t *sizes;

static void *get(size_t size) {
    if (linear)
        return linear_heap_get(linear, size);
    mheap_uoffset_t uoffset;
    mheap_get_aligned(mheap, size, 16, 0, &uoffset);
    return uoffset == MHEAP_GROUNDED ? NULL : (char *)mheap + uoffset;
}

static void put(void *object) {
    if (linear)
        linear_heap_put(linear, object);
    else
        mheap_put(mheap, (mheap_uoffset_t)((char *)object - (char *)mheap));
}

/* One object replaced by another; `step` places the window. */
static void replace(perf_rng_t *rng, uint64_t step) {
    uint64_t i = perf_below(rng, window ? window : live);
    if (window)
        i = (i + step / 4) % live;
    perf_verify(objects[i], i);
    put(objects[i]);
    size_t size = perf_next_size(sizes);
    objects[i] = get(size);
    perf_fill(objects[i], size, i);
}

/* Processor time: this program has one thread, and the machine may do other work too. */
static uint64_t cpu_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* Replaces for so many milliseconds, `n_max` times at the most; returns how often. */
static uint64_t replace_for(uint64_t ms, uint64_t n_max, perf_rng_t *rng, uint64_t step) {
    uint64_t end = cpu_ns() + ms * 1000000u, n = 0;
    do {
        for (int i = 0; i < 256; i++, n++)
            replace(rng, step + n);
    } while (n < n_max && cpu_ns() < end);
    return n;
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {
        {"--heap", NULL, &which},    {"--live", &live, NULL},
        {"--window", &window, NULL}, {"--milliseconds", &milliseconds, NULL},
        {"--flags", &flags, NULL},   {"--dist", NULL, &distribution}};
    PERF_INIT(argc, argv, "core_rate", options);
    if (!strcmp(which, "linear"))
        linear = linear_heap_create(HEAP_BYTES);
    else
        mheap = mheap_alloc_with_flags(NULL, HEAP_BYTES, (uint32_t)flags);
    PERF_CHECK(linear || mheap);
    objects = perf_table(live * sizeof *objects);
    sizes = perf_sizes(distribution, 0);
    perf_rng_t rng = perf_rng(0);
    for (uint64_t i = 0; i < live; i++) {
        size_t size = perf_next_size(sizes);
        objects[i] = get(size);
        perf_fill(objects[i], size, i);
    }
    /* Age the heap first: a fresh one has no free objects to search. */
    uint64_t aged = replace_for(4 * milliseconds, 4 * live, &rng, 0);
    uint64_t start = cpu_ns();
    perf_start();
    uint64_t ops = replace_for(milliseconds, UINT64_MAX, &rng, aged);
    perf_stop();
    perf_metric("pairs_per_us", (double)ops * 1000 / (double)(cpu_ns() - start));
    perf_report(ops);
}

/* SPDX-License-Identifier: MIT */
/*
 * latency - how long single calls take: percentiles of malloc and of free, from the median to
 * p99.99, on a working set of mixed sizes replaced at random, while other threads do the same
 * unmeasured.  Each call is timed by the processor's counter; the counter's own cost, the smallest
 * difference of two readings, is taken off.
 */
#include "perf.h"

#include <stdatomic.h>
#include <stdlib.h>
#if defined(__x86_64__)
#include <x86intrin.h>
#endif

static uint64_t live = 10000, n_steps = 2000000, n_busy = 1;
static const char *distribution = "mixed";
static atomic_bool is_over;

/* ---- Clock ------------------------------------------------------------------------------- */

static inline uint64_t ticks_before(void) {
#if defined(__x86_64__)
    _mm_lfence();
    uint64_t now = __rdtsc();
    _mm_lfence();
    return now;
#else
    return perf_now_ns();
#endif
}

static inline uint64_t ticks_after(void) {
#if defined(__x86_64__)
    unsigned cpu;
    uint64_t now = __rdtscp(&cpu);
    _mm_lfence();
    return now;
#else
    return perf_now_ns();
#endif
}

static uint64_t overhead_ticks(void) {
    uint64_t least = UINT64_MAX;
    for (int i = 0; i < 100000; i++) {
        uint64_t before = ticks_before(), cost = ticks_after() - before;
        least = cost < least ? cost : least;
    }
    return least;
}

/* ---- Histogram: 64 steps for each doubling, so percentiles are exact to 1.6 percent ------- */

#define STEP_BITS 6
#define N_STEPS   (1u << STEP_BITS)
typedef struct {
    uint64_t count, greatest;
    uint32_t cells[(64 - STEP_BITS + 1) * N_STEPS];
} histogram_t;

static inline void record(histogram_t *histogram, uint64_t ticks) {
    unsigned doubling = 0;
    if (ticks >= 2 * N_STEPS)
        doubling = 63u - (unsigned)__builtin_clzll(ticks) - STEP_BITS;
    histogram->cells[doubling * N_STEPS + (ticks >> doubling)]++;
    histogram->count++;
    if (ticks > histogram->greatest)
        histogram->greatest = ticks;
}

static uint64_t percentile(const histogram_t *histogram, double share) {
    uint64_t left = (uint64_t)((double)histogram->count * (1 - share));
    size_t cell = sizeof histogram->cells / sizeof histogram->cells[0] - 1;
    for (uint64_t seen = 0; cell > 0; cell--)
        if ((seen += histogram->cells[cell]) > left)
            break;
    if (cell < 2 * N_STEPS)
        return cell;
    unsigned doubling = (unsigned)(cell / N_STEPS) - 1;
    return (uint64_t)(cell - doubling * N_STEPS) << doubling;
}

/* ---- Workload ---------------------------------------------------------------------------- */

typedef struct {
    void **table;
    perf_sizes_t *sizes;
    perf_rng_t rng;
} set_t;

static void fill_set(set_t *set, uint64_t part) {
    *set =
        (set_t){perf_table(live * sizeof(void *)), perf_sizes(distribution, part), perf_rng(part)};
    for (uint64_t i = 0; i < live; i++) {
        size_t size = perf_next_size(set->sizes);
        set->table[i] = malloc(size);
        perf_fill(set->table[i], size, i);
    }
}

static void *keep_busy(void *arg) {
    set_t *set = arg;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        uint64_t i = perf_below(&set->rng, live);
        size_t size = perf_next_size(set->sizes);
        free(set->table[i]);
        set->table[i] = malloc(size);
        perf_fill(set->table[i], size, i);
    }
    return NULL;
}

static void measure(set_t *set, histogram_t *mallocs, histogram_t *frees, uint64_t overhead) {
    for (uint64_t step = 0; step < n_steps; step++) {
        uint64_t i = perf_below(&set->rng, live);
        size_t size = perf_next_size(set->sizes);
        uint64_t start = ticks_before();
        free(set->table[i]);
        uint64_t freed = ticks_after() - start;
        start = ticks_before();
        set->table[i] = malloc(size);
        uint64_t got = ticks_after() - start;
        perf_fill(set->table[i], size, i);
        record(frees, freed > overhead ? freed - overhead : 0);
        record(mallocs, got > overhead ? got - overhead : 0);
    }
}

static void report_percentiles(const histogram_t *histogram, double ns_per_tick,
                               const char *const names[6]) {
    static const double shares[] = {0.5, 0.9, 0.99, 0.999, 0.9999};
    for (int i = 0; i < 5; i++)
        perf_metric(names[i], (double)percentile(histogram, shares[i]) * ns_per_tick);
    perf_metric(names[5], (double)histogram->greatest * ns_per_tick);
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--live", &live, NULL},
                                     {"--steps", &n_steps, NULL},
                                     {"--busy", &n_busy, NULL},
                                     {"--dist", NULL, &distribution}};
    PERF_INIT(argc, argv, "latency", options);
    n_steps = perf_scaled(n_steps);
    histogram_t *mallocs = perf_table(sizeof *mallocs), *frees = perf_table(sizeof *frees);
    set_t *sets = perf_table((n_busy + 1) * sizeof *sets);
    perf_pthread_t *threads = perf_table((n_busy + 1) * sizeof *threads);
    for (uint64_t i = 0; i <= n_busy; i++)
        fill_set(&sets[i], i);
    for (uint64_t i = 1; i <= n_busy; i++)
        threads[i] = perf_thread_create(keep_busy, &sets[i]);
    uint64_t overhead = overhead_ticks(), start = ticks_before();
    perf_start();
    measure(&sets[0], mallocs, frees, overhead);
    perf_stop();
    double ns_per_tick = (double)perf_measured_ns() / (double)(ticks_after() - start);
    atomic_store_explicit(&is_over, true, memory_order_relaxed);
    for (uint64_t i = 1; i <= n_busy; i++)
        perf_thread_join(threads[i]);
    report_percentiles(mallocs, ns_per_tick,
                       (const char *const[]){"malloc_p50_ns", "malloc_p90_ns", "malloc_p99_ns",
                                             "malloc_p99.9_ns", "malloc_p99.99_ns",
                                             "malloc_max_ns"});
    report_percentiles(frees, ns_per_tick,
                       (const char *const[]){"free_p50_ns", "free_p90_ns", "free_p99_ns",
                                             "free_p99.9_ns", "free_p99.99_ns", "free_max_ns"});
    perf_report(n_steps);
}

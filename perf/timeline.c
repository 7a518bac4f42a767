/* SPDX-License-Identifier: MIT */
/*
 * timeline - the resident memory of a long-running program over its life: a burst of small
 * objects, most of it freed, a lull with a trickle of requests, a burst of larger objects in four
 * threads, all freed, a lull again, quiet at the end.  Writes one line per sample,
 *
 *     rss SECONDS KB
 *
 * before the result line.  Each lull and the quiet last `lull` tenths of a second.
 */
#include "perf.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static uint64_t lull_tenths = 15, megabytes = 150;

/* ---- Sampling: in a thread that never allocates; the samples lie in a table of ours -------- */

#define SAMPLE_NS 50000000u
typedef struct {
    uint64_t ns, kb;
} sample_t;
static sample_t *samples;
static uint64_t n_samples, n_samples_max, begin_ns;
static atomic_bool is_over;

static void *sample_main(void *arg) {
    (void)arg;
    while (!atomic_load_explicit(&is_over, memory_order_relaxed) && n_samples < n_samples_max) {
        samples[n_samples++] = (sample_t){perf_now_ns() - begin_ns, perf_rss_quick_kb()};
        perf_sleep_until_ns(begin_ns + n_samples * SAMPLE_NS);
    }
    return NULL;
}

static void print_samples(void) {
    for (uint64_t i = 0; i < n_samples; i++)
        dprintf(STDOUT_FILENO, "rss %.3f %llu\n", (double)samples[i].ns * 1e-9,
                (unsigned long long)samples[i].kb);
}

/* ---- The program's life ------------------------------------------------------------------ */

#define MEAN_BYTES_MIN 200 /* tables are for no smaller objects than these on average */

static uint64_t fill(void **objects, uint64_t bytes_wanted, perf_sizes_t *sizes) {
    uint64_t n = 0;
    for (uint64_t bytes = 0; bytes < bytes_wanted; n++) {
        size_t size = perf_next_size(sizes);
        PERF_CHECK(n < bytes_wanted / MEAN_BYTES_MIN);
        objects[n] = malloc(size);
        perf_fill(objects[n], size, n);
        bytes += size;
    }
    return n;
}

/* Frees all but one in `keep` (0: all) and closes the gaps; returns how many are left. */
static uint64_t drop(void **objects, uint64_t n, uint64_t keep, perf_rng_t *rng) {
    uint64_t n_kept = 0;
    perf_shuffle(objects, n, rng);
    for (uint64_t i = 0; i < n; i++)
        if (keep && i % keep == 0)
            objects[n_kept++] = objects[i];
        else
            free(objects[i]);
    return n_kept;
}

/* A few hundred small requests every ten milliseconds. */
static void trickle(perf_sizes_t *sizes) {
    void *objects[100];
    uint64_t now = perf_now_ns();
    for (uint64_t i = 0; i < lull_tenths * 10; i++) {
        for (int j = 0; j < 100; j++)
            objects[j] = malloc(perf_next_size(sizes));
        for (int j = 0; j < 100; j++)
            free(objects[j]);
        perf_sleep_until_ns(now += 10000000u);
    }
}

#define N_THREADS 4
static void *tables[N_THREADS];

static void burst_of_larger(unsigned index, void *arg) {
    perf_sizes_t *sizes = ((perf_sizes_t **)arg)[index];
    perf_rng_t rng = perf_rng(index);
    uint64_t n = fill(tables[index], (megabytes << 20) / N_THREADS, sizes);
    perf_sleep_until_ns(perf_now_ns() + 200000000u);
    drop(tables[index], n, 0, &rng);
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--lull", &lull_tenths, NULL},
                                     {"--megabytes", &megabytes, NULL}};
    PERF_INIT(argc, argv, "timeline", options);
    void **objects = perf_table((megabytes << 20) / MEAN_BYTES_MIN * sizeof *objects);
    perf_sizes_t *small = perf_sizes("32-512", 0), *larger[N_THREADS];
    for (unsigned i = 0; i < N_THREADS; i++) {
        tables[i] = perf_table((megabytes << 20) / N_THREADS / MEAN_BYTES_MIN * sizeof(void *));
        larger[i] = perf_sizes("medium", i);
    }
    n_samples_max = (lull_tenths * 3 + 600) * 2;
    samples = perf_table(n_samples_max * sizeof *samples);
    perf_rng_t rng = perf_rng(0);
    begin_ns = perf_now_ns();
    perf_pthread_t sampler = perf_thread_create(sample_main, NULL);
    uint64_t n = fill(objects, megabytes << 20, small);
    perf_sleep_until_ns(perf_now_ns() + 200000000u);
    n = drop(objects, n, 20, &rng);
    trickle(small);
    perf_threads(N_THREADS, burst_of_larger, larger);
    trickle(small);
    drop(objects, n, 0, &rng);
    perf_sleep_until_ns(perf_now_ns() + lull_tenths * 100000000u);
    atomic_store_explicit(&is_over, true, memory_order_relaxed);
    perf_thread_join(sampler);
    perf_metric("end_rss_kb", (double)perf_rss_kb());
    print_samples();
    perf_report(1);
}

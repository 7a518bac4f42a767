/* SPDX-License-Identifier: MIT */
/*
 * sets - build a set of `live` objects of random sizes, drop it whole in random order, build the
 * next: parsers, requests, queries.
 */
#include "perf.h"

#include <stdlib.h>

static uint64_t live = 20000, n_threads = 1, n_objects = 10000000;
static const char *distribution = "small";

typedef struct {
    void **table;
    uint32_t *free_order;
    perf_sizes_t *sizes;
} worker_t;
static worker_t *workers;

static void build_and_drop(unsigned index, void *arg) {
    (void)arg;
    worker_t *w = &workers[index];
    for (uint64_t done = 0; done < n_objects; done += live) {
        for (uint64_t i = 0; i < live; i++) {
            size_t size = perf_next_size(w->sizes);
            w->table[i] = malloc(size);
            perf_fill(w->table[i], size, i);
        }
        for (uint64_t i = 0; i < live; i++) {
            perf_verify(w->table[w->free_order[i]], w->free_order[i]);
            free(w->table[w->free_order[i]]);
        }
    }
}

static void init_worker(worker_t *w, uint64_t index) {
    perf_rng_t rng = perf_rng(index);
    w->table = perf_table(live * sizeof *w->table);
    w->free_order = perf_table(live * sizeof *w->free_order);
    w->sizes = perf_sizes(distribution, index);
    for (uint64_t i = 0; i < live; i++) {
        uint64_t j = perf_below(&rng, i + 1);
        w->free_order[i] = w->free_order[j];
        w->free_order[j] = (uint32_t)i;
    }
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--live", &live, NULL},
                                     {"--threads", &n_threads, NULL},
                                     {"--objects", &n_objects, NULL},
                                     {"--dist", NULL, &distribution}};
    PERF_INIT(argc, argv, "sets", options);
    n_objects = perf_scaled(n_objects);
    workers = perf_table(n_threads * sizeof *workers);
    for (uint64_t i = 0; i < n_threads; i++)
        init_worker(&workers[i], i);
    perf_threads((unsigned)n_threads, build_and_drop, NULL);
    perf_report((n_objects + live - 1) / live * live * n_threads);
}

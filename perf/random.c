/* SPDX-License-Identifier: MIT */
/*
 * random - a working set of `live` objects per thread; each step replaces one at random by one of
 * random size.  From working sets that fit the first-level cache to far beyond the last.
 */
#include "perf.h"

#include <stdlib.h>

static uint64_t live = 1000, n_threads = 1, n_steps = 10000000;
static const char *distribution = "small";
static void ***tables;
static perf_sizes_t **sizes;

static void replace_at_random(unsigned index, void *arg) {
    (void)arg;
    void **table = tables[index];
    perf_rng_t rng = perf_rng(index);
    for (uint64_t i = 0; i < live; i++) {
        size_t size = perf_next_size(sizes[index]);
        table[i] = malloc(size);
        perf_fill(table[i], size, i);
    }
    for (uint64_t step = 0; step < n_steps; step++) {
        uint64_t i = perf_below(&rng, live);
        size_t size = perf_next_size(sizes[index]);
        perf_verify(table[i], i);
        free(table[i]);
        table[i] = malloc(size);
        perf_fill(table[i], size, i);
    }
    for (uint64_t i = 0; i < live; i++)
        free(table[i]);
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--live", &live, NULL},
                                     {"--threads", &n_threads, NULL},
                                     {"--steps", &n_steps, NULL},
                                     {"--dist", NULL, &distribution}};
    PERF_INIT(argc, argv, "random", options);
    n_steps = perf_scaled(n_steps);
    tables = perf_table(n_threads * sizeof *tables);
    sizes = perf_table(n_threads * sizeof *sizes);
    for (uint64_t i = 0; i < n_threads; i++) {
        tables[i] = perf_table(live * sizeof **tables);
        sizes[i] = perf_sizes(distribution, i);
    }
    perf_threads((unsigned)n_threads, replace_at_random, NULL);
    perf_report((n_steps + live) * n_threads);
}

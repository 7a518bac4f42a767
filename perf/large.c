/* SPDX-License-Identifier: MIT */
/*
 * large - `live` objects between --from and --to bytes, replaced at random; each page is touched.
 * An allocator that returns each large block to the system pays for the page faults.
 */
#include "perf.h"

#include <stdlib.h>

static uint64_t live = 20, n_steps = 2000, from_bytes = 1 << 20, to_bytes = 16 << 20;

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--live", &live, NULL},
                                     {"--steps", &n_steps, NULL},
                                     {"--from", &from_bytes, NULL},
                                     {"--to", &to_bytes, NULL}};
    PERF_INIT(argc, argv, "large", options);
    n_steps = perf_scaled(n_steps);
    void **table = perf_table(live * sizeof *table);
    perf_rng_t rng = perf_rng(0);
    perf_start();
    for (uint64_t step = 0; step < n_steps; step++) {
        uint64_t i = perf_below(&rng, live);
        size_t size = from_bytes + perf_below(&rng, to_bytes - from_bytes + 1);
        if (table[i])
            perf_verify(table[i], i);
        free(table[i]);
        table[i] = malloc(size);
        perf_fill(table[i], size, i);
    }
    for (uint64_t i = 0; i < live; i++)
        free(table[i]);
    perf_stop();
    perf_report(n_steps);
}

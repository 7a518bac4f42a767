/* SPDX-License-Identifier: MIT */
/*
 * phases - ten phases, each allocating `megabytes` of objects of one range of sizes and freeing
 * them in random order, but for one in `keep` (0: none), which stays till the end.  Memory that
 * one phase has freed must serve the next, of another size: the peak shows fragmentation.
 */
#include "perf.h"

#include <stdlib.h>

static uint64_t megabytes = 100, keep = 0, n_phases = 10;
static void **objects, **kept;
static uint64_t n_kept;

/* Sizes of a phase lie between this and 1.5 times of it; no two neighbours are alike. */
static const size_t base_sizes[] = {64, 1024, 160, 8192, 48, 2500, 400, 20000, 96, 600};

static uint64_t run_phase(uint64_t phase, perf_rng_t *rng) {
    size_t base = base_sizes[phase % 10];
    uint64_t n = 0;
    for (uint64_t bytes = 0; bytes < perf_scaled(megabytes << 20); n++) {
        size_t size = base + perf_below(rng, base / 2);
        objects[n] = malloc(size);
        perf_fill(objects[n], size, n);
        bytes += size;
    }
    uint64_t n_freed = n;
    if (keep)
        for (uint64_t i = 0; i < n_freed; i += keep) {
            kept[n_kept++] = objects[i];
            objects[i] = objects[--n_freed];
        }
    perf_shuffle(objects, n_freed, rng);
    for (uint64_t i = 0; i < n_freed; i++)
        free(objects[i]);
    return n;
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {
        {"--megabytes", &megabytes, NULL}, {"--keep", &keep, NULL}, {"--phases", &n_phases, NULL}};
    PERF_INIT(argc, argv, "phases", options);
    uint64_t n_max = perf_scaled(megabytes << 20) / 48 + 1;
    objects = perf_table(n_max * sizeof *objects);
    kept = perf_table(keep ? n_max * sizeof *kept * n_phases / keep + 4096 : 4096);
    perf_rng_t rng = perf_rng(0);
    uint64_t base_kb = perf_rss_kb(), ops = run_phase(0, &rng);
    double first_peak_kb = (double)(perf_peak_rss_kb() - base_kb);
    perf_start();
    for (uint64_t phase = 1; phase < n_phases; phase++)
        ops += run_phase(phase, &rng);
    perf_stop();
    perf_metric("first_phase_kb", first_peak_kb);
    perf_metric("peak_to_first", (double)(perf_peak_rss_kb() - base_kb) / first_peak_kb);
    perf_metric("end_rss_kb", (double)(perf_rss_kb() - base_kb));
    for (uint64_t i = 0; i < n_kept; i++)
        free(kept[i]);
    perf_report(ops);
}

/* SPDX-License-Identifier: MIT */
/*
 * swing - a program that grows and shrinks by `megabytes` ten times a second.  An allocator that
 * gives memory back too eagerly pays for it here, in page faults.  `seconds` is the time at work;
 * the waits for the next tenth of a second are not in it.
 */
#include "perf.h"

#include <stdlib.h>

static uint64_t megabytes = 100, n_swings = 20;
static const char *distribution = "64-16384";

static uint64_t swing(void **objects, perf_sizes_t *sizes) {
    uint64_t n = 0;
    for (uint64_t bytes = 0; bytes < megabytes << 20; n++) {
        size_t size = perf_next_size(sizes);
        objects[n] = malloc(size);
        perf_fill(objects[n], size, n);
        bytes += size;
    }
    for (uint64_t i = 0; i < n; i++) {
        perf_verify(objects[i], i);
        free(objects[i]);
    }
    return n;
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--megabytes", &megabytes, NULL},
                                     {"--swings", &n_swings, NULL},
                                     {"--dist", NULL, &distribution}};
    PERF_INIT(argc, argv, "swing", options);
    n_swings = perf_scaled(n_swings);
    void **objects = perf_table((megabytes << 20) / 64 * sizeof *objects);
    perf_sizes_t *sizes = perf_sizes(distribution, 0);
    uint64_t ops = 0, begin = perf_now_ns();
    for (uint64_t i = 0; i < n_swings; i++) {
        perf_start();
        ops += swing(objects, sizes);
        perf_stop();
        perf_sleep_until_ns(begin + (i + 1) * 100000000u);
    }
    perf_report(ops);
}

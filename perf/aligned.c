/* SPDX-License-Identifier: MIT */
/*
 * aligned - memory aligned to 32 ... 4096 bytes (small alignments more often), through
 * aligned_alloc and posix_memalign in turn, in a working set replaced at random.
 */
#include "perf.h"

#include <stdlib.h>

static uint64_t live = 2000, n_steps = 4000000;
static const char *distribution = "16-2048";

static void *allocate(uint64_t random, size_t size) {
    size_t align = (size_t)32 << __builtin_ctzll(random | 128);
    void *object = NULL;
    if (random & 256) {
        object = aligned_alloc(align, (size + align - 1) & ~(align - 1));
    } else {
        PERF_CHECK(posix_memalign(&object, align, size) == 0);
    }
    PERF_CHECK(object != NULL);
    PERF_CHECK((uintptr_t)object % align == 0);
    return object;
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {
        {"--live", &live, NULL}, {"--steps", &n_steps, NULL}, {"--dist", NULL, &distribution}};
    PERF_INIT(argc, argv, "aligned", options);
    n_steps = perf_scaled(n_steps);
    void **table = perf_table(live * sizeof *table);
    perf_sizes_t *sizes = perf_sizes(distribution, 0);
    perf_rng_t rng = perf_rng(0);
    perf_start();
    for (uint64_t step = 0; step < n_steps; step++) {
        uint64_t i = perf_below(&rng, live);
        size_t size = perf_next_size(sizes);
        if (table[i])
            perf_verify(table[i], i);
        free(table[i]);
        table[i] = allocate(perf_random(&rng), size);
        perf_fill(table[i], size, i);
    }
    for (uint64_t i = 0; i < live; i++)
        free(table[i]);
    perf_stop();
    perf_report(n_steps);
}

/* SPDX-License-Identifier: MIT */
/*
 * calloc - cleared memory: a working set whose objects are replaced at random by cleared ones.
 * Each page of an object is checked and written to, so that memory used again is not zero; with
 * --sparse 1 only its ends and its middle, as tables do that are larger than what they hold.
 */
#include "perf.h"

#include <stdlib.h>

static uint64_t live = 1000, n_steps = 4000000, is_sparse = 0;
static const char *distribution = "mixed";

typedef struct {
    unsigned char *data;
    size_t size;
} object_t;

static void check_and_dirty(unsigned char *data, size_t size) {
    PERF_CHECK(data != NULL);
    PERF_CHECK(data[0] == 0 && data[size / 2] == 0 && data[size - 1] == 0);
    data[0] = data[size / 2] = data[size - 1] = 0xff;
    for (size_t at = 4096; !is_sparse && at + 1 < size; at += 4096) {
        PERF_CHECK(at == size / 2 || data[at] == 0);
        data[at] = 0xff;
    }
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--live", &live, NULL},
                                     {"--steps", &n_steps, NULL},
                                     {"--sparse", &is_sparse, NULL},
                                     {"--dist", NULL, &distribution}};
    PERF_INIT(argc, argv, "calloc", options);
    n_steps = perf_scaled(n_steps);
    object_t *table = perf_table(live * sizeof *table);
    perf_sizes_t *sizes = perf_sizes(distribution, 0);
    perf_rng_t rng = perf_rng(0);
    perf_start();
    for (uint64_t step = 0; step < n_steps; step++) {
        object_t *object = &table[perf_below(&rng, live)];
        free(object->data);
        object->size = perf_next_size(sizes);
        object->data = calloc(1, object->size);
        check_and_dirty(object->data, object->size);
    }
    for (uint64_t i = 0; i < live; i++)
        free(table[i].data);
    perf_stop();
    perf_report(n_steps);
}

/* SPDX-License-Identifier: MIT */
/*
 * false_sharing - does the allocator put two threads' objects into one cache line?
 * --mode active: each thread allocates a small object, writes to it many times, frees it, again.
 * --mode passive: the same, but the first objects were allocated side by side by the main thread;
 * an allocator that hands a freed block to the thread that freed it spreads one line over threads.
 */
#include "perf.h"

#include <stdlib.h>
#include <string.h>

static uint64_t size = 8, n_threads = 2, n_rounds = 100000, n_writes = 1000;
static const char *mode = "active";
static void **first;

static void write_often(unsigned index, void *arg) {
    (void)arg;
    free(first[index]);
    for (uint64_t round = 0; round < n_rounds; round++) {
        volatile char *object = malloc(size);
        PERF_CHECK(object != NULL);
        for (uint64_t i = 0; i < n_writes; i++)
            object[0]++;
        free((void *)object);
    }
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--size", &size, NULL},
                                     {"--threads", &n_threads, NULL},
                                     {"--rounds", &n_rounds, NULL},
                                     {"--writes", &n_writes, NULL},
                                     {"--mode", NULL, &mode}};
    PERF_INIT(argc, argv, "false_sharing", options);
    n_rounds = perf_scaled(n_rounds);
    first = perf_table(n_threads * sizeof *first);
    if (!strcmp(mode, "passive"))
        for (uint64_t i = 0; i < n_threads; i++)
            PERF_CHECK((first[i] = malloc(size)) != NULL);
    perf_threads((unsigned)n_threads, write_often, NULL);
    perf_report(n_rounds * n_threads);
}

/* SPDX-License-Identifier: MIT */
/*
 * batch - batches of equal objects: allocate all, free all, over and over.  The simplest load
 * there is: pops and pushes of one size class.  A batch is 1000 objects but at most 96 KiB, less
 * than what makes glibc return the top of its heap each time.  --order: how a batch is freed.
 */
#include "perf.h"

#include <stdlib.h>
#include <string.h>

static uint64_t size = 64, batch = 0, n_threads = 1, n_objects = 20000000;
static const char *order = "fifo";
static void **tables;
static uint32_t *free_order;

static void run_batches(unsigned index, void *arg) {
    (void)arg;
    void **table = tables + index * batch;
    for (uint64_t done = 0; done < n_objects; done += batch) {
        for (uint64_t i = 0; i < batch; i++) {
            table[i] = malloc(size);
            perf_fill(table[i], size, i);
        }
        for (uint64_t i = 0; i < batch; i++) {
            perf_verify(table[free_order[i]], free_order[i]);
            free(table[free_order[i]]);
        }
    }
}

static void make_free_order(void) {
    perf_rng_t rng = perf_rng(0);
    free_order = perf_table(batch * sizeof *free_order);
    for (uint64_t i = 0; i < batch; i++)
        free_order[i] = (uint32_t)(strcmp(order, "lifo") ? i : batch - 1 - i);
    if (strcmp(order, "shuffled"))
        return;
    for (uint64_t i = batch; i > 1; i--) {
        uint64_t j = perf_below(&rng, i);
        uint32_t other = free_order[j];
        free_order[j] = free_order[i - 1];
        free_order[i - 1] = other;
    }
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--size", &size, NULL},
                                     {"--batch", &batch, NULL},
                                     {"--threads", &n_threads, NULL},
                                     {"--objects", &n_objects, NULL},
                                     {"--order", NULL, &order}};
    PERF_INIT(argc, argv, "batch", options);
    n_objects = perf_scaled(n_objects);
    if (!batch)
        batch = (96 << 10) / size < 1000 ? (96 << 10) / size + 1 : 1000;
    tables = perf_table(n_threads * batch * sizeof *tables);
    make_free_order();
    perf_threads((unsigned)n_threads, run_batches, NULL);
    perf_report((n_objects + batch - 1) / batch * batch * n_threads);
}

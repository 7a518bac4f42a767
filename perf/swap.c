/* SPDX-License-Identifier: MIT */
/*
 * swap - threads share a table of slots: each step puts a new object into a random slot and frees
 * the one found there, which most often another thread has allocated.
 */
#include "perf.h"

#include <stdatomic.h>
#include <stdlib.h>

static uint64_t n_slots = 4096, n_threads = 2, n_steps = 4000000;
static const char *distribution = "small";
static _Atomic(void *) *slots;
static perf_sizes_t **sizes;

#define TAG 0x7377617073776170ull

static void replace_in_slots(unsigned index, void *arg) {
    (void)arg;
    perf_rng_t rng = perf_rng(index);
    for (uint64_t step = 0; step < n_steps; step++) {
        size_t size = perf_next_size(sizes[index]);
        void *object = malloc(size);
        perf_fill(object, size, TAG);
        /* Release: the tag is written; acquire: the other thread's tag can be read. */
        void *old = atomic_exchange_explicit(&slots[perf_below(&rng, n_slots)], object,
                                             memory_order_acq_rel);
        if (old) {
            perf_verify(old, TAG);
            free(old);
        }
    }
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--slots", &n_slots, NULL},
                                     {"--threads", &n_threads, NULL},
                                     {"--steps", &n_steps, NULL},
                                     {"--dist", NULL, &distribution}};
    PERF_INIT(argc, argv, "swap", options);
    n_steps = perf_scaled(n_steps);
    slots = perf_table(n_slots * sizeof *slots);
    sizes = perf_table(n_threads * sizeof *sizes);
    for (uint64_t i = 0; i < n_threads; i++)
        sizes[i] = perf_sizes(distribution, i);
    perf_threads((unsigned)n_threads, replace_in_slots, NULL);
    for (uint64_t i = 0; i < n_slots; i++)
        free(slots[i]);
    perf_report(n_steps * n_threads);
}

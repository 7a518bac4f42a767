/* SPDX-License-Identifier: MIT */
/*
 * server - `lines` sessions, each a table of objects served by one thread at a time.  A thread
 * replaces objects at random, starts its successor, hands the table over and dies; the successor
 * frees what the dead thread allocated.
 */
#include "perf.h"

#include <pthread.h>
#include <stdlib.h>

static uint64_t n_lines = 4, n_slots = 1000, n_generations = 100, n_steps = 10000;
static const char *distribution = "larson";

typedef struct {
    void **table;
    perf_sizes_t *sizes;
    perf_rng_t rng;
    uint64_t generation;
} line_t;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t line_ended = PTHREAD_COND_INITIALIZER;
static uint64_t n_ended; /* guarded by lock */

static void serve(line_t *line) {
    for (uint64_t step = 0; step < n_steps; step++) {
        uint64_t i = perf_below(&line->rng, n_slots);
        size_t size = perf_next_size(line->sizes);
        if (line->table[i])
            perf_verify(line->table[i], i);
        free(line->table[i]);
        line->table[i] = malloc(size);
        perf_fill(line->table[i], size, i);
    }
}

static void *thread_main(void *arg) {
    line_t *line = arg;
    serve(line);
    if (++line->generation < n_generations) {
        /* pthread_create orders this thread's writes to the line before its successor's reads. */
        pthread_detach(perf_thread_create(thread_main, line));
        return NULL;
    }
    pthread_mutex_lock(&lock);
    n_ended++;
    pthread_cond_signal(&line_ended);
    pthread_mutex_unlock(&lock);
    return NULL;
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--lines", &n_lines, NULL},
                                     {"--slots", &n_slots, NULL},
                                     {"--steps", &n_steps, NULL},
                                     {"--generations", &n_generations, NULL},
                                     {"--dist", NULL, &distribution}};
    PERF_INIT(argc, argv, "server", options);
    n_generations = perf_scaled(n_generations);
    line_t *lines = perf_table(n_lines * sizeof *lines);
    for (uint64_t i = 0; i < n_lines; i++)
        lines[i] = (line_t){perf_table(n_slots * sizeof(void *)), perf_sizes(distribution, i),
                            perf_rng(i), 0};
    perf_start();
    for (uint64_t i = 0; i < n_lines; i++)
        pthread_detach(perf_thread_create(thread_main, &lines[i]));
    pthread_mutex_lock(&lock);
    while (n_ended < n_lines)
        pthread_cond_wait(&line_ended, &lock);
    pthread_mutex_unlock(&lock);
    perf_stop();
    perf_report(n_lines * n_generations * n_steps);
}

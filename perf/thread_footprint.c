/* SPDX-License-Identifier: MIT */
/*
 * thread_footprint - what a thread costs.
 * --mode sleep: `threads` threads each allocate and free 200 small objects and sleep: resident kB
 * for each.  --mode churn: `threads` short-lived threads one after another, eight at a time, doing
 * the same: how much the process has grown between the first hundred and the last.
 */
#include "perf.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static uint64_t n_threads = 500, n_objects = 200;
static const char *mode = "sleep";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static uint64_t n_asleep; /* guarded by lock */
static bool may_end;      /* guarded by lock */

static void work(uint64_t part) {
    void *objects[1000];
    perf_rng_t rng = perf_rng(part);
    for (uint64_t i = 0; i < n_objects; i++) {
        size_t size = 16 + perf_below(&rng, 497);
        objects[i] = malloc(size);
        perf_fill(objects[i], size, i);
    }
    for (uint64_t i = 0; i < n_objects; i++) {
        perf_verify(objects[i], i);
        free(objects[i]);
    }
}

static void *work_and_sleep(void *arg) {
    work((uintptr_t)arg);
    pthread_mutex_lock(&lock);
    n_asleep++;
    pthread_cond_broadcast(&changed);
    while (!may_end)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    return NULL;
}

static void *work_and_end(void *arg) {
    work((uintptr_t)arg);
    return NULL;
}

static void measure_sleeping(perf_pthread_t *threads) {
    uint64_t base_kb = perf_rss_kb();
    perf_start();
    for (uint64_t i = 0; i < n_threads; i++)
        threads[i] = perf_thread_create(work_and_sleep, (void *)(uintptr_t)i);
    pthread_mutex_lock(&lock);
    while (n_asleep < n_threads)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    perf_stop();
    perf_metric("rss_per_thread_kb", (double)(perf_rss_kb() - base_kb) / (double)n_threads);
    pthread_mutex_lock(&lock);
    may_end = true;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
    for (uint64_t i = 0; i < n_threads; i++)
        perf_thread_join(threads[i]);
}

static void measure_churn(perf_pthread_t *threads) {
    uint64_t early_kb = 0;
    perf_start();
    for (uint64_t i = 0; i < n_threads; i++) {
        if (i >= 8)
            perf_thread_join(threads[i - 8]);
        if (i == 100)
            early_kb = perf_rss_kb();
        threads[i] = perf_thread_create(work_and_end, (void *)(uintptr_t)i);
    }
    for (uint64_t i = n_threads - 8; i < n_threads; i++)
        perf_thread_join(threads[i]);
    perf_stop();
    perf_metric("rss_growth_kb", (double)perf_rss_kb() - (double)early_kb);
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {
        {"--threads", &n_threads, NULL}, {"--objects", &n_objects, NULL}, {"--mode", NULL, &mode}};
    PERF_INIT(argc, argv, "thread_footprint", options);
    bool is_churn = !strcmp(mode, "churn");
    if (is_churn)
        n_threads = perf_scaled(n_threads);
    PERF_CHECK(n_objects <= 1000 && (!is_churn || n_threads > 100));
    perf_pthread_t *threads = perf_table(n_threads * sizeof *threads);
    if (is_churn)
        measure_churn(threads);
    else
        measure_sleeping(threads);
    perf_report(n_threads);
}

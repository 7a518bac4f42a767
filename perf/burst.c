/* SPDX-License-Identifier: MIT */
/*
 * burst - burst and idle: allocates about `megabytes` in objects of 512 to 2048 bytes, frees them
 * in random order but for one in `keep` (0: none), then does nothing for `idle` tenths of a
 * second.  Reports the resident memory just after the burst and after 0, 1, and `idle` seconds,
 * and how much the pages that hold a live object come to: what no allocator can give back.
 *
 * --by self: the main thread allocates and frees; other: another thread frees; workers: four
 * threads allocate and free a share each.  The threads live on, asleep, until the end.
 */
#include "perf.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static uint64_t megabytes = 280, keep = 0, idle_tenths = 100;
static const char *by = "self";

#define N_WORKERS 4
#define PAGE      4096

/* ---- The objects ------------------------------------------------------------------------- */

typedef struct {
    void **objects; /* live ones at the front once the share is freed */
    uint64_t n_objects, n_live;
    perf_rng_t rng;
} share_t;

static share_t shares[N_WORKERS];
static unsigned n_shares = 1;

/* The lesser of two uniform sizes: a mean of 1024. */
static size_t object_size(perf_rng_t *rng) {
    size_t one = perf_below(rng, 1537), other = perf_below(rng, 1537);
    return 512 + (one < other ? one : other);
}

static void fill_share(share_t *share) {
    for (uint64_t i = 0; i < share->n_objects; i++) {
        size_t size = object_size(&share->rng);
        share->objects[i] = malloc(size);
        perf_fill(share->objects[i], size, i);
    }
    share->n_live = share->n_objects;
}

static void free_share(share_t *share) {
    uint64_t n_kept = keep ? (share->n_objects + keep - 1) / keep : 0;
    for (uint64_t i = 0; i < n_kept; i++) {
        void *object = share->objects[i * keep];
        share->objects[i * keep] = share->objects[i];
        share->objects[i] = object;
    }
    perf_shuffle(share->objects + n_kept, share->n_objects - n_kept, &share->rng);
    for (uint64_t i = n_kept; i < share->n_objects; i++)
        free(share->objects[i]);
    share->n_live = n_kept;
}

/* kB of the pages that hold a byte of a live object; counts each page once, by sorting. */
static int by_address(const void *a, const void *b) {
    uintptr_t x = *(const uintptr_t *)a, y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

static uint64_t live_pages_kb(void) {
    uint64_t n = 0, n_pages = 0, last = 0;
    for (unsigned s = 0; s < n_shares; s++)
        n += shares[s].n_live;
    uintptr_t *live = perf_table((n + 1) * sizeof *live);
    for (unsigned s = 0, at = 0; s < n_shares; s++)
        for (uint64_t i = 0; i < shares[s].n_live; i++)
            live[at++] = (uintptr_t)shares[s].objects[i];
    qsort(live, n, sizeof *live, by_address);
    for (uint64_t i = 0; i < n; i++)
        for (uintptr_t page = live[i] / PAGE; page <= (live[i] + 511) / PAGE; page++)
            if (page > last)
                last = page, n_pages++;
    return n_pages * PAGE / 1024;
}

/* ---- Who frees: threads that do one thing at a time on command, and sleep ----------------- */

typedef struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    void (*command)(share_t *); /* guarded by lock; NULL: done, sleep */
    share_t *share;
} sleeper_t;
static sleeper_t sleepers[N_WORKERS];

static void *sleeper_main(void *arg) {
    sleeper_t *sleeper = arg;
    pthread_mutex_lock(&sleeper->lock);
    for (;;) {
        while (!sleeper->command)
            pthread_cond_wait(&sleeper->changed, &sleeper->lock);
        sleeper->command(sleeper->share);
        sleeper->command = NULL;
        pthread_cond_broadcast(&sleeper->changed);
    }
    return NULL;
}

static void start_sleepers(void) {
    for (unsigned i = 0; i < n_shares; i++) {
        pthread_mutex_init(&sleepers[i].lock, NULL);
        pthread_cond_init(&sleepers[i].changed, NULL);
        sleepers[i].share = &shares[i];
        pthread_detach(perf_thread_create(sleeper_main, &sleepers[i]));
    }
}

static void command_all(void (*command)(share_t *)) {
    for (unsigned i = 0; i < n_shares; i++) {
        pthread_mutex_lock(&sleepers[i].lock);
        sleepers[i].command = command;
        pthread_cond_broadcast(&sleepers[i].changed);
        pthread_mutex_unlock(&sleepers[i].lock);
    }
    for (unsigned i = 0; i < n_shares; i++) {
        pthread_mutex_lock(&sleepers[i].lock);
        while (sleepers[i].command)
            pthread_cond_wait(&sleepers[i].changed, &sleepers[i].lock);
        pthread_mutex_unlock(&sleepers[i].lock);
    }
}

/* ---- The run ----------------------------------------------------------------------------- */

static void init_shares(void) {
    uint64_t n_objects = perf_scaled(megabytes << 10) / n_shares;
    for (unsigned i = 0; i < n_shares; i++)
        shares[i] = (share_t){perf_table(n_objects * sizeof(void *)), n_objects, 0, perf_rng(i)};
}

static void report_idle(uint64_t base_kb) {
    uint64_t freed = perf_now_ns();
    perf_metric("rss_0s_kb", (double)(perf_rss_kb() - base_kb));
    uint64_t second = idle_tenths < 10 ? idle_tenths : 10;
    perf_sleep_until_ns(freed + second * 100000000u);
    perf_metric("rss_1s_kb", (double)(perf_rss_kb() - base_kb));
    if (idle_tenths <= 10)
        return;
    perf_sleep_until_ns(freed + idle_tenths * 100000000u);
    perf_metric("rss_idle_kb", (double)(perf_rss_kb() - base_kb));
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--megabytes", &megabytes, NULL},
                                     {"--keep", &keep, NULL},
                                     {"--idle", &idle_tenths, NULL},
                                     {"--by", NULL, &by}};
    PERF_INIT(argc, argv, "burst", options);
    bool is_other = !strcmp(by, "other"), is_workers = !strcmp(by, "workers");
    n_shares = is_workers ? N_WORKERS : 1;
    init_shares();
    uint64_t base_kb = perf_rss_kb();
    if (is_other || is_workers)
        start_sleepers();
    perf_start();
    if (is_workers)
        command_all(fill_share);
    else
        fill_share(&shares[0]);
    uint64_t burst_kb = perf_rss_kb() - base_kb;
    if (is_other || is_workers)
        command_all(free_share);
    else
        free_share(&shares[0]);
    perf_stop();
    perf_metric("rss_burst_kb", (double)burst_kb);
    report_idle(base_kb);
    perf_metric("live_pages_kb", (double)live_pages_kb());
    perf_report(shares[0].n_objects * n_shares);
}

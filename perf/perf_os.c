/* SPDX-License-Identifier: MIT */
/* perf_os.c - threads and the process's own memory figures; see perf.h. */
#include "perf.h"

#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* ---- Memory ------------------------------------------------------------------------------ */

/* Reads a file of /proc into a buffer of ours: stdio would allocate. */
static void read_file(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : read(fd, text, size - 1);
    if (n <= 0)
        perf_fail("cannot read the process's memory figures");
    text[n] = '\0';
    close(fd);
}

static uint64_t read_field(const char *path, const char *name) {
    char text[4096];
    read_file(path, text, sizeof text);
    char *at = strstr(text, name);
    if (!at)
        perf_fail("a memory figure is missing");
    return strtoull(at + strlen(name), NULL, 10);
}

uint64_t perf_rss_kb(void) {
    return read_field("/proc/self/smaps_rollup", "\nRss:");
}

uint64_t perf_peak_rss_kb(void) {
    return read_field("/proc/self/status", "\nVmHWM:");
}

uint64_t perf_rss_quick_kb(void) {
    char text[128];
    read_file("/proc/self/statm", text, sizeof text);
    char *resident = strchr(text, ' ');
    return strtoull(resident, NULL, 10) * ((uint64_t)sysconf(_SC_PAGESIZE) / 1024);
}

/* ---- Threads ----------------------------------------------------------------------------- */

perf_pthread_t perf_thread_create(void *(*body)(void *), void *arg) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 128 << 10);
    if (pthread_create(&thread, &attributes, body, arg) != 0)
        perf_fail("cannot create a thread");
    pthread_attr_destroy(&attributes);
    return thread;
}

void perf_thread_join(perf_pthread_t thread) {
    if (pthread_join(thread, NULL) != 0)
        perf_fail("cannot join a thread");
}

typedef struct {
    perf_thread_fn *body;
    void *arg;
    pthread_barrier_t start;
} team_t;

typedef struct {
    team_t *team;
    unsigned index;
    perf_pthread_t thread;
} member_t;

static void *member_main(void *arg) {
    member_t *member = arg;
    pthread_barrier_wait(&member->team->start);
    member->team->body(member->index, member->team->arg);
    return NULL;
}

void perf_threads(unsigned n_threads, perf_thread_fn *body, void *arg) {
    if (n_threads == 1) {
        perf_start();
        body(0, arg);
        perf_stop();
        return;
    }
    team_t team = {.body = body, .arg = arg};
    member_t *members = perf_table(n_threads * sizeof *members);
    pthread_barrier_init(&team.start, NULL, n_threads + 1);
    for (unsigned i = 0; i < n_threads; i++) {
        members[i].team = &team;
        members[i].index = i;
        members[i].thread = perf_thread_create(member_main, &members[i]);
    }
    perf_start();
    pthread_barrier_wait(&team.start);
    for (unsigned i = 0; i < n_threads; i++)
        perf_thread_join(members[i].thread);
    perf_stop();
    pthread_barrier_destroy(&team.start);
}

void perf_relax(unsigned *n_spins) {
    if (++*n_spins % 64 == 0)
        sched_yield();
    else
        __asm__ volatile("" ::: "memory");
}

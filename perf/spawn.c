/* SPDX-License-Identifier: MIT */
/*
 * spawn - start-up: runs a tiny program `count` times, one after the other.  The preloaded
 * allocator is inherited.  Measures what it costs to load it, set it up, and leave.
 */
#include "perf.h"

#include <libgen.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>

extern char **environ;

static uint64_t count = 1000;
static const char *program = "";

static void run_once(const char *path) {
    char *const argv[] = {(char *)path, NULL};
    pid_t child;
    int status;
    PERF_CHECK(posix_spawn(&child, path, NULL, NULL, argv, environ) == 0);
    PERF_CHECK(waitpid(child, &status, 0) == child);
    PERF_CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

static double cpu_seconds(const struct rusage *used) {
    return (double)(used->ru_utime.tv_sec + used->ru_stime.tv_sec) +
           1e-6 * (double)(used->ru_utime.tv_usec + used->ru_stime.tv_usec);
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--count", &count, NULL}, {"--program", NULL, &program}};
    PERF_INIT(argc, argv, "spawn", options);
    static char self[4096], path[4200];
    snprintf(self, sizeof self, "%s", argv[0]);
    snprintf(path, sizeof path, "%s/tiny", dirname(self));
    if (*program)
        snprintf(path, sizeof path, "%s", program);
    count = perf_scaled(count);
    perf_start();
    for (uint64_t i = 0; i < count; i++)
        run_once(path);
    perf_stop();
    struct rusage children;
    getrusage(RUSAGE_CHILDREN, &children);
    perf_metric("cpu", cpu_seconds(&children));
    perf_metric("child_peak_rss_kb", (double)children.ru_maxrss);
    perf_metric("child_minor_faults", (double)children.ru_minflt / (double)count);
    perf_report(count);
}

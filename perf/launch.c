/* SPDX-License-Identifier: MIT */
/*
 * launch - starts a program and says what it used.
 *
 *     launch --result FD [--preload FILE] -- PROGRAM ARGUMENT ...
 *
 * Writes one line to file descriptor FD once the program has ended:
 *
 *     status=exit:0 wall=S user=S sys=S peak_rss_kb=K minor_faults=N major_faults=N
 *
 * Why not from the script itself: Linux counts into a process's peak the memory of the process
 * that started it, so a child of Python never shows less than Python's ten megabytes.  This
 * program is small and linked statically; it is not itself under the preloaded allocator.
 */
#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

static double now_seconds(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

static double seconds(struct timeval time) {
    return (double)time.tv_sec + 1e-6 * (double)time.tv_usec;
}

static void usage(void) {
    fprintf(stderr, "usage: launch --result FD [--preload FILE] -- PROGRAM ARGUMENT ...\n");
    exit(125);
}

static char **parse(int argc, char **argv, int *result_fd) {
    *result_fd = -1;
    int i = 1;
    for (; i + 1 < argc && strcmp(argv[i], "--"); i += 2) {
        if (!strcmp(argv[i], "--result"))
            *result_fd = atoi(argv[i + 1]);
        else if (!strcmp(argv[i], "--preload"))
            setenv("LD_PRELOAD", argv[i + 1], 1);
        else
            usage();
    }
    if (i + 1 >= argc || *result_fd < 0)
        usage();
    fcntl(*result_fd, F_SETFD, FD_CLOEXEC);
    return &argv[i + 1];
}

int main(int argc, char **argv) {
    int result_fd, status;
    char **command = parse(argc, argv, &result_fd);
    pid_t child;
    struct rusage used;
    double start = now_seconds();
    int error = posix_spawnp(&child, command[0], NULL, NULL, command, environ);
    if (error) {
        dprintf(result_fd, "status=error:%d\n", error);
        return 126;
    }
    while (wait4(child, &status, 0, &used) < 0)
        if (errno != EINTR)
            return 126;
    double wall = now_seconds() - start;
    dprintf(result_fd,
            "status=%s:%d wall=%.6f user=%.6f sys=%.6f peak_rss_kb=%ld minor_faults=%ld "
            "major_faults=%ld\n",
            WIFSIGNALED(status) ? "signal" : "exit",
            WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status), wall,
            seconds(used.ru_utime), seconds(used.ru_stime), used.ru_maxrss, used.ru_minflt,
            used.ru_majflt);
    return 0;
}

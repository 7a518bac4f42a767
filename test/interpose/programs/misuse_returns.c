/* SPDX-License-Identifier: MIT */
/* Under abort:false: what a report leaves as it was when it returns. */
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static int foreign[16];
static void *volatile keep = foreign + 8;

static int failures;

static void expect(int condition, const char *what) {
    if (!condition)
        printf("not so: %s\n", what);
    failures += !condition;
}

/* Of the set's bytes the kernel writes only those that stand for signals. */
static int same_signals(const sigset_t *a, const sigset_t *b) {
    for (int number = 1; number <= SIGRTMAX; number++)
        if (sigismember(a, number) != sigismember(b, number))
            return 0;
    return 1;
}

int main(void) {
    sigset_t before, after;
    int ends[2];
    if (pipe(ends) != 0 || dup2(ends[1], STDERR_FILENO) < 0)
        return 1;
    close(ends[0]); /* and so a write would raise SIGPIPE */
    close(ends[1]);
    sigemptyset(&before);
    sigaddset(&before, SIGUSR1);
    sigprocmask(SIG_SETMASK, &before, NULL);

    errno = 77;
    free(keep);
    expect(errno == 77, "free keeps errno");
    sigprocmask(SIG_SETMASK, NULL, &after);
    expect(same_signals(&before, &after), "the mask is as it was");
    sigpending(&after);
    expect(!sigismember(&after, SIGPIPE), "no SIGPIPE is left");

    errno = 0;
    expect(realloc(keep, 100) == NULL && errno == EINVAL, "realloc says EINVAL");
    expect(malloc_usable_size(keep) == 0, "usable size 0");

    char *object = malloc(100);
    free(object);
    ((volatile char *)object)[3] ^= 0x55;
    for (int i = 0; i < 100; i++)
        expect(malloc(100) != NULL, "malloc goes on");
    if (!failures)
        puts("ok");
    return failures != 0;
}

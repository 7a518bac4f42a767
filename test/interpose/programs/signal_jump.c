/* SPDX-License-Identifier: MIT */
/* Signal handlers that leave by siglongjmp, over frames that own objects: these leak, as in C they
 * must, but malloc goes on.  Signals are blocked in calls of malloc, which a program may not leave
 * that way.  The handlers run on a stack that was malloc'ed. */
#include <setjmp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

static sigjmp_buf back;
static volatile sig_atomic_t n_jumps;
static volatile int in_malloc;

static void on_alarm(int signal) {
    (void)signal;
    if (in_malloc)
        return;
    n_jumps++;
    siglongjmp(back, 1);
}

static char *make(size_t n_bytes) {
    in_malloc = 1;
    char *object = malloc(n_bytes);
    in_malloc = 0;
    return object;
}

static void release(char *object) {
    in_malloc = 1;
    free(object);
    in_malloc = 0;
}

static void work(void) {
    for (unsigned i = 0;; i++) {
        size_t n_bytes = 32 + i % 5000;
        char *object = memset(make(n_bytes), (int)i, n_bytes);
        if (object[n_bytes - 1] != (char)i)
            abort();
        release(object);
    }
}

int main(void) {
    stack_t stack = {.ss_size = 65536, .ss_sp = malloc(65536)};
    struct sigaction action = {.sa_handler = on_alarm, .sa_flags = SA_ONSTACK};
    struct itimerval timer = {{0, 1000}, {0, 1000}};
    if (!stack.ss_sp || sigaltstack(&stack, NULL) != 0)
        return 1;
    sigaction(SIGALRM, &action, NULL);
    sigset_t alarms;
    sigemptyset(&alarms);
    sigaddset(&alarms, SIGALRM);
    if (sigsetjmp(back, 0) == 0) /* before the first signal may come */
        setitimer(ITIMER_REAL, &timer, NULL);
    sigprocmask(SIG_UNBLOCK, &alarms, NULL); /* not before the handler's stack is left */
    if (n_jumps < 300)
        work();
    timer = (struct itimerval){{0, 0}, {0, 0}};
    setitimer(ITIMER_REAL, &timer, NULL);
    puts("ok");
    return 0;
}

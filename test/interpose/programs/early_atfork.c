/* SPDX-License-Identifier: MIT */
/* The program of early_atfork_library.c: forks under load with its handlers in place. */
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

int early_atfork_calls(void); /* of early_atfork_library.c */

static atomic_bool stop;

static void *churn(void *arg) {
    for (unsigned i = 0; !stop; i++) {
        char *object = malloc(i * 97 % 30000);
        free(object);
    }
    return arg;
}

static int fork_once(void) {
    int status = 0;
    pid_t child = fork();
    if (child == 0) {
        for (int i = 0; i < 500; i++)
            free(malloc(i * 50));
        _exit(0);
    }
    return waitpid(child, &status, 0) == child && status == 0;
}

int main(void) {
    enum { N_FORKS = 200 };
    pthread_t threads[3];
    for (int t = 0; t < 3; t++)
        pthread_create(&threads[t], NULL, churn, NULL);
    for (int i = 0; i < N_FORKS; i++)
        if (!fork_once())
            return 1;
    stop = 1;
    for (int t = 0; t < 3; t++)
        pthread_join(threads[t], NULL);
    if (early_atfork_calls() != 2 * N_FORKS) {
        printf("%d calls of the handlers\n", early_atfork_calls());
        return 1;
    }
    puts("ok");
    return 0;
}

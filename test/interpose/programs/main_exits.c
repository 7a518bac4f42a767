/* SPDX-License-Identifier: MIT */
/* The main thread ends by pthread_exit and leaves its objects to threads that go on: they free
 * them, allocate more, start further threads, and the last of them ends the process. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_OBJECTS = 20000, N_THREADS = 4 };

static char *objects[N_OBJECTS];
static pthread_t main_thread;

static void check_and_free(char *object, int i) {
    for (int k = 0; k < 50; k++)
        if (object[k] != (char)i)
            abort();
    free(object);
}

static void *churn(void *arg) {
    for (int i = 0; i < 100000; i++) {
        char *object = malloc(50 + i % 3000);
        memset(object, i, 50);
        check_and_free(object, i);
    }
    return arg;
}

static void *last(void *arg) {
    (void)arg;
    if (pthread_join(main_thread, NULL) != 0)
        abort();
    pthread_t threads[N_THREADS];
    for (int t = 0; t < N_THREADS; t++)
        pthread_create(&threads[t], NULL, churn, NULL);
    for (int i = 0; i < N_OBJECTS; i++)
        check_and_free(objects[i], i);
    for (int t = 0; t < N_THREADS; t++)
        pthread_join(threads[t], NULL);
    puts("ok");
    exit(0);
}

int main(void) {
    pthread_t thread;
    main_thread = pthread_self();
    for (int i = 0; i < N_OBJECTS; i++) {
        objects[i] = malloc(50 + i % 1000);
        memset(objects[i], i, 50);
    }
    if (pthread_create(&thread, NULL, last, NULL) != 0)
        return 1;
    pthread_exit(NULL);
}

/* SPDX-License-Identifier: MIT */
/* A program may take all PTHREAD_KEYS_MAX pthread keys: malloc has none of its own, and threads
 * allocate, end and leave objects behind as ever. */
#include <limits.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *work(void *left_behind) {
    for (int i = 0; i < 1000; i++) {
        char *object = malloc(i);
        memset(object, 1, i);
        free(object);
    }
    *(char **)left_behind = calloc(1, 500);
    return NULL;
}

int main(void) {
    pthread_key_t key;
    int n_keys = 0;
    free(malloc(100));
    while (pthread_key_create(&key, NULL) == 0)
        n_keys++;
    if (n_keys != PTHREAD_KEYS_MAX) {
        printf("only %d of %d keys\n", n_keys, PTHREAD_KEYS_MAX);
        return 1;
    }
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        char *left_behind = NULL;
        if (pthread_create(&thread, NULL, work, &left_behind) != 0)
            return 1;
        pthread_join(thread, NULL);
        if (!left_behind || left_behind[499])
            return 1;
        free(left_behind);
    }
    puts("ok");
    return 0;
}

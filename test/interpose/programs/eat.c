/* SPDX-License-Identifier: MIT */
/* eat BYTES THREADS [other|small]: runs under a limit.  Three times, all threads take objects of so
 * many bytes until malloc fails, and free them all.  Prints the bytes of the round that got least.
 * With "other", objects of other sizes must then be had from the memory that is free again; with
 * "small", of small sizes. */
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_ROUNDS = 3, MAX_THREADS = 16 };

typedef struct object {
    struct object *next;
    size_t n_bytes;
} object_t;

static size_t n_object_bytes, n_threads;
static atomic_size_t n_taken; /* bytes, by all threads in this round */
static pthread_barrier_t barrier;

static void fail(const char *what) {
    fprintf(stderr, "failed: %s\n", what);
    exit(1);
}

static object_t *take(size_t n_bytes) {
    errno = 0;
    object_t *object = malloc(n_bytes);
    if (!object && errno != ENOMEM)
        fail("errno is ENOMEM");
    if (object)
        object->n_bytes = n_bytes;
    return object;
}

static object_t *take_all(void) {
    object_t *all = NULL, *object;
    while ((object = take(n_object_bytes))) {
        object->next = all;
        all = object;
        atomic_fetch_add(&n_taken, n_object_bytes);
    }
    return all;
}

static void free_all(object_t *all) {
    for (object_t *object; (object = all);) {
        if (object->n_bytes != n_object_bytes)
            fail("an object's content");
        all = object->next;
        free(object);
    }
}

static void *eat(void *least) {
    for (int round = 0; round < N_ROUNDS; round++) {
        pthread_barrier_wait(&barrier);
        n_taken = 0;
        pthread_barrier_wait(&barrier);
        object_t *all = take_all();
        pthread_barrier_wait(&barrier);
        if (least && n_taken < *(size_t *)least)
            *(size_t *)least = n_taken;
        free_all(all);
    }
    return NULL;
}

static void take_other_sizes(size_t most_bytes) {
    for (size_t n_bytes = 16; n_bytes <= most_bytes; n_bytes *= 4) {
        object_t *other = take(n_bytes);
        if (!other) {
            fprintf(stderr, "failed: all is free again, but no %zu bytes can be had\n", n_bytes);
            exit(1);
        }
        free(other);
    }
}

int main(int argc, char **argv) {
    pthread_t threads[MAX_THREADS];
    size_t least = SIZE_MAX;
    n_object_bytes = argc > 1 ? strtoul(argv[1], NULL, 10) : 0;
    n_threads = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    if (n_object_bytes < sizeof(object_t) || !n_threads || n_threads > MAX_THREADS)
        fail("the arguments");
    pthread_barrier_init(&barrier, NULL, n_threads);
    for (size_t t = 1; t < n_threads; t++)
        if (pthread_create(&threads[t], NULL, eat, NULL) != 0)
            fail("the thread");
    eat(&least);
    for (size_t t = 1; t < n_threads; t++)
        pthread_join(threads[t], NULL);
    if (argc > 3)
        take_other_sizes(strcmp(argv[3], "small") ? 1 << 20 : 4096);
    printf("%zu\n", least);
    return 0;
}

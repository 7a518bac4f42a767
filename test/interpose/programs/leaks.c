/* SPDX-License-Identifier: MIT */
/* Leaks 7 objects of 1234 bytes in one function and one of 3 MiB in another, and frees what a third
 * one allocates.  With the argument "threads" four threads leak in the same place; with "secure" it
 * says whether it runs with another's rights.  Linked so that its functions have names. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>

#ifdef __clang__ /* makes no clones to begin with */
#define APART __attribute__((noinline))
#else
#define APART __attribute__((noinline, noclone))
#endif

void leak_small_here(int n_objects);
void leak_large_here(void);
void free_everything_here(void);

static void *volatile keep; /* so that no call is optimised away */

APART void leak_small_here(int n_objects) {
    for (int i = 0; i < n_objects; i++)
        keep = malloc(1234);
}

APART void leak_large_here(void) {
    keep = malloc(3 << 20);
}

APART void free_everything_here(void) {
    for (int i = 0; i < 3000; i++) {
        char *object = malloc(i * 7);
        keep = object;
        object = realloc(object, 100 + i);
        memset(object, i, 100);
        free(object);
    }
    keep = NULL;
}

static void *work(void *arg) {
    leak_small_here(7);
    free_everything_here();
    return arg;
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    if (!strcmp(mode, "secure"))
        puts(getauxval(AT_SECURE) ? "secure" : "not secure");
    if (!strcmp(mode, "threads")) {
        pthread_t threads[4];
        for (int t = 0; t < 4; t++)
            pthread_create(&threads[t], NULL, work, NULL);
        for (int t = 0; t < 4; t++)
            pthread_join(threads[t], NULL);
    } else {
        leak_small_here(7);
    }
    leak_large_here();
    free_everything_here();
    puts("ok");
    return 0;
}

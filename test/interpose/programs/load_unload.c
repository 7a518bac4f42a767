/* SPDX-License-Identifier: MIT */
/* Loads and unloads a library that allocates in its constructor, destructor and thread-local
 * storage, again and again, and frees what it left behind; with the argument "threads" from several
 * threads at once.  Memory stays bounded. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_ROUNDS = 400, N_THREADS = 4 };

static long resident_kilobytes(void) {
    long total = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "r");
    if (!file || fscanf(file, "%ld %ld", &total, &resident) != 2)
        exit(1);
    fclose(file);
    return resident * 4;
}

static void load_and_unload(int round) {
    void *library = dlopen(PLUGIN_DIR "/libload_unload_library.so", RTLD_NOW);
    if (!library) {
        puts(dlerror());
        exit(1);
    }
    char *(*leave_behind)(int) = (char *(*)(int))dlsym(library, "library_leave_behind");
    char *left = leave_behind(round);
    if (dlclose(library) != 0)
        exit(1);
    if (left[0] != (char)round || left[999] != (char)round)
        exit(1);
    free(left);
}

static void *work(void *arg) {
    for (int round = 0; round < N_ROUNDS / N_THREADS; round++)
        load_and_unload(round);
    return arg;
}

int main(int argc, char **argv) {
    long before = 0;
    if (argc > 1 && !strcmp(argv[1], "threads")) {
        pthread_t threads[N_THREADS];
        for (int t = 0; t < N_THREADS; t++)
            pthread_create(&threads[t], NULL, work, NULL);
        for (int t = 0; t < N_THREADS; t++)
            pthread_join(threads[t], NULL);
    }
    for (int round = 0; round < N_ROUNDS; round++) {
        load_and_unload(round);
        if (round == N_ROUNDS / 4)
            before = resident_kilobytes();
    }
    if (resident_kilobytes() > before + 4096) {
        printf("grew from %ld to %ld kB\n", before, resident_kilobytes());
        return 1;
    }
    puts("ok");
    return 0;
}

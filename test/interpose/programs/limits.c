/* SPDX-License-Identifier: MIT */
/*
 * limits hard BYTES | soft BYTES | background | mappings
 *
 * hard, soft: run with that limit in MHEAP_CONF.  background: with background:true; waits until
 * free memory has gone back without a call of ours, in a forked child, too.  mappings: uses up the
 * kernel's mappings by itself and goes on.  Prints "ok".
 */
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define MIB ((size_t)1 << 20)

enum { MAX_OBJECTS = 1 << 20 };

static void *objects[MAX_OBJECTS];
static size_t n_objects;

static void check(bool condition, const char *what) {
    if (condition)
        return;
    dprintf(STDERR_FILENO, "failed: %s\n", what);
    _exit(1);
}

/* Of this process, from the kernel, without allocating. */
static size_t resident_bytes(void) {
    static FILE *file;
    char text[100] = "";
    unsigned long pages = 0, unused;
    if (!file)
        setvbuf(file = fopen("/proc/self/statm", "r"), NULL, _IONBF, 0);
    rewind(file);
    check(fgets(text, sizeof text, file) != NULL, "statm");
    sscanf(text, "%lu %lu", &unused, &pages);
    return pages * 4096;
}

static size_t take(size_t n_bytes, size_t max_bytes) {
    size_t taken = 0;
    while (n_objects < MAX_OBJECTS && taken < max_bytes) {
        errno = 0;
        void *object = malloc(n_bytes);
        if (!object) {
            check(errno == ENOMEM, "errno is ENOMEM");
            break;
        }
        memset(object, (int)n_objects, n_bytes);
        objects[n_objects++] = object;
        taken += n_bytes;
    }
    return taken;
}

static void free_all_but(size_t one_in) {
    for (size_t i = 0; i < n_objects; i++)
        if (!one_in || i % one_in)
            free(objects[i]);
    n_objects = 0;
}

static void test_hard(size_t limit) {
    const size_t own = resident_bytes() + sizeof objects + 4 * MIB;
    const size_t sizes[] = {5 * MIB, 200, 300000, 3000, 1 << 20, 400, 40000, 20 * MIB};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        size_t taken = take(sizes[i], SIZE_MAX);
        check(taken >= limit / 2, "half of what is allowed can be had, again and again");
        check(resident_bytes() <= limit + own, "and no more than that is resident");
        check(malloc(limit) == NULL && errno == ENOMEM, "nothing larger than the limit");
        check(realloc(objects[0], limit) == NULL, "nor by realloc");
        free_all_but(0);
    }
    /* A vector that grows has its pages moved: it is not there twice. */
    char *vector = NULL;
    for (size_t n_bytes = MIB; n_bytes < limit / 4 * 3; n_bytes += n_bytes / 2) {
        char *grown = realloc(vector, n_bytes);
        check(grown != NULL, "a vector grows up to three quarters");
        vector = grown;
        memset(vector, 1, n_bytes);
    }
    free(vector);
}

static void test_soft(size_t limit) {
    take(10000, limit / 2);
    for (int round = 0; round < 20; round++) {
        size_t kept = n_objects;
        take(20000, limit);
        while (n_objects > kept)
            free(objects[--n_objects]);
    }
    check(resident_bytes() < limit, "what is free has gone back");
    check(take(100, 2 * limit) >= 2 * limit || n_objects == MAX_OBJECTS, "it is only a soft limit");
}

static size_t n_threads(void) {
    DIR *folder = opendir("/proc/self/task");
    size_t n = 0;
    while (readdir(folder))
        n++;
    closedir(folder);
    return n - 2;
}

/* No call of ours while it waits; how long is up to the machine. */
static void wait_until_resident_is_below(size_t n_bytes) {
    while (resident_bytes() > n_bytes)
        nanosleep(&(struct timespec){0, 20000000}, NULL);
}

static void burst(void) {
    take(300, 50 * MIB);
    take(600000, 50 * MIB);
    free_all_but(0);
}

static void test_background(void) {
    for (int round = 0; round < 2; round++) {
        burst();
        wait_until_resident_is_below(16 * MIB);
    }
    check(n_threads() == 2, "there is one thread more");
    pid_t child = fork();
    if (child == 0) {
        check(n_threads() == 1, "not in a child that has not allocated");
        burst();
        wait_until_resident_is_below(16 * MIB);
        check(n_threads() == 2, "but in one that has");
        _exit(0);
    }
    int status;
    check(waitpid(child, &status, 0) == child && status == 0, "the child");
    burst();
    wait_until_resident_is_below(16 * MIB);
}

/* Every other page of a range is made inaccessible, until the kernel has no mappings left. */
static size_t use_up_mappings(char *range, size_t n_pages) {
    size_t page = 0;
    while (page < n_pages && mprotect(range + page * 4096, 4096, PROT_READ) == 0)
        page += 2;
    return page;
}

static void test_mappings(void) {
    const size_t n_pages = 200000;
    take(100, MIB);
    char *range = mmap(NULL, n_pages * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    check(range != MAP_FAILED, "a range");
    if (use_up_mappings(range, n_pages) >= n_pages) {
        puts("skip"); /* more than this kernel runs out of */
        return;
    }
    for (int round = 0; round < 3; round++) {
        const size_t sizes[] = {100, 5000, 200000, 3 * MIB};
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
            take(sizes[i], 30 * MIB); /* as much as can be had */
        char *large = malloc(MIB);
        char *grown = large ? realloc(large, 100 * MIB) : NULL;
        free(grown ? grown : large);
        free_all_but(0);
    }
    check(take(100, MIB) >= MIB, "what was free can be had");
    munmap(range, n_pages * 4096);
    check(take(3 * MIB, 300 * MIB) >= 300 * MIB, "mappings are back: everything can be had");
    check(take(100, 30 * MIB) >= 30 * MIB, "small objects, too");
    free_all_but(0);
}

int main(int argc, char **argv) {
    const char *what = argc > 1 ? argv[1] : "";
    size_t n_bytes = argc > 2 ? strtoul(argv[2], NULL, 10) : 0;
    if (!strcmp(what, "hard"))
        test_hard(n_bytes);
    else if (!strcmp(what, "soft"))
        test_soft(n_bytes);
    else if (!strcmp(what, "background"))
        test_background();
    else if (!strcmp(what, "mappings"))
        test_mappings();
    else
        check(false, "the argument");
    puts("ok");
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * limits hard BYTES | soft BYTES | background | mappings | others | back BYTES | phases BYTES FILE
 *
 * hard, soft: run with that limit in MHEAP_CONF.  background: with background:true; waits until
 * free memory has gone back without a call of ours, in a forked child, too.  mappings: uses up the
 * kernel's mappings by itself and goes on.  others: run with RLIMIT_AS; a thread takes all memory,
 * frees most of it here and there, and sleeps: what it freed serves the others.  back: run with
 * RLIMIT_DATA of so many; what large objects had, but for a few that stay, serves small ones, and
 * large ones again.  phases: joins the
 * cgroup whose cgroup.procs is FILE, and several times takes most of those bytes in objects of
 * another size, after it has freed all: memory that does not go back gets it killed.  Prints "ok".
 */
#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
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
    for (int round = 0; round < 20; round++) { /* elements, then blocks of runs */
        size_t kept = n_objects;
        take(round < 10 ? 20000 : 300, limit);
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

/* ---- back ---- */

enum { STAYS_ONE_IN = 16 };

/* Frees all but a few, which it moves to the front and returns the number of. */
static size_t free_most(void) {
    size_t n_kept = 0;
    for (size_t i = 0; i < n_objects; i++)
        if (i % STAYS_ONE_IN)
            free(objects[i]);
        else
            objects[n_kept++] = objects[i];
    n_objects = n_kept;
    return n_kept;
}

static void test_back(size_t limit) {
    const size_t larges[] = {MIB, 100000, 5 * MIB};
    for (size_t round = 0; round < 3 * sizeof larges / sizeof *larges; round++) {
        size_t large = larges[round % 3];
        check(take(large, SIZE_MAX) >= limit / 2, "large objects take most of it");
        size_t n_kept = free_most();
        check(take(100, SIZE_MAX) >= limit / 4, "what they had serves small ones");
        while (n_objects > n_kept)
            free(objects[--n_objects]);
        check(take(large, SIZE_MAX) >= limit / 4, "and large ones again");
        free_all_but(0);
    }
}

/* ---- others ---- */

enum { KEPT_ONE_IN = 32 };

static sem_t is_free, late_may_begin, hog_may_end;

/* Keeps a few here and there, so that no large part of its heap is free as a whole. */
static void *hog(void *unused) {
    take(5000, SIZE_MAX);
    for (size_t i = 0; i < n_objects; i++)
        if (i % KEPT_ONE_IN)
            free(objects[i]);
    sem_post(&is_free);
    sem_wait(&hog_may_end);
    for (size_t i = 0; i < n_objects; i += KEPT_ONE_IN) {
        const unsigned char *bytes = objects[i];
        for (size_t b = 0; b < 5000; b++)
            check(bytes[b] == (unsigned char)i, "what the thread kept is intact");
        free(objects[i]);
    }
    return unused;
}

typedef struct linked {
    struct linked *next;
} linked_t;

/* Objects of one size, all filled: at most so many bytes, or all there is. */
static size_t take_and_free(size_t n_bytes, size_t max_bytes) {
    linked_t *all = NULL, *object;
    size_t taken = 0;
    errno = 0;
    for (; taken < max_bytes && (object = malloc(n_bytes)); taken += n_bytes) {
        memset(object, 0xff, n_bytes);
        object->next = all;
        all = object;
    }
    check(taken >= max_bytes || errno == ENOMEM, "errno is ENOMEM");
    for (; all; all = object) {
        object = all->next;
        free(all);
    }
    return taken;
}

static void *borrow(void *unused) {
    const struct {
        size_t n_bytes, want;
    } rows[] = {
        {112, MIB}, {1000, 8 * MIB}, {5000, 100 * MIB}, {20000, 100 * MIB}, {100000, 100 * MIB}};
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++) {
        size_t taken = take_and_free(rows[i].n_bytes, rows[i].want);
        if (taken < rows[i].want)
            dprintf(STDERR_FILENO, "only %zu bytes in objects of %zu\n", taken, rows[i].n_bytes);
        check(taken >= rows[i].want, "what another thread has free can be had");
    }
    return unused;
}

/* It gets no heap of its own: there is no region for one. */
static void *borrow_late(void *unused) {
    sem_wait(&late_may_begin);
    return borrow(unused);
}

static void test_others(void) {
    pthread_t late, other;
    sem_init(&is_free, 0, 0);
    sem_init(&late_may_begin, 0, 0);
    sem_init(&hog_may_end, 0, 0);
    free(malloc(100));
    check(pthread_create(&late, NULL, borrow_late, NULL) == 0, "a thread");
    check(pthread_create(&other, NULL, hog, NULL) == 0, "another");
    sem_wait(&is_free);
    borrow(NULL);
    sem_post(&late_may_begin);
    pthread_join(late, NULL);
    sem_post(&hog_may_end);
    pthread_join(other, NULL);
    check(take(3000000, 300 * MIB) >= 200 * MIB, "all has come home");
}

static void test_phases(size_t limit, const char *procs) {
    FILE *file = fopen(procs, "w");
    check(file && fprintf(file, "%d\n", getpid()) > 0 && fclose(file) == 0, "joining the group");
    const size_t sizes[] = {100, 3000, 600000, 40000, 3 * MIB, 1000, 200000};
    for (size_t i = 0; i < 2 * sizeof sizes / sizeof *sizes; i++) {
        size_t n_bytes = sizes[i % (sizeof sizes / sizeof *sizes)], want = limit / 10 * 7;
        check(take(n_bytes, want) >= want, "seven tenths can be had, again and again");
        free_all_but(0);
    }
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
    else if (!strcmp(what, "others"))
        test_others();
    else if (!strcmp(what, "back"))
        test_back(n_bytes);
    else if (!strcmp(what, "phases") && argc > 3)
        test_phases(n_bytes, argv[3]);
    else
        check(false, "the argument");
    puts("ok");
    return 0;
}

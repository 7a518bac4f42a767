/* SPDX-License-Identifier: MIT */
/*
 * far_regions - takes the address space behind its first object, so that the heaps' next regions
 * lie wherever the system puts them, fills several of these, and frees, resizes and frees by
 * another thread what lies there.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif

#define REGION_BYTES ((uintptr_t)64 << 20)

enum { N_OBJECTS = 160 * 1024, BYTES = 1000, LARGE_BYTES = 1 << 20 };
static char *objects[N_OBJECTS];

/* Of all that comes next, without access. */
static int take_address_space(void) {
    uintptr_t next = ((uintptr_t)objects[0] / REGION_BYTES + 1) * REGION_BYTES;
    int flags = MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE;
    return mmap((void *)next, (size_t)1 << 40, PROT_NONE, flags, -1, 0) == (void *)next;
}

static void fill(int from) {
    for (int i = from; i < N_OBJECTS; i++) {
        objects[i] = malloc(BYTES);
        if (!objects[i])
            abort();
        memset(objects[i], i, BYTES);
    }
}

static void check_and_free(int i) {
    for (int j = 0; j < BYTES; j++)
        if (objects[i][j] != (char)i)
            abort();
    free(objects[i]);
}

static void *free_every_third(void *unused) {
    for (int i = 1; i < N_OBJECTS; i += 3)
        check_and_free(i);
    return unused;
}

static int count_far(void) {
    int n = 0;
    for (int i = 0; i < N_OBJECTS; i++)
        n += (uintptr_t)objects[i] >> 45 != 0;
    return n;
}

int main(void) {
    objects[0] = malloc(BYTES);
    memset(objects[0], 0, BYTES);
    if (!take_address_space()) {
        puts("skipped: the address space behind the heap is not free");
        return 0;
    }
    fill(1);
    printf("far: %d\n", count_far() > N_OBJECTS / 4);
    void *large = calloc(1, LARGE_BYTES);
    pthread_t thread;
    if (!large || pthread_create(&thread, NULL, free_every_third, NULL) != 0)
        abort();
    pthread_join(thread, NULL);
    for (int i = 0; i < N_OBJECTS; i += 3) {
        objects[i] = realloc(objects[i], BYTES + (size_t)i % 3000);
        if (!objects[i] || malloc_usable_size(objects[i]) < BYTES)
            abort();
        check_and_free(i);
    }
    for (int i = 2; i < N_OBJECTS; i += 3)
        check_and_free(i);
    free(large);
    malloc_trim(0);
    puts("ok");
    return 0;
}

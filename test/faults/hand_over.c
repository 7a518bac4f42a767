/* SPDX-License-Identifier: MIT */
/*
 * hand_over.c - a program that lives with NULL: four threads exchange objects of all sizes through
 * shared slots, resize and free them, and check every byte they wrote.  Where there is no memory
 * they go on without.  In the end it must be there again.  With an argument, that is not asked for.
 *
 * Exit status 0; 2 if an object was damaged, 3 if there was no memory in the end.
 */
#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define N_THREADS 4
#define N_SLOTS   256
#define N_STEPS   800

typedef struct {
    size_t bytes;
    unsigned char tag;
} object_t; /* its contents follow */

static _Atomic(object_t *) slots[N_SLOTS];
static atomic_int n_damaged;

static uint32_t next_number(uint32_t *seed) {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

static size_t random_bytes(uint32_t *seed) {
    static const size_t limits[] = {64, 300, 300, 2000, 2000, 20000, 60000, 700000};
    uint32_t choice = next_number(seed) % 64;
    return sizeof(object_t) + next_number(seed) % limits[choice < 8 ? choice : choice % 6];
}

static void fill(object_t *object) {
    memset(object + 1, object->tag, object->bytes - sizeof *object);
}

static void check(const object_t *object, size_t bytes) {
    const unsigned char *contents = (const unsigned char *)(object + 1);
    for (size_t i = 0; i < bytes - sizeof *object; i++)
        if (contents[i] != object->tag) {
            n_damaged++;
            return;
        }
}

static object_t *make(uint32_t *seed) {
    size_t bytes = random_bytes(seed);
    object_t *object = next_number(seed) % 8 ? malloc(bytes) : aligned_alloc(256, bytes);
    if (!object)
        return NULL;
    *object = (object_t){bytes, (unsigned char)next_number(seed)};
    fill(object);
    return object;
}

static object_t *change(object_t *object, uint32_t *seed) {
    size_t before = object->bytes, bytes = random_bytes(seed);
    object_t *changed = realloc(object, bytes);
    if (!changed)
        return object;
    check(changed, before < bytes ? before : bytes);
    changed->bytes = bytes;
    fill(changed);
    return changed;
}

static void *work(void *arg) {
    uint32_t seed = (uint32_t)(uintptr_t)arg * 2654435761u + 1;
    for (int i = 0; i < N_STEPS; i++) {
        object_t *mine = atomic_exchange(&slots[next_number(&seed) % N_SLOTS], NULL);
        if (mine)
            check(mine, mine->bytes);
        if (mine && next_number(&seed) % 4 == 0) {
            mine = change(mine, &seed);
        } else {
            free(mine);
            mine = make(&seed);
        }
        free(atomic_exchange(&slots[next_number(&seed) % N_SLOTS], mine));
    }
    return NULL;
}

static void round_of_threads(uintptr_t first) {
    pthread_t threads[N_THREADS];
    int n = 0;
    while (n < N_THREADS && pthread_create(&threads[n], NULL, work, (void *)(first + n)) == 0)
        n++;
    if (n == 0)
        work((void *)first);
    while (n > 0)
        pthread_join(threads[--n], NULL);
    malloc_trim(0);
}

int main(int argc, char **argv) {
    (void)argv;
    for (uintptr_t i = 0; i < 2; i++)
        round_of_threads(1 + i * N_THREADS);
    for (int i = 0; i < N_SLOTS; i++)
        free(slots[i]);
    int n_missing = 0;
    for (size_t bytes = 16; bytes < 4000000; bytes *= 3) {
        void *volatile object = malloc(bytes);
        n_missing += !object;
        free(object);
    }
    puts(n_damaged ? "damaged" : "sound");
    return n_damaged ? 2 : n_missing && argc == 1 ? 3 : 0;
}

/* SPDX-License-Identifier: MIT */
/* Allocates at every stage of a process's life, from before any constructor has run, and frees at a
 * later one what an earlier one made.  The last stage prints. */
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum stage { PREINIT, CONSTRUCTOR_101, CONSTRUCTOR, MAIN, ATEXIT, DESTRUCTOR, DESTRUCTOR_101 };
enum { N_STAGES = DESTRUCTOR_101 + 1, N_OBJECTS = 300 };

static unsigned char *objects[N_STAGES][N_OBJECTS];
static int n_stages_done;

static void fail(const char *what) {
    if (write(STDERR_FILENO, what, strlen(what)) < 0 || write(STDERR_FILENO, "\n", 1) < 0)
        _exit(3);
    _exit(2);
}

static size_t size_of(int i) {
    return i % 100 == 99 ? 1000000 : 8 + (size_t)i * i % 9000;
}

static void check_and_free(enum stage made, int i) {
    unsigned char *object = objects[made][i];
    for (size_t k = 0; k < size_of(i); k += 7)
        if (object[k] != (unsigned char)(made * 37 + i))
            fail("an object lost its content");
    free(object);
}

/* Frees the odd objects of the stage before and the even ones of the stage before that. */
static void run_stage(enum stage stage) {
    if (n_stages_done++ != (int)stage)
        fail("the stages came in another order");
    for (int i = 0; i < N_OBJECTS; i++) {
        objects[stage][i] = i % 3 ? malloc(size_of(i)) : calloc(1, size_of(i));
        if (!objects[stage][i] || (uintptr_t)objects[stage][i] % 16)
            fail("malloc failed");
        memset(objects[stage][i], (int)stage * 37 + i, size_of(i));
    }
    if (stage >= 1)
        for (int i = 1; i < N_OBJECTS; i += 2)
            check_and_free(stage - 1, i);
    if (stage >= 2)
        for (int i = 0; i < N_OBJECTS; i += 2)
            check_and_free(stage - 2, i);
}

static void preinit(void) {
    run_stage(PREINIT);
}
__attribute__((section(".preinit_array"), used)) static void (*const preinit_entry)(void) = preinit;

__attribute__((constructor(101))) static void constructor_101(void) {
    run_stage(CONSTRUCTOR_101);
}
__attribute__((constructor)) static void constructor(void) {
    run_stage(CONSTRUCTOR);
}
static void at_exit(void) {
    run_stage(ATEXIT);
}
__attribute__((destructor)) static void destructor(void) {
    run_stage(DESTRUCTOR);
}

__attribute__((destructor(101))) static void destructor_101(void) {
    run_stage(DESTRUCTOR_101);
    if (write(STDOUT_FILENO, "ok\n", 3) != 3)
        _exit(1);
}

int main(void) {
    run_stage(MAIN);
    return atexit(at_exit);
}

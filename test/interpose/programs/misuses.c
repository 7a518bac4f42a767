/* SPDX-License-Identifier: MIT */
/* Does what the argument says is wrong, goes on with ordinary work, and prints "ok". */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *volatile keep; /* hides from the compiler what is wrong */

static void work(void) {
    char *objects[1000];
    for (int i = 0; i < 1000; i++)
        objects[i] = memset(malloc(10 + i * 5), i, 10 + i * 5);
    for (int i = 0; i < 1000; i++) {
        if (objects[i][9] != (char)i)
            abort();
        free(objects[i]);
    }
}

static void double_free(void) {
    keep = malloc(100);
    free(keep);
    free(keep);
    work();
}

static void interior(void) {
    char *object = malloc(1000);
    keep = object + 48;
    free(keep);
    free(object);
    work();
}

static void stack(void) {
    char on_stack[64];
    keep = on_stack + 32;
    free(keep);
    work();
}

/* Past the end of a medium object; then a call that has nothing to do with it, which ends before
 * the process meets the damage. */
static void overflow(void) {
    char *objects[10];
    for (int i = 0; i < 10; i++)
        objects[i] = malloc(5000);
    size_t usable = malloc_usable_size(objects[5]);
    keep = objects[5] + usable;
    for (int i = 0; i < 8; i++)
        ((char *)keep)[i] ^= 0x7f;
    keep = malloc(16);
}

int main(int argc, char **argv) {
    static const struct {
        const char *name;
        void (*misuse)(void);
    } rows[] = {{"double_free", double_free},
                {"interior", interior},
                {"stack", stack},
                {"overflow", overflow}};
    work();
    for (size_t i = 0; i < sizeof rows / sizeof *rows; i++)
        if (argc > 1 && !strcmp(argv[1], rows[i].name)) {
            rows[i].misuse();
            puts("ok");
            return 0;
        }
    return 1;
}

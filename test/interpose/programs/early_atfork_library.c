/* SPDX-License-Identifier: MIT */
/* Registers fork handlers that allocate, from its first constructor and before it allocates: fork
 * calls a prepare handler the later the earlier it was registered, and the others the earlier. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

static int n_calls;

static void handler(void) {
    static const size_t sizes[] = {16, 300, 6000, 100000, 2000000};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        char *object = malloc(sizes[i]);
        if (!object)
            abort();
        memset(object, 1, sizes[i]);
        free(object);
    }
    n_calls++;
}

int early_atfork_calls(void);
int early_atfork_calls(void) {
    return n_calls;
}

__attribute__((constructor(101))) static void register_handlers(void) {
    if (pthread_atfork(handler, handler, handler) != 0)
        abort();
}

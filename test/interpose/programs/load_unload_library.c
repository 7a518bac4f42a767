/* SPDX-License-Identifier: MIT */
/* The library of load_unload.c. */
#include <stdlib.h>
#include <string.h>

static char *own[50];
static __thread char thread_local_buffer[200]; /* dynamic TLS: the loader allocates it */

char *library_leave_behind(int round);

__attribute__((constructor)) static void load(void) {
    for (int i = 0; i < 50; i++)
        own[i] = memset(malloc(100 + i * 500), i, 100 + i * 500);
}

__attribute__((destructor)) static void unload(void) {
    for (int i = 0; i < 50; i++) {
        if (own[i][50] != (char)i)
            abort();
        own[i] = realloc(own[i], 50 + i * 2000);
        free(own[i]);
    }
}

char *library_leave_behind(int round) {
    memset(thread_local_buffer, round, sizeof thread_local_buffer);
    char *left = malloc(1000);
    memset(left, thread_local_buffer[199], 1000);
    return left;
}

/* SPDX-License-Identifier: MIT */
/*
 * small_process - allocates and frees in batches, small and medium, grows and clears, as programs
 * of a few megabytes do, and prints how much of the library's code the kernel has mapped for it:
 * "code: N KiB".
 */
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { N_OBJECTS = 1000 };
static void *objects[N_OBJECTS];

static void batches(size_t bytes, int n_objects) {
    for (int round = 0; round < 8; round++) {
        for (int i = 0; i < n_objects; i++)
            memset(objects[i] = malloc(bytes), 1, bytes);
        for (int i = 0; i < n_objects; i++)
            free(objects[i]);
    }
}

static void grow_and_clear(void) {
    for (size_t bytes = 16; bytes <= 16384; bytes += bytes / 2)
        objects[0] = realloc(bytes == 16 ? NULL : objects[0], bytes);
    free(objects[0]);
    free(calloc(100, 30));
}

int main(void) {
    for (size_t bytes = 16; bytes <= 1024; bytes *= 4)
        batches(bytes, N_OBJECTS);
    batches(6000, 60);
    grow_and_clear();

    char line[512];
    bool is_code = false;
    unsigned long n_kib, code_kib = 0;
    FILE *smaps = fopen("/proc/self/smaps", "r");
    while (smaps && fgets(line, sizeof line, smaps)) {
        if (strstr(line, "libmheap"))
            is_code = strstr(line, " r-xp ") != NULL;
        else if (is_code && sscanf(line, "Rss: %lu", &n_kib) == 1) {
            code_kib += n_kib;
            is_code = false;
        }
    }
    printf("code: %lu KiB\n", code_kib);
    puts("ok");
    return 0;
}

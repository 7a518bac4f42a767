/* SPDX-License-Identifier: MIT */
/*
 * tiny - a small process: allocates --kb kilobytes in objects of 16 to 1000 bytes and exits.
 * Started by `spawn` many times, and by itself for the peak memory of a small program.
 */
#include <stdlib.h>

int main(int argc, char **argv) {
    long left = argc > 1 ? atol(argv[1]) * 1024 : 4096;
    for (long size = 16; left > 0; left -= size, size = size % 1000 + 16) {
        char *object = malloc((size_t)size);
        if (!object)
            return 1;
        object[0] = object[size - 1] = 1;
        if (size % 3 == 0)
            free(object);
    }
    return 0;
}

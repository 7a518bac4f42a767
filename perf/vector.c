/* SPDX-License-Identifier: MIT */
/*
 * vector - arrays that grow by realloc.  `arrays` arrays grow in turn from --from to --to bytes,
 * each time by half of their size, and are written to as they grow; then they are freed and new
 * ones grow, `rounds` times.
 */
#include "perf.h"

#include <stdlib.h>

static uint64_t from_bytes = 4 << 10, to_bytes = 64 << 20, n_arrays = 3, n_rounds = 4;

typedef struct {
    char *data;
    size_t size;
} array_t;

/* Writes the first byte of each page and the last bytes of the part that is new. */
static void grow(array_t *array, size_t size) {
    array->data = realloc(array->data, size);
    PERF_CHECK(array->data != NULL);
    if (array->size)
        PERF_CHECK(array->data[array->size - 1] == (char)array->size);
    for (size_t at = array->size; at < size; at += 4096)
        array->data[at] = 1;
    array->size = size;
    array->data[size - 1] = (char)size;
}

static uint64_t grow_all(array_t *arrays) {
    uint64_t n_grown = 0;
    for (size_t size = from_bytes; size <= to_bytes; size += (size / 2 + 15) & ~(size_t)15)
        for (uint64_t i = 0; i < n_arrays; i++, n_grown++)
            grow(&arrays[i], size + 16 * i);
    for (uint64_t i = 0; i < n_arrays; i++) {
        free(arrays[i].data);
        arrays[i] = (array_t){0};
    }
    return n_grown;
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--from", &from_bytes, NULL},
                                     {"--to", &to_bytes, NULL},
                                     {"--arrays", &n_arrays, NULL},
                                     {"--rounds", &n_rounds, NULL}};
    PERF_INIT(argc, argv, "vector", options);
    n_rounds = perf_scaled(n_rounds);
    array_t *arrays = perf_table(n_arrays * sizeof *arrays);
    uint64_t ops = 0;
    perf_start();
    for (uint64_t round = 0; round < n_rounds; round++)
        ops += grow_all(arrays);
    perf_stop();
    perf_report(ops);
}

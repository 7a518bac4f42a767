/* SPDX-License-Identifier: MIT */
#include "sparse.h"

#include <stdatomic.h>
#include <stdint.h>

#include "vm.h"

/* Sparse: less than this part of the pages is there. */
#define SPARSE_SHARE   3u

/* Where so many smaller objects in a row were dense, only one in so many is looked at. */
#define DENSE_IN_A_ROW 8u
#define LOOKED_AT      16u

/* Relaxed, both: hints. */
static _Atomic uint32_t n_dense_in_a_row, n_small;

static bool clear(void *pages, size_t bytes) {
    return vm_resident_bytes(pages, bytes) < bytes / SPARSE_SHARE && vm_purge(pages, bytes);
}

/* A memset leaves all of it resident: where nothing was sparse for a while, nothing will be. */
static bool clear_small(void *pages, size_t bytes) {
    uint32_t n_dense = atomic_load_explicit(&n_dense_in_a_row, memory_order_relaxed);
    if (n_dense >= DENSE_IN_A_ROW &&
        atomic_fetch_add_explicit(&n_small, 1, memory_order_relaxed) % LOOKED_AT != 0)
        return false;
    bool is_sparse = clear(pages, bytes);
    n_dense = is_sparse ? 0 : n_dense + (n_dense < DENSE_IN_A_ROW);
    atomic_store_explicit(&n_dense_in_a_row, n_dense, memory_order_relaxed);
    return is_sparse;
}

bool sparse_clear(void *pages, size_t bytes) {
    if (bytes >= SPARSE_SURE_BYTES)
        return clear(pages, bytes);
    return bytes >= SPARSE_MIN_BYTES && clear_small(pages, bytes);
}

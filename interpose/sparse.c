/* SPDX-License-Identifier: MIT */
#include "sparse.h"

#include <stdatomic.h>
#include <stdint.h>
#include <string.h>

#include "vm.h"

/* Sparse: less than this part of the pages is there. */
#define SPARSE_SHARE   3u

/* Where so many elements in a row were dense, only one in so many is looked at. */
#define DENSE_IN_A_ROW 8u
#define LOOKED_AT      16u

/* Relaxed, both: hints. */
static _Atomic uint32_t n_dense_in_a_row, n_elements;

bool sparse_clear(void *memory, size_t bytes) {
    char *begin = memory, *end = begin + bytes;
    size_t page_mask = vm_page_bytes() - 1;
    size_t before_bytes = -(uintptr_t)begin & page_mask, behind_bytes = (uintptr_t)end & page_mask;
    if (bytes < before_bytes + behind_bytes)
        return false;
    char *pages = begin + before_bytes;
    size_t pages_bytes = bytes - before_bytes - behind_bytes;
    if (vm_resident_bytes(pages, pages_bytes) >= pages_bytes / SPARSE_SHARE ||
        !vm_purge(pages, pages_bytes))
        return false;
    memset(begin, 0, before_bytes);
    memset(end - behind_bytes, 0, behind_bytes);
    return true;
}

/* A memset leaves all of it resident: where nothing was sparse for a while, nothing will be. */
bool sparse_clear_element(void *memory, size_t bytes) {
    uint32_t n_dense = atomic_load_explicit(&n_dense_in_a_row, memory_order_relaxed);
    if (n_dense >= DENSE_IN_A_ROW &&
        atomic_fetch_add_explicit(&n_elements, 1, memory_order_relaxed) % LOOKED_AT != 0)
        return false;
    bool is_sparse = sparse_clear(memory, bytes);
    n_dense = is_sparse ? 0 : n_dense + (n_dense < DENSE_IN_A_ROW);
    atomic_store_explicit(&n_dense_in_a_row, n_dense, memory_order_relaxed);
    return is_sparse;
}

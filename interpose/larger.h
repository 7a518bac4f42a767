/* SPDX-License-Identifier: MIT */
/* larger.h - of two sizes. */
#ifndef MHEAP_LARGER_H
#define MHEAP_LARGER_H

#include <stdint.h>

static inline uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

static inline uint64_t smaller(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

#endif /* MHEAP_LARGER_H */

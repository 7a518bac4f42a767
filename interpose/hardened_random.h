/* SPDX-License-Identifier: MIT */
/*
 * hardened_random.h - random numbers for placing and for the quarantine: splitmix64 (Steele, Lea,
 * Flood, 2014), with new bits from the kernel every so often, so that whoever has guessed the state
 * does not keep it.  Not for secrets.  Guarded by its owner's lock.
 */
#ifndef MHEAP_HARDENED_RANDOM_H
#define MHEAP_HARDENED_RANDOM_H

#include <stdint.h>

#include "secret.h"

#define HARDENED_RANDOM_DRAWS 4096u

typedef struct {
    uint64_t state;
    uint32_t n_left; /* numbers until the kernel is asked again; 0 in zeroed memory, too */
} hardened_random_t;

static inline uint32_t random_below(hardened_random_t *random, uint32_t limit) {
    if (__builtin_expect(random->n_left-- == 0, 0)) {
        random->state ^= secret_draw();
        random->n_left = HARDENED_RANDOM_DRAWS;
    }
    uint64_t bits = random->state += 0x9e3779b97f4a7c15ull;
    bits = (bits ^ bits >> 30) * 0xbf58476d1ce4e5b9ull;
    bits = (bits ^ bits >> 27) * 0x94d049bb133111ebull;
    return (uint32_t)((bits >> 32) * limit >> 32);
}

#endif /* MHEAP_HARDENED_RANDOM_H */

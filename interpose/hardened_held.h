/* SPDX-License-Identifier: MIT */
/*
 * hardened_held.h - the quarantine: freed places that wait before they are used again.
 *
 * Two stages: out of the first a random one goes on each time, the second is a queue.  So a place
 * is out of use for at least as many frees as the queue is long, and nobody can tell for how many.
 */
#ifndef MHEAP_HARDENED_HELD_H
#define MHEAP_HARDENED_HELD_H

#include <stddef.h>
#include <stdint.h>

#include "hardened_random.h"

typedef struct {
    uint32_t capacity;          /* of each stage; place[] has room for both */
    uint32_t n_mixed, n_queued; /* in use */
    uint32_t next;              /* the queue's oldest, once it is full */
    uint32_t probe;             /* the place that held_probe was last at */
    void **place;
} held_t;

/* Hold `place`; returns the one that has waited long enough instead, or NULL. */
static inline void *held_swap(held_t *held, void *place, hardened_random_t *random) {
    if (held->n_mixed < held->capacity) {
        held->place[held->n_mixed++] = place;
        return NULL;
    }
    void **mixed = &held->place[random_below(random, held->capacity)];
    void *moves_on = *mixed;
    *mixed = place;
    void **queue = held->place + held->capacity;
    if (held->n_queued < held->capacity) {
        queue[held->n_queued++] = moves_on;
        return NULL;
    }
    void *oldest = queue[held->next];
    queue[held->next] = moves_on;
    held->next = held->next + 1 == held->capacity ? 0 : held->next + 1;
    return oldest;
}

/* One of those that wait, another one each time; NULL if there is none. */
static inline void *held_probe(held_t *held) {
    if (held->n_mixed + held->n_queued == 0)
        return NULL;
    if (++held->probe >= held->n_mixed + held->n_queued)
        held->probe = 0;
    uint32_t i = held->probe;
    return held->place[i < held->n_mixed ? i : held->capacity + i - held->n_mixed];
}

/* Take any one out; NULL if there is none. */
static inline void *held_take(held_t *held) {
    if (held->n_queued)
        return held->place[held->capacity + --held->n_queued];
    held->next = 0;
    return held->n_mixed ? held->place[--held->n_mixed] : NULL;
}

#endif /* MHEAP_HARDENED_HELD_H */

/* SPDX-License-Identifier: MIT */
/*
 * handover - objects allocated by one thread and freed by another.
 * --shape pairs: each of `producers` threads deals objects out to each of `consumers` threads.
 * --shape chain: objects travel through `stages` threads; a middle one replaces every other object
 * by one of its own.  Hand-over is by bounded single-producer rings, so what is measured is the
 * allocator and not a lock.
 */
#include "perf.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

static uint64_t n_producers = 1, n_consumers = 1, n_stages = 3, n_objects = 5000000;
static const char *distribution = "small", *shape = "pairs";
static perf_sizes_t **sizes;

/* ---- A ring of pointers, filled and emptied in batches ----------------------------------- */

#define RING_SIZE  1024
#define RING_BATCH 32

typedef struct {
    _Alignas(64) atomic_size_t n_put; /* written by the producer, released to the consumer */
    _Alignas(64) atomic_size_t n_got; /* written by the consumer, released to the producer */
    _Alignas(64) void *slots[RING_SIZE];
} ring_t;
static ring_t *rings;

static void ring_put(ring_t *ring, void *const *objects, size_t n) {
    unsigned n_spins = 0;
    size_t at = atomic_load_explicit(&ring->n_put, memory_order_relaxed);
    while (at + n - atomic_load_explicit(&ring->n_got, memory_order_acquire) > RING_SIZE)
        perf_relax(&n_spins);
    for (size_t i = 0; i < n; i++)
        ring->slots[(at + i) % RING_SIZE] = objects[i];
    atomic_store_explicit(&ring->n_put, at + n, memory_order_release);
}

/* Takes up to RING_BATCH objects, none if there are none now. */
static size_t ring_get(ring_t *ring, void **objects) {
    size_t at = atomic_load_explicit(&ring->n_got, memory_order_relaxed);
    size_t n = atomic_load_explicit(&ring->n_put, memory_order_acquire) - at;
    if (n > RING_BATCH)
        n = RING_BATCH;
    for (size_t i = 0; i < n; i++)
        objects[i] = ring->slots[(at + i) % RING_SIZE];
    atomic_store_explicit(&ring->n_got, at + n, memory_order_release);
    return n;
}

/* ---- Pairs ------------------------------------------------------------------------------- */

#define TAG 0x6865617068656170ull

static void *make_object(perf_sizes_t *from) {
    size_t size = perf_next_size(from);
    void *object = malloc(size);
    perf_fill(object, size, TAG);
    return object;
}

static void drop_object(void *object) {
    perf_verify(object, TAG);
    free(object);
}

static void produce(unsigned index) {
    void *objects[RING_BATCH];
    for (uint64_t done = 0, to = 0; done < n_objects; done += RING_BATCH, to++) {
        for (size_t i = 0; i < RING_BATCH; i++)
            objects[i] = make_object(sizes[index]);
        ring_put(&rings[index * n_consumers + to % n_consumers], objects, RING_BATCH);
    }
}

static void consume(unsigned index) {
    void *objects[RING_BATCH];
    unsigned n_spins = 0;
    uint64_t batches = (n_objects + RING_BATCH - 1) / RING_BATCH;
    uint64_t n_mine = (batches / n_consumers + (index < batches % n_consumers)) * RING_BATCH;
    for (uint64_t left = n_mine * n_producers, from = 0; left; from++) {
        size_t n = ring_get(&rings[from % n_producers * n_consumers + index], objects);
        for (size_t i = 0; i < n; i++)
            drop_object(objects[i]);
        if (!n)
            perf_relax(&n_spins);
        left -= n;
    }
}

static void run_pairs(unsigned index, void *arg) {
    (void)arg;
    if (index < n_producers)
        produce(index);
    else
        consume(index - (unsigned)n_producers);
}

/* ---- Chain ------------------------------------------------------------------------------- */

static void run_chain(unsigned index, void *arg) {
    (void)arg;
    void *objects[RING_BATCH];
    unsigned n_spins = 0;
    uint64_t n_total = (n_objects + RING_BATCH - 1) / RING_BATCH * RING_BATCH;
    for (uint64_t done = 0; done < n_total;) {
        size_t n = index ? ring_get(&rings[index - 1], objects) : RING_BATCH;
        for (size_t i = 0; i < n; i++) {
            if (index && (i % 2 || index + 1 == n_stages))
                drop_object(objects[i]);
            if (!index || (i % 2 && index + 1 < n_stages))
                objects[i] = make_object(sizes[index]);
        }
        if (!n)
            perf_relax(&n_spins);
        else if (index + 1 < n_stages)
            ring_put(&rings[index], objects, n);
        done += n;
    }
}

int main(int argc, char **argv) {
    const perf_option_t options[] = {
        {"--producers", &n_producers, NULL}, {"--consumers", &n_consumers, NULL},
        {"--stages", &n_stages, NULL},       {"--objects", &n_objects, NULL},
        {"--dist", NULL, &distribution},     {"--shape", NULL, &shape}};
    PERF_INIT(argc, argv, "handover", options);
    n_objects = perf_scaled(n_objects);
    bool is_chain = !strcmp(shape, "chain");
    unsigned n_threads = (unsigned)(is_chain ? n_stages : n_producers + n_consumers);
    rings = perf_table((is_chain ? n_stages : n_producers * n_consumers) * sizeof *rings);
    sizes = perf_table(n_threads * sizeof *sizes);
    for (unsigned i = 0; i < n_threads; i++)
        sizes[i] = perf_sizes(distribution, i);
    perf_threads(n_threads, is_chain ? run_chain : run_pairs, NULL);
    perf_report(n_objects * (is_chain ? 1 : n_producers));
}

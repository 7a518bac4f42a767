/* SPDX-License-Identifier: MIT */
/*
 * perf.h - what every performance program shares: the generator, size distributions, the clock,
 * arguments, threads, the process's own memory figures, and the result line.
 *
 * A program runs one workload once and writes one line to standard output:
 *
 *     perf workload=NAME params=k:v,k:v seconds=S ops=N peak_rss_kb=K minor_faults=F ... extra=V
 *
 * `seconds` is the measured part only (perf_start to perf_stop), without start-up and exit.
 * Programs use the plain malloc interface and are linked to no allocator; the allocator under
 * test is chosen with LD_PRELOAD.  Their own bookkeeping comes from mmap (perf_table), so that an
 * allocator is charged with the workload's objects only.
 */
#ifndef PERF_H
#define PERF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- Random numbers: deterministic by seed, one multiplication each ---------------------- */

typedef struct {
    uint64_t state;
} perf_rng_t;

static inline uint64_t perf_random(perf_rng_t *rng) {
    rng->state += 0xa0761d6478bd642full;
    unsigned __int128 product =
        (unsigned __int128)rng->state * (rng->state ^ 0xe7037ed1a0b428dbull);
    return (uint64_t)(product >> 64) ^ (uint64_t)product;
}

/* Uniform in [0, n).  n < 2^32. */
static inline uint64_t perf_below(perf_rng_t *rng, uint64_t n) {
    return ((perf_random(rng) >> 32) * n) >> 32;
}

/* A generator for part `part` (a thread, a phase) of the run. */
perf_rng_t perf_rng(uint64_t part);

/* ---- Sizes ------------------------------------------------------------------------------- */

/*
 * Sizes are drawn before the clock starts and read in order, so that the workload's time is the
 * allocator's and not the generator's.
 */
#define PERF_N_SIZES 16384
typedef struct {
    uint32_t next;
    uint32_t bytes[PERF_N_SIZES];
} perf_sizes_t;

/*
 * Distributions: "small" 16-256, "medium" 1024-32768, "mixed" 90% 16-256, 9% 257-8192, 1% up to
 * 128 KiB, "power" half 16-31, a quarter 32-63, ... up to 256 KiB, "larson" 10-500, or "A-B":
 * uniform between A and B bytes.  Unknown names end the program.
 */
perf_sizes_t *perf_sizes(const char *distribution, uint64_t part);

static inline size_t perf_next_size(perf_sizes_t *sizes) {
    sizes->next = (sizes->next + 1) % PERF_N_SIZES;
    return sizes->bytes[sizes->next];
}

/* ---- Objects ----------------------------------------------------------------------------- */

/* Ends the program with a message: a result of a broken run must never look like a figure. */
void perf_fail(const char *what) __attribute__((noreturn));

#define PERF_CHECK(condition) ((condition) ? (void)0 : perf_fail(#condition))

/* Touch an object as its user would: its first word holds `tag`, each further page is written. */
static inline void perf_fill(void *object, size_t size, uint64_t tag) {
    PERF_CHECK(object != NULL);
    if (size >= sizeof(uint64_t))
        *(volatile uint64_t *)object = tag;
    for (size_t at = 4096; at < size; at += 4096)
        ((volatile char *)object)[at] = (char)tag;
}

/* The tag must still be there: an allocator that hands out a block twice is found out. */
static inline void perf_verify(const void *object, uint64_t tag) {
    PERF_CHECK(*(const volatile uint64_t *)object == tag);
}

/* Zeroed memory from mmap, touched in advance, never freed. */
void *perf_table(size_t n_bytes);

/* Exchange the `n` pointers of `table` at random. */
void perf_shuffle(void **table, size_t n, perf_rng_t *rng);

/* ---- Arguments --------------------------------------------------------------------------- */

typedef struct {
    const char *name;  /* "--size" */
    uint64_t *number;  /* where the value goes: a number (suffix K, M: 2^10, 2^20) ... */
    const char **text; /* ... or a text; one of both */
} perf_option_t;

/*
 * Reads `options` and those that all programs have: --scale FACTOR (of the number of operations,
 * 1 by default), --seed N.  All values given become the `params` of the result line.
 */
void perf_init(int argc, char **argv, const char *workload, const perf_option_t *options,
               size_t n_options);
#define PERF_INIT(argc, argv, workload, options)                                                   \
    perf_init(argc, argv, workload, options, sizeof(options) / sizeof((options)[0]))

/* `n` times the scale, at least 1. */
uint64_t perf_scaled(uint64_t n);

/* ---- Clock and result -------------------------------------------------------------------- */

uint64_t perf_now_ns(void);
void perf_sleep_until_ns(uint64_t when);

/* What lies between the two is measured; several such parts of a run add up. */
void perf_start(void);
void perf_stop(void);
uint64_t perf_measured_ns(void);

/* Adds `name=value` to the result line. */
void perf_metric(const char *name, double value);

/* Writes the result line. */
void perf_report(uint64_t ops);

/* ---- The process's own memory, in kB, without allocating --------------------------------- */

uint64_t perf_rss_kb(void);       /* exact, walks the page tables: for checkpoints */
uint64_t perf_rss_quick_kb(void); /* cheap, may be off by some pages: for curves */
uint64_t perf_peak_rss_kb(void);

/* ---- Threads ----------------------------------------------------------------------------- */

/*
 * Run `body(index, arg)` in `n_threads` threads that start together; measures from their common
 * start to the end of the last (perf_start and perf_stop are called inside).  With one thread it
 * runs in the caller, so that a process stays single-threaded.
 */
typedef void perf_thread_fn(unsigned index, void *arg);
void perf_threads(unsigned n_threads, perf_thread_fn *body, void *arg);

/* pthread_create with a small stack, which must succeed. */
typedef unsigned long perf_pthread_t;
perf_pthread_t perf_thread_create(void *(*body)(void *), void *arg);
void perf_thread_join(perf_pthread_t thread);

/* Give the processor away in a waiting loop: spins a little, then yields. */
void perf_relax(unsigned *n_spins);

#ifdef __cplusplus
}
#endif

#endif /* PERF_H */

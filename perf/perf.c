/* SPDX-License-Identifier: MIT */
/* perf.c - generator, sizes, arguments and result line; see perf.h. */
#include "perf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static struct {
    const char *workload;
    double scale;
    uint64_t seed;
    char params[512];
    char metrics[2048];
    uint64_t start_ns, measured_ns;
    struct rusage at_start;
    double user, sys;
    long minor_faults, major_faults;
} run = {.scale = 1.0, .seed = 1};

void perf_fail(const char *what) {
    dprintf(STDERR_FILENO, "perf %s: %s\n", run.workload ? run.workload : "", what);
    _exit(2);
}

perf_rng_t perf_rng(uint64_t part) {
    perf_rng_t rng = {(run.seed << 32) + part * 0x9e3779b97f4a7c15ull};
    perf_random(&rng);
    return rng;
}

void *perf_table(size_t n_bytes) {
    void *table = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                       MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (table == MAP_FAILED)
        perf_fail("no memory for the workload's own tables");
    return table;
}

void perf_shuffle(void **table, size_t n, perf_rng_t *rng) {
    for (size_t i = n; i > 1; i--) {
        size_t j = perf_below(rng, i);
        void *other = table[j];
        table[j] = table[i - 1];
        table[i - 1] = other;
    }
}

/* ---- Sizes ------------------------------------------------------------------------------- */

static uint32_t uniform_size(perf_rng_t *rng, uint32_t low, uint32_t high) {
    return low + (uint32_t)perf_below(rng, high - low + 1);
}

static uint32_t mixed_size(perf_rng_t *rng) {
    uint64_t percent = perf_below(rng, 100);
    if (percent < 90)
        return uniform_size(rng, 16, 256);
    return percent < 99 ? uniform_size(rng, 257, 8192) : uniform_size(rng, 8193, 128 << 10);
}

/* Each doubling of the size is half as frequent: every power of two holds the same bytes. */
static uint32_t power_size(perf_rng_t *rng) {
    uint32_t base = 16u << __builtin_ctzll(perf_random(rng) | (1u << 13));
    return uniform_size(rng, base, 2 * base - 1);
}

perf_sizes_t *perf_sizes(const char *distribution, uint64_t part) {
    static const struct {
        const char *name;
        uint32_t low, high;
    } uniform[] = {{"small", 16, 256}, {"medium", 1 << 10, 32 << 10}, {"larson", 10, 500}};
    perf_sizes_t *sizes = perf_table(sizeof *sizes);
    perf_rng_t rng = perf_rng(part + 1000000);
    unsigned low = 0, high = 0;
    for (size_t i = 0; i < sizeof uniform / sizeof uniform[0]; i++)
        if (!strcmp(distribution, uniform[i].name))
            low = uniform[i].low, high = uniform[i].high;
    bool is_mixed = !strcmp(distribution, "mixed"), is_power = !strcmp(distribution, "power");
    if (!high && !is_mixed && !is_power &&
        (sscanf(distribution, "%u-%u", &low, &high) != 2 || low > high || !low))
        perf_fail("unknown distribution of sizes");
    for (size_t i = 0; i < PERF_N_SIZES; i++)
        sizes->bytes[i] = is_mixed   ? mixed_size(&rng)
                          : is_power ? power_size(&rng)
                                     : uniform_size(&rng, low, high);
    return sizes;
}

/* ---- Arguments --------------------------------------------------------------------------- */

static uint64_t parse_number(const char *text) {
    char *end;
    uint64_t number = strtoull(text, &end, 0);
    if (*end == 'K' || *end == 'M')
        number <<= *end++ == 'K' ? 10 : 20;
    if (end == text || *end)
        perf_fail("an argument is not a number");
    return number;
}

static void add_param(const char *name, const char *value) {
    size_t at = strlen(run.params);
    snprintf(run.params + at, sizeof run.params - at, "%s%s:%s", at ? "," : "", name + 2, value);
}

static bool parse_option(const char *name, const char *value, const perf_option_t *options,
                         size_t n_options) {
    for (size_t i = 0; i < n_options; i++) {
        if (strcmp(name, options[i].name))
            continue;
        if (options[i].text)
            *options[i].text = value;
        else
            *options[i].number = parse_number(value);
        return true;
    }
    if (!strcmp(name, "--scale"))
        run.scale = atof(value);
    else if (!strcmp(name, "--seed"))
        run.seed = parse_number(value);
    else
        return false;
    return true;
}

static void usage(const perf_option_t *options, size_t n_options) {
    dprintf(STDERR_FILENO, "usage: %s [--scale FACTOR] [--seed N]", run.workload);
    for (size_t i = 0; i < n_options; i++)
        dprintf(STDERR_FILENO, " [%s %s]", options[i].name, options[i].text ? "TEXT" : "N");
    dprintf(STDERR_FILENO, "\n");
    _exit(2);
}

void perf_init(int argc, char **argv, const char *workload, const perf_option_t *options,
               size_t n_options) {
    run.workload = workload;
    for (int i = 1; i < argc; i += 2) {
        if (i + 1 >= argc || !parse_option(argv[i], argv[i + 1], options, n_options))
            usage(options, n_options);
        add_param(argv[i], argv[i + 1]);
    }
    if (!(run.scale > 0))
        usage(options, n_options);
}

uint64_t perf_scaled(uint64_t n) {
    uint64_t scaled = (uint64_t)((double)n * run.scale);
    return scaled ? scaled : 1;
}

/* ---- Clock and result -------------------------------------------------------------------- */

uint64_t perf_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

void perf_sleep_until_ns(uint64_t when) {
    struct timespec until = {(time_t)(when / 1000000000u), (long)(when % 1000000000u)};
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) != 0)
        ;
}

static double seconds_between(struct timeval from, struct timeval to) {
    return (double)(to.tv_sec - from.tv_sec) + 1e-6 * (double)(to.tv_usec - from.tv_usec);
}

void perf_start(void) {
    getrusage(RUSAGE_SELF, &run.at_start);
    run.start_ns = perf_now_ns();
}

void perf_stop(void) {
    struct rusage now;
    run.measured_ns += perf_now_ns() - run.start_ns;
    getrusage(RUSAGE_SELF, &now);
    run.user += seconds_between(run.at_start.ru_utime, now.ru_utime);
    run.sys += seconds_between(run.at_start.ru_stime, now.ru_stime);
    run.minor_faults += now.ru_minflt - run.at_start.ru_minflt;
    run.major_faults += now.ru_majflt - run.at_start.ru_majflt;
}

uint64_t perf_measured_ns(void) {
    return run.measured_ns;
}

void perf_metric(const char *name, double value) {
    size_t at = strlen(run.metrics);
    snprintf(run.metrics + at, sizeof run.metrics - at, " %s=%.10g", name, value);
}

void perf_report(uint64_t ops) {
    char line[4096];
    int n =
        snprintf(line, sizeof line,
                 "perf workload=%s params=%s seconds=%.6f ops=%llu user=%.6f sys=%.6f "
                 "peak_rss_kb=%llu minor_faults=%ld major_faults=%ld%s\n",
                 run.workload, run.params, (double)run.measured_ns * 1e-9, (unsigned long long)ops,
                 run.user, run.sys, (unsigned long long)perf_peak_rss_kb(), run.minor_faults,
                 run.major_faults, run.metrics);
    if (write(STDOUT_FILENO, line, (size_t)n) != n)
        perf_fail("cannot write the result");
}

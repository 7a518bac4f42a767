/* SPDX-License-Identifier: MIT */
/*
 * mheap_random.c - random gets, puts and resizes on one heap, in the manner of the original's test.
 *
 *      mheap_random [name=value ...]        exits with 0 if all went well
 *
 * Each iteration picks one of `count` slots: an empty one gets a new object, a full one is freed or
 * resized.  At the end everything is freed and the heap must be empty.
 */
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "mheap.h"

typedef struct {
    const char *name, *help;
    uint64_t value;
} argument_t;

enum {
    ITERATIONS,
    COUNT,
    SIZE,
    SEED,
    ALIGN,
    VALIDATE,
    DATA,
    TRACE,
    VM,
    CACHE,
    HEAP,
    VERBOSE,
    N_ARGUMENTS
};

static argument_t arguments[N_ARGUMENTS] = {
    [ITERATIONS] = {"iterations", "operations to do", 100000},
    [COUNT] = {"count", "slots for objects", 1000},
    [SIZE] = {"size", "largest object, in bytes", 2000},
    [SEED] = {"seed", "of the random numbers", 1},
    [ALIGN] = {"align", "largest alignment, a power of two", 64},
    [VALIDATE] = {"validate", "check the whole heap every so many operations, 0 never", 1000},
    [DATA] = {"data", "1: fill objects and check their contents", 1},
    [TRACE] = {"trace", "1: trace the objects", 0},
    [VM] = {"vm", "1: give free pages back to the system", 1},
    [CACHE] = {"cache", "1: with the small-object cache", 1},
    [HEAP] = {"heap", "bytes that the heap may grow to, 0: what the objects need twice over", 0},
    [VERBOSE] = {"verbose", "verbosity of the heap's description at the end", 1},
};

typedef struct {
    mheap_uoffset_t uoffset; /* MHEAP_GROUNDED: the slot is empty */
    uint32_t n_bytes;
    uint32_t seed;
} slot_t;

typedef struct {
    uint64_t n_gets, n_puts, n_grown, n_shrunk, n_not_resized, n_no_memory;
    uint64_t n_live_bytes, max_live_bytes;
} tally_t;

static uint64_t random_state;
static tally_t tally;

static uint64_t value(int argument) {
    return arguments[argument].value;
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators", 2016. */
static uint64_t random_below(uint64_t n) {
    random_state ^= random_state >> 12;
    random_state ^= random_state << 25;
    random_state ^= random_state >> 27;
    return (random_state * 0x2545f4914f6cdd1dull >> 16) % n;
}

static void fail(const char *what, uint64_t iteration) {
    fprintf(stderr, "mheap_random: %s, iteration %llu\n", what, (unsigned long long)iteration);
    exit(1);
}

static void usage(void) {
    fprintf(stderr, "usage: mheap_random [name=value ...]\n");
    for (int i = 0; i < N_ARGUMENTS; i++)
        fprintf(stderr, "  %-10s %s (%llu)\n", arguments[i].name, arguments[i].help,
                (unsigned long long)arguments[i].value);
    exit(2);
}

static void parse(const char *text) {
    const char *equals = strchr(text, '=');
    size_t n = equals ? (size_t)(equals - text) : 0;
    for (int i = 0; i < N_ARGUMENTS && n; i++) {
        if (strlen(arguments[i].name) != n || strncmp(arguments[i].name, text, n) != 0)
            continue;
        char *end;
        arguments[i].value = strtoull(equals + 1, &end, 0);
        if (*end || end == equals + 1)
            usage();
        return;
    }
    usage();
}

/* ---- Contents ---- */

static uint64_t word_of(const slot_t *slot, uint32_t i) {
    return ((uint64_t)slot->seed << 32 | i) * 0x9e3779b97f4a7c15ull;
}

static void fill(void *v, const slot_t *slot, uint32_t from_bytes) {
    if (!value(DATA))
        return;
    unsigned char *data = (unsigned char *)v + slot->uoffset;
    for (uint32_t i = from_bytes; i < slot->n_bytes; i++)
        data[i] = (unsigned char)(word_of(slot, i / 8) >> 8 * (i % 8));
}

static void check_contents(void *v, const slot_t *slot, uint32_t n_bytes, uint64_t iteration) {
    if (!value(DATA))
        return;
    const unsigned char *data = (unsigned char *)v + slot->uoffset;
    for (uint32_t i = 0; i < n_bytes; i++)
        if (data[i] != (unsigned char)(word_of(slot, i / 8) >> 8 * (i % 8)))
            fail("an object's contents have changed", iteration);
}

/* ---- Operations ---- */

static void count_live(int64_t n_bytes) {
    tally.n_live_bytes += (uint64_t)n_bytes;
    if (tally.n_live_bytes > tally.max_live_bytes)
        tally.max_live_bytes = tally.n_live_bytes;
}

static void get(void *v, slot_t *slot, uint64_t iteration) {
    uint32_t n_bytes = (uint32_t)random_below(value(SIZE) + 1);
    size_t align = 1, align_offset = 0;
    while (align < value(ALIGN) && random_below(2))
        align *= 2;
    if (align > 8)
        align_offset = 8 * random_below(align / 8);
    mheap_uoffset_t uoffset;
    mheap_get_aligned(v, n_bytes, align, align_offset, &uoffset);
    if (uoffset == MHEAP_GROUNDED) {
        tally.n_no_memory++;
        return;
    }
    if (((uintptr_t)v + uoffset + align_offset) % align)
        fail("an object is not aligned", iteration);
    if (mheap_data_bytes(v, uoffset) < n_bytes)
        fail("an object is too small", iteration);
    *slot = (slot_t){uoffset, n_bytes, (uint32_t)iteration};
    fill(v, slot, 0);
    tally.n_gets++;
    count_live(n_bytes);
}

static void put(void *v, slot_t *slot, uint64_t iteration) {
    check_contents(v, slot, slot->n_bytes, iteration);
    mheap_put(v, slot->uoffset);
    slot->uoffset = MHEAP_GROUNDED;
    tally.n_puts++;
    count_live(-(int64_t)slot->n_bytes);
}

static void resize(void *v, slot_t *slot, uint64_t iteration) {
    uint32_t n_bytes = (uint32_t)random_below(value(SIZE) + 1), old_bytes = slot->n_bytes;
    uint32_t kept_bytes = n_bytes < old_bytes ? n_bytes : old_bytes;
    bool done = mheap_resize(v, slot->uoffset, n_bytes);
    check_contents(v, slot, done ? kept_bytes : old_bytes, iteration);
    if (!done) {
        tally.n_not_resized++;
        return;
    }
    slot->n_bytes = n_bytes;
    fill(v, slot, kept_bytes);
    *(n_bytes < old_bytes ? &tally.n_shrunk : &tally.n_grown) += 1;
    count_live((int64_t)n_bytes - old_bytes);
}

static void check(void *v, uint64_t iteration) {
    mheap_corruption_t corruption;
    if (!mheap_validate_report(v, &corruption))
        fail(corruption.what, iteration);
    if (mheap_elts(v) != tally.n_gets - tally.n_puts)
        fail("the number of objects is wrong", iteration);
}

static void run(void *v, slot_t *slots) {
    uint64_t n_slots = value(COUNT), every = value(VALIDATE);
    for (uint64_t i = 0; i < n_slots; i++)
        slots[i].uoffset = MHEAP_GROUNDED;
    for (uint64_t iteration = 1; iteration <= value(ITERATIONS); iteration++) {
        slot_t *slot = &slots[random_below(n_slots)];
        if (slot->uoffset == MHEAP_GROUNDED)
            get(v, slot, iteration);
        else if (random_below(4))
            put(v, slot, iteration);
        else
            resize(v, slot, iteration);
        if (every && iteration % every == 0)
            check(v, iteration);
    }
}

static void free_all(void *v, slot_t *slots) {
    for (uint64_t i = 0; i < value(COUNT); i++)
        if (slots[i].uoffset != MHEAP_GROUNDED)
            put(v, &slots[i], value(ITERATIONS));
    check(v, value(ITERATIONS));
    if (mheap_elts(v) != 0 || tally.n_live_bytes != 0)
        fail("objects remain at the end", value(ITERATIONS));
}

static void print_statistics(void *v) {
    mheap_usage_t u;
    mheap_usage(v, &u);
    printf("gets %llu, puts %llu, grown %llu, shrunk %llu, not resized %llu, no memory %llu\n",
           (unsigned long long)tally.n_gets, (unsigned long long)tally.n_puts,
           (unsigned long long)tally.n_grown, (unsigned long long)tally.n_shrunk,
           (unsigned long long)tally.n_not_resized, (unsigned long long)tally.n_no_memory);
    printf("live bytes %llu, at most %llu; heap %llu: used %llu, overhead %llu, free %llu\n",
           (unsigned long long)tally.n_live_bytes, (unsigned long long)tally.max_live_bytes,
           (unsigned long long)u.bytes_total, (unsigned long long)u.bytes_used,
           (unsigned long long)u.bytes_overhead, (unsigned long long)u.bytes_free);
    mheap_format(v, stdout, (int)value(VERBOSE));
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        parse(argv[i]);
    if (!value(COUNT) || !value(SIZE) || value(SIZE) >> 31 || value(ALIGN) & (value(ALIGN) - 1))
        usage();
    random_state = value(SEED) * 0x9e3779b97f4a7c15ull + 1;

    size_t heap_bytes =
        value(HEAP) ? value(HEAP) : 2 * value(COUNT) * (value(SIZE) + 64) + (1 << 20);
    uint32_t flags = (value(TRACE) ? MHEAP_FLAG_TRACE : 0) |
                     (value(VM) ? 0 : MHEAP_FLAG_DISABLE_VM) |
                     (value(CACHE) ? MHEAP_FLAG_SMALL_OBJECT_CACHE : 0);
    void *v = mheap_alloc_with_flags(NULL, heap_bytes, flags);
    slot_t *slots = calloc(value(COUNT), sizeof *slots);
    if (!v || !slots)
        fail("no memory for the heap", 0);
    run(v, slots);
    print_statistics(v);
    free_all(v, slots);
    free(slots);
    mheap_free(v);
    return 0;
}

/* SPDX-License-Identifier: MIT */
/*
 * model_race.c - data races, by vector clocks: two accesses to the same bytes, one of them a write,
 * not both atomic, and neither happens before the other by the releases and acquires between them.
 */
#include "model.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#define N_ENTRIES (1u << 16)

typedef struct {
    uint32_t of[MODEL_MAX_THREADS];
} vector_clock_t;

typedef enum { READ_PLAIN, READ_ATOMIC, WRITE_PLAIN, WRITE_ATOMIC, N_WAYS } way_t;

/* Last accesses to four bytes; and what was released at an address. */
typedef struct {
    uintptr_t address;
    uint64_t run;
    vector_clock_t last[N_WAYS];
} history_t;

typedef struct {
    uintptr_t address;
    uint64_t run;
    vector_clock_t released;
} release_t;

static history_t histories[N_ENTRIES];
static release_t releases[N_ENTRIES / 16];
static vector_clock_t clocks[MODEL_MAX_THREADS];
static uint64_t run_number;
static bool is_on;

void race_begin_run(void) {
    run_number++;
    is_on = true;
    memset(clocks, 0, sizeof clocks);
    for (unsigned t = 0; t < MODEL_MAX_THREADS; t++)
        clocks[t].of[t] = 1;
}

void race_stop(void) {
    is_on = false;
}

/* Entries of other runs are as good as empty. */
static history_t *history_of(uintptr_t address) {
    for (size_t i = address / 4 * 0x9E3779B97F4A7C15ull >> 48;; i = (i + 1) % N_ENTRIES) {
        history_t *history = &histories[i];
        if (history->run != run_number)
            *history = (history_t){.address = address, .run = run_number};
        if (history->address == address)
            return history;
    }
}

static release_t *release_of(const volatile void *at) {
    uintptr_t address = (uintptr_t)at;
    for (size_t i = address / 4 * 0x9E3779B97F4A7C15ull >> 52;; i = (i + 1) % (N_ENTRIES / 16)) {
        release_t *release = &releases[i];
        if (release->run != run_number)
            *release = (release_t){.address = address, .run = run_number};
        if (release->address == address)
            return release;
    }
}

static bool is_ordered(const vector_clock_t *last, unsigned me) {
    for (unsigned t = 0; t < MODEL_MAX_THREADS; t++)
        if (t != me && last->of[t] > clocks[me].of[t])
            return false;
    return true;
}

static void report(const volatile void *at, bool is_write, const void *code) {
    static char text[120];
    snprintf(text, sizeof text, "data race: a %s of %p by the code at %p",
             is_write ? "write" : "read", (const void *)at, code);
    model_wrong(text);
}

/* Thread-local variables share their addresses here, but nothing else. */
static bool is_private(const volatile void *at) {
    return at == &errno ||
           (uintptr_t)at - (uintptr_t)__start_model_thread_locals <
               (uintptr_t)(__stop_model_thread_locals - __start_model_thread_locals);
}

void race_access(const volatile void *at, size_t bytes, bool is_write, bool is_atomic,
                 const void *code) {
    if (!is_on || !model_is_running() || is_private(at))
        return;
    unsigned me = model_self();
    for (uintptr_t p = (uintptr_t)at & ~(uintptr_t)3; p < (uintptr_t)at + bytes; p += 4) {
        history_t *history = history_of(p);
        bool ordered = is_ordered(&history->last[WRITE_PLAIN], me);
        if (!is_atomic)
            ordered = ordered && is_ordered(&history->last[WRITE_ATOMIC], me);
        if (is_write)
            ordered = ordered && is_ordered(&history->last[READ_PLAIN], me);
        if (is_write && !is_atomic)
            ordered = ordered && is_ordered(&history->last[READ_ATOMIC], me);
        if (!ordered)
            report(at, is_write, code);
        way_t way = (is_write ? WRITE_PLAIN : READ_PLAIN) + is_atomic;
        history->last[way].of[me] = clocks[me].of[me];
    }
}

static void join(vector_clock_t *to, const vector_clock_t *from) {
    for (unsigned t = 0; t < MODEL_MAX_THREADS; t++)
        if (to->of[t] < from->of[t])
            to->of[t] = from->of[t];
}

void race_release(const volatile void *address, bool is_new) {
    if (!model_is_running())
        return;
    if (is_new)
        race_forget(address);
    join(&release_of(address)->released, &clocks[model_self()]);
    clocks[model_self()].of[model_self()]++;
}

void race_acquire(const volatile void *address) {
    if (model_is_running())
        join(&clocks[model_self()], &release_of(address)->released);
}

void race_forget(const volatile void *address) {
    if (model_is_running())
        release_of(address)->released = (vector_clock_t){{0}};
}

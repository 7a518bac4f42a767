/* SPDX-License-Identifier: MIT */
/*
 * model.c - the scheduler: coroutines, and the depth-first search.
 *
 * Of the orders of two operations only those are tried that can matter: where an operation depends
 * on an earlier one of another thread and nothing between them orders the two, the thread is also
 * tried at the earlier place (Flanagan and Godefroid, "Dynamic partial-order reduction", 2005), and
 * what was tried there is not tried again further down (sleep sets).
 */
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>

#define STACK_BYTES ((size_t)256 << 10)
#define MAX_POINTS  20000u /* of a run: one that has more does not end */

/* One choice of the run: who could go on with what, who did, who need not be tried (any more). */
typedef struct {
    op_t next[MODEL_MAX_THREADS];
    uint8_t enabled, asleep, chosen;
    uint8_t wanted;                    /* who has to be tried here */
    unsigned known[MODEL_MAX_THREADS]; /* for each thread, its steps before here that are ordered
                                          before this one: all below this number */
} frame_t;

static const scenario_t *scenario;
static model_result_t *result;
static frame_t *stack;
static unsigned n_frames, depth;

static struct {
    ucontext_t context;
    char *stack, *locals;
    op_t next;
} thread[MODEL_MAX_THREADS];
static ucontext_t scheduler_context;
static char *first_locals; /* of a thread that has not begun */
static unsigned n_threads, self;
static bool running;

/* ---- Threads ---- */

static size_t locals_bytes(void) {
    return (size_t)(__stop_model_thread_locals - __start_model_thread_locals);
}

static void load_locals(const char *from) {
    memcpy(__start_model_thread_locals, from, locals_bytes());
}

static void save_locals(char *to) {
    memcpy(to, __start_model_thread_locals, locals_bytes());
}

unsigned model_self(void) {
    return self;
}

bool model_is_running(void) {
    return running;
}

bool model_stops_at(unsigned where) {
    return scenario->stops & where;
}

bool model_thread_is_dead(unsigned t) {
    return thread[t].next.kind == OP_DONE;
}

void model_wrong(const char *what) {
    if (!result->wrong)
        result->wrong = what;
}

void model_point(op_kind_t kind, const volatile void *address) {
    if (!running)
        return;
    thread[self].next = (op_t){kind, address};
    unsigned me = self;
    swapcontext(&thread[me].context, &scheduler_context);
}

void model_as(unsigned t, void (*what)(void)) {
    unsigned before = self;
    self = t;
    load_locals(thread[t].locals);
    what();
    save_locals(thread[t].locals);
    self = before;
}

static void thread_main(void) {
    scenario->thread[self]();
    const void *alive = world_alive_of_self();
    if (alive) { /* the kernel marks the mutex */
        model_point(OP_WRITE, alive);
        race_release(alive, true);
    }
    thread[self].next.kind = OP_DONE;
    swapcontext(&thread[self].context, &scheduler_context);
}

static void create_threads(void) {
    for (unsigned t = 0; t < MODEL_MAX_THREADS; t++) {
        if (!thread[t].stack) {
            thread[t].stack = malloc(STACK_BYTES);
            thread[t].locals = malloc(locals_bytes());
        }
        memcpy(thread[t].locals, first_locals, locals_bytes());
        thread[t].next = (op_t){t < n_threads ? OP_LOCAL : OP_DONE, NULL};
        getcontext(&thread[t].context);
        thread[t].context.uc_stack.ss_sp = thread[t].stack;
        thread[t].context.uc_stack.ss_size = STACK_BYTES;
        makecontext(&thread[t].context, thread_main, 0);
    }
}

static void run_thread(unsigned t) {
    self = t;
    load_locals(thread[t].locals);
    running = true;
    swapcontext(&scheduler_context, &thread[t].context);
    running = false;
    save_locals(thread[t].locals);
}

void model_end_others(void) {
    for (unsigned t = 0; t < n_threads; t++)
        if (t != self)
            thread[t].next.kind = OP_DONE;
}

/* ---- One run ---- */

static bool is_enabled(const op_t *op) {
    if (op->kind == OP_WAIT)
        return *(const volatile uint32_t *)op->address == 0;
    return op->kind != OP_DONE;
}

static bool depend(const op_t *a, const op_t *b) {
    if (a->kind == OP_WORLD || b->kind == OP_WORLD)
        return true;
    if (a->kind == OP_LOCAL || b->kind == OP_LOCAL || (a->kind == OP_READ && b->kind == OP_READ))
        return false;
    return (uintptr_t)a->address / 8 == (uintptr_t)b->address / 8;
}

/* Whom there is no need to try here: what was tried before, or was already unneeded there, if the
 * step that led here does not concern it. */
static uint8_t inherited_sleep(void) {
    if (depth == 0)
        return 0;
    const frame_t *from = &stack[depth - 1];
    uint8_t asleep = 0;
    for (unsigned t = 0; t < n_threads; t++)
        if (from->asleep >> t & 1 && t != from->chosen &&
            !depend(&from->next[t], &from->next[from->chosen]))
            asleep |= (uint8_t)(1u << t);
    return asleep;
}

/* False if none of those who could be tried has to be. */
static bool choose(frame_t *frame, uint8_t among) {
    uint8_t candidates = frame->enabled & among & (uint8_t)~frame->asleep;
    if (!candidates)
        return false;
    unsigned before = depth ? stack[depth - 1].chosen : 0;
    frame->chosen = candidates >> before & 1 ? (uint8_t)before : (uint8_t)__builtin_ctz(candidates);
    return true;
}

static bool new_frame(uint8_t enabled) {
    frame_t *frame = &stack[depth];
    frame->enabled = enabled;
    frame->asleep = inherited_sleep();
    if (!choose(frame, UINT8_MAX))
        return false;
    frame->wanted = (uint8_t)(1u << frame->chosen);
    for (unsigned t = 0; t < n_threads; t++)
        if (frame->next[t].kind ==
            OP_WORLD) /* what the others will do may be cut off: try all now */
            frame->wanted = enabled;
    n_frames = depth + 1;
    return true;
}

/* The step now taken: what earlier steps come before it in any equal run, and the last one that
 * does so by chance, before which the thread shall be tried, too. */
static void note_order(void) {
    frame_t *now = &stack[depth];
    const op_t *op = &now->next[now->chosen];
    static unsigned known[MODEL_MAX_THREADS][MODEL_MAX_THREADS];
    if (depth == 0)
        memset(known, 0, sizeof known);
    unsigned *mine = known[now->chosen];
    bool is_last = true;
    for (unsigned d = depth; d-- > 0;) {
        frame_t *then = &stack[d];
        if (then->chosen == now->chosen || !depend(&then->next[then->chosen], op))
            continue;
        if (is_last && mine[then->chosen] <= d) {
            bool could = then->enabled >> now->chosen & 1;
            then->wanted |= could ? (uint8_t)(1u << now->chosen) : then->enabled;
            is_last = false;
        }
        for (unsigned t = 0; t < n_threads; t++)
            if (mine[t] < then->known[t])
                mine[t] = then->known[t];
    }
    mine[now->chosen] = depth + 1;
    memcpy(now->known, mine, sizeof now->known);
}

static bool all_done(void) {
    for (unsigned t = 0; t < n_threads; t++)
        if (thread[t].next.kind != OP_DONE)
            return false;
    return true;
}

/* True: to its end; false: cut, or something is wrong. */
static bool run(void) {
    for (depth = 0;; depth++) {
        uint8_t enabled = 0;
        for (unsigned t = 0; t < n_threads; t++)
            enabled |= (uint8_t)(is_enabled(&thread[t].next) << t);
        if (!enabled) {
            if (!all_done())
                model_wrong("deadlock");
            return !result->wrong;
        }
        if (depth == MAX_POINTS)
            model_wrong("a run does not end");
        if (result->wrong)
            return false;
        for (unsigned t = 0; t < n_threads; t++) /* in each run: memory lies elsewhere each time */
            stack[depth].next[t] = thread[t].next;
        if (depth >= n_frames && !new_frame(enabled)) {
            result->n_cut++;
            return false;
        }
        note_order();
        run_thread(stack[depth].chosen);
        result->n_points++;
    }
}

/* ---- All runs ---- */

static void describe_run(void) {
    size_t n = 0;
    for (unsigned d = 0; d < n_frames && n + 8 < sizeof result->where; d++)
        if (d == 0 || stack[d].chosen != stack[d - 1].chosen)
            n += (size_t)snprintf(result->where + n, sizeof result->where - n, "%u@%u ",
                                  stack[d].chosen, d);
}

/* On to the next choice that was not tried; false when there is none. */
static bool backtrack(void) {
    while (n_frames > 0) {
        depth = n_frames - 1;
        frame_t *frame = &stack[depth];
        frame->asleep |= (uint8_t)(1u << frame->chosen);
        if (choose(frame, frame->wanted))
            return true;
        n_frames--;
    }
    return false;
}

model_result_t model_explore(const scenario_t *wanted) {
    static model_result_t found;
    found = (model_result_t){.wrong = NULL};
    scenario = wanted;
    result = &found;
    stack = malloc((MAX_POINTS + 1) * sizeof *stack);
    if (!first_locals) {
        first_locals = malloc(locals_bytes());
        save_locals(first_locals);
    }
    n_threads = 0;
    while (n_threads < MODEL_MAX_THREADS && scenario->thread[n_threads])
        n_threads++;
    n_frames = 0;
    do {
        create_threads();
        scenario->set_up();
        race_begin_run();
        bool is_whole = run();
        load_locals(first_locals);
        found.n_runs += is_whole;
        if (n_frames > found.longest)
            found.longest = n_frames;
        if (is_whole && !found.wrong)
            found.wrong = scenario->check();
        if (found.wrong)
            describe_run();
        else
            world_clean_up();
    } while (!found.wrong && backtrack());
    free(stack);
    return found;
}

/* SPDX-License-Identifier: MIT */
/*
 * model.h - explores every interleaving of a few threads that run the library's real code.
 *
 * interpose/ is compiled with -fsanitize=thread, but linked to model_hooks.c in place of that
 * sanitizer: each atomic operation and memory access calls us first.  Threads are coroutines
 * (model.c); before an operation that others can notice a thread stops, and the scheduler chooses
 * who goes on.  All choices are tried, depth first, each by a run from the start; of runs that
 * differ only in the order of independent operations one is enough (sleep sets: Godefroid, 1996).
 *
 * Found are: deadlocks, aborts and wild accesses (the process dies: the caller forks before), data
 * races by happens-before with the memory orders as written (model_race.c), and whatever the
 * scenario's check finds at the end of each run.  Not explored are the outcomes that only a weakly
 * ordered processor has; but a run whose plain accesses are all ordered has none.
 */
#ifndef MHEAP_MODEL_H
#define MHEAP_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MODEL_MAX_THREADS 4u

#define MODEL_TABLE       1u /* at the table of heaps: where heaps are made */
#define MODEL_LOOKS       4u /* at what tells whether an owner looks into its inbox */
#define MODEL_WRITES      2u /* at each write to memory: a fork may come there */

typedef struct {
    const char *name;
    void (*set_up)(void); /* one run's start; may play the threads with model_as */
    void (*thread[MODEL_MAX_THREADS])(void);
    const char *(*check)(void); /* after each run: NULL, or what is wrong */
    unsigned stops;             /* where threads stop besides: MODEL_... */
} scenario_t;

typedef struct {
    uint64_t n_runs, n_cut, n_points; /* whole ones; given up as equal to another; in all */
    unsigned longest;                 /* points of a run */
    const char *wrong;                /* NULL, or what was found first */
    char where[400];                  /* the threads' order in that run */
} model_result_t;

model_result_t model_explore(const scenario_t *scenario);

/* ---- For scenarios ---- */

void model_as(unsigned thread, void (*what)(void)); /* in set_up and check, without points */
unsigned model_self(void);
void model_wrong(const char *what);
/* The calling thread forks.  True: we are the child, the other threads are no more. */
bool model_fork(bool be_child);

/* ---- Deliberate mistakes, to see that they are found ---- */

typedef enum {
    MISTAKE_NONE,
    MISTAKE_PUSH_NOT_ATOMIC,   /* load, compare and store of the inbox apart from each other */
    MISTAKE_PUSH_NO_REREAD,    /* stores its batch though the head has changed */
    MISTAKE_TAKE_NOT_ATOMIC,   /* load and store of the inbox apart from each other */
    MISTAKE_PUSH_RELAXED,      /* pushed without release */
    MISTAKE_TAKE_RELAXED,      /* taken without acquire */
    MISTAKE_LOCK_IGNORED,      /* a try of a heap's lock succeeds while another holds it */
    MISTAKE_ADOPTED_ALIVE,     /* a heap is adopted though its owner lives */
    MISTAKE_FORK_WITHOUT_LOCK, /* the prepare handlers do nothing */
} mistake_t;
extern mistake_t model_mistake;

/* ---- Between the files of the model ---- */

extern char __start_model_thread_locals[], __stop_model_thread_locals[];

typedef enum {
    OP_LOCAL, /* noticed by nobody but a fork */
    OP_READ,
    OP_WRITE,
    OP_WORLD, /* fork: notices everything */
    OP_WAIT,  /* for a lock: possible when the word is 0; then a write */
    OP_DONE
} op_kind_t;

typedef struct {
    op_kind_t kind;
    const volatile void *address;
} op_t;

void model_point(op_kind_t kind, const volatile void *address); /* before the operation */
bool model_is_running(void); /* inside a thread of a run, not in set-up or check */
bool model_stops_at(unsigned where);
bool model_thread_is_dead(unsigned thread);
void model_end_others(void);

void race_begin_run(void);
void race_stop(void); /* for the rest of the run */
void race_access(const volatile void *address, size_t bytes, bool is_write, bool is_atomic,
                 const void *code);
void race_release(const volatile void *address, bool is_new); /* is_new: forget earlier releases */
void race_acquire(const volatile void *address);
void race_forget(const volatile void *address); /* a relaxed store ends what was released there */

/* model_world.c */
bool world_is_shared(const volatile void *address); /* the words that threads meet at */
bool world_is_inbox(const volatile void *address);
bool world_is_heap_lock(const volatile void *address);
const void *world_alive_of_self(void); /* the mutex of the thread's heap, or NULL */
void world_clean_up(void);             /* after any run, however far it came */

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_MODEL_H */

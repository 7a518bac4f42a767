/* SPDX-License-Identifier: MIT */
#include "scenarios.h"

#include <string.h>

#include "../heaps/heaps_api.h"
#include "../heaps/world.h"
#include "boot.h"

#define SMALL  ((size_t)64)
#define MEDIUM ((size_t)30 << 10) /* three of them are too much for an inbox (HANDOVER_PART) */

/* ---- Objects ---- */

static struct {
    char *address;
    size_t bytes;
} object[32];                /* live ones, filled with their number */
static int owner_of_heap[8]; /* the thread that had it last, counted from 1 */

static void keep(unsigned i, size_t bytes) {
    char *address = heap_malloc(bytes);
    if (!address)
        model_wrong("no memory");
    for (unsigned other = 0; other < 32; other++)
        if (object[other].address == address)
            model_wrong("an object was handed out twice");
    object[i].address = address;
    object[i].bytes = bytes;
    memset(address, (int)i + 1, bytes < 256 ? bytes : 256);
}

static void drop(unsigned i) {
    char *address = object[i].address;
    for (size_t k = 8; k < object[i].bytes && k < 256; k++)
        if (address[k] != (char)(i + 1))
            model_wrong("contents of a live object have changed");
    object[i].address = NULL;
    heap_free(address);
}

static void note_heap(void) {
    unsigned id = api_self_id();
    int other = owner_of_heap[id] - 1;
    if (other >= 0 && other != (int)model_self() && !model_thread_is_dead((unsigned)other))
        model_wrong("two living threads have the same heap");
    owner_of_heap[id] = (int)model_self() + 1;
}

static void begin(void) {
    memset(object, 0, sizeof object);
    memset(owner_of_heap, 0, sizeof owner_of_heap);
}

static void get_heap(void) {
    heap_free(heap_malloc(16));
    note_heap();
}

/* ---- Checks ---- */

static void drop_all(void) {
    for (unsigned i = 0; i < 32; i++)
        if (object[i].address)
            drop(i);
}

static const char *all_is_well(void) {
    const char *what = api_check();
    if (!what)
        what = world_settle();
    if (what)
        return what;
    world_new_thread(); /* one that comes after all others */
    drop_all();
    what = world_lost();
    return what ? what : api_check();
}

/* ---- Two threads give objects back to a third, which allocates ---- */

static void three_small(void) {
    get_heap();
    for (unsigned i = 0; i < 3; i++)
        keep(i, SMALL);
}

static void three_of_a_run(void) {
    get_heap();
    for (unsigned i = 3; i < 30; i++)
        keep(i, SMALL);
    for (unsigned i = 0; i < 3; i++)
        keep(i, SMALL);
    if (!world_is_in_run(object[0].address))
        model_wrong("the class is still cold");
}

static void set_up_push(void) {
    begin();
    model_as(0, three_small);
    model_as(1, get_heap);
    model_as(2, get_heap);
}

static void set_up_push_hot(void) {
    begin();
    model_as(0, three_of_a_run);
    model_as(1, get_heap);
    model_as(2, get_heap);
}

static void allocate_two(void) {
    keep(30, SMALL);
    keep(31, SMALL);
}

static void give_back_0(void) {
    drop(0);
    world_flush();
}

static void give_back_1_and_2(void) {
    drop(1);
    world_flush();
    drop(2);
    world_flush();
}

static void give_back_1(void) {
    drop(1);
    world_flush();
}

const scenario_t scenario_push = {"two pushes, an owner that refills",
                                  set_up_push,
                                  {allocate_two, give_back_0, give_back_1},
                                  all_is_well,
                                  0};

const scenario_t scenario_push_long = {"three pushes, an owner that refills",
                                       set_up_push,
                                       {allocate_two, give_back_0, give_back_1_and_2},
                                       all_is_well,
                                       0};

const scenario_t scenario_push_hot = {"the same with blocks of runs",
                                      set_up_push_hot,
                                      {allocate_two, give_back_0, give_back_1_and_2},
                                      all_is_well,
                                      0};

/* ---- The ring is full: what comes now is linked ---- */

static void four_small(void) {
    get_heap();
    for (unsigned i = 0; i < 4; i++)
        keep(i, SMALL);
}

static void give_back_2(void) {
    drop(2);
    world_flush();
}

static void give_back_3(void) {
    drop(3);
    world_flush();
}

static void set_up_full(void) {
    begin();
    model_as(0, four_small);
    model_as(1, get_heap);
    model_as(2, get_heap);
    model_as(1, give_back_0);
    model_as(2, give_back_1);
}

const scenario_t scenario_push_full = {"two pushes to a full ring, an owner that refills",
                                       set_up_full,
                                       {allocate_two, give_back_2, give_back_3},
                                       all_is_well,
                                       0};

/* ---- More than an inbox may hold: who fills it empties it ---- */

static void three_medium(void) {
    get_heap();
    for (unsigned i = 0; i < 3; i++)
        keep(i, MEDIUM);
}

static void drop_2(void) {
    drop(2);
}

static void set_up_over_limit(void) {
    begin();
    model_as(0, three_medium);
    model_as(1, get_heap);
    model_as(2, get_heap);
}

static void set_up_near_limit(void) {
    set_up_over_limit();
    model_as(2, drop_2);
}

static void allocate_medium(void) {
    keep(20, MEDIUM);
}

static void drop_0(void) {
    drop(0);
}

static void drop_1(void) {
    drop(1);
}

static void drop_1_and_2(void) {
    drop(1);
    drop(2);
}

const scenario_t scenario_push_over_limit = {"pushes over an inbox's limit",
                                             set_up_near_limit,
                                             {allocate_medium, drop_0, drop_1},
                                             all_is_well,
                                             0};

const scenario_t scenario_push_over_limit_long = {"more pushes over an inbox's limit",
                                                  set_up_over_limit,
                                                  {allocate_medium, drop_0, drop_1_and_2},
                                                  all_is_well,
                                                  0};

/* ---- Each push is a reason to ask whether the owner looks into its inbox ---- */

#define QUARTER ((size_t)15 << 10)

static void three_quarters(void) {
    get_heap();
    for (unsigned i = 0; i < 3; i++)
        keep(i, QUARTER);
}

static void set_up_looks(void) {
    begin();
    model_as(0, three_quarters);
    model_as(1, get_heap);
    model_as(2, get_heap);
}

static void sleep_on(void) {}

/* Whoever finds it locked leaves it to who empties it, and looks again. */
static const char *little_is_left(void) {
    return world_inbox_bytes(1) > QUARTER + 4096 ? "a sleeping owner's inbox is left full"
                                                 : all_is_well();
}

const scenario_t scenario_push_asleep = {"a sleeping owner's inbox",
                                         set_up_looks,
                                         {sleep_on, drop_0, drop_1_and_2},
                                         little_is_left,
                                         MODEL_LOOKS};

static void look(void) {
    keep(20, SMALL);
}

const scenario_t scenario_push_awake = {
    "an owner looks, two push", set_up_looks, {look, drop_0, drop_1}, all_is_well, MODEL_LOOKS};

const scenario_t scenario_push_awake_long = {"a busy owner's inbox is left to it",
                                             set_up_looks,
                                             {look, drop_0, drop_1_and_2},
                                             all_is_well,
                                             MODEL_LOOKS};

/* ---- Trimming from outside ---- */

static void trim(void) {
    heaps_trim();
}

static void allocate_one_drop_one(void) {
    keep(20, SMALL);
    drop(2);
}

const scenario_t scenario_trim = {"a trim, a push, an owner at work",
                                  set_up_push,
                                  {allocate_one_drop_one, give_back_0, trim},
                                  all_is_well,
                                  0};

/* ---- Threads come and go ---- */

static void leave_batch(void) {
    note_heap();
    keep(10, SMALL);
    drop(0); /* stays in the batch for thread 0's heap */
}

static void drop_own_and_die(void) {
    drop(1);
}

static void push_and_die(void) {
    drop(2);
    world_flush();
}

static void come_first(void) {
    keep(20, SMALL);
    note_heap();
    keep(21, SMALL);
}

static void come_second(void) {
    keep(22, SMALL);
    note_heap();
}

static void set_up_two_heaps(void) {
    begin();
    model_as(0, three_small);
    model_as(1, leave_batch);
}

const scenario_t scenario_adopt = {"two threads die, two come",
                                   set_up_two_heaps,
                                   {drop_own_and_die, push_and_die, come_first, come_second},
                                   all_is_well,
                                   MODEL_TABLE};

/* An heir takes in what lies in the inbox, and sends off what lies in batches. */
static void die(void) {}

static void push_2(void) {
    give_back_0();
    drop(2);
    world_flush();
}

static void set_up_heritage(void) {
    begin();
    model_as(0, three_small);
    model_as(1, get_heap);
    model_as(1, push_2);
}

static void inherit(void) {
    keep(20, SMALL);
    note_heap();
    if (api_self_id() == 1 && world_n_taken_in(1) < 2)
        model_wrong("an heir has not taken its inbox in");
    keep(21, SMALL);
    heaps_trim();
}

const scenario_t scenario_adopt_dead = {"an heir and its inbox",
                                        set_up_heritage,
                                        {die, give_back_1, inherit},
                                        all_is_well,
                                        MODEL_TABLE};

/* ---- The first heaps of a process ---- */

/* What is set up once is done: creating a thread allocates, so there is one thread then. */
static void set_up_nothing(void) {
    begin();
    boot_first_heap();
}

static void come_0(void) {
    keep(0, SMALL);
    note_heap();
}

static void come_1(void) {
    keep(1, SMALL);
    note_heap();
    drop(1);
}

static void come_2(void) {
    keep(2, SMALL);
    note_heap();
}

const scenario_t scenario_first_heaps = {"three threads need a heap at once",
                                         set_up_nothing,
                                         {come_0, come_1, come_2},
                                         all_is_well,
                                         MODEL_TABLE};

/* ---- Fork ---- */

/* The child uses its own heap and, as a thread that it starts, another's; the parent's objects are
 * there, and no block is on two lists. */
static void be_child(void) {
    const char *what = api_check();
    if (what)
        model_wrong(what);
    for (unsigned i = 24; i < 28; i++)
        keep(i, SMALL);
    drop(24);
    world_flush();
    world_new_thread();
    for (unsigned i = 28; i < 32; i++)
        keep(i, SMALL);
    drop(25);
    drop(29);
    heaps_trim();
    what = api_check();
    if (what)
        model_wrong(what);
}

static void fork_and_be_child(void) {
    if (model_fork(true))
        be_child();
}

static void fork_and_be_parent(void) {
    model_fork(false);
    keep(24, SMALL);
    drop(24);
}

/* Objects of a call that the fork interrupted are in the child neither free nor anybody's. */
static const char *child_is_well(void) {
    return api_check();
}

static void work_and_push(void) {
    keep(20, SMALL);
    drop(1);
    world_flush();
    drop(20);
}

static void three_more(void) {
    get_heap();
    for (unsigned i = 10; i < 13; i++)
        keep(i, SMALL);
}

static void set_up_fork(void) {
    begin();
    model_as(0, three_small);
    model_as(1, three_more);
    model_as(2, get_heap);
}

static void push_to_both(void) {
    drop(0);
    drop(10);
    world_flush();
}

const scenario_t scenario_fork_parent = {"a fork among threads: the parent",
                                         set_up_fork,
                                         {fork_and_be_parent, work_and_push, push_to_both},
                                         all_is_well,
                                         0};

const scenario_t scenario_fork_child = {"a fork among threads: the child",
                                        set_up_fork,
                                        {fork_and_be_child, work_and_push, push_to_both},
                                        child_is_well,
                                        0};

/* A fork between any two writes of another thread. */
static void work_much(void) {
    keep(20, SMALL);
    keep(21, SMALL);
    drop(11);
    drop(20);
    drop(0);
    world_flush();
    keep(22, MEDIUM);
    drop(22);
}

const scenario_t scenario_fork_child_writes = {"a fork at any write: the child",
                                               set_up_fork,
                                               {fork_and_be_child, work_much},
                                               child_is_well,
                                               MODEL_WRITES};

static void come_and_use(void) {
    keep(20, SMALL);
    drop(20);
}

static void set_up_fork_adopting(void) {
    begin();
    model_as(0, three_small);
}

const scenario_t scenario_fork_child_adopting = {"a fork while a thread gets its heap: the child",
                                                 set_up_fork_adopting,
                                                 {fork_and_be_child, come_and_use},
                                                 child_is_well,
                                                 MODEL_TABLE | MODEL_WRITES};

static void fork_again(void) {
    model_fork(false);
    keep(26, SMALL);
    drop(26);
}

const scenario_t scenario_two_forks = {"two forks at once",
                                       set_up_fork,
                                       {fork_and_be_parent, fork_again, give_back_0},
                                       all_is_well,
                                       0};

/* ---- A mistake of the scenario's own: two locks, against fork's order ---- */

static void nest_locks(void) {
    world_lock_heap(2);
    world_lock_heap(1);
    world_unlock_heap(1);
    world_unlock_heap(2);
}

const scenario_t scenario_wrong_lock_order = {"locks nested against fork's order",
                                              set_up_fork,
                                              {fork_and_be_parent, nest_locks},
                                              all_is_well,
                                              0};

/* SPDX-License-Identifier: MIT */
#include "hardened_slab.h"

#include <string.h>

#include "hardened_arena.h"
#include "hardened_canary.h"
#include "vm.h"

/* Slots are opened by the page, in order, so that a slab touches no more pages than it needs; among
 * those that are open a random one is taken.  At least so many are to choose from, if the slab has
 * them, and a quarter of a page. */
#define OPEN_PAGE_BYTES 4096u
#define MIN_READY       8u

/* Slabs without an object whose pages an arena keeps for what comes next. */
#define MAX_IDLE_SLABS  16u

#define PROBE_MAX_BYTES 512u

static inline slot_state_t state_of(const slab_t *slab, unsigned slot) {
    return slab->slots[slot] & ((1u << SLOT_STATE_BITS) - 1);
}

static inline size_t slack_of(const slab_t *slab, unsigned slot) {
    return slab->slots[slot] >> SLOT_STATE_BITS;
}

static inline void set_slot(slab_t *slab, unsigned slot, slot_state_t state, size_t slack_bytes) {
    slab->slots[slot] = (uint16_t)(slack_bytes << SLOT_STATE_BITS | state);
}

static inline char *slot_at(const slab_t *slab, unsigned slot) {
    return slab->memory + (size_t)slot * slab->slot_bytes;
}

/* Of any offset in the slab; the rest of a division tells whether it is a slot's start. */
static inline unsigned slot_of(const slab_t *slab, const void *object) {
    return (unsigned)((uint64_t)((const char *)object - slab->memory) * slab->reciprocal >> 32);
}

static inline bool has_room(const slab_t *slab) {
    return slab->n_ready > 0 || slab->n_open < slab->n_slots;
}

/* ---- Taking a slot ---- */

static inline bool is_idle(const slab_t *slab) {
    return slab->n_open > 0 && slab->n_live + slab->n_held == 0;
}

static void set_ready(slab_t *slab, unsigned slot) {
    slab->ready[slab->n_ready++] = (uint16_t)slot;
}

static void open_slots(slab_t *slab) {
    unsigned in_page = OPEN_PAGE_BYTES / slab->slot_bytes;
    unsigned want = in_page / 4 > MIN_READY ? in_page / 4 : MIN_READY;
    while (slab->n_ready < want && slab->n_open < slab->n_slots) {
        unsigned end = slab->n_open + (in_page ? in_page : 1);
        while (slab->n_open < end && slab->n_open < slab->n_slots)
            set_ready(slab, slab->n_open++);
    }
}

/* A ready slot, each as likely as the others. */
static unsigned take_ready(slab_t *slab, hardened_random_t *random) {
    uint16_t *taken = &slab->ready[random_below(random, slab->n_ready)];
    unsigned slot = *taken;
    *taken = slab->ready[--slab->n_ready];
    return slot;
}

static slab_t *slab_with_room(slab_arena_t *arena, unsigned size_class) {
    slab_t *slab = arena->listed[size_class];
    if (!slab && (slab = arena_new_slab(arena, size_class)))
        arena_list_add(arena, slab);
    if (slab && !arena_open(slab)) /* without memory there may be others that are open */
        while (slab && slab->is_closed)
            slab = slab->next;
    return slab;
}

static inline void require_untouched(const char *function, const char *object, size_t bytes) {
    if (__builtin_expect(!memory_is_zero(object, bytes), 0))
        fatal(function, object, "a free object was written to (write after free, or overflow)");
}

/* Each malloc also looks at the start of an object in the quarantine: a write after free is found
 * soon, even if nothing is freed any more and the quarantine stays as it is. */
static inline void probe_held(held_t *held, size_t slot_bytes) {
    const char *object = held_probe(held);
    if (object)
        require_untouched("malloc", object,
                          slot_bytes < PROBE_MAX_BYTES ? slot_bytes : PROBE_MAX_BYTES);
}

static void *alloc_locked(slab_arena_t *arena, size_t bytes, unsigned size_class,
                          hardened_kind_t kind) {
    slab_t *slab = slab_with_room(arena, size_class);
    if (!slab)
        return NULL;
    arena->n_idle -= is_idle(slab);
    open_slots(slab);
    unsigned slot = take_ready(slab, &arena->random);
    if (!has_room(slab))
        arena_list_remove(arena, slab);
    char *object = slot_at(slab, slot);
    require_untouched("malloc", object, slab->slot_bytes);
    probe_held(&arena->held[size_class], slab->slot_bytes);
    size_t slack_bytes = slab->slot_bytes - bytes;
    slab->n_live++;
    set_slot(slab, slot, SLOT_LIVE, slack_bytes);
    canary_write(object, bytes, slack_bytes, kind);
    return object;
}

static void *alloc_from(slab_arena_t *arena, size_t bytes, size_t slot_bytes,
                        hardened_kind_t kind) {
    hardened_lock(&arena->lock);
    void *object = alloc_locked(arena, bytes, size_class_of(slot_bytes), kind);
    hardened_unlock(&arena->lock);
    return object;
}

/* When the system has no more: out of what other threads' arenas have free. */
static void *alloc_from_others(size_t bytes, size_t slot_bytes, hardened_kind_t kind) {
    void *object = NULL;
    for (unsigned i = 0; !object && i < N_SLAB_ARENAS; i++)
        object = alloc_from(arena_at(i), bytes, slot_bytes, kind);
    return object;
}

void *slab_alloc(size_t bytes, size_t slot_bytes, hardened_kind_t kind) {
    void *object = alloc_from(arena_self(), bytes, slot_bytes, kind);
    return __builtin_expect(object != NULL, 1) ? object
                                               : alloc_from_others(bytes, slot_bytes, kind);
}

/* ---- What a pointer is ---- */

static bool refuse(line_t *what, const char *words) {
    line_text(what, words);
    return false;
}

static bool find_live(const slab_t *slab, const void *object, unsigned *slot, line_t *what) {
    *slot = slot_of(slab, object);
    if (*slot >= slab->n_open)
        return refuse(what, "not allocated here");
    if (slot_at(slab, *slot) != object)
        return refuse(what, "inside an object, not its start");
    if (state_of(slab, *slot) != SLOT_LIVE)
        return refuse(what, "already free (double free)");
    return true;
}

static bool refuse_size(line_t *what, size_t bytes) {
    line_text(what, " (");
    line_decimal(what, bytes);
    line_text(what, " bytes asked for)");
    return false;
}

static bool canary_fits(const slab_t *slab, unsigned slot, hardened_kind_t kind, line_t *what) {
    size_t slack_bytes = slack_of(slab, slot), bytes = slab->slot_bytes - slack_bytes;
    const char *object = slot_at(slab, slot);
    if (__builtin_expect(canary_is_whole(object, bytes, slack_bytes, kind), 1))
        return true;
    if (canary_other_kind(object, bytes, slack_bytes, kind) != HARDENED_N_KINDS)
        return refuse(what, HARDENED_WRONG_KIND);
    line_text(what, "written to past its end");
    return refuse_size(what, bytes);
}

/* The last bytes before the object: zero, or the end of a canary of whatever kind. */
static bool is_sound_before(const slab_t *slab, unsigned slot, line_t *what) {
    if (slot == 0)
        return true;
    const char *end = slot_at(slab, slot);
    bool is_live = state_of(slab, slot - 1) == SLOT_LIVE;
    if (is_live ? canary_ends_at(slot_at(slab, slot - 1), slack_of(slab, slot - 1), end)
                : memory_is_zero(end - 16, 16))
        return true;
    return refuse(what, is_live ? "written to before its start, or past the end of the object there"
                                : "written to before its start, or there after a free");
}

static bool may_free(const slab_t *slab, void *object, unsigned *slot,
                     const hardened_freeing_t *freeing, line_t *what) {
    if (!find_live(slab, object, slot, what) || !canary_fits(slab, *slot, freeing->kind, what) ||
        __builtin_expect(!is_sound_before(slab, *slot, what), 0))
        return false;
    size_t bytes = slab->slot_bytes - slack_of(slab, *slot);
    if (__builtin_expect(!freeing->has_bytes || freeing->bytes == bytes, 1))
        return true;
    line_text(what, HARDENED_WRONG_SIZE);
    return refuse_size(what, bytes);
}

/* ---- Giving it back ---- */

/* Of an idle slab.  What was written there after a free would be gone with the pages. */
static size_t purge(slab_arena_t *arena, slab_t *slab, const char *function) {
    for (unsigned slot = 0; slot < slab->n_open; slot++)
        require_untouched(function, slot_at(slab, slot), slab->slot_bytes);
    if (!vm_purge(slab->memory, SLAB_BYTES))
        return 0;
    size_t bytes = (size_t)slab->n_open * slab->slot_bytes;
    slab->n_open = slab->n_ready = 0;
    arena->n_idle--;
    return bytes;
}

/* The quarantine is over.  `function`: which one gives pages back now. */
static void release(slab_arena_t *arena, void *object, const char *function) {
    slab_t *slab = slab_of(object);
    unsigned slot = slot_of(slab, object);
    set_slot(slab, slot, SLOT_FREE, 0);
    slab->n_held--;
    set_ready(slab, slot);
    if (!slab->is_listed)
        arena_list_add(arena, slab);
    if (is_idle(slab) && ++arena->n_idle > MAX_IDLE_SLABS)
        purge(arena, slab, function);
}

static void hold(slab_arena_t *arena, slab_t *slab, unsigned slot) {
    char *object = slot_at(slab, slot);
    memset(object, 0, slab->slot_bytes);
    set_slot(slab, slot, SLOT_HELD, 0);
    slab->n_live--;
    slab->n_held++;
    void *released = object; /* at once, if there is no memory for a quarantine */
    if (arena_reserve_held(arena, slab->size_class))
        released = held_swap(&arena->held[slab->size_class], object, &arena->random);
    if (released)
        release(arena, released, "free");
}

bool slab_free(slab_t *slab, void *object, const hardened_freeing_t *freeing, line_t *what) {
    slab_arena_t *arena = arena_at(slab->arena);
    unsigned slot;
    hardened_lock(&arena->lock);
    bool is_freed = may_free(slab, object, &slot, freeing, what);
    if (is_freed)
        hold(arena, slab, slot);
    hardened_unlock(&arena->lock);
    return is_freed;
}

bool slab_ask(slab_t *slab, void *object, size_t *bytes, line_t *what) {
    unsigned slot;
    hardened_lock(&arena_at(slab->arena)->lock);
    bool is_live = find_live(slab, object, &slot, what);
    if (is_live)
        *bytes = slab->slot_bytes - slack_of(slab, slot);
    hardened_unlock(&arena_at(slab->arena)->lock);
    return is_live;
}

/* Zero what is new, and put the canary where the object ends now. */
static void set_bytes(slab_t *slab, unsigned slot, size_t had_bytes, size_t bytes) {
    char *object = slot_at(slab, slot);
    if (bytes > had_bytes)
        memset(object + had_bytes, 0, bytes - had_bytes);
    size_t slack_bytes = slab->slot_bytes - bytes;
    set_slot(slab, slot, SLOT_LIVE, slack_bytes);
    canary_write(object, bytes, slack_bytes, HARDENED_PLAIN);
}

bool slab_resize(slab_t *slab, void *object, size_t bytes, size_t *had_bytes, line_t *what) {
    unsigned slot;
    hardened_lock(&arena_at(slab->arena)->lock);
    bool is_resized = false;
    if (find_live(slab, object, &slot, what) && canary_fits(slab, slot, HARDENED_PLAIN, what) &&
        is_sound_before(slab, slot, what)) {
        *had_bytes = slab->slot_bytes - slack_of(slab, slot);
        is_resized = slab_takes(bytes) && size_class_of(bytes + CANARY_BYTES) == slab->size_class;
    }
    if (is_resized)
        set_bytes(slab, slot, *had_bytes, bytes);
    hardened_unlock(&arena_at(slab->arena)->lock);
    return is_resized;
}

/* ---- The whole ---- */

static void trim_arena(void *bytes, slab_arena_t *arena) {
    for (unsigned c = 0; c < N_SLAB_CLASSES; c++)
        for (void *object; (object = held_take(&arena->held[c]));)
            release(arena, object, "malloc_trim");
    for (slab_t *slab = arena->slabs; slab; slab = slab->other) {
        if (is_idle(slab))
            *(size_t *)bytes += purge(arena, slab, "malloc_trim");
        if (slab->memory && slab->n_open == 0)
            arena_close(slab);
    }
}

size_t slab_trim(void) {
    size_t bytes = 0;
    arena_foreach(trim_arena, &bytes);
    return bytes;
}

static void give_up_regions_of(void *unused, slab_arena_t *arena) {
    (void)unused;
    arena_give_up_regions(arena);
}

void slab_give_up_regions(void) {
    arena_foreach(give_up_regions_of, NULL);
}

static void add_slab(stats_t *stats, const slab_t *slab) {
    uint64_t object_bytes = 0;
    for (unsigned slot = 0; slot < slab->n_open; slot++)
        if (state_of(slab, slot) == SLOT_LIVE)
            object_bytes += slab->slot_bytes - slack_of(slab, slot);
    uint64_t listed_bytes = (uint64_t)slab->n_held * slab->slot_bytes;
    uint64_t free_bytes =
        (uint64_t)(slab->n_slots - slab->n_live - slab->n_held) * slab->slot_bytes;
    stats->n_runs++;
    stats->n_objects += slab->n_live;
    stats->accessible_bytes += SLAB_BYTES;
    stats->live_bytes += object_bytes;
    stats->listed_bytes += listed_bytes;
    stats->free_bytes += free_bytes;
    stats->overhead_bytes += SLAB_BYTES - object_bytes - listed_bytes - free_bytes;
    if (is_idle(slab))
        stats->dirty_bytes += (uint64_t)slab->n_open * slab->slot_bytes;
}

static void add_arena(void *stats_arg, slab_arena_t *arena) {
    stats_t *stats = stats_arg;
    stats->n_heaps += arena->slabs != NULL;
    stats->accessible_bytes += arena->pool_bytes;
    stats->overhead_bytes += arena->pool_bytes;
    for (const slab_t *slab = arena->slabs; slab; slab = slab->other)
        if (slab->memory && !slab->is_closed)
            add_slab(stats, slab);
}

void slab_stats(stats_t *stats) {
    arena_foreach(add_arena, stats);
}

static void add_resident(void *bytes, slab_arena_t *arena) {
    *(uint64_t *)bytes += arena->pool_bytes; /* metadata: taken to be used */
    for (const slab_t *slab = arena->slabs; slab; slab = slab->other)
        if (slab->memory)
            *(uint64_t *)bytes += vm_resident_bytes(slab->memory, SLAB_BYTES);
}

uint64_t slab_resident_bytes(void) {
    uint64_t bytes = 0;
    arena_foreach(add_resident, &bytes);
    return bytes;
}

/* ---- The invariants ---- */

static const char *check_slot(const slab_t *slab, unsigned slot) {
    const char *object = slot_at(slab, slot);
    size_t slack_bytes = slack_of(slab, slot), bytes = slab->slot_bytes - slack_bytes;
    if (slot >= slab->n_open)
        return state_of(slab, slot) == SLOT_FREE ? NULL : "S1: a slot is in use that is not open";
    if (state_of(slab, slot) != SLOT_LIVE)
        return memory_is_zero(object, slab->slot_bytes) ? NULL : "S4: a free object was written to";
    if (!canary_is_whole(object, bytes, slack_bytes, HARDENED_PLAIN) &&
        canary_other_kind(object, bytes, slack_bytes, HARDENED_PLAIN) == HARDENED_N_KINDS)
        return "S3: an object was written to past its end";
    return NULL;
}

/* The sum of their numbers tells, with S1, whether they are the FREE slots. */
static bool ready_is_sound(const slab_t *slab, uint64_t sum_of_free) {
    uint64_t sum = 0;
    for (unsigned i = 0; i < slab->n_ready; i++) {
        unsigned slot = slab->ready[i];
        if (slot >= slab->n_open || state_of(slab, slot) != SLOT_FREE)
            return false;
        sum += slot;
    }
    return sum == sum_of_free;
}

static const char *check_slab(const slab_t *slab, const void **where) {
    unsigned n[SLOT_HELD + 1] = {0};
    uint64_t sum_of_free = 0;
    for (unsigned slot = 0; slot < slab->n_slots; slot++) {
        *where = slot_at(slab, slot);
        const char *what = check_slot(slab, slot);
        if (what)
            return what;
        if (slot >= slab->n_open)
            continue;
        n[state_of(slab, slot)]++;
        sum_of_free += state_of(slab, slot) == SLOT_FREE ? slot : 0;
    }
    *where = slab->memory;
    if (n[SLOT_FREE] != slab->n_ready || n[SLOT_LIVE] != slab->n_live ||
        n[SLOT_HELD] != slab->n_held)
        return "S1: a slab's counts are wrong";
    if (!ready_is_sound(slab, sum_of_free))
        return "S2: the list of ready slots is wrong";
    if (slab->is_listed != has_room(slab))
        return "S5: a slab is wrongly on, or not on, its class's list";
    return NULL;
}

static void check_arena(void *violation_arg, slab_arena_t *arena) {
    violation_t *violation = violation_arg;
    for (const slab_t *slab = arena->slabs; slab && !violation->what; slab = slab->other)
        if (slab->memory)
            violation->what = check_slab(slab, &violation->where);
}

bool slab_check(violation_t *violation) {
    *violation = (violation_t){NULL, NULL};
    arena_foreach(check_arena, violation);
    return !violation->what;
}

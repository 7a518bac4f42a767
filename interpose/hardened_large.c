/* SPDX-License-Identifier: MIT */
#include "hardened_large.h"

#include <string.h>

#include "hardened_canary.h"
#include "hardened_held.h"
#include "hardened_lock.h"
#include "hardened_table.h"
#include "large.h"
#include "vm.h"

#define GUARDED_LOOSE_MIN_BYTES ((size_t)128 << 10) /* from here on moving pages is worth it */
#define MAX_LEAD_PAGES          4u

/* Guards cost the kernel up to three mappings an object, of the 65530 that a process may have. */
#define MAX_GUARDED_OBJECTS     8000u

/* The quarantine: places in each stage, and address space in all; larger objects do not wait. */
#define HELD_PLACES             32u
#define HELD_MAX_BYTES          ((size_t)64 << 20)
#define HELD_MAX_OBJECT_BYTES   ((size_t)16 << 20)

static struct {
    lock_t lock;
    hardened_random_t random;
    held_t held;
    void *held_places[2 * HELD_PLACES];
    size_t held_bytes, n_guarded;
    uint64_t n_live, live_bytes;
} all;

static inline size_t total_bytes(const guarded_t *entry) {
    return entry->lead_bytes + entry->body_bytes + vm_page_bytes();
}

static inline char *body_of(const guarded_t *entry) {
    return entry->base + entry->lead_bytes;
}

static inline size_t slack_bytes(const guarded_t *entry) {
    return (size_t)(body_of(entry) + entry->body_bytes - entry->object) - entry->bytes;
}

static inline bool is_loose(size_t bytes, size_t align) {
    return bytes >= GUARDED_LOOSE_MIN_BYTES || align > vm_page_bytes();
}

/* ---- Guards ---- */

/* The lead of an object aligned to more than a page is as long as its alignment: only its end
 * guards. */
static inline size_t front_guard_bytes(const guarded_t *entry) {
    size_t most = MAX_LEAD_PAGES * vm_page_bytes();
    return entry->lead_bytes < most ? entry->lead_bytes : most;
}

static bool renew_guards(const guarded_t *entry) {
    size_t front_bytes = front_guard_bytes(entry);
    return vm_renew(body_of(entry) - front_bytes, front_bytes) &&
           vm_renew(body_of(entry) + entry->body_bytes, vm_page_bytes());
}

/* Without guards when the system has no mappings left, or there are too many already. */
static void set_guards(guarded_t *entry) {
    size_t front_bytes = front_guard_bytes(entry);
    size_t n = __atomic_add_fetch(&all.n_guarded, 1, __ATOMIC_RELAXED);
    entry->is_guarded = n <= MAX_GUARDED_OBJECTS &&
                        vm_decommit(body_of(entry) - front_bytes, front_bytes) &&
                        vm_decommit(body_of(entry) + entry->body_bytes, vm_page_bytes());
    if (!entry->is_guarded)
        __atomic_sub_fetch(&all.n_guarded, 1, __ATOMIC_RELAXED);
}

static void forget_guards(const guarded_t *entry) {
    if (entry->is_guarded)
        __atomic_sub_fetch(&all.n_guarded, 1, __ATOMIC_RELAXED);
}

/* ---- Allocating ---- */

static size_t draw_lead_bytes(size_t align) {
    if (align > vm_page_bytes())
        return align;
    hardened_lock(&all.lock);
    uint32_t more = random_below(&all.random, MAX_LEAD_PAGES);
    hardened_unlock(&all.lock);
    return (1 + more) * vm_page_bytes();
}

/* What the store gives may have been used before, and not have been renewed. */
static void clear(void *memory, size_t bytes) {
    if (!vm_purge(memory, bytes))
        memset(memory, 0, bytes);
}

static bool publish(const guarded_t *entry) {
    hardened_lock(&all.lock);
    bool is_added = guarded_table_add(entry);
    all.n_live += is_added;
    all.live_bytes += is_added ? entry->bytes : 0;
    hardened_unlock(&all.lock);
    return is_added;
}

static void give_back(const guarded_t *entry) {
    const char *what;
    if (vm_renew(entry->base, total_bytes(entry)))
        large_free_zero(entry->base, &what);
}

void *guarded_alloc(size_t bytes, size_t align, hardened_kind_t kind) {
    guarded_t entry = {.bytes = bytes, .kind = (uint8_t)kind, .state = GUARDED_LIVE};
    size_t object_align = align < 16 ? 16 : align;
    entry.body_bytes = vm_round_up(bytes ? bytes : 1);
    entry.lead_bytes = draw_lead_bytes(align);
    bool is_zero = true;
    entry.base = large_alloc(total_bytes(&entry), align, &is_zero);
    if (!entry.base)
        return NULL;
    if (!is_zero)
        clear(body_of(&entry), entry.body_bytes);
    entry.object = body_of(&entry);
    if (!is_loose(bytes, align))
        entry.object += entry.body_bytes - ((bytes + object_align - 1) & ~(object_align - 1));
    set_guards(&entry);
    canary_write(entry.object, bytes, slack_bytes(&entry), HARDENED_PLAIN);
    if (publish(&entry))
        return entry.object;
    forget_guards(&entry);
    give_back(&entry);
    return NULL;
}

/* ---- What a pointer is ---- */

static guarded_t *refuse(line_t *what, const char *words) {
    line_text(what, words);
    return NULL;
}

/* The store knows what lies there, but not the guards. */
static guarded_t *refuse_unknown(const void *pointer, line_t *what) {
    const char *words = NULL;
    if (large_usable_bytes(pointer, &words) || !words)
        words = "inside a large object, not its start";
    return refuse(what, words);
}

static guarded_t *find_live(const void *object, line_t *what) {
    guarded_t *entry = guarded_table_find(object);
    if (entry && entry->state != GUARDED_LIVE)
        return refuse(what, "already free (double free)");
    return entry;
}

static const char *damage_of(const guarded_t *entry) {
    if (!canary_is_whole(entry->object, entry->bytes, slack_bytes(entry), HARDENED_PLAIN))
        return "written to past its end";
    size_t before = (size_t)(entry->object - body_of(entry));
    return memory_is_zero(body_of(entry), before) ? NULL : "written to before its start";
}

/* An entry that may be freed, as far as can be seen in it. */
static guarded_t *find_sound(const void *object, const hardened_freeing_t *freeing, line_t *what) {
    guarded_t *entry = find_live(object, what);
    if (!entry)
        return NULL;
    const char *words = damage_of(entry);
    bool is_wrong_size = freeing->has_bytes && freeing->bytes != entry->bytes;
    if (!words && freeing->kind != entry->kind)
        return refuse(what, HARDENED_WRONG_KIND);
    if (!words && !is_wrong_size)
        return entry;
    line_text(what, words ? words : HARDENED_WRONG_SIZE);
    line_text(what, " (");
    line_decimal(what, entry->bytes);
    return refuse(what, " bytes asked for)");
}

/* ---- Freeing ---- */

/* Out of the quarantine, or past it; the entry is BUSY. */
static bool let_go(const guarded_t *entry) {
    bool is_renewed = vm_renew(entry->base, total_bytes(entry));
    hardened_lock(&all.lock);
    guarded_t *in_table = guarded_table_find(entry->object);
    if (is_renewed)
        guarded_table_remove(in_table);
    else
        in_table->state = GUARDED_STUCK;
    hardened_unlock(&all.lock);
    const char *what;
    if (is_renewed)
        large_free_zero(entry->base, &what);
    return is_renewed;
}

/* Takes `object` (HELD) out; a copy of its entry, now BUSY. */
static guarded_t take_out(const void *object) {
    guarded_t *entry = guarded_table_find(object);
    entry->state = GUARDED_BUSY;
    all.held_bytes -= total_bytes(entry);
    return *entry;
}

/* A freed object joins the quarantine; those that have to leave are let go. */
static void hold(const guarded_t *freed) {
    hardened_lock(&all.lock);
    all.held.place = all.held_places;
    all.held.capacity = HELD_PLACES;
    guarded_table_find(freed->object)->state = GUARDED_HELD;
    all.held_bytes += total_bytes(freed);
    void *leaves = held_swap(&all.held, freed->object, &all.random);
    while (leaves || (all.held_bytes > HELD_MAX_BYTES && (leaves = held_take(&all.held)))) {
        guarded_t entry = take_out(leaves);
        hardened_unlock(&all.lock);
        let_go(&entry);
        hardened_lock(&all.lock);
        leaves = NULL;
    }
    hardened_unlock(&all.lock);
}

bool guarded_free(void *object, const hardened_freeing_t *freeing, line_t *what) {
    hardened_lock(&all.lock);
    guarded_t *entry = find_sound(object, freeing, what), freed;
    if (entry) {
        entry->state = GUARDED_BUSY;
        all.n_live--;
        all.live_bytes -= entry->bytes;
        freed = *entry;
    }
    hardened_unlock(&all.lock);
    if (!entry) {
        if (!what->n_bytes)
            refuse_unknown(object, what);
        return false;
    }
    forget_guards(&freed);
    if (!vm_decommit(freed.base, total_bytes(&freed))) /* no mappings left: accessible, but empty */
        vm_purge(body_of(&freed), freed.body_bytes);
    if (total_bytes(&freed) > HELD_MAX_OBJECT_BYTES)
        let_go(&freed);
    else
        hold(&freed);
    return true;
}

bool guarded_ask(const void *object, size_t *bytes, line_t *what) {
    hardened_lock(&all.lock);
    const guarded_t *entry = find_live(object, what);
    if (entry)
        *bytes = entry->bytes;
    hardened_unlock(&all.lock);
    if (!entry && !what->n_bytes)
        refuse_unknown(object, what);
    return entry != NULL;
}

/* ---- Resizing ---- */

/* With the object BUSY: bring its pages to a place that has as many as are needed now. */
static bool move_pages(guarded_t *entry, size_t body_bytes) {
    guarded_t moved = *entry;
    const char *what;
    moved.body_bytes = body_bytes;
    if (entry->is_guarded && !renew_guards(entry)) {
        forget_guards(entry);
        set_guards(entry);
        return false;
    }
    forget_guards(entry);
    moved.base = large_resize(entry->base, total_bytes(&moved), &what);
    if (!moved.base) {
        set_guards(entry);
        return false;
    }
    moved.object = body_of(&moved);
    size_t old_total = total_bytes(entry), new_total = total_bytes(&moved);
    if (new_total > old_total)
        clear(moved.base + old_total, new_total - old_total);
    set_guards(&moved);
    *entry = moved;
    return true;
}

/* The entry under `object` becomes *now, LIVE. */
static void replace(const void *object, const guarded_t *now, size_t had_bytes) {
    hardened_lock(&all.lock);
    guarded_table_remove(guarded_table_find(object));
    guarded_table_add(now); /* there is room: one was removed */
    all.live_bytes += now->bytes - had_bytes;
    hardened_unlock(&all.lock);
}

/* Without copying: it stays large enough to move by pages, or its last 16 bytes stay its last. */
static bool can_stay(const guarded_t *entry, size_t bytes) {
    bool was_loose = entry->object == body_of(entry) && entry->bytes >= GUARDED_LOOSE_MIN_BYTES;
    size_t end_bytes = entry->bytes + slack_bytes(entry);
    bool keeps_end = bytes <= end_bytes && end_bytes - bytes < 16;
    return entry->kind == HARDENED_PLAIN &&
           (keeps_end || (was_loose && bytes >= GUARDED_LOOSE_MIN_BYTES));
}

void *guarded_resize(void *object, size_t bytes, size_t *had_bytes, line_t *what) {
    static const hardened_freeing_t as_plain = {.kind = HARDENED_PLAIN};
    hardened_lock(&all.lock);
    guarded_t *entry = find_sound(object, &as_plain, what), resized;
    bool stays = entry && can_stay(entry, bytes);
    if (entry)
        *had_bytes = entry->bytes;
    if (stays) {
        entry->state = GUARDED_BUSY;
        resized = *entry;
    }
    hardened_unlock(&all.lock);
    if (!entry && !what->n_bytes)
        refuse_unknown(object, what);
    if (!stays)
        return NULL;
    size_t slack = slack_bytes(&resized), before = (size_t)(resized.object - body_of(&resized));
    size_t body_bytes = vm_round_up(before + bytes);
    bool is_resized = body_bytes == resized.body_bytes || move_pages(&resized, body_bytes);
    if (is_resized) {
        if (bytes > *had_bytes) /* the old canary lies within what is now the object */
            memset(resized.object + *had_bytes, 0,
                   slack < bytes - *had_bytes ? slack : bytes - *had_bytes);
        resized.bytes = bytes;
        canary_write(resized.object, bytes, slack_bytes(&resized), HARDENED_PLAIN);
    }
    resized.state = GUARDED_LIVE;
    replace(object, &resized, *had_bytes);
    return is_resized ? resized.object : NULL;
}

/* ---- The whole ---- */

/* An object that waits, or one that was to go; BUSY now.  False: there is none. */
static bool take_any(guarded_t *taken) {
    size_t i = 0;
    hardened_lock(&all.lock);
    void *held = held_take(&all.held);
    guarded_t *entry = NULL;
    if (held)
        *taken = take_out(held);
    while (!held && (entry = guarded_table_next(&i)) && entry->state != GUARDED_STUCK)
        ;
    if (entry) {
        entry->state = GUARDED_BUSY;
        *taken = *entry;
    }
    hardened_unlock(&all.lock);
    return held || entry;
}

void guarded_trim(void) {
    guarded_t leaves;
    while (take_any(&leaves))
        if (!let_go(&leaves))
            break; /* the system has no mappings */
}

void guarded_stats(large_stats_t *stats) {
    hardened_lock(&all.lock);
    stats->n_objects = all.n_live;
    stats->live_bytes = all.live_bytes;
    hardened_unlock(&all.lock);
}

bool guarded_check(violation_t *violation) {
    size_t i = 0;
    *violation = (violation_t){NULL, NULL};
    hardened_lock(&all.lock);
    for (guarded_t *entry; !violation->what && (entry = guarded_table_next(&i));)
        if (entry->state == GUARDED_LIVE)
            *violation = (violation_t){damage_of(entry), entry->object};
    hardened_unlock(&all.lock);
    return !violation->what;
}

void guarded_fork_prepare(void) {
    lock_acquire(&all.lock);
}

void guarded_fork_parent(void) {
    lock_release(&all.lock);
}

void guarded_fork_child(void) {
    lock_reset(&all.lock);
    all.random.n_left = 0;
}

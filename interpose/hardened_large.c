/* SPDX-License-Identifier: MIT */
#include "hardened_large.h"

#include <string.h>

#include "hardened_canary.h"
#include "hardened_guards.h"
#include "hardened_lock.h"
#include "hardened_table.h"
#include "hardened_waiting.h"
#include "large.h"
#include "vm.h"

#define GUARDED_LOOSE_MIN_BYTES ((size_t)128 << 10) /* from here on moving pages is worth it */

/* Larger ones do not wait in the quarantine. */
#define HELD_MAX_OBJECT_BYTES   ((size_t)16 << 20)

static struct {
    lock_t lock;
    hardened_random_t random;
    uint64_t n_live, live_bytes;
} all;

static inline size_t slack_bytes(const guarded_t *entry) {
    return (size_t)(guarded_body(entry) + entry->body_bytes - entry->object) - entry->bytes;
}

static inline bool is_loose(size_t bytes, size_t align) {
    return bytes >= GUARDED_LOOSE_MIN_BYTES || align > vm_page_bytes();
}

/* ---- Allocating ---- */

static size_t draw_lead_bytes(size_t align) {
    if (align > vm_page_bytes())
        return align;
    hardened_lock(&all.lock);
    uint32_t more = random_below(&all.random, GUARDS_MAX_LEAD_PAGES);
    hardened_unlock(&all.lock);
    return (1 + more) * vm_page_bytes();
}

/* What the store gives may have been used before, and not have been renewed. */
static void clear(void *memory, size_t bytes) {
    if (!vm_purge(memory, bytes))
        memset(memory, 0, bytes);
}

/* The object lives from here on, in the table in place of the one that had its place before. */
static bool publish(const guarded_t *entry, const void *in_place_of) {
    hardened_lock(&all.lock);
    if (in_place_of)
        guarded_table_remove(guarded_table_find(in_place_of));
    bool is_added = guarded_table_add(entry);
    all.n_live += is_added;
    all.live_bytes += is_added ? entry->bytes : 0;
    hardened_unlock(&all.lock);
    return is_added;
}

/* To the large store.  The system may have no mappings left to give its access back, or a limit on
 * data no room: then it goes without, and is not zero if it could be written to.  (Pages that it
 * has kept are.) */
static void give_back(const guarded_t *entry) {
    const char *what;
    bool is_renewed = vm_renew(entry->base, guarded_total_bytes(entry));
    if (!is_renewed) {
        large_note_no_access(entry->base);
        vm_purge(guarded_body(entry), entry->body_bytes);
    }
    if (is_renewed || entry->is_guarded)
        large_free_zero(entry->base, &what);
    else
        large_free(entry->base, &what);
}

/* Its wait is over, or there was none; the entry is BUSY. */
static void let_go(const guarded_t *entry) {
    hardened_lock(&all.lock);
    guarded_table_remove(guarded_table_find(entry->object));
    hardened_unlock(&all.lock);
    give_back(entry);
}

/* At the end of its pages, as far as its alignment lets it, if it is not loose. */
static char *place_in(const guarded_t *entry, size_t align) {
    size_t object_align = align < 16 ? 16 : align;
    if (is_loose(entry->bytes, align))
        return guarded_body(entry);
    return guarded_body(entry) + entry->body_bytes -
           ((entry->bytes + object_align - 1) & ~(object_align - 1));
}

/* In a place that a freed object has left: its guards are there. */
static void *alloc_in_spare(const guarded_t *wanted, size_t align) {
    guarded_t entry = {.object = NULL};
    hardened_lock(&all.lock);
    guarded_t *spare = waiting_reuse(wanted->body_bytes);
    if (spare)
        entry = *spare;
    hardened_unlock(&all.lock);
    if (!spare)
        return NULL;
    const char *before = entry.object;
    if (!vm_commit(guarded_body(&entry), entry.body_bytes)) {
        let_go(&entry);
        return NULL;
    }
    entry.bytes = wanted->bytes;
    entry.kind = wanted->kind;
    entry.state = GUARDED_LIVE;
    entry.object = place_in(&entry, align);
    guards_count();
    canary_write(entry.object, entry.bytes, slack_bytes(&entry), HARDENED_PLAIN);
    publish(&entry, before); /* there is room: one was removed */
    return entry.object;
}

void *guarded_alloc(size_t bytes, size_t align, hardened_kind_t kind) {
    guarded_t entry = {.bytes = bytes, .kind = (uint8_t)kind, .state = GUARDED_LIVE};
    entry.body_bytes = vm_round_up(bytes ? bytes : 1);
    void *object = align > vm_page_bytes() ? NULL : alloc_in_spare(&entry, align);
    if (object)
        return object;
    entry.lead_bytes = draw_lead_bytes(align);
    bool is_zero = true;
    entry.base = large_alloc(guarded_total_bytes(&entry), align, &is_zero);
    if (!entry.base)
        return NULL;
    if (!is_zero)
        clear(guarded_body(&entry), entry.body_bytes);
    entry.object = place_in(&entry, align);
    guards_set(&entry);
    canary_write(entry.object, bytes, slack_bytes(&entry), HARDENED_PLAIN);
    if (publish(&entry, NULL))
        return entry.object;
    guards_forget(&entry);
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
    size_t before = (size_t)(entry->object - guarded_body(entry));
    return memory_is_zero(guarded_body(entry), before) ? NULL : "written to before its start";
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

/* A freed object waits; those that need not any longer are let go. */
static void wait(const guarded_t *freed) {
    hardened_lock(&all.lock);
    guarded_t *entry = guarded_table_find(freed->object);
    *entry = *freed;
    waiting_add(entry, &all.random);
    waiting_strip(all.live_bytes);
    while ((entry = waiting_surplus())) {
        guarded_t leaves = *entry;
        hardened_unlock(&all.lock);
        let_go(&leaves);
        hardened_lock(&all.lock);
    }
    hardened_unlock(&all.lock);
}

/* Pages that the program has used are cleared and kept, if there are few such; has_pages then. */
static bool hide_with_pages(guarded_t *freed) {
    if (!waiting_may_be_spare(freed))
        return false;
    char *body = guarded_body(freed);
    size_t bytes = freed->body_bytes;
    if (!freed->has_pages && vm_resident_bytes(body, bytes) != bytes)
        return false;
    hardened_lock(&all.lock);
    freed->has_pages = waiting_keep(freed, all.live_bytes);
    hardened_unlock(&all.lock);
    if (!freed->has_pages)
        return false;
    memset(body, 0, bytes);
    if (vm_forbid(body, bytes))
        return true;
    hardened_lock(&all.lock);
    waiting_keep_not(freed);
    hardened_unlock(&all.lock);
    return false;
}

static void hide(guarded_t *freed) {
    if (hide_with_pages(freed))
        return;
    freed->has_pages = false;
    if (vm_decommit(freed->base, guarded_total_bytes(freed)))
        return;
    vm_purge(guarded_body(freed), freed->body_bytes); /* no mappings left: accessible, but empty */
    freed->is_guarded = false;
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
    guards_forget(&freed);
    hide(&freed);
    if (guarded_total_bytes(&freed) > HELD_MAX_OBJECT_BYTES)
        let_go(&freed);
    else
        wait(&freed);
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
    moved.has_pages = false;
    if (entry->is_guarded && !guards_renew(entry)) {
        guards_forget(entry);
        guards_set(entry);
        return false;
    }
    guards_forget(entry);
    moved.base = large_resize(entry->base, guarded_total_bytes(&moved), &what);
    if (!moved.base) {
        guards_set(entry);
        return false;
    }
    moved.object = guarded_body(&moved);
    size_t old_total = guarded_total_bytes(entry), new_total = guarded_total_bytes(&moved);
    if (new_total > old_total)
        clear(moved.base + old_total, new_total - old_total);
    guards_set(&moved);
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
    bool was_loose =
        entry->object == guarded_body(entry) && entry->bytes >= GUARDED_LOOSE_MIN_BYTES;
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
    size_t slack = slack_bytes(&resized),
           before = (size_t)(resized.object - guarded_body(&resized));
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

/* An object that waits; BUSY now.  False: there is none. */
static bool take_any(guarded_t *taken) {
    hardened_lock(&all.lock);
    const guarded_t *entry = waiting_any();
    if (entry)
        *taken = *entry;
    hardened_unlock(&all.lock);
    return entry != NULL;
}

void guarded_trim(void) {
    guarded_t leaves;
    while (take_any(&leaves))
        let_go(&leaves);
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

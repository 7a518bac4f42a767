/* SPDX-License-Identifier: MIT */
#include "hardened_waiting.h"

#include "hardened_held.h"
#include "vm.h"

/* The quarantine: places in each stage, and address space in all. */
#define HELD_PLACES       32u
#define HELD_MAX_BYTES    ((size_t)64 << 20)

/* Spare places of each number of pages. */
#define SPARE_PLACES      16u
#define N_SPARE_SIZES     (SPARE_MAX_BYTES / 4096 + 1)

#define KEPT_MIN_BYTES    ((uint64_t)256 << 10)
#define KEPT_PART_OF_LIVE 8u
#define KEPT_PLACES       1024u

static struct {
    held_t held;
    void *held_places[2 * HELD_PLACES];
    size_t held_bytes;
    void *leaves; /* of the quarantine, where it found no place among the spare ones */

    struct {
        uint32_t n;
        void *place[SPARE_PLACES];
    } spare[N_SPARE_SIZES];

    /* Objects in the order in which they were freed with their pages; some have been used again
     * since, and count no more. */
    void *kept[KEPT_PLACES];
    uint32_t oldest_kept, n_kept;
    uint64_t kept_bytes;
} waiting = {.held = {.place = waiting.held_places, .capacity = HELD_PLACES}};

/* ---- Pages that are kept ---- */

static bool keeps_pages(const guarded_t *entry) {
    return entry && entry->has_pages &&
           (entry->state == GUARDED_HELD || entry->state == GUARDED_SPARE);
}

static uint64_t kept_limit(uint64_t live_bytes) {
    return KEPT_MIN_BYTES + live_bytes / KEPT_PART_OF_LIVE;
}

bool waiting_keep(const guarded_t *freed, uint64_t live_bytes) {
    if (waiting.kept_bytes + freed->body_bytes > kept_limit(live_bytes))
        return false;
    waiting.kept_bytes += freed->body_bytes;
    return true;
}

void waiting_keep_not(const guarded_t *freed) {
    waiting.kept_bytes -= freed->body_bytes;
}

static void strip_oldest(void) {
    guarded_t *entry = guarded_table_find(waiting.kept[waiting.oldest_kept]);
    waiting.oldest_kept = (waiting.oldest_kept + 1) % KEPT_PLACES;
    waiting.n_kept--;
    if (!keeps_pages(entry))
        return;
    vm_purge(guarded_body(entry), entry->body_bytes); /* refused: they are zero, and stay */
    entry->has_pages = false;
    waiting.kept_bytes -= entry->body_bytes;
}

static void note_kept(void *object) {
    if (waiting.n_kept == KEPT_PLACES)
        strip_oldest();
    waiting.kept[(waiting.oldest_kept + waiting.n_kept++) % KEPT_PLACES] = object;
}

void waiting_strip(uint64_t live_bytes) {
    while (waiting.kept_bytes > kept_limit(live_bytes) && waiting.n_kept)
        strip_oldest();
}

/* ---- Spare places ---- */

static bool spare_add(guarded_t *entry) {
    if (!waiting_may_be_spare(entry))
        return false;
    uint32_t *n = &waiting.spare[entry->body_bytes / 4096].n;
    if (*n == SPARE_PLACES)
        return false;
    waiting.spare[entry->body_bytes / 4096].place[(*n)++] = entry->object;
    entry->state = GUARDED_SPARE;
    return true;
}

static guarded_t *take_out(void *object) {
    guarded_t *entry = object ? guarded_table_find(object) : NULL;
    if (!entry)
        return NULL;
    waiting.kept_bytes -= entry->has_pages ? entry->body_bytes : 0;
    entry->state = GUARDED_BUSY;
    return entry;
}

static void *spare_take(size_t i) {
    return waiting.spare[i].n ? waiting.spare[i].place[--waiting.spare[i].n] : NULL;
}

guarded_t *waiting_reuse(size_t body_bytes) {
    return body_bytes > SPARE_MAX_BYTES ? NULL : take_out(spare_take(body_bytes / 4096));
}

/* ---- The quarantine ---- */

static void *out_of_quarantine(void *object) {
    waiting.held_bytes -= guarded_total_bytes(guarded_table_find(object));
    return object;
}

void waiting_add(guarded_t *entry, hardened_random_t *random) {
    entry->state = GUARDED_HELD;
    if (entry->has_pages)
        note_kept(entry->object);
    waiting.held_bytes += guarded_total_bytes(entry);
    void *moves_on = held_swap(&waiting.held, entry->object, random);
    if (moves_on && !spare_add(guarded_table_find(out_of_quarantine(moves_on))))
        waiting.leaves = moves_on;
}

guarded_t *waiting_surplus(void) {
    void *object = waiting.leaves;
    waiting.leaves = NULL;
    if (!object && waiting.held_bytes > HELD_MAX_BYTES && (object = held_take(&waiting.held)))
        out_of_quarantine(object);
    return take_out(object);
}

guarded_t *waiting_any(void) {
    void *object = held_take(&waiting.held);
    if (object)
        out_of_quarantine(object);
    for (size_t i = 0; !object && i < N_SPARE_SIZES; i++)
        object = spare_take(i);
    return take_out(object);
}

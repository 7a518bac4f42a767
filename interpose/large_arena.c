/* SPDX-License-Identifier: MIT */
/* large_arena.c - address ranges for large objects: reserved, made accessible, given up. */
#include "large_internal.h"

#include "owner.h"
#include "vm.h"

void arena_push(arena_t **list, arena_t *arena) {
    arena->prev = NULL;
    arena->next = *list;
    if (arena->next)
        arena->next->prev = arena;
    *list = arena;
}

void arena_remove(arena_t **list, arena_t *arena) {
    *(arena->prev ? &arena->prev->next : list) = arena->next;
    if (arena->next)
        arena->next->prev = arena->prev;
}

arena_t *arena_new(large_store_t *store, size_t bytes, size_t align, bool is_span) {
    char *memory = owner_reserve(bytes, align > REGION_BYTES ? align : REGION_BYTES);
    if (!memory)
        return NULL;
    arena_t *arena = extent_new_arena(store);
    arena->memory = memory;
    arena->bytes = bytes;
    arena->is_span = is_span;
    if (!is_span) /* a span's object is larger than any huge page */
        vm_keep_small_pages(memory, bytes);
    owner_set(memory, bytes, large_store_owner(store));
    store->stats.reserved_bytes += bytes;
    if (is_span)
        store->n_spans++;
    arena_push(is_span ? &store->spans : &store->arenas, arena);
    return arena;
}

/* How much to make accessible at once when `bytes` are needed: kernel calls stay few, while what is
 * accessible too early only counts where the system charges for it. */
static size_t commit_step(const arena_t *arena, size_t bytes) {
    size_t step = arena->store->stats.live_bytes / 8;
    if (arena->is_span && arena->committed == 0)
        return bytes;
    if (step < LARGE_COMMIT_MIN_BYTES)
        step = LARGE_COMMIT_MIN_BYTES;
    if (step > LARGE_COMMIT_MAX_BYTES)
        step = LARGE_COMMIT_MAX_BYTES;
    if (step < bytes)
        step = bytes;
    if (step > arena_room(arena))
        step = arena_room(arena);
    return step & ~(vm_page_bytes() - 1);
}

bool arena_commit(arena_t *arena, size_t bytes) {
    char *end = arena->memory + arena->committed;
    size_t step = commit_step(arena, bytes);
    if (!vm_commit(end, step)) {
        if (step == bytes || !vm_commit(end, bytes))
            return false;
        step = bytes;
    }
    extent_t *extent = extent_new(arena, end, step);
    extent->prev = arena->last;
    *(arena->last ? &arena->last->next : &arena->first) = extent;
    arena->last = extent;
    arena->committed += step;
    extent_set_free(extent, EXTENT_CLEAN, 0);
    return true;
}

bool arena_is_unused(const arena_t *arena) {
    for (const extent_t *extent = arena->first; extent; extent = extent->next)
        if (!extent_is_free(extent))
            return false;
    return true;
}

static bool arena_contains(const arena_t *arena, const void *pointer) {
    return (uintptr_t)pointer - (uintptr_t)arena->memory < arena->bytes;
}

arena_t *arena_find(const large_store_t *store, const void *pointer) {
    arena_t *lists[] = {store->arenas, store->spans, store->cached};
    for (unsigned i = 0; i < sizeof lists / sizeof *lists; i++)
        for (arena_t *arena = lists[i]; arena; arena = arena->next)
            if (arena_contains(arena, pointer))
                return arena;
    return NULL;
}

/* ---- Giving an address range up ---- */

static void detach(arena_t *arena) {
    for (extent_t *extent = arena->first; extent; extent = extent->next) {
        extent_delist(extent);
        if (extent->state == EXTENT_DIRTY)
            extent_age_remove(extent);
    }
    owner_set(arena->memory, arena->bytes, OWNER_NONE);
    arena_push(&arena->store->leaving, arena);
}

static void attach(arena_t **list, arena_t *arena) {
    arena_remove(&arena->store->leaving, arena);
    owner_set(arena->memory, arena->bytes, large_store_owner(arena->store));
    arena_push(list, arena);
    for (extent_t *extent = arena->first; extent; extent = extent->next) {
        extent->freed_ms = arena->store->now_ms;
        if (extent->state == EXTENT_DIRTY)
            extent_age_append(extent);
        extent_enlist(extent);
    }
}

static void forget(arena_t *arena) {
    large_store_t *store = arena->store;
    arena_remove(&store->leaving, arena);
    store->stats.reserved_bytes -= arena->bytes;
    if (arena->is_span)
        store->n_spans--;
    for (extent_t *extent = arena->first; extent;) {
        extent_t *next = extent->next;
        extent_drop(extent);
        extent = next;
    }
    extent_drop_arena(arena);
}

bool arena_release(arena_t **list, arena_t *arena) {
    large_store_t *store = arena->store;
    detach(arena); /* first: no entry may name memory that could already be someone else's */
    large_unlock(store);
    bool is_released = vm_release(arena->memory, arena->bytes);
    large_lock(store);
    if (is_released)
        forget(arena);
    else
        attach(list, arena);
    return is_released;
}

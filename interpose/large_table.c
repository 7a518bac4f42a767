/* SPDX-License-Identifier: MIT */
/*
 * large_table.c - live extents by address: open addressing, linear probing, at most half full.
 * A removed entry is closed up (Knuth, vol. 3, 6.4, algorithm R), so searches meet no graves.
 */
#include "large_internal.h"
#include "vm.h"

/* What the loops use, once read: they write to slots, which for all the compiler knows are these.
 */
typedef struct {
    extent_t **slots;
    size_t mask;
    unsigned shift;
} view_t;

static inline size_t n_slots(const large_table_t *table) {
    return (size_t)1 << (LARGE_FIRST_LOG2_SLOTS + table->n_doublings);
}

static inline view_t view(large_table_t *table) {
    return (view_t){.slots = table->slots ? table->slots : table->first_slots,
                    .mask = n_slots(table) - 1,
                    .shift = 64u - LARGE_FIRST_LOG2_SLOTS - table->n_doublings};
}

/* Objects begin on pages: the low 12 bits say nothing. */
static inline size_t home_of(view_t view, const void *pointer) {
    return (((uintptr_t)pointer >> 12) * 0x9E3779B97F4A7C15ull) >> view.shift;
}

static inline void add(large_table_t *table, extent_t *extent) {
    view_t v = view(table);
    size_t slot = home_of(v, extent->memory);
    while (v.slots[slot])
        slot = (slot + 1) & v.mask;
    v.slots[slot] = extent;
    table->n_used++;
}

static bool table_double(large_table_t *table) {
    view_t old = view(table);
    size_t old_n = n_slots(table), old_bytes = vm_round_up(old_n * sizeof *old.slots);
    extent_t **new_slots = vm_map(vm_round_up(2 * old_n * sizeof *old.slots));
    if (!new_slots)
        return false;
    table->slots = new_slots;
    table->n_doublings++;
    table->n_used = 0;
    for (size_t slot = 0; slot < old_n; slot++)
        if (old.slots[slot])
            add(table, old.slots[slot]);
    if (old.slots != table->first_slots)
        vm_release(old.slots, old_bytes); /* refused: a few pages are lost, nothing else */
    return true;
}

bool large_table_reserve_more(large_store_t *store) {
    large_table_t *table = &store->table;
    /* Without memory a fuller table still works, as long as searches meet an empty slot. */
    return table_double(table) || table->n_used + 2 <= n_slots(table);
}

void large_table_add(extent_t *extent) {
    add(&extent->arena->store->table, extent);
}

extent_t *large_table_find(large_store_t *store, const void *pointer) {
    view_t v = view(&store->table);
    extent_t *extent;
    size_t slot = home_of(v, pointer);
    while ((extent = v.slots[slot]) && extent->memory != pointer)
        slot = (slot + 1) & v.mask;
    return extent;
}

/* Where it is.  No other's descriptor is looked at: each is a line of the cache. */
static inline size_t slot_of(view_t view, const extent_t *extent) {
    size_t slot = home_of(view, extent->memory);
    while (view.slots[slot] != extent)
        slot = (slot + 1) & view.mask;
    return slot;
}

void large_table_remove(extent_t *extent) {
    large_table_t *table = &extent->arena->store->table;
    view_t v = view(table);
    size_t hole = slot_of(v, extent);
    extent_t *next;
    table->n_used--;
    for (size_t slot = (hole + 1) & v.mask; (next = v.slots[slot]); slot = (slot + 1) & v.mask) {
        size_t home = home_of(v, next->memory);
        if (((slot - home) & v.mask) >= ((slot - hole) & v.mask)) { /* home is not between */
            v.slots[hole] = next;
            hole = slot;
        }
    }
    v.slots[hole] = NULL;
}

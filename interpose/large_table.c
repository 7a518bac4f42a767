/* SPDX-License-Identifier: MIT */
/*
 * large_table.c - live extents by address: open addressing, linear probing, at most half full.
 * A removed entry is closed up (Knuth, vol. 3, 6.4, algorithm R), so searches meet no graves.
 */
#include "large_internal.h"
#include "vm.h"

static inline extent_t **slots_of(large_table_t *table) {
    return table->slots ? table->slots : table->first_slots;
}

static inline unsigned log2_slots(const large_table_t *table) {
    return LARGE_FIRST_LOG2_SLOTS + table->n_doublings;
}

static inline size_t n_slots(const large_table_t *table) {
    return (size_t)1 << log2_slots(table);
}

/* Objects begin on pages: the low 12 bits say nothing. */
static inline size_t home_of(const large_table_t *table, const void *pointer) {
    return (((uintptr_t)pointer >> 12) * 0x9E3779B97F4A7C15ull) >> (64u - log2_slots(table));
}

static inline size_t next_of(const large_table_t *table, size_t slot) {
    return (slot + 1) & (n_slots(table) - 1);
}

static void add(large_table_t *table, extent_t *extent) {
    extent_t **slots = slots_of(table);
    size_t slot = home_of(table, extent->memory);
    while (slots[slot])
        slot = next_of(table, slot);
    slots[slot] = extent;
    table->n_used++;
}

static bool table_double(large_table_t *table) {
    extent_t **old_slots = slots_of(table);
    size_t old_n = n_slots(table), old_bytes = vm_round_up(old_n * sizeof *old_slots);
    extent_t **new_slots = vm_map(vm_round_up(2 * old_n * sizeof *old_slots));
    if (!new_slots)
        return false;
    table->slots = new_slots;
    table->n_doublings++;
    table->n_used = 0;
    for (size_t slot = 0; slot < old_n; slot++)
        if (old_slots[slot])
            add(table, old_slots[slot]);
    if (old_slots != table->first_slots)
        vm_release(old_slots, old_bytes); /* refused: a few pages are lost, nothing else */
    return true;
}

bool large_table_reserve(large_store_t *store) {
    large_table_t *table = &store->table;
    /* Without memory a fuller table still works, as long as searches meet an empty slot. */
    return 2 * (table->n_used + 1) <= n_slots(table) || table_double(table) ||
           table->n_used + 2 <= n_slots(table);
}

void large_table_add(extent_t *extent) {
    add(&extent->arena->store->table, extent);
}

static size_t slot_of(const large_table_t *table, extent_t *const *slots, const void *pointer) {
    size_t slot = home_of(table, pointer);
    while (slots[slot] && slots[slot]->memory != pointer)
        slot = next_of(table, slot);
    return slot;
}

extent_t *large_table_find(large_store_t *store, const void *pointer) {
    extent_t **slots = slots_of(&store->table);
    return slots[slot_of(&store->table, slots, pointer)];
}

void large_table_remove(extent_t *extent) {
    large_table_t *table = &extent->arena->store->table;
    extent_t **slots = slots_of(table);
    size_t hole = slot_of(table, slots, extent->memory), mask = n_slots(table) - 1;
    table->n_used--;
    for (size_t slot = next_of(table, hole); slots[slot]; slot = next_of(table, slot)) {
        size_t home = home_of(table, slots[slot]->memory);
        if (((slot - home) & mask) >= ((slot - hole) & mask)) { /* home is not between: may move */
            slots[hole] = slots[slot];
            hole = slot;
        }
    }
    slots[hole] = NULL;
}

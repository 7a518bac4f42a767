/* SPDX-License-Identifier: MIT */
/*
 * large_table.c - live extents by address: open addressing, linear probing, at most half full.
 * A removed entry is closed up (Knuth, vol. 3, 6.4, algorithm R), so searches meet no graves.
 */
#include "large_internal.h"
#include "vm.h"

#define FIRST_LOG2_SLOTS 8u

static extent_t *first_slots[1u << FIRST_LOG2_SLOTS];

static struct {
    extent_t **slots;
    unsigned log2_slots;
    size_t n_used;
} table = {first_slots, FIRST_LOG2_SLOTS, 0};

static inline size_t n_slots(void) {
    return (size_t)1 << table.log2_slots;
}

/* Objects begin on pages: the low 12 bits say nothing. */
static inline size_t home_of(const void *pointer) {
    return (((uintptr_t)pointer >> 12) * 0x9E3779B97F4A7C15ull) >> (64u - table.log2_slots);
}

static inline size_t next_of(size_t slot) {
    return (slot + 1) & (n_slots() - 1);
}

static bool table_double(void) {
    extent_t **old_slots = table.slots;
    size_t old_n = n_slots(), old_bytes = vm_round_up(old_n * sizeof *old_slots);
    extent_t **new_slots = vm_map(vm_round_up(2 * old_n * sizeof *old_slots));
    if (!new_slots)
        return false;
    table.slots = new_slots;
    table.log2_slots++;
    table.n_used = 0;
    for (size_t slot = 0; slot < old_n; slot++)
        if (old_slots[slot])
            large_table_add(old_slots[slot]);
    if (old_slots != first_slots)
        vm_release(old_slots, old_bytes); /* refused: a few pages are lost, nothing else */
    return true;
}

bool large_table_reserve(void) {
    /* Without memory a fuller table still works, as long as searches meet an empty slot. */
    return 2 * (table.n_used + 1) <= n_slots() || table_double() || table.n_used + 2 <= n_slots();
}

void large_table_add(extent_t *extent) {
    size_t slot = home_of(extent->memory);
    while (table.slots[slot])
        slot = next_of(slot);
    table.slots[slot] = extent;
    table.n_used++;
}

static size_t slot_of(const void *pointer) {
    size_t slot = home_of(pointer);
    while (table.slots[slot] && table.slots[slot]->memory != pointer)
        slot = next_of(slot);
    return slot;
}

extent_t *large_table_find(const void *pointer) {
    return table.slots[slot_of(pointer)];
}

void large_table_remove(extent_t *extent) {
    size_t hole = slot_of(extent->memory);
    table.n_used--;
    for (size_t slot = next_of(hole); table.slots[slot]; slot = next_of(slot)) {
        size_t distance_home = (slot - home_of(table.slots[slot]->memory)) & (n_slots() - 1);
        size_t distance_hole = (slot - hole) & (n_slots() - 1);
        if (distance_home >= distance_hole) { /* its home is not between hole and slot: may move */
            table.slots[hole] = table.slots[slot];
            hole = slot;
        }
    }
    table.slots[hole] = NULL;
}

size_t large_table_count(void) {
    return table.n_used;
}

/* SPDX-License-Identifier: MIT */
/* hardened_table.c - open addressing as in large_table.c, with the entries in the table itself. */
#include "hardened_table.h"

#define FIRST_PLACES 512u

static struct {
    guarded_t *places;
    size_t n_places, n_used; /* a power of two; at most half of them */
} table;

static inline size_t home_of(const void *object) {
    uint64_t hash = ((uintptr_t)object >> 4) * 0x9e3779b97f4a7c15ull;
    return (size_t)(hash >> 32) & (table.n_places - 1);
}

static inline size_t after(size_t place) {
    return (place + 1) & (table.n_places - 1);
}

static size_t place_of(const void *object) {
    size_t place = home_of(object);
    while (table.places[place].object && table.places[place].object != object)
        place = after(place);
    return place;
}

static bool enlarge(void) {
    guarded_t *old = table.places;
    size_t n_old = table.n_places, n_new = old ? 2 * n_old : FIRST_PLACES;
    guarded_t *places = vm_map(vm_round_up(n_new * sizeof *places));
    if (!places)
        return false;
    table.places = places;
    table.n_places = n_new;
    for (size_t i = 0; old && i < n_old; i++)
        if (old[i].object)
            places[place_of(old[i].object)] = old[i];
    if (old)
        vm_release(old, vm_round_up(n_old * sizeof *old)); /* refused: some pages are lost */
    return true;
}

bool guarded_table_add(const guarded_t *entry) {
    if (2 * (table.n_used + 1) > table.n_places && !enlarge())
        return false;
    table.places[place_of(entry->object)] = *entry;
    table.n_used++;
    return true;
}

guarded_t *guarded_table_find(const void *object) {
    if (!table.n_used)
        return NULL;
    guarded_t *entry = &table.places[place_of(object)];
    return entry->object ? entry : NULL;
}

/* What follows moves up as far as its home allows (Knuth, vol. 3, 6.4, algorithm R). */
void guarded_table_remove(guarded_t *entry) {
    size_t hole = (size_t)(entry - table.places);
    table.n_used--;
    for (size_t place = after(hole); table.places[place].object; place = after(place)) {
        size_t from_home = (place - home_of(table.places[place].object)) & (table.n_places - 1);
        if (from_home >= ((place - hole) & (table.n_places - 1))) {
            table.places[hole] = table.places[place];
            hole = place;
        }
    }
    table.places[hole].object = NULL;
}

guarded_t *guarded_table_next(size_t *i) {
    while (*i < table.n_places)
        if (table.places[(*i)++].object)
            return &table.places[*i - 1];
    return NULL;
}

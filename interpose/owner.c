/* SPDX-License-Identifier: MIT */
#include "owner.h"

#include "vm.h"

_Atomic owner_id_t region_owner[N_NEAR_REGIONS];

/* Of the regions from N_NEAR_REGIONS on; never unmapped.  Stored (release) by whoever maps it. */
#define N_FAR_REGIONS (N_REGIONS - N_NEAR_REGIONS)
static _Atomic(_Atomic owner_id_t *) far_owner;

static _Atomic owner_id_t *far_table(void) {
    return atomic_load_explicit(&far_owner, memory_order_acquire);
}

__attribute__((cold)) static bool make_far_table(void) {
    size_t bytes = vm_round_up(N_FAR_REGIONS * sizeof *far_table());
    _Atomic owner_id_t *table = vm_map(bytes), *none = NULL;
    if (!table)
        return false;
    vm_keep_small_pages(table, bytes);
    if (!atomic_compare_exchange_strong_explicit(&far_owner, &none, table, memory_order_release,
                                                 memory_order_relaxed))
        vm_release(table, bytes); /* another thread was first */
    return true;
}

owner_id_t owner_of_far(const void *pointer) {
    size_t index = (uintptr_t)pointer >> REGION_LOG2_BYTES;
    _Atomic owner_id_t *table = far_table();
    if (!table || index >= N_REGIONS)
        return OWNER_NONE;
    return atomic_load_explicit(&table[index - N_NEAR_REGIONS], memory_order_relaxed);
}

bool owner_can_set(const void *memory, size_t bytes) {
    uintptr_t last = (uintptr_t)memory + bytes - 1;
    return last >> NEAR_BITS == 0 ||
           (last >> ADDRESS_BITS == 0 && (far_table() || make_far_table()));
}

static _Atomic owner_id_t *entry(size_t index) {
    return index < N_NEAR_REGIONS ? &region_owner[index] : &far_table()[index - N_NEAR_REGIONS];
}

void owner_set(const void *memory, size_t bytes, owner_id_t owner) {
    size_t first = (uintptr_t)memory >> REGION_LOG2_BYTES;
    size_t last = ((uintptr_t)memory + bytes - 1) >> REGION_LOG2_BYTES;
    for (size_t i = first; i <= last; i++)
        atomic_store_explicit(entry(i), owner, memory_order_release);
}

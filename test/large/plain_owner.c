/* SPDX-License-Identifier: MIT */
/* plain_owner.c - owner.h with regions wherever the system puts them. */
#include "owner.h"

#include "vm.h"

_Atomic owner_id_t region_owner[N_REGIONS];

void *owner_reserve(size_t bytes, size_t align) {
    return vm_reserve(bytes, align);
}

void owner_set(const void *memory, size_t bytes, owner_id_t owner) {
    uintptr_t first = (uintptr_t)memory >> REGION_LOG2_BYTES;
    uintptr_t last = ((uintptr_t)memory + bytes - 1) >> REGION_LOG2_BYTES;
    for (uintptr_t i = first; i <= last; i++)
        atomic_store_explicit(&region_owner[i], owner, memory_order_release);
}

/* SPDX-License-Identifier: MIT */
#include "owner.h"

_Atomic owner_id_t region_owner[N_REGIONS];

void owner_set(const void *memory, size_t bytes, owner_id_t owner) {
    size_t first = (uintptr_t)memory >> REGION_LOG2_BYTES;
    size_t last = ((uintptr_t)memory + bytes - 1) >> REGION_LOG2_BYTES;
    for (size_t i = first; i <= last; i++)
        atomic_store_explicit(&region_owner[i], owner, memory_order_release);
}

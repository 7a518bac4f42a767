/* SPDX-License-Identifier: MIT */
/* plain_owner.c - owner_reserve with regions wherever the system puts them. */
#include "owner.h"
#include "vm.h"

void *owner_reserve(size_t bytes, size_t align) {
    void *memory = vm_reserve(bytes, align);
    return memory && owner_can_set(memory, bytes) ? memory : NULL;
}

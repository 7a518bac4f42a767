/* SPDX-License-Identifier: MIT */
/* plain_owner.c - owner_reserve with regions wherever the system puts them. */
#include "owner.h"
#include "vm.h"

void *owner_reserve(size_t bytes, size_t align) {
    return vm_reserve(bytes, align);
}

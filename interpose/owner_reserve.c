/* SPDX-License-Identifier: MIT */
/* owner_reserve.c - where regions lie.  In a file of its own: tests under a sanitizer replace it.
 */
#include "owner.h"
#include "secret.h"
#include "vm.h"

/* Regions are placed one after another from a random address in a part of the address space that
 * nothing else uses by itself: then one system call reserves one, where finding an aligned place
 * takes five.  Only a hint: whatever is in the way makes it fall back to any aligned place. */
#define HINT_MIN       ((uintptr_t)1 << 40)
#define HINT_LOG2_SPAN 42u

static _Atomic uintptr_t next_hint;

/* Relaxed: only the value counts, each caller gets a range of its own. */
static void *take_hint(size_t bytes) {
    uintptr_t none = 0;
    uintptr_t first = HINT_MIN + (secret_random() & (((uintptr_t)1 << HINT_LOG2_SPAN) - 1));
    first &= ~(uintptr_t)(REGION_BYTES - 1);
    if (atomic_load_explicit(&next_hint, memory_order_relaxed) == 0)
        atomic_compare_exchange_strong_explicit(&next_hint, &none, first, memory_order_relaxed,
                                                memory_order_relaxed);
    size_t span = (bytes + REGION_BYTES - 1) & ~(REGION_BYTES - 1);
    return (void *)atomic_fetch_add_explicit(&next_hint, span, memory_order_relaxed);
}

void *owner_reserve(size_t bytes, size_t align) {
    if (align <= REGION_BYTES) {
        void *hint = take_hint(bytes);
        if ((uintptr_t)hint + bytes < (uintptr_t)N_REGIONS * REGION_BYTES) {
            void *memory = vm_reserve_at(hint, bytes);
            if (memory)
                return memory;
        }
        align = REGION_BYTES;
    }
    return vm_reserve(bytes, align);
}

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

#define HINT_END       ((uintptr_t)N_NEAR_REGIONS * REGION_BYTES)

static _Atomic uintptr_t next_hint; /* relaxed: only the value counts */

static uintptr_t first_hint(void) {
    uintptr_t first = HINT_MIN + (secret_random() & (((uintptr_t)1 << HINT_LOG2_SPAN) - 1));
    return first & ~(uintptr_t)(REGION_BYTES - 1);
}

/* Each caller gets a range of its own.  At the end they begin again: what was there first may be
 * gone by then. */
static uintptr_t take_hint(size_t span) {
    uintptr_t none = 0, first = first_hint();
    if (atomic_load_explicit(&next_hint, memory_order_relaxed) == 0)
        atomic_compare_exchange_strong_explicit(&next_hint, &none, first, memory_order_relaxed,
                                                memory_order_relaxed);
    uintptr_t hint = atomic_fetch_add_explicit(&next_hint, span, memory_order_relaxed);
    if (hint < HINT_END && span <= HINT_END - hint)
        return hint;
    atomic_store_explicit(&next_hint, first + span, memory_order_relaxed);
    return first;
}

/* There was no memory, so nothing was in the way. */
static void return_hint(uintptr_t hint, size_t span) {
    uintptr_t next = hint + span;
    atomic_compare_exchange_strong_explicit(&next_hint, &next, hint, memory_order_relaxed,
                                            memory_order_relaxed);
}

static void *reserve_anywhere(size_t bytes, size_t align) {
    void *memory = vm_reserve(bytes, align);
    if (memory && !owner_can_set(memory, bytes)) {
        vm_release(memory, bytes);
        return NULL;
    }
    return memory;
}

void *owner_reserve(size_t bytes, size_t align) {
    if (align > REGION_BYTES || bytes > HINT_END)
        return reserve_anywhere(bytes, align);
    size_t span = (bytes + REGION_BYTES - 1) & ~(REGION_BYTES - 1);
    uintptr_t hint = take_hint(span);
    void *memory = span <= HINT_END - hint ? vm_reserve_at((void *)hint, bytes) : NULL;
    if (!memory)
        memory = reserve_anywhere(bytes, REGION_BYTES);
    if (!memory)
        return_hint(hint, span);
    return memory;
}

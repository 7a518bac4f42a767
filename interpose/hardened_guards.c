/* SPDX-License-Identifier: MIT */
#include "hardened_guards.h"

/* Guards cost the kernel up to three mappings an object, of the 65530 that a process may have. */
#define MAX_GUARDED_OBJECTS 8000u

static size_t n_guarded; /* objects that live; atomic, relaxed: a limit more or less */

/* The lead of an object aligned to more than a page is as long as its alignment: only its end
 * guards. */
static inline size_t front_bytes_of(const guarded_t *entry) {
    size_t most = GUARDS_MAX_LEAD_PAGES * vm_page_bytes();
    return entry->lead_bytes < most ? entry->lead_bytes : most;
}

bool guards_renew(const guarded_t *entry) {
    size_t front_bytes = front_bytes_of(entry);
    return vm_renew(guarded_body(entry) - front_bytes, front_bytes) &&
           vm_renew(guarded_body(entry) + entry->body_bytes, vm_page_bytes());
}

void guards_set(guarded_t *entry) {
    size_t front_bytes = front_bytes_of(entry);
    size_t n = __atomic_add_fetch(&n_guarded, 1, __ATOMIC_RELAXED);
    entry->is_guarded = n <= MAX_GUARDED_OBJECTS &&
                        vm_decommit(guarded_body(entry) - front_bytes, front_bytes) &&
                        vm_decommit(guarded_body(entry) + entry->body_bytes, vm_page_bytes());
    if (!entry->is_guarded)
        __atomic_sub_fetch(&n_guarded, 1, __ATOMIC_RELAXED);
}

void guards_forget(const guarded_t *entry) {
    if (entry->is_guarded)
        __atomic_sub_fetch(&n_guarded, 1, __ATOMIC_RELAXED);
}

void guards_count(void) {
    __atomic_add_fetch(&n_guarded, 1, __ATOMIC_RELAXED);
}

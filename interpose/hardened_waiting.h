/* SPDX-License-Identifier: MIT */
/*
 * hardened_waiting.h - places of freed large objects, all without access: a use after free faults.
 * Private to hardened_large.c, whose lock its callers hold.
 *
 *      LIVE -- free --> HELD, the quarantine -- then --> SPARE -- an object of as many pages -->
 * LIVE
 *                                            \-- too large, or too many --> back to the large store
 *
 * A spare place has its guards already, so using it again is one change of a mapping and not four.
 * Some waiting places keep their pages, cleared, since a page costs more than to clear it: in bytes
 * at most KEPT_MIN_BYTES and a KEPT_PART_OF_LIVE of what is live.
 */
#ifndef MHEAP_HARDENED_WAITING_H
#define MHEAP_HARDENED_WAITING_H

#include "hardened_guards.h"
#include "hardened_random.h"
#include "hardened_table.h"

/* Larger ones do not become spare, and never keep pages; nor do those without guards, or aligned to
 * so much that only a part of the lead is a guard. */
#define SPARE_MAX_BYTES ((size_t)128 << 10)

static inline bool waiting_may_be_spare(const guarded_t *entry) {
    return entry->is_guarded && entry->body_bytes <= SPARE_MAX_BYTES &&
           entry->lead_bytes <= GUARDS_MAX_LEAD_PAGES * vm_page_bytes();
}

/* Whether one more may keep its pages; then they count as kept, until it leaves or it turns out
 * that they have to go after all. */
bool waiting_keep(const guarded_t *freed, uint64_t live_bytes);
void waiting_keep_not(const guarded_t *freed);

/* The entry (BUSY) becomes HELD, its pages kept if it has_pages. */
void waiting_add(guarded_t *entry, hardened_random_t *random);

/* An entry that is not to wait any longer, BUSY now; NULL if there is none. */
guarded_t *waiting_surplus(void);

/* A spare place with so many bytes of pages, BUSY; NULL if there is none. */
guarded_t *waiting_reuse(size_t body_bytes);

/* Any that waits, BUSY; NULL if there is none. */
guarded_t *waiting_any(void);

/* Take the pages from those that have kept them longest, until they are few enough. */
void waiting_strip(uint64_t live_bytes);

#endif /* MHEAP_HARDENED_WAITING_H */

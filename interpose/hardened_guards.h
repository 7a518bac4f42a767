/* SPDX-License-Identifier: MIT */
/* hardened_guards.h - the pages without access around a large object.  Private to hardened_large.c;
 * for an object that its caller has for itself (BUSY, or not yet in the table), without a lock. */
#ifndef MHEAP_HARDENED_GUARDS_H
#define MHEAP_HARDENED_GUARDS_H

#include "hardened_table.h"

#define GUARDS_MAX_LEAD_PAGES 4u

/* Without guards, and is_guarded false, when the system has no mappings left, or there are too many
 * already. */
void guards_set(guarded_t *entry);

/* The object is freed, or is used again: its guards, if it has them, count no more, or again. */
void guards_forget(const guarded_t *entry);
void guards_count(void);

/* Make them accessible. */
bool guards_renew(const guarded_t *entry);

#endif /* MHEAP_HARDENED_GUARDS_H */

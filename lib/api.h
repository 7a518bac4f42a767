/* SPDX-License-Identifier: MIT */
/* api.h - entering and leaving a heap by its public functions. */
#ifndef MHEAP_API_H
#define MHEAP_API_H

#include "mheap_internal.h"

/* The heap of vector v, locked if it is THREAD_SAFE; aborts in the name of `function` if v is no
 * heap. */
mheap_t *api_enter(void *v, const char *function);
void api_leave(mheap_t *h);

/* The same for functions that change the heap: with VALIDATE all invariants are checked. */
mheap_t *api_begin_change(void *v, const char *function);
void api_end_change(mheap_t *h, const char *function);

/* plain_magic is MHEAP_MAGIC in a heap that only one thread uses and that is neither traced nor
 * validated around each operation, else 0: to be set when one of these changes.  It is all that get
 * and put ask. */
void api_set_plain(mheap_t *h);
bool api_may_be_plain(const mheap_t *h);

#endif /* MHEAP_API_H */

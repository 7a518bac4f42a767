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

#endif /* MHEAP_API_H */

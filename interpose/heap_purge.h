/* SPDX-License-Identifier: MIT */
/* heap_purge.h - when a thread heap's free pages go back to the system.  All under the heap's lock.
 */
#ifndef MHEAP_HEAP_PURGE_H
#define MHEAP_HEAP_PURGE_H

#include "thread_heap.h"

/* Give pages back, when enough of what is free is ready and dirty and the budget allows it. */
void heap_purge_if_due(thread_heap_t *heap);

/* Give everything back that is not in use.  Returns the bytes of pages. */
size_t heap_purge_all(thread_heap_t *heap);

#endif /* MHEAP_HEAP_PURGE_H */

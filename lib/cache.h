/* SPDX-License-Identifier: MIT */
/*
 * cache.h - the small-object cache: freed small objects, ready for reuse.
 *
 * A cached object stays an allocated element, marked is_cached in its own tag, on a LIFO list of
 * its exact size that is linked through its user data.  Neither neighbours nor bins are touched.
 * Keeps M10.  The heap's lock guards all.
 */
#ifndef MHEAP_CACHE_H
#define MHEAP_CACHE_H

#include "mheap_internal.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Take an object that is being freed.  False if the heap has no cache or the object is not small;
 * a full cache is emptied first. */
bool cache_push(mheap_t *h, mheap_elt_t *e);

/* A cached object of exactly this size whose address suits, or NULL. */
mheap_elt_t *cache_pop(mheap_t *h, uint64_t n_words, size_t align, size_t align_offset);

/* Turn all cached objects into free elements.  O(objects in the cache). */
void cache_flush(mheap_t *h);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_CACHE_H */

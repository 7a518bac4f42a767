/* SPDX-License-Identifier: MIT */
/*
 * walk.h - the one way to go through all elements of a heap, in address order.
 *
 *      walk_t w = walk_start(h);
 *      while (walk_next(&w))
 *          use w.elt, w.uoffset
 *      if (w.corruption.invariant)
 *          the walk ended early: the tags are damaged at w.corruption.uoffset
 *
 * Each element's tags are checked (M1 to M5) before it is handed out, so a walk never loops and
 * never leaves the heap, whatever users have written into it.  The heap's lock guards the walk.
 */
#ifndef MHEAP_WALK_H
#define MHEAP_WALK_H

#include "elt.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    const mheap_t *h;
    mheap_elt_t *elt; /* the element that walk_next came to, and where it is */
    mheap_uoffset_t uoffset;
    mheap_uoffset_t next;      /* uoffset of the one behind it */
    uint32_t prev_n_user_data; /* size and state of the one before next */
    bool prev_is_free;
    mheap_corruption_t corruption; /* .invariant == 0 as long as all is well */
} walk_t;

walk_t walk_start(const mheap_t *h);
bool walk_next(walk_t *w);

/* A corruption record: the number of the invariant, its words, where. */
mheap_corruption_t walk_corruption(int invariant, uint64_t uoffset);
mheap_corruption_t walk_no_corruption(void);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_WALK_H */

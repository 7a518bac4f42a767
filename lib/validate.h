/* SPDX-License-Identifier: MIT */
/* validate.h - all invariants of mheap_layout.h, checked without lock. */
#ifndef MHEAP_VALIDATE_H
#define MHEAP_VALIDATE_H

#include "walk.h"

#ifdef __cplusplus
extern "C" {
#endif

/* mheap_validate_report's work; the caller holds the heap's lock.  O(objects), no memory needed,
 * nothing is written. */
mheap_corruption_t validate(const mheap_t *h);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_VALIDATE_H */

/* SPDX-License-Identifier: MIT */
/* coarse_clock.h - when it is time to give memory back. */
#ifndef MHEAP_COARSE_CLOCK_H
#define MHEAP_COARSE_CLOCK_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Milliseconds of a clock that only goes forward, exact to a few; cheap, keeps errno.  In a file of
 * its own: tests replace it. */
uint64_t coarse_clock_ms(void);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_COARSE_CLOCK_H */

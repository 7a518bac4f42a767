/* SPDX-License-Identifier: MIT */
/*
 * shortage.h - the system has no more memory: what all heaps have free is collected, and then taken
 * out of whichever has it.
 *
 * heaps_trim, which collects it, visits every heap and makes system calls.  A program that goes on
 * without new memory asks for one object after the other, so a trim is paid for once and then again
 * when something came free; and in any case before the answer is that there is no memory.
 */
#ifndef MHEAP_SHORTAGE_H
#define MHEAP_SHORTAGE_H

#include <stdbool.h>
#include <stdint.h>

/* heaps_trim, and remember as of when. */
void shortage_trim(void);

/* Whether blocks have come home or have been handed over, or large objects have been freed, since
 * the last shortage_trim.  What lies on threads' own lists does not show.  O(heaps). */
bool shortage_may_trim_more(void);

/* How often it was done. */
uint64_t shortage_n_trims(void);

#endif /* MHEAP_SHORTAGE_H */

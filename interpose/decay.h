/* SPDX-License-Identifier: MIT */
/*
 * decay.h - what stays free goes back within about a second, without a thread of our own: whoever
 * takes a slow path when it is due looks after all heaps, those of sleeping and of dead threads
 * too.  A heap in which nothing happened between two looks gives back everything; one in use, some
 * of what was free at both looks, under the purge budget.
 */
#ifndef MHEAP_DECAY_H
#define MHEAP_DECAY_H

#include <stdbool.h>

/* Look after a part of the heaps, if it is time.  Without any heap's lock. */
void heaps_decay_if_due(void);

/* Look after all heaps now, and after large objects.  Returns whether there is something left that
 * may be given back later.  Without any heap's lock; any thread. */
bool heaps_decay(void);

#endif /* MHEAP_DECAY_H */

/* SPDX-License-Identifier: MIT */
/*
 * object.h - what lies at a pointer that a program handed to us, checked before it is believed.
 */
#ifndef MHEAP_OBJECT_H
#define MHEAP_OBJECT_H

#include <stdbool.h>
#include <stddef.h>

#include "heaps.h"

typedef enum {
    OBJECT_RUN_BLOCK,
    OBJECT_ELEMENT,
    OBJECT_LARGE,
    OBJECT_GLIBC,
    OBJECT_NONE
} object_kind_t;

typedef struct {
    object_kind_t kind;
    owner_id_t owner;    /* of its region */
    unsigned size_class; /* of the list it belongs on; run blocks and elements */
    size_t bytes;        /* usable */
    const char *what;    /* OBJECT_NONE: why it is no live object, in words */
} object_t;

/* Any pointer whatever but NULL.  Exact for large objects and run blocks; an element is believed if
 * its tag and its neighbours' agree.  Thread-safe, takes no heap's lock. */
object_t object_at(const void *pointer);

/* Report a misuse in one line; aborts unless the option abort is off. */
__attribute__((cold)) void misuse(const char *function, const void *pointer, const char *what);

#endif /* MHEAP_OBJECT_H */

/* SPDX-License-Identifier: MIT */
/*
 * hardened_canary.h - what fills the memory between an object's last byte and the end of its place.
 *
 * Eight bytes, repeated, made of a secret of the process, the object's address and its kind.  So a
 * copy of another object's canary does not pass, and a call that frees an object in a wrong way
 * finds a canary of another kind.
 */
#ifndef MHEAP_HARDENED_CANARY_H
#define MHEAP_HARDENED_CANARY_H

#include <stdint.h>

#include "hardened.h"

uint64_t canary_of(const void *object, hardened_kind_t kind);

void canary_write(void *object, size_t bytes, size_t slack_bytes, hardened_kind_t kind);
bool canary_is_whole(const void *object, size_t bytes, size_t slack_bytes, hardened_kind_t kind);

/* The kind whose canary this is, other than `kind`; HARDENED_N_KINDS if it is damaged. */
hardened_kind_t canary_other_kind(const void *object, size_t bytes, size_t slack_bytes,
                                  hardened_kind_t kind);

/* Whether the last eight bytes before `end` are those of the object's canary, of any kind. */
bool canary_ends_at(const void *object, size_t slack_bytes, const void *end);

/* `bytes` is a multiple of 16, `memory` aligned to 16. */
bool memory_is_zero(const void *memory, size_t bytes);

#endif /* MHEAP_HARDENED_CANARY_H */

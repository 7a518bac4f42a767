/* SPDX-License-Identifier: MIT */
/*
 * new_handler.h - what operator new does when memory is out, with the C++ runtime that the program
 * has, if any: we link none.
 */
#ifndef MHEAP_NEW_HANDLER_H
#define MHEAP_NEW_HANDLER_H

#include <stddef.h>

typedef void *allocate_fn(size_t bytes, size_t align);

/* Call the new-handler, then `allocate` again, until one of them ends it: with memory; by the
 * handler's exception; or, when no handler is installed, by std::bad_alloc.  Never returns NULL. */
void *new_retry(allocate_fn *allocate, size_t bytes, size_t align);

/* The same for callers that may not throw: NULL instead of an exception. */
void *new_retry_nothrow(allocate_fn *allocate, size_t bytes, size_t align);

/* `allocate`, which may throw, with NULL for any exception. */
void *new_call_nothrow(allocate_fn *allocate, size_t bytes, size_t align);

/* Throw std::bad_alloc. */
__attribute__((noreturn)) void new_throw(size_t bytes);

#endif /* MHEAP_NEW_HANDLER_H */

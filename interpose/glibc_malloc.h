/* SPDX-License-Identifier: MIT */
/*
 * glibc_malloc.h - objects that glibc's own malloc made: libraries loaded with RTLD_DEEPBIND and
 * callers of __libc_malloc have such, and now and then one of them reaches our free.
 *
 * Only for pointers that are not ours (owner_of is OWNER_NONE).  Thread-safe, nothing is allocated.
 */
#ifndef MHEAP_GLIBC_MALLOC_H
#define MHEAP_GLIBC_MALLOC_H

#include <stdbool.h>
#include <stddef.h>

/* Whether `pointer`, any value whatever, looks like an object of glibc's malloc.  Never faults.
 * Wrong only if other memory looks the same in a dozen words; glibc's free checks once more. */
bool glibc_malloc_owns(const void *pointer);

/* For pointers of which glibc_malloc_owns is true. */
void glibc_malloc_free(void *pointer);
size_t glibc_malloc_usable(void *pointer);

#endif /* MHEAP_GLIBC_MALLOC_H */

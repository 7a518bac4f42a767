/* SPDX-License-Identifier: MIT */
/* secret.h - random bits of this process: the key of encoded links, and where regions lie. */
#ifndef MHEAP_SECRET_H
#define MHEAP_SECRET_H

#include <stdint.h>

/* 64 random bits that stay the same for the life of the process (and its forks).  Thread-safe, may
 * run before libc is set up, keeps errno. */
uint64_t secret_random(void);

/* 64 random bits, new ones each time: a system call.  Thread-safe, keeps errno. */
uint64_t secret_draw(void);

/* The key for links (block.h): random and odd. */
uintptr_t secret_key(void);

#endif /* MHEAP_SECRET_H */

/* SPDX-License-Identifier: MIT */
/* boot.h - what happens once, at the first allocation and when the library is initialised. */
#ifndef MHEAP_BOOT_H
#define MHEAP_BOOT_H

/* Before the first heap is made; does nothing the next times.  May run before libc has set up its
 * environment, even in the dynamic loader. */
void boot_first_heap(void);

#endif /* MHEAP_BOOT_H */

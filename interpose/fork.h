/* SPDX-License-Identifier: MIT */
/* fork.h - our locks across fork. */
#ifndef MHEAP_FORK_H
#define MHEAP_FORK_H

/* Registers the handlers; called once, before anybody who allocates first can register others. */
void fork_register(void);

#endif /* MHEAP_FORK_H */

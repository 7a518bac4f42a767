/* SPDX-License-Identifier: MIT */
/*
 * group_limit.h - the memory limit of the control group that the process runs in, as a container
 * has one.  The kernel kills what exceeds it, so it serves as limit_soft where that is not set.
 *
 * It is looked for once, when the process has grown beyond what any group is likely to forbid: a
 * small one makes no system call for it.
 */
#ifndef MHEAP_GROUP_LIMIT_H
#define MHEAP_GROUP_LIMIT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm.h"

#ifdef __cplusplus
extern "C" {
#endif

#define GROUP_PATH_BYTES 1024u

/* A group's folder, and the name of the file in it that has the limit. */
typedef struct {
    const char *file;
    size_t n_bytes, n_root_bytes; /* of the folder's name; of the hierarchy's root */
    char folder[GROUP_PATH_BYTES];
} group_t;

/* `text` is what /proc/self/cgroup says.  False: no group that could have a limit, or its name is
 * too long. */
bool group_find(const char *text, group_t *group);

/* To the group above, whose limit holds, too; false at the root. */
bool group_go_up(group_t *group);

/* What a limit's file says; 0: none. */
uint64_t group_limit_number(const char *text);

/* The least limit of the process's group and those above; 0: none. */
uint64_t group_limit_read(void);

/* From so much accessible memory on it is looked for.  Growth by less is not worth a limit. */
#define GROUP_LIMIT_FROM_BYTES ((uint64_t)16 << 20)

/* Inline: the rest lies where small processes have no page of the library (layout.ld). */
static inline bool group_limit_look_is_due(void) {
    return vm_committed_bytes() >= GROUP_LIMIT_FROM_BYTES;
}

/* Look for it, once, and hold to it from then on.  No lock is held. */
void group_limit_look(void);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_GROUP_LIMIT_H */

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

/* Look for it if it is time, and hold to it from then on.  No lock is held. */
void group_limit_look_if_due(void);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_GROUP_LIMIT_H */

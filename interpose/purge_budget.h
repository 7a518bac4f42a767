/* SPDX-License-Identifier: MIT */
/*
 * purge_budget.h - how many bytes of free pages may go back to the system now.
 *
 * Giving a page back costs a part of a system call, and a page fault if it is wanted again: about
 * two microseconds.  A token bucket bounds that.  Tokens, in bytes, are earned by growing - each
 * byte of heap that became accessible has cost as much already, and may be given back once - and by
 * time, at a rate of about one percent of a core.  So a burst of whatever size is returned at once,
 * and a program that swings between large and small soon keeps its pages.
 *
 * Process-wide, relaxed atomics: a token more or less does no harm.
 */
#ifndef MHEAP_PURGE_BUDGET_H
#define MHEAP_PURGE_BUDGET_H

#include <stdint.h>

void purge_budget_earn(uint64_t bytes);

/* Take what there is, at most `bytes`; returns how much.  Then say what was spent: less, or, since
 * a piece of memory goes whole, more. */
uint64_t purge_budget_take_some(uint64_t bytes);
void purge_budget_settle(uint64_t taken, uint64_t spent);

#endif /* MHEAP_PURGE_BUDGET_H */

/* SPDX-License-Identifier: MIT */
/* scenarios.h - small cases of the protocols that threads meet in. */
#ifndef MHEAP_MODEL_SCENARIOS_H
#define MHEAP_MODEL_SCENARIOS_H

#include "model.h"

#ifdef __cplusplus
extern "C" {
#endif

extern const scenario_t scenario_push, scenario_push_long, scenario_push_hot, scenario_push_full,
    scenario_push_over_limit, scenario_push_over_limit_long, scenario_push_asleep,
    scenario_push_awake, scenario_push_awake_long, scenario_trim, scenario_adopt,
    scenario_adopt_dead, scenario_first_heaps, scenario_fork_parent, scenario_fork_child,
    scenario_fork_child_writes, scenario_fork_child_adopting, scenario_two_forks,
    scenario_wrong_lock_order;

/* Of model_world.c, as the calling thread. */
void world_flush(void);      /* send all batches off */
void world_new_thread(void); /* from here on a thread without a heap */
void world_lock_heap(uint32_t id);
void world_unlock_heap(uint32_t id);
uint64_t world_n_taken_in(uint32_t id); /* blocks that ever came out of the heap's inbox */
bool world_is_in_run(const void *object);
uint64_t world_inbox_bytes(uint32_t id); /* that lie in it */
const char *world_settle(void);          /* what is wrong with the inboxes' byte counts */

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_MODEL_SCENARIOS_H */

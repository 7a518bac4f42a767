/* SPDX-License-Identifier: MIT */
#include "boot.h"

#include <stdatomic.h>
#include <unistd.h>

#include "background.h"
#include "fork.h"
#include "fatal.h"
#include "heaps.h"
#include "limits.h"
#include "observe.h"
#include "options.h"

/* The mistake may have been found in the middle of a change to the thread's heap.  What its handler
 * of SIGABRT allocates comes from another one, a new one mostly. */
static void leave_heap(void) {
    self_heap = NO_HEAP;
}

/* Our handlers are registered before anybody's who has allocated first, so that theirs run outside
 * ours: prepare handlers run last first, the others first first. */
void boot_first_heap(void) {
    static atomic_flag done = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set_explicit(&done, memory_order_relaxed))
        return;
    fatal_leave = leave_heap;
    options_init();
    limits_start();
    heaps_set_slow_mode(!environ || observe_wants_slow_mode());
    fork_register();
}

/* Whatever was allocated before libc knew the environment went the slow way, and is seen by neither
 * list nor observer. */
__attribute__((constructor)) static void boot(void) {
    options_init();
    limits_start();
    background_enable();
    options_warn();
    heaps_set_slow_mode(observe_wants_slow_mode());
    observe_start();
}

__attribute__((destructor)) static void shut_down(void) {
    observe_finish();
}

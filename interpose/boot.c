/* SPDX-License-Identifier: MIT */
#include "boot.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

#include "hardened.h"
#include "heaps.h"
#include "large.h"
#include "limits.h"
#include "observe.h"
#include "options.h"

/* Locks in the order of thread_heap.h: heaps, then large objects; what observes is innermost.  The
 * hardened library's own come first, in the order of hardened_lock.h. */
static void fork_prepare(void) {
    if (MHEAP_HARDENED)
        hardened_fork_prepare();
    heaps_fork_prepare();
    large_fork_prepare();
    observe_fork_prepare();
}

static void fork_parent(void) {
    observe_fork_parent();
    large_fork_parent();
    heaps_fork_parent();
    if (MHEAP_HARDENED)
        hardened_fork_parent();
}

static void fork_child(void) {
    observe_fork_child();
    large_fork_child();
    heaps_fork_child();
    if (MHEAP_HARDENED)
        hardened_fork_child();
}

/* Our handlers are registered before anybody's who has allocated first, so that theirs run outside
 * ours: prepare handlers run last first, the others first first. */
void boot_first_heap(void) {
    static atomic_flag done = ATOMIC_FLAG_INIT;
    if (atomic_flag_test_and_set_explicit(&done, memory_order_relaxed))
        return;
    if (environ)
        options_init();
    limits_start();
    heaps_set_slow_mode(!environ || observe_wants_slow_mode());
    pthread_atfork(fork_prepare, fork_parent, fork_child);
}

/* Whatever was allocated before libc knew the environment went the slow way, and is seen by neither
 * list nor observer. */
__attribute__((constructor)) static void boot(void) {
    options_init();
    limits_start();
    options_warn();
    heaps_set_slow_mode(observe_wants_slow_mode());
    observe_start();
}

__attribute__((destructor)) static void shut_down(void) {
    observe_finish();
}

/* SPDX-License-Identifier: MIT */
#include "background.h"

#include <errno.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sys/resource.h>
#include <time.h>

#include "heap_slow.h"
#include "heaps.h"
#include "options.h"
#include "system_call.h"
#include "vm.h"

#define STACK_BYTES ((size_t)64 << 10) /* besides what thread-local variables take of it */
#define TICK_MS     250u

bool background_is_wanted;
uint32_t background_is_asleep;

void background_enable(void) {
    __atomic_store_n(&background_is_wanted, options.background, __ATOMIC_RELAXED);
}

static void wait_ms(uint64_t ms) {
    struct timespec left = {(time_t)(ms / 1000), (long)(ms % 1000) * 1000000};
    while (system_call(SYS_nanosleep, (long)&left, (long)&left, 0, 0, 0) == -EINTR)
        ;
}

static void futex(int op) {
    system_call(SYS_futex, (long)&background_is_asleep, op, 1, 0, 0);
}

void background_wake(void) {
    if (__atomic_exchange_n(&background_is_asleep, 0, __ATOMIC_RELAXED))
        futex(FUTEX_WAKE_PRIVATE);
}

/* What becomes free between the trim and the sleep sees the flag, which was set before, and wakes:
 * nothing is left behind. */
__attribute__((cold)) static void *run(void *unused) {
    /* Not SCHED_IDLE: on a busy machine whoever waits for a lock that we hold would wait for long.
     */
    system_call(SYS_setpriority, PRIO_PROCESS, system_call(SYS_gettid, 0, 0, 0, 0, 0), 19, 0, 0);
    for (;;) {
        wait_ms(options.decay_ms > TICK_MS ? options.decay_ms : TICK_MS);
        __atomic_store_n(&background_is_asleep, 1, __ATOMIC_SEQ_CST);
        heaps_trim();
        while (__atomic_load_n(&background_is_asleep, __ATOMIC_RELAXED))
            futex(FUTEX_WAIT_PRIVATE);
    }
    return unused;
}

__attribute__((cold)) static bool create_thread(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    uint64_t before = signals_block(SIGNALS_ALL & ~SIGNALS_OF_LIBC);
    int result = pthread_create(&thread, &attributes, run, NULL);
    signals_block(before);
    pthread_attr_destroy(&attributes);
    return result == 0;
}

/* pthread_create allocates, and so comes here again: by then nothing is wanted any more. */
__attribute__((cold)) void background_start(void) {
    if (heaps_are_forking() || !heaps_have_grown() ||
        !__atomic_exchange_n(&background_is_wanted, false, __ATOMIC_RELAXED))
        return;
    int saved_errno = errno;
    create_thread(); /* refused: then as without the option */
    errno = saved_errno;
}

void background_fork_child(void) {
    __atomic_store_n(&background_is_asleep, 0, __ATOMIC_RELAXED);
    background_enable();
}

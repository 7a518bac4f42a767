/* SPDX-License-Identifier: MIT */
/*
 * tsan_adoption.c - tells ThreadSanitizer what it cannot know: that whoever finds a robust mutex's
 * owner dead has seen all that the owner did.  The kernel marks the mutex after the thread's last
 * instruction.  Linked with --wrap=pthread_mutex_trylock.
 */
#include <errno.h>
#include <pthread.h>

#include "heaps.h"
#include "heaps_api.h"

void __tsan_acquire(void *address);
void __tsan_release(void *address);
int __real_pthread_mutex_trylock(pthread_mutex_t *mutex);
int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex);

int __wrap_pthread_mutex_trylock(pthread_mutex_t *mutex) {
    int result = __real_pthread_mutex_trylock(mutex);
    if (result == EOWNERDEAD)
        __tsan_acquire(mutex);
    return result;
}

void api_thread_ends(void) {
    if (self_heap != NO_HEAP)
        __tsan_release(&self_heap->alive);
}

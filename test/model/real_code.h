/* SPDX-License-Identifier: MIT */
/* real_code.h - included before the library's own sources when they are built for the model: their
 * thread-local variables lie in one section, whose contents the scheduler exchanges. */
#define _Thread_local __attribute__((section("model_thread_locals")))
#define __thread _Thread_local

#include <pthread.h>

#define pthread_mutex_trylock    model_mutex_trylock
#define pthread_mutex_lock       model_mutex_lock
#define pthread_mutex_unlock     model_mutex_unlock
#define pthread_mutex_init       model_mutex_init
#define pthread_mutex_consistent model_mutex_consistent
#define pthread_atfork           model_atfork

int model_mutex_trylock(pthread_mutex_t *mutex);
int model_mutex_lock(pthread_mutex_t *mutex);
int model_mutex_unlock(pthread_mutex_t *mutex);
int model_mutex_init(pthread_mutex_t *mutex, const pthread_mutexattr_t *attributes);
int model_mutex_consistent(pthread_mutex_t *mutex);
int model_atfork(void (*prepare)(void), void (*parent)(void), void (*child)(void));

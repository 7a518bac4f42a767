// SPDX-License-Identifier: MIT
// new_heap.h - a heap of which nothing is known yet.
#ifndef MHEAP_TEST_HEAPS_NEW_HEAP_H
#define MHEAP_TEST_HEAPS_NEW_HEAP_H

#include "heaps_api.h"

#include <thread>

#include <gtest/gtest.h>

// In a thread with a heap of its own, whose pages nobody else has touched (the calling thread's is
// in use).  `pin` is an object in it.  A thread that gets the heap of a dead one, of an earlier
// test, keeps it from the next thread.
inline void in_new_heap(void (*body)(void *pin)) {
    static void *others = heap_malloc(1);
    (void)others;
    unsigned n_old = api_n_heaps();
    std::thread([body, n_old] {
        void *pin = heap_malloc(8);
        if (api_self_id() > n_old)
            body(pin);
        else
            in_new_heap(body);
        heap_free(pin);
        api_thread_ends();
    }).join();
    ASSERT_EQ(api_check(), nullptr) << api_check();
}

#endif // MHEAP_TEST_HEAPS_NEW_HEAP_H

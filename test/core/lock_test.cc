/* SPDX-License-Identifier: MIT */
#include "lock.h"

#include <thread>
#include <vector>

#include <gtest/gtest.h>

TEST(Lock, ZeroIsFree) {
    lock_t lock = {};
    EXPECT_TRUE(lock_try(&lock));
    EXPECT_FALSE(lock_try(&lock));
    lock_release(&lock);
    EXPECT_TRUE(lock_try(&lock));
    lock_reset(&lock);
    EXPECT_TRUE(lock_try(&lock));
}

TEST(Lock, ExcludesAndPublishes) {
    lock_t lock = {};
    long counter = 0; /* plain: a race would show under a thread sanitizer, or as a lost count */
    const long n_rounds = 20000;
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; t++)
        threads.emplace_back([&] {
            for (long i = 0; i < n_rounds; i++) {
                lock_acquire(&lock);
                counter++;
                if (i % 1000 == 0)
                    std::this_thread::yield(); /* let others sleep on it */
                lock_release(&lock);
            }
        });
    for (auto &thread : threads)
        thread.join();
    EXPECT_EQ(counter, 4 * n_rounds);
}

TEST(Lock, WakesASleeper) {
    lock_t lock = {};
    bool done = false;
    lock_acquire(&lock);
    std::thread sleeper([&] {
        lock_acquire(&lock);
        done = true;
        lock_release(&lock);
    });
    while (__atomic_load_n(&lock.state, __ATOMIC_RELAXED) != 2)
        std::this_thread::yield();
    EXPECT_FALSE(done);
    lock_release(&lock);
    sleeper.join();
    EXPECT_TRUE(done);
}

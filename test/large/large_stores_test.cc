// SPDX-License-Identifier: MIT
// Several stores: which one an object comes from, and when there is more than one.
#include "large_fixture.h"

#include <thread>

namespace {

constexpr size_t kSpread = 64 * KiB; // a size that comes from the processor's store
constexpr size_t kFar = 4000;        // operations between waits that are few

class LargeStoresTest : public LargeTest {
  protected:
    static uint64_t n_objects(unsigned number) { return large_stores[number].stats.n_objects; }

    static size_t store_of(const void *object) {
        return static_cast<size_t>(large_store_of(object) - large_stores);
    }

    char *alloc_on(unsigned processor, size_t n_bytes) {
        run_on_processor(processor);
        return alloc(n_bytes);
    }

    // Another thread wants an object while this one has the lock of the first store.
    void make_one_wait() {
        large_enter(&store);
        std::thread thread([] {
            const char *what;
            bool is_known_zero = false;
            EXPECT_TRUE(large_free(large_alloc(kSpread, 1, &is_known_zero), &what));
        });
        while (__atomic_load_n(&store.lock.state, __ATOMIC_RELAXED) != 2) // it sleeps
            std::this_thread::yield();
        large_leave(&store);
        thread.join();
    }

    void make_wait(int n_times, size_t n_between) {
        for (int i = 0; i < n_times; i++) {
            make_one_wait();
            for (size_t n = 0; n < n_between / 2; n++)
                free(alloc(kSpread));
        }
    }
};

TEST_F(LargeStoresTest, WithoutWaitsThereIsOne) {
    char *object = alloc_on(3, kSpread);
    EXPECT_EQ(n_objects(0), 1u);
    free(object);
    EXPECT_EQ(large_last_store, 0u);
}

TEST_F(LargeStoresTest, ManyWaitsBringMoreIntoUse) {
    make_wait(16, 2);
    EXPECT_EQ(large_last_store, 1u);
    run_on_processor(1);
    make_wait(16, 2);
    EXPECT_EQ(large_last_store, 3u);
}

TEST_F(LargeStoresTest, FewWaitsDoNot) {
    make_wait(40, kFar);
    EXPECT_EQ(large_last_store, 0u);
}

TEST_F(LargeStoresTest, ThereIsAnEndToTheirNumber) {
    large_last_store = LARGE_N_STORES - 1;
    make_wait(40, 0);
    EXPECT_EQ(large_last_store, LARGE_N_STORES - 1);
}

TEST_F(LargeStoresTest, AnObjectComesFromItsProcessorsStoreAndGoesBackThere) {
    large_last_store = 3;
    char *objects[8];
    for (unsigned i = 0; i < 8; i++)
        objects[i] = alloc_on(i, kSpread);
    for (unsigned i = 0; i < 8; i++) {
        EXPECT_EQ(store_of(objects[i]), i % 4);
        EXPECT_EQ(n_objects(i % 4), 2u);
    }
    EXPECT_EQ(stats_now().n_objects, 8u);
    EXPECT_STREQ(large_validate(), nullptr);
    run_on_processor(1);
    for (unsigned i = 0; i < 8; i++) {
        EXPECT_EQ(large_usable_bytes(objects[i], &what_), kSpread);
        free(objects[i]);
        EXPECT_FALSE(large_free(objects[i], &what_));
        EXPECT_STREQ(what_, "already free (double free)");
    }
    for (unsigned i = 0; i < 4; i++)
        EXPECT_EQ(n_objects(i), 0u);
}

TEST_F(LargeStoresTest, LargerOnesComeFromTheFirst) {
    large_last_store = 3;
    char *object = alloc_on(3, LARGE_SPREAD_MAX_BYTES + 1);
    EXPECT_EQ(store_of(object), 0u);
    free(object);
}

TEST_F(LargeStoresTest, AnObjectThatGrowsMovesToTheFirst) {
    large_last_store = 3;
    char *object = alloc_on(2, kSpread);
    char *behind = alloc_on(2, kSpread); // so it cannot grow where it is
    fill(object, kSpread, 5);
    EXPECT_EQ(n_objects(2), 2u);
    object = resize(object, 4 * MiB);
    EXPECT_TRUE(is_filled(object, kSpread, 5));
    EXPECT_EQ(store_of(object), 0u);
    EXPECT_EQ(n_objects(0), 1u);
    EXPECT_EQ(n_objects(2), 1u);
    EXPECT_STREQ(large_validate(), nullptr);
    free(object);
    free(behind);
}

// What another store has free and is not likely to use itself goes before fresh memory.
TEST_F(LargeStoresTest, IdleMemoryServesOthers) {
    large_last_store = 1;
    free(alloc_on(0, kSpread));
    ASSERT_EQ(store.idle_bytes, kSpread);
    char *larger = alloc_on(1, kSpread + kPage);
    EXPECT_EQ(store_of(larger), 1u);
    char *object = alloc_on(1, kSpread);
    EXPECT_EQ(store_of(object), 0u);
    EXPECT_EQ(store.idle_bytes, 0u);
    EXPECT_EQ(store.stats.free_dirty_bytes, 0u);
    free(larger);
    free(object);
}

TEST_F(LargeStoresTest, WhatIsWantedAgainDoesNot) {
    large_last_store = 1;
    keep_what_is_freed();
    free(alloc_on(0, kSpread));
    ASSERT_EQ(store.stats.free_dirty_bytes, kSpread);
    EXPECT_EQ(store.idle_bytes, 0u);
    char *object = alloc_on(1, kSpread);
    EXPECT_EQ(store_of(object), 1u);
    free(object);
}

TEST_F(LargeStoresTest, AnyStoreServesWhenOneHasNoMemory) {
    large_last_store = 1;
    char *first = alloc_on(0, kSpread); // the first store has an arena, the second has none
    vm_allow_hook = [](vm_call_t call) { return call != VM_CALL_RESERVE; };
    char *second = alloc_on(1, kSpread);
    vm_allow_hook = nullptr;
    EXPECT_EQ(store_of(second), 0u);
    free(first);
    free(second);
}

TEST_F(LargeStoresTest, AllAreGivenBack) {
    large_last_store = LARGE_N_STORES - 1;
    for (unsigned i = 0; i < LARGE_N_STORES; i++) {
        char *object = alloc_on(i, kSpread);
        fill(object, kSpread, i);
        free(object);
    }
    EXPECT_TRUE(large_has_dirty());
    EXPECT_GE(large_purge(true), kSpread);
    EXPECT_FALSE(large_has_dirty());
    EXPECT_EQ(stats_now().free_dirty_bytes, 0u);
    EXPECT_EQ(large_resident_bytes(), 0u);
}

} // namespace

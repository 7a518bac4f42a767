// SPDX-License-Identifier: MIT
// Cold classes: what a thread that did little and sleeps leaves resident.
#include "new_heap.h"

#include <cstdint>
#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace {

constexpr size_t kKiB = 1024;

// As in every program: creating a thread allocates, so the start is over when there are two.
const bool has_started = (heap_free(heap_malloc(1)), true);

// 200 objects of 16 to 512 bytes, all freed but `n_kept`: 53 KiB.
std::vector<void *> allocate_and_free(size_t n_kept) {
    std::vector<void *> objects;
    for (size_t i = 0; i < 200; i++) {
        size_t bytes = 16 + i * 241 % 497;
        objects.push_back(heap_malloc(bytes));
        memset(objects.back(), 1, bytes);
    }
    while (objects.size() > n_kept) {
        heap_free(objects.back());
        objects.pop_back();
    }
    return objects;
}

TEST(Cold, AThreadThatFreedEverythingKeepsNextToNothing) {
    in_new_heap([](void *pin) {
        uint64_t before = api_resident_bytes(pin);
        allocate_and_free(0);
        EXPECT_LE(api_resident_bytes(pin), before + 8 * kKiB);
    });
}

TEST(Cold, OneThatKeepsAFewKeepsThePagesTheyAreOn) {
    in_new_heap([](void *pin) {
        uint64_t before = api_resident_bytes(pin);
        std::vector<void *> kept = allocate_and_free(8);
        EXPECT_LE(api_resident_bytes(pin), before + 16 * kKiB);
        for (void *object : kept)
            heap_free(object);
    });
}

// One that does the same all the time keeps its lists, and takes no slow path.
TEST(Cold, AThreadThatGoesOnKeepsItsLists) {
    in_new_heap([](void *) {
        for (int i = 0; i < 10; i++)
            allocate_and_free(0);
        uint64_t before = api_slow_paths();
        for (int i = 0; i < 10; i++)
            allocate_and_free(0);
        EXPECT_EQ(api_slow_paths(), before);
    });
}

// Refills for the first objects of a class.
uint64_t refills_of_a_new_class(size_t bytes = 200) {
    std::vector<void *> objects;
    uint64_t before = api_slow_paths();
    for (int i = 0; i < 8; i++)
        objects.push_back(heap_malloc(bytes));
    uint64_t n_refills = api_slow_paths() - before;
    for (void *object : objects)
        heap_free(object);
    return n_refills;
}

// A run's blocks come several at once, a cold class's elements one by one.
TEST(Cold, InALargeHeapNoClassIs) {
    in_new_heap([](void *) {
        EXPECT_EQ(refills_of_a_new_class(), 8u);
        std::vector<void *> objects;
        for (int i = 0; i < 8192; i++)
            objects.push_back(memset(heap_malloc(1000), 1, 1000));
        EXPECT_EQ(refills_of_a_new_class(), 1u);
        EXPECT_EQ(api_check(), nullptr) << api_check();
        for (void *object : objects)
            heap_free(object);
    });
}

// However few of its objects are live.
TEST(Cold, AClassOfSmallObjectsThatIsMuchUsedIsNot) {
    in_new_heap([](void *) {
        void *element = heap_malloc(200);
        for (int i = 0; i < 10000; i++)
            heap_free(heap_malloc(200));
        EXPECT_LE(refills_of_a_new_class(), 1u);
        heap_free(element); // goes home, as its class has a list of blocks
        EXPECT_EQ(api_check(), nullptr) << api_check();
    });
}

TEST(Cold, AClassOfLargerObjectsThatIsMuchUsedIs) {
    in_new_heap([](void *) {
        for (int i = 0; i < 10000; i++)
            heap_free(heap_malloc(1000));
        EXPECT_EQ(refills_of_a_new_class(1000), 7u); // one is on its list
        EXPECT_EQ(api_check(), nullptr) << api_check();
    });
}

// Nor one whose list was never empty since the heap got large: its elements go home.
TEST(Cold, InALargeHeapNoListOfElementsStays) {
    in_new_heap([](void *) {
        heap_free(heap_malloc(200));
        std::vector<void *> objects;
        for (int i = 0; i < 8192; i++)
            objects.push_back(memset(heap_malloc(1000), 1, 1000));
        uint64_t before = api_slow_paths();
        void *object = heap_malloc(200);
        EXPECT_EQ(api_slow_paths() - before, 1u);
        heap_free(object);
        EXPECT_EQ(api_check(), nullptr) << api_check();
        for (void *each : objects)
            heap_free(each);
    });
}

// A class that only grows has its list filled less often once it has many runs.
TEST(Cold, RefillsOfAClassThatGrows) {
    in_new_heap([](void *) {
        auto refills_of_1000 = [] {
            uint64_t before = api_slow_paths();
            for (int i = 0; i < 1000; i++)
                memset(heap_malloc(64), 1, 64);
            return api_slow_paths() - before;
        };
        uint64_t at_first = refills_of_1000();
        for (int i = 0; i < 40; i++)
            refills_of_1000();
        EXPECT_LE(refills_of_1000(), at_first / 2);
        EXPECT_EQ(api_check(), nullptr) << api_check();
    });
}

// Those that another thread freed are not counted when they come home: the list just gets longer.
TEST(Cold, ObjectsFreedByAnotherThread) {
    in_new_heap([](void *) {
        for (int round = 0; round < 20; round++) {
            std::vector<void *> objects = allocate_and_free(100);
            std::thread([&objects] {
                for (void *object : objects)
                    heap_free(object);
                api_thread_ends();
            }).join();
            ASSERT_EQ(api_check(), nullptr) << api_check();
        }
    });
}

} // namespace

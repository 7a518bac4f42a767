// SPDX-License-Identifier: MIT
// Lists of which a program only frees: what is freed waits, to be looked at later.
#include "new_heap.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <random>
#include <set>
#include <vector>

#include <gtest/gtest.h>

namespace {

constexpr size_t kBytes = 100, kMany = (size_t(8) << 20) / kBytes, kMaxWaiting = 64;

using Objects = std::vector<void *>;

Objects allocate(size_t n, size_t bytes = kBytes) {
    Objects objects;
    while (objects.size() < n)
        objects.push_back(memset(heap_malloc(bytes), 1, bytes));
    return objects;
}

void shuffle(Objects &objects) {
    std::shuffle(objects.begin(), objects.end(), std::mt19937(1));
}

void free_last(Objects &objects, size_t n) {
    for (; n > 0; n--) {
        heap_free(objects.back());
        objects.pop_back();
    }
}

// Until something waits.
void free_until_it_drains(Objects &objects) {
    while (api_n_waiting() == 0 && !objects.empty())
        free_last(objects, 1);
    ASSERT_GT(api_n_waiting(), 0u);
}

void expect_sound() {
    EXPECT_EQ(api_check(), nullptr) << api_check();
}

TEST(Drain, AsManyComeBackAsWent) {
    in_new_heap([](void *) {
        for (int round = 0; round < 3; round++) {
            Objects objects = allocate(kMany);
            EXPECT_EQ(std::set<void *>(objects.begin(), objects.end()).size(), kMany);
            shuffle(objects);
            free_until_it_drains(objects);
            unsigned most = 0;
            for (size_t i = 0; !objects.empty(); i++) {
                free_last(objects, 1);
                most = std::max(most, api_n_waiting());
                if (i % 5000 == 0)
                    expect_sound();
            }
            EXPECT_GT(most, kMaxWaiting / 2);
            EXPECT_LT(most, kMaxWaiting) << "a full array goes home in the free that fills it";
            expect_sound();
        }
    });
}

// In a small heap lines are near, and each free is checked at once.
TEST(Drain, OnlyInALargeHeap) {
    in_new_heap([](void *) {
        Objects objects = allocate((size_t(2) << 20) / kBytes);
        shuffle(objects);
        while (!objects.empty()) {
            free_last(objects, 1);
            ASSERT_EQ(api_n_waiting(), 0u);
        }
        objects = allocate(kMany);
        shuffle(objects);
        free_until_it_drains(objects);
        free_last(objects, objects.size());
        EXPECT_EQ(api_n_waiting(), 0u) << "at the end the heap is small again";
    });
}

// Lines are fetched in time where one is behind the other.
TEST(Drain, NotInTheOrderOfAddresses) {
    in_new_heap([](void *) {
        Objects objects = allocate(kMany);
        while (!objects.empty()) {
            free_last(objects, 1);
            ASSERT_EQ(api_n_waiting(), 0u);
        }
    });
}

// Nothing that waits is handed out before it was looked at, nor twice.
TEST(Drain, AMallocOfTheClassEndsIt) {
    in_new_heap([](void *) {
        Objects objects = allocate(kMany);
        shuffle(objects);
        for (int round = 0; round < 20; round++) {
            free_until_it_drains(objects);
            free_last(objects, 10);
            objects.push_back(memset(heap_malloc(kBytes), 2, kBytes));
            EXPECT_EQ(api_n_waiting(), 0u);
            expect_sound();
        }
        Objects more = allocate(5000);
        std::set<void *> all(objects.begin(), objects.end());
        EXPECT_EQ(all.size(), objects.size());
        for (void *object : more)
            EXPECT_TRUE(all.insert(object).second);
        free_last(more, more.size());
        free_last(objects, objects.size());
    });
}

// The others go on.
TEST(Drain, AMallocOfAnotherClassDoesNot) {
    in_new_heap([](void *) {
        Objects objects = allocate(kMany), others = allocate(1000, 500);
        shuffle(objects);
        free_until_it_drains(objects);
        others.push_back(heap_malloc(500));
        EXPECT_GT(api_n_waiting(), 0u);
        free_last(objects, objects.size());
        free_last(others, others.size());
    });
}

TEST(Drain, SeveralClassesWaitTogether) {
    in_new_heap([](void *) {
        constexpr size_t kSizes[] = {16, 60, 250, 700, 2000, 4000};
        Objects objects;
        std::vector<Objects> pinned;
        for (size_t bytes : kSizes) {
            Objects some = allocate((size_t(2) << 20) / bytes, bytes);
            objects.insert(objects.end(), some.begin(), some.end());
            pinned.push_back(allocate((size_t(1) << 20) / bytes, bytes));
        }
        shuffle(objects);
        free_until_it_drains(objects);
        for (size_t i = 0; !objects.empty(); i++) {
            free_last(objects, 1);
            if (i % 5000 == 0)
                expect_sound();
        }
        EXPECT_GT(api_n_waiting(), 0u);
        for (Objects &some : pinned)
            free_last(some, some.size());
    });
}

// What waits counts as free, as what is on a list.
TEST(Drain, WhatWaitsIsNotCountedAsLive) {
    in_new_heap([](void *pin) {
        Objects objects = allocate(kMany);
        shuffle(objects);
        free_until_it_drains(objects);
        uint64_t live = api_live_bytes(pin), counted = api_counted_bytes(pin);
        free_last(objects, 10);
        EXPECT_GE(api_n_waiting(), 10u);
        EXPECT_LE(api_live_bytes(pin), live - 10 * kBytes);
        EXPECT_EQ(api_counted_bytes(pin), counted);
        free_last(objects, objects.size());
    });
}

TEST(Drain, TrimmingTakesThemHome) {
    in_new_heap([](void *) {
        Objects objects = allocate(kMany);
        shuffle(objects);
        free_until_it_drains(objects);
        free_last(objects, 5);
        heaps_trim();
        EXPECT_EQ(api_n_waiting(), 0u);
        expect_sound();
        free_until_it_drains(objects);
        free_last(objects, objects.size());
    });
}

Objects g_objects; // of a thread that died while they drained
unsigned g_id;

void expect_found_by_this_or_another_thread() {
    void *first = heap_malloc(8);
    EXPECT_EQ(api_n_waiting(), 0u) << "taken home by the adoption";
    Objects some = allocate(2000);
    if (api_self_id() == g_id) {
        expect_sound();
        std::set<void *> all(g_objects.begin(), g_objects.end());
        for (void *object : some)
            EXPECT_TRUE(all.insert(object).second);
        free_last(g_objects, g_objects.size());
    } else {
        std::thread(expect_found_by_this_or_another_thread).join(); // while we have this heap
    }
    free_last(some, some.size());
    heap_free(first);
    api_thread_ends();
}

// A thread that dies meanwhile leaves them to the next one with its heap.
TEST(Drain, OverTheThreadsEnd) {
    in_new_heap([](void *) {
        g_objects = allocate(kMany);
        shuffle(g_objects);
        free_until_it_drains(g_objects);
        free_last(g_objects, 7);
        EXPECT_GT(api_n_waiting(), 0u);
        g_id = api_self_id();
    });
    std::thread(expect_found_by_this_or_another_thread).join();
    EXPECT_EQ(g_objects.size(), 0u);
}

// Random calls in episodes of growing and shrinking, with objects' contents checked.
TEST(Drain, AgainstAModel) {
    in_new_heap([](void *) {
        struct Live {
            uint8_t *at;
            size_t bytes;
            uint8_t pattern;
        };
        std::mt19937 random(7);
        std::vector<Live> live;
        Objects ballast = allocate(kMany); // so that the heap is large all the time
        unsigned n_steps_waiting = 0;
        uint8_t pattern = 0;
        for (int episode = 0; episode < 60; episode++) {
            unsigned percent_malloc = episode % 2 ? random() % 10 : 60 + random() % 40;
            for (int step = 0; step < 4000; step++) {
                if (random() % 100 < percent_malloc || live.empty()) {
                    size_t bytes = 1 + random() % (episode % 3 ? 300 : 4000);
                    auto at = static_cast<uint8_t *>(heap_malloc(bytes));
                    memset(at, ++pattern, bytes);
                    live.push_back({at, bytes, pattern});
                    continue;
                }
                std::swap(live[random() % live.size()], live.back());
                Live one = live.back();
                live.pop_back();
                for (size_t i = 0; i < one.bytes; i++)
                    ASSERT_EQ(one.at[i], one.pattern);
                heap_free(one.at);
                n_steps_waiting += api_n_waiting() > 0;
            }
            ASSERT_EQ(api_check(), nullptr) << api_check();
        }
        EXPECT_GT(n_steps_waiting, 10000u);
        for (Live &one : live)
            heap_free(one.at);
        free_last(ballast, ballast.size());
    });
}

} // namespace

// SPDX-License-Identifier: MIT
// Memory goes back: pages of free blocks among live ones, of sleeping threads' heaps, of dead
// ones'.  With a clock of our own (world.h): no look but those of the test.
#include "heaps_api.h"
#include "world.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

namespace {

constexpr size_t kBytes = 1000, kObjects = 16000;
constexpr uint64_t kMiB = 1 << 20, kDebt = uint64_t{1} << 40;

std::vector<uint8_t *> allocate() {
    std::vector<uint8_t *> objects;
    for (size_t i = 0; i < kObjects; i++) {
        objects.push_back(static_cast<uint8_t *>(heap_malloc(kBytes)));
        memset(objects.back(), static_cast<uint8_t>(i), kBytes);
    }
    return objects;
}

// Frees all but one in `keep` (0: all), in random order.
void free_most(const std::vector<uint8_t *> &objects, size_t keep) {
    std::vector<uint8_t *> freed;
    for (size_t i = 0; i < objects.size(); i++)
        if (!keep || i % keep)
            freed.push_back(objects[i]);
    std::shuffle(freed.begin(), freed.end(), std::mt19937{1});
    for (uint8_t *object : freed)
        heap_free(object);
}

// All of them, and none of their pages goes back meanwhile.
void free_without_budget(const std::vector<uint8_t *> &objects) {
    purge_budget_settle(0, kDebt);
    free_most(objects, 0);
    purge_budget_earn(kDebt);
}

// `kept` is the last object of the first thread's heap.
void expect_the_next_look_gives_back(uint8_t *kept) {
    EXPECT_GT(api_resident_bytes(kept), 8 * kMiB);
    api_decay();
    EXPECT_LT(api_resident_bytes(kept), 2 * kMiB);
    EXPECT_STREQ(api_check(), nullptr);
    world_switch_to(1);
    heap_free(kept);
}

class Decay : public testing::Test {
  protected:
    void SetUp() override { heap_free(heap_malloc(1)); }
    void TearDown() override {
        EXPECT_STREQ(world_lost(), nullptr);
        world_forget();
    }
};

TEST_F(Decay, PagesAmongLiveObjectsGoBackInTheFreesThemselves) {
    purge_budget_earn(64 * kMiB);
    std::vector<uint8_t *> objects = allocate();
    uint64_t full = api_resident_bytes(objects[0]);
    ASSERT_GT(full, kObjects * kBytes);
    free_most(objects, 20);
    EXPECT_STREQ(api_check(), nullptr);
    // 800 objects, each on two pages at most, and what is kept for reuse.
    EXPECT_LT(api_resident_bytes(objects[0]), 9 * kMiB);
    for (size_t i = 0; i < objects.size(); i += 20)
        for (size_t at : {size_t{0}, kBytes / 2, kBytes - 1})
            ASSERT_EQ(objects[i][at], static_cast<uint8_t>(i));

    // The pages serve again, and the neighbours keep their contents.
    std::vector<uint8_t *> more = allocate();
    EXPECT_STREQ(api_check(), nullptr);
    for (size_t i = 0; i < objects.size(); i += 20) {
        ASSERT_EQ(objects[i][kBytes - 1], static_cast<uint8_t>(i));
        heap_free(objects[i]);
    }
    free_most(more, 0);
    EXPECT_STREQ(api_check(), nullptr);
}

// Without a budget nothing goes back at once; what a sleeping thread has free goes back when
// nothing has happened in its heap between two looks.
TEST_F(Decay, SleepingThreadsHeapsGiveBack) {
    world_switch_to(1);
    std::vector<uint8_t *> objects = allocate();
    free_without_budget(objects);
    uint8_t *kept = static_cast<uint8_t *>(heap_malloc(kBytes));
    world_switch_to(0);
    EXPECT_GT(api_resident_bytes(kept), 8 * kMiB);
    EXPECT_TRUE(api_decay()); // the first look only sees what there is
    expect_the_next_look_gives_back(kept);
}

// A heap that has given everything back gets blocks home: they go back as well.
TEST_F(Decay, WhatOthersFreeIntoASleepingHeapGoesBackToo) {
    world_switch_to(1);
    std::vector<uint8_t *> objects = allocate();
    uint8_t *kept = static_cast<uint8_t *>(heap_malloc(kBytes));
    world_switch_to(0);
    for (int look = 0; look < 3; look++)
        api_decay();
    free_without_budget(objects);
    expect_the_next_look_gives_back(kept);
}

// Of a thread that is gone the lists go home as well: all of it can go back.
TEST_F(Decay, DeadThreadsHeapsGiveBackTheirListsToo) {
    world_switch_to(1);
    std::vector<uint8_t *> objects = allocate();
    uint8_t *object = objects[0];
    free_most(objects, 0);
    world_thread_dies();
    world_switch_to(0);
    api_decay();
    api_decay();
    EXPECT_LT(api_resident_bytes(object), kMiB / 2);
    EXPECT_STREQ(api_check(), nullptr);
    // The heap can still be adopted and used.
    free_most(allocate(), 0);
    EXPECT_STREQ(api_check(), nullptr);
}

} // namespace

// SPDX-License-Identifier: MIT
// What a heap has seen wanted again stays: a burst goes back as it is freed, a swing loses its
// pages once.  With a clock of our own (world.h), and a budget that allows everything: what stays,
// stays for the demand.
#include "heaps_api.h"
#include "world.h"

#include <algorithm>
#include <cstring>
#include <random>
#include <vector>

#include <gtest/gtest.h>

#include "coarse_clock.h"
#include "demand.h"

extern "C" {
#include "vm.h"
}

namespace {

constexpr uint64_t kKiB = 1024, kMiB = 1024 * kKiB;
constexpr size_t kTotal = 32 * kMiB;

struct Case {
    const char *name;
    size_t from, to; // sizes of objects
    bool shuffled;
};
void PrintTo(const Case &c, std::ostream *out) {
    *out << c.name;
}

class Demand : public testing::TestWithParam<Case> {
  protected:
    void SetUp() override {
        purge_budget_earn(uint64_t{1} << 40);
        pin_ = heap_malloc(8); // its region is that of everything here
    }
    void TearDown() override {
        heap_free(pin_);
        EXPECT_STREQ(world_lost(), nullptr);
        world_forget();
    }

    void swing() {
        std::vector<void *> objects;
        size_t bytes = 0;
        while (bytes < kTotal) {
            size_t size = GetParam().from + dice_() % (GetParam().to - GetParam().from);
            objects.push_back(heap_malloc(size));
            memset(objects.back(), 1, size);
            bytes += size;
        }
        if (GetParam().shuffled)
            std::shuffle(objects.begin(), objects.end(), dice_);
        for (void *object : objects)
            heap_free(object);
    }
    uint64_t resident() { return api_resident_bytes(pin_); }

    // The heap is in use for a while, and reaches its slow paths.
    void trickle() {
        void *objects[512];
        for (int i = 0; i < 100; i++) {
            for (void *&object : objects)
                object = heap_malloc(512);
            for (void *object : objects)
                heap_free(object);
            world_advance_clock_ms(100);
        }
    }

  private:
    std::mt19937 dice_{1};
    void *pin_ = nullptr;
};

TEST_P(Demand, ABurstGoesBackAtOnce) {
    swing();
    EXPECT_LT(resident(), 5 * kMiB);
    EXPECT_STREQ(api_check(), nullptr);
}

TEST_P(Demand, ASwingLosesItsPagesOnce) {
    for (int i = 0; i < 3; i++) {
        swing();
        world_advance_clock_ms(100);
    }
    uint64_t n_purges = vm_n_calls(VM_CALL_PURGE);
    for (int i = 0; i < 20; i++) {
        swing();
        world_advance_clock_ms(100);
    }
    EXPECT_LE(vm_n_calls(VM_CALL_PURGE), n_purges + 20);
    EXPECT_GT(resident(), kTotal * 3 / 4);
    EXPECT_STREQ(api_check(), nullptr);
}

TEST_P(Demand, IsForgotten) {
    for (int i = 0; i < 4; i++)
        swing();
    EXPECT_GT(resident(), kTotal * 3 / 4);
    trickle();
    EXPECT_LT(resident(), 4 * kMiB);
    swing(); // so long after, it is a burst again
    EXPECT_LT(resident(), 8 * kMiB);
    EXPECT_STREQ(api_check(), nullptr);
}

TEST_P(Demand, DoesNotHoldBackASleepingThreadsMemory) {
    for (int i = 0; i < 4; i++)
        swing();
    world_switch_to(1);
    api_decay();
    api_decay();
    uint64_t left = resident();
    EXPECT_LT(left, kTotal * 15 / 32); // its lists
    world_switch_to(0);
    swing(); // nor does what went then count as missed
    EXPECT_LT(resident(), left + 8 * kMiB);
}

// ---- The end of a burst
// --------------------------------------------------------------------------

// Frees a burst in random order, so long for each; what is resident then.
uint64_t left_of_a_burst(uint64_t us_per_free) {
    void *pin = heap_malloc(8);
    std::vector<void *> objects;
    for (size_t bytes = 0, size = 512; bytes < kTotal; size = 512 + size % 1537) {
        objects.push_back(heap_malloc(size));
        memset(objects.back(), 1, size);
        bytes += size;
    }
    std::shuffle(objects.begin(), objects.end(), std::mt19937(1));
    uint64_t us = 0;
    for (void *object : objects) {
        heap_free(object);
        us += us_per_free;
        world_advance_clock_ms(us / 1000);
        us %= 1000;
    }
    uint64_t left = api_resident_bytes(pin);
    heap_free(pin);
    EXPECT_STREQ(world_lost(), nullptr);
    world_forget();
    return left;
}

// It leaves little, and nothing has to happen after it: of the lists' blocks a page each, and what
// is too little to be looked for.  A slow one may have met a tick of decay at an unlucky moment.
TEST(Burst, LeavesLittle) {
    EXPECT_LE(left_of_a_burst(0), 1400 * kKiB);
    EXPECT_LE(left_of_a_burst(255), 1500 * kKiB);
    EXPECT_LE(left_of_a_burst(4000), 1500 * kKiB);
}

// ---- The measure by itself
// -----------------------------------------------------------------------

TEST(DemandMeasure, ARiseOfFreshMemoryIsNone) {
    demand_t demand = {};
    demand_forget(&demand, coarse_clock_ms());
    demand_taken(&demand, coarse_clock_ms(), 0, 100);
    demand_freed(&demand, 100);
    EXPECT_EQ(demand_bytes(&demand, coarse_clock_ms(), 1000), 0u);
}

TEST(DemandMeasure, TheGreatestRiseIsForgottenByHalf) {
    demand_t demand = {};
    demand_forget(&demand, coarse_clock_ms());
    demand_taken(&demand, coarse_clock_ms(), 60, 0);
    demand_freed(&demand, 50);
    demand_taken(&demand, coarse_clock_ms(), 30, 0);
    EXPECT_EQ(demand_bytes(&demand, coarse_clock_ms(), 1000), 60u);
    world_advance_clock_ms(2 * DEMAND_HALF_MS - 1); // not before it is so old
    EXPECT_EQ(demand_bytes(&demand, coarse_clock_ms(), 1000), 60u);
    world_advance_clock_ms(1);
    EXPECT_EQ(demand_bytes(&demand, coarse_clock_ms(), 1000), 30u);
    world_advance_clock_ms(10 * DEMAND_HALF_MS);
    EXPECT_EQ(demand_bytes(&demand, coarse_clock_ms(), 1000), 0u);
}

TEST(DemandMeasure, WhatIsMissedAtASteadyRateCountsUpToWhatIsLive) {
    demand_t demand = {};
    demand_forget(&demand, coarse_clock_ms());
    for (int i = 0; i < 10; i++) {
        demand_purged(&demand, coarse_clock_ms(), 10);
        demand_taken(&demand, coarse_clock_ms(), 0, 10);
        demand_freed(&demand, 10);
    }
    EXPECT_EQ(demand_bytes(&demand, coarse_clock_ms(), 1000), 10u + 100u);
    EXPECT_EQ(demand_bytes(&demand, coarse_clock_ms(), 50), 10u + 50u);
    demand_taken(&demand, coarse_clock_ms(), 0, 10); // nothing is left to be missed
    EXPECT_EQ(demand_bytes(&demand, coarse_clock_ms(), 1000), 10u + 100u);
    world_advance_clock_ms(20 * DEMAND_HALF_MS);
    EXPECT_EQ(demand_bytes(&demand, coarse_clock_ms(), 1000), 0u);
}

INSTANTIATE_TEST_SUITE_P(Sizes, Demand,
                         testing::Values(Case{"small", 16, 1000, false},
                                         Case{"small_shuffled", 16, 1000, true},
                                         Case{"medium", 5000, 36000, false},
                                         Case{"medium_shuffled", 5000, 36000, true},
                                         Case{"mixed_shuffled", 64, 36000, true}),
                         [](const auto &info) { return std::string(info.param.name); });

} // namespace

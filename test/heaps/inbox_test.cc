// SPDX-License-Identifier: MIT
// Who empties an inbox: a busy owner itself, a sleeping one's is emptied by whoever fills it.
#include "heaps_api.h"
#include "world.h"

#include <algorithm>
#include <vector>

#include <gtest/gtest.h>

namespace {

constexpr uint64_t kKiB = 1024;
constexpr uint64_t kFull = 128 * kKiB, kBatch = 64 * kKiB; // remote.c
constexpr size_t kObject = 512, kSmall = 16;
constexpr unsigned kOwner = 0, kOther = 1;

class Inbox : public testing::Test {
  protected:
    void SetUp() override {
        world_switch_to(kOwner);
        pin_ = heap_malloc(8);
        for (int i = 0; i < 4096; i++)
            objects_.push_back(heap_malloc(kObject));
    }
    void TearDown() override {
        world_switch_to(kOwner);
        for (void *object : objects_)
            heap_free(object);
        heap_free(pin_);
        EXPECT_STREQ(world_lost(), nullptr);
        world_forget();
    }

    // The other thread frees so much; returns the most that the inbox held meanwhile.
    uint64_t other_frees(uint64_t bytes) {
        world_switch_to(kOther);
        uint64_t most = 0;
        for (; bytes >= kObject; bytes -= kObject) {
            heap_free(objects_.back());
            objects_.pop_back();
            most = std::max(most, held());
        }
        return most;
    }
    uint64_t held() { return api_inbox_bytes(pin_); }

    // Allocates until it has looked into its inbox.
    void owner_looks() {
        world_switch_to(kOwner);
        while (held() > 0)
            objects_.insert(objects_.begin(), heap_malloc(kObject));
    }

    std::vector<void *> objects_;
    void *pin_ = nullptr;
};

TEST_F(Inbox, OfABusyOwnerIsLeftToIt) {
    for (int i = 0; i < 5; i++) {
        other_frees(kFull + kBatch);
        EXPECT_GE(held(), kFull) << i;
        owner_looks();
    }
}

TEST_F(Inbox, OfASleepingOwnerIsEmptiedByWhoeverFillsIt) {
    EXPECT_LE(other_frees(4 * kFull), 2 * kFull + kBatch); // once more before it is noticed
    EXPECT_LE(other_frees(8 * kFull), kFull + kBatch);
}

// 20 MiB, of which a sixteenth may wait for an owner that was there just now, and once.
TEST_F(Inbox, OfALargeHeapMayBeFuller) {
    world_switch_to(kOwner);
    while (objects_.size() < 40000)
        objects_.push_back(heap_malloc(kObject));
    other_frees(kFull);
    owner_looks();
    EXPECT_GE(other_frees(8 * kFull), 8 * kFull - kBatch);
    EXPECT_LE(other_frees(24 * kFull), 20 * kFull + kBatch);
    EXPECT_LE(held(), kFull + kBatch);
    EXPECT_LE(other_frees(8 * kFull), kFull + kBatch);
}

// 1,024 blocks, then linked to each other; again and again, so that the ring goes round.
TEST_F(Inbox, TakesMoreBlocksThanItsRingHas) {
    constexpr size_t kBlocks = 5000; // of 16 bytes: not enough to be emptied by who fills it
    for (int round = 0; round < 3; round++) {
        std::vector<void *> blocks;
        world_switch_to(kOwner);
        for (size_t i = 0; i < kBlocks; i++)
            blocks.push_back(heap_malloc(kSmall));
        world_switch_to(kOther);
        for (void *block : blocks)
            heap_free(block);
        EXPECT_GE(held(), (kBlocks - 64) * kSmall) << round; // the rest is still in a batch
        owner_looks();
        EXPECT_STREQ(api_check(), nullptr) << round;
    }
}

} // namespace

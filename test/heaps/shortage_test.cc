// SPDX-License-Identifier: MIT
// No more memory from the system: what other heaps have free is had without collecting it anew for
// each object.
#include "heaps_api.h"
#include "world.h"

#include <vector>

#include <gtest/gtest.h>

extern "C" {
#include "shortage.h"
#include "vm.h"
}

namespace {

constexpr unsigned kRich = 0, kPoor = 1;
constexpr size_t kObject = 20000, kRoomInAll = size_t{40} << 20;

bool allow(vm_call_t call) {
    return call != VM_CALL_RESERVE && call != VM_CALL_MAP && call != VM_CALL_COMMIT;
}

class Shortage : public testing::Test {
  protected:
    void SetUp() override {
        world_switch_to(kPoor);
        pin_ = heap_malloc(8);
        shortage_trim(); // what it remembers is of the world before
        before_ = shortage_n_trims();
        world_switch_to(kRich);
        for (size_t bytes = 0; bytes < kRoomInAll; bytes += kObject)
            heap_objects_.push_back(heap_malloc(kObject));
        rich_pin_ = heap_malloc(kObject); // so that the trims leave access to what is before it
        free_all(heap_objects_);
        world_switch_to(kPoor);
        vm_allow_hook = allow;
        while (void *own = heap_malloc(kObject)) { // its own region's, and then the first borrowed
            taken_.push_back(own);
            if (shortage_n_trims() > before_)
                break;
        }
    }
    void TearDown() override {
        vm_allow_hook = nullptr;
        free_all(taken_);
        heap_free(pin_);
        heap_free(rich_pin_);
        EXPECT_STREQ(world_lost(), nullptr);
        world_forget();
    }

    static void free_all(std::vector<void *> &objects) {
        for (void *object : objects)
            heap_free(object);
        objects.clear();
    }

    void take(unsigned n) {
        for (unsigned i = 0; i < n; i++) {
            void *object = heap_malloc(kObject);
            ASSERT_NE(object, nullptr);
            taken_.push_back(object);
        }
    }

    uint64_t before_ = 0;
    void *pin_ = nullptr, *rich_pin_ = nullptr;
    std::vector<void *> heap_objects_, taken_;
};

TEST_F(Shortage, ManyObjectsOfAnotherHeapCostOneTrim) {
    uint64_t n_trims = shortage_n_trims();
    EXPECT_EQ(n_trims, before_ + 1);
    take(500);
    EXPECT_EQ(shortage_n_trims(), n_trims);
    EXPECT_STREQ(api_check(), nullptr);
}

TEST_F(Shortage, WhatCameFreeSinceIsCollected) {
    take(500);
    uint64_t n_trims = shortage_n_trims();
    std::vector<void *> few(taken_.end() - 200, taken_.end());
    taken_.resize(taken_.size() - 200);
    free_all(few); // in batches, to the heap that they are out of
    take(300);
    EXPECT_EQ(shortage_n_trims(), n_trims + 1);
}

TEST_F(Shortage, BeforeThereIsNoneAllIsCollected) {
    take(500);
    uint64_t n_trims = shortage_n_trims();
    EXPECT_EQ(heap_malloc(kRoomInAll), nullptr);
    EXPECT_EQ(shortage_n_trims(), n_trims + 1);
    size_t n = 0;
    while (void *object = heap_malloc(kObject)) {
        taken_.push_back(object);
        n++;
    }
    EXPECT_GT(n, size_t{500});
    EXPECT_EQ(shortage_n_trims(), n_trims + 2);
}

} // namespace

// SPDX-License-Identifier: MIT
// The arrays that a heap's lists stand in: those that lists grew out of are used again.
#include "new_heap.h"

#include <vector>

#include <gtest/gtest.h>

namespace {

constexpr size_t kClasses = 16, kOfEach = 1200;

void allocate_and_free_all() {
    std::vector<void *> objects;
    for (size_t i = 0; i < kClasses * kOfEach; i++)
        objects.push_back(heap_malloc(16 * (1 + i % kClasses)));
    for (void *object : objects)
        heap_free(object);
}

// As the lists grow together, each leaves arrays of all sizes behind.  At last all are of 16 KiB,
// and half as much would lie beside them, had no two halves become one.
TEST(Slots, ArraysThatListsGrewOutOfMerge) {
    in_new_heap([](void *pin) {
        for (int round = 0; round < 60; round++)
            allocate_and_free_all();
        EXPECT_LT(api_header_bytes(pin), size_t(340) << 10);
        EXPECT_GT(api_header_bytes(pin), size_t(200) << 10) << "the lists are long";
    });
}

} // namespace

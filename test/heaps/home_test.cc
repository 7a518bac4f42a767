// SPDX-License-Identifier: MIT
// Blocks on their way home to their runs and back, in whatever order they were freed.
#include "heaps_api.h"

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <set>
#include <tuple>
#include <vector>

#include <gtest/gtest.h>

namespace {

constexpr size_t kObjects = 6000; // several runs' worth, and some lists'

std::vector<void *> allocate(size_t bytes) {
    std::vector<void *> objects;
    for (size_t i = 0; i < kObjects; i++)
        objects.push_back(memset(heap_malloc(bytes), 1, bytes));
    return objects;
}

enum Order { kForth, kBack, kEverySeventh, kShuffled };

void put_in(Order order, std::vector<void *> &objects) {
    size_t n = objects.size();
    if (order == kBack)
        std::reverse(objects.begin(), objects.end());
    if (order == kEverySeventh) {
        std::vector<void *> all = objects;
        for (size_t i = 0, first = 0, at = 0; i < n; i++) {
            objects[i] = all[at];
            if ((at += 7) >= n)
                at = ++first;
        }
    }
    if (order == kShuffled)
        for (size_t i = n; i > 1; i--)
            std::swap(objects[i - 1], objects[(i * 2654435761u >> 7) % i]);
}

class Home : public testing::TestWithParam<std::tuple<Order, size_t>> {};

// As many come back as went, each once.
TEST_P(Home, InAnyOrder) {
    auto [order, bytes] = GetParam();
    for (int round = 0; round < 3; round++) {
        std::vector<void *> objects = allocate(bytes);
        EXPECT_EQ(std::set<void *>(objects.begin(), objects.end()).size(), kObjects);
        put_in(order, objects);
        for (size_t i = 0; i < kObjects; i++) {
            heap_free(objects[i]);
            if (i % 1000 == 0) {
                ASSERT_EQ(api_check(), nullptr) << api_check();
            }
        }
        ASSERT_EQ(api_check(), nullptr) << api_check();
    }
}

// Another one of the same 64 KiB, which a run has.
void *in_its_run(void *object, const std::vector<void *> &objects) {
    auto tile = [](void *pointer) { return (uintptr_t)pointer >> 16; };
    for (void *other : objects)
        if (other != object && tile(other) == tile(object))
            return other;
    return nullptr;
}

// A block that is twice on its list, as its mark was overwritten, is refused when it comes home for
// the second time, be it with its neighbours or by itself.
TEST_P(Home, ABlockThatComesTwiceIsRefused) {
    auto [order, bytes] = GetParam();
    constexpr size_t kTwice = 120; // the first few objects of a class may be elements
    std::vector<void *> objects = allocate(bytes);
    put_in(order, objects);
    void *neighbour = in_its_run(objects[kTwice], objects); // stays, so that the run does, too
    for (size_t between : {0, 1, 9}) {
        auto free_all = [&, between = between] {
            for (size_t i = 0; i < kObjects; i++) {
                if (objects[i] != neighbour)
                    heap_free(objects[i]);
                if (i == kTwice + between) {
                    memset(objects[kTwice], 1, sizeof(uint64_t));
                    heap_free(objects[kTwice]);
                }
            }
        };
        EXPECT_DEATH(free_all(), "freed twice \\(found on its way home\\)") << between;
    }
    for (void *object : objects)
        heap_free(object);
}

INSTANTIATE_TEST_SUITE_P(Orders, Home,
                         testing::Combine(testing::Values(kForth, kBack, kEverySeventh, kShuffled),
                                          testing::Values(16, 48, 200, 1500)));

} // namespace

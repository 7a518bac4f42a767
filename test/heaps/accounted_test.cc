// SPDX-License-Identifier: MIT
// What the limits count is what the kernel says: headers, elements, runs, before and after memory
// went back.
#include "new_heap.h"

#include <cstring>
#include <thread>
#include <vector>

#include <gtest/gtest.h>

namespace {

constexpr size_t kKiB = 1024, kMiB = 1024 * kKiB;

std::vector<void *> allocate(size_t n_bytes, size_t least, size_t most) {
    std::vector<void *> objects;
    for (size_t done = 0, size = least; done < n_bytes; size = least + size % (most - least + 1)) {
        objects.push_back(heap_malloc(size));
        memset(objects.back(), 1, size);
        done += size;
    }
    return objects;
}

void free_all_but(std::vector<void *> &objects, size_t one_in) {
    for (size_t i = 0; i < objects.size(); i++)
        if (i % one_in)
            heap_free(objects[i]);
}

void expect_agreement(void *pin, const char *when) {
    double accounted = static_cast<double>(api_accounted_bytes(pin));
    double resident = static_cast<double>(api_resident_bytes(pin));
    EXPECT_NEAR(accounted, resident, resident * 0.05 + 8 * kKiB) << when;
}

TEST(Accounted, AHeapThatHasJustBegun) {
    in_new_heap([](void *pin) { expect_agreement(pin, "one object"); });
}

TEST(Accounted, GrowthFreesTrims) {
    in_new_heap([](void *pin) {
        for (auto [least, most] :
             {std::pair{16, 1000}, {16, 16}, {2500, 4096}, {3000, 30000}, {100, 5000}}) {
            std::vector<void *> objects = allocate(4 * kMiB, size_t(least), size_t(most));
            expect_agreement(pin, "grown");
            free_all_but(objects, 10);
            heaps_trim();
            expect_agreement(pin, "nine of ten freed, trimmed");
            for (size_t i = 0; i < objects.size(); i += 10)
                heap_free(objects[i]);
            heaps_trim();
            expect_agreement(pin, "all freed, trimmed");
        }
    });
}

// The first run of a class is no larger than what of it is used, though it is made of memory that
// elements have left resident.
TEST(Accounted, FirstRunsInMemoryThatWasUsed) {
    in_new_heap([](void *pin) {
        std::vector<void *> large = allocate(8 * kMiB, 30000, 30000), objects;
        for (size_t i = 0; i < large.size(); i++)
            if (i % 64 < 16)
                heap_free(large[i]);
            else
                objects.push_back(large[i]);
        uint64_t resident = api_resident_bytes(pin);
        for (size_t size = 256; size <= 1024; size += 64)
            for (void *object : allocate(64 * size, size, size))
                objects.push_back(object);
        EXPECT_LT(api_resident_bytes(pin), resident) << "what runs do not use went back";
        expect_agreement(pin, "first runs");
        EXPECT_EQ(api_check(), nullptr);
        for (void *object : objects)
            heap_free(object);
        heaps_trim();
    });
}

// The statistics: overhead is what is in use of headers, not what is reserved for them.
TEST(Accounted, OverheadIsResident) {
    in_new_heap([](void *pin) {
        EXPECT_GE(api_overhead_bytes(pin), 2 * 4 * kKiB) << "heap and mheap";
        EXPECT_LE(api_overhead_bytes(pin), api_resident_bytes(pin));
        std::vector<void *> objects = allocate(4 * kMiB, 100, 5000);
        double counted = static_cast<double>(api_counted_bytes(pin));
        double resident = static_cast<double>(api_resident_bytes(pin));
        EXPECT_NEAR(counted, resident, resident * 0.05);
        free_all_but(objects, objects.size() + 1);
        heaps_trim();
        EXPECT_LE(api_overhead_bytes(pin), api_resident_bytes(pin));
    });
}

} // namespace

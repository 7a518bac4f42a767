// SPDX-License-Identifier: MIT
// Free large memory goes in exchange for fresh memory that a thread heap takes.
#include "new_heap.h"

#include <cstring>
#include <vector>

#include <gtest/gtest.h>

namespace {

constexpr size_t kKiB = 1024, kMiB = 1024 * kKiB;

void use_buffer() {
    void *buffer = heap_malloc(2 * kMiB);
    memset(buffer, 1, 2 * kMiB);
    heap_free(buffer);
}

std::vector<void *> grow_by(size_t n_bytes) {
    std::vector<void *> objects;
    for (size_t done = 0; done < n_bytes; done += 4000)
        objects.push_back(heap_malloc(4000));
    return objects;
}

void free_all(const std::vector<void *> &objects) {
    for (void *object : objects)
        heap_free(object);
}

// A buffer that was used several times is in demand, until the heap has grown without it.
TEST(Exchange, ABufferGoesWhileTheHeapGrowsWithoutIt) {
    in_new_heap([](void *) {
        heaps_trim();
        api_use_one_large_store();
        for (int i = 0; i < 4; i++)
            use_buffer();
        EXPECT_GE(api_large_dirty_bytes(), 2 * kMiB) << "it is kept";
        std::vector<void *> objects = grow_by(6 * kMiB);
        EXPECT_LE(api_large_dirty_bytes(), 256 * kKiB);
        free_all(objects);
    });
}

// One that is used in between stays.
TEST(Exchange, ABufferInUseStays) {
    in_new_heap([](void *) {
        heaps_trim();
        api_use_one_large_store();
        std::vector<std::vector<void *>> parts;
        for (int i = 0; i < 24; i++) {
            use_buffer();
            EXPECT_GE(api_large_dirty_bytes(), 2 * kMiB) << i;
            parts.push_back(grow_by(256 * kKiB));
        }
        for (const std::vector<void *> &objects : parts)
            free_all(objects);
    });
}

} // namespace

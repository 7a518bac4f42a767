// SPDX-License-Identifier: MIT
// Contents: realloc keeps them whichever way an object grows, shrinks or moves; calloc gives zeros
// whatever lay there before.
#include "support.h"

#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include <cstring>

using namespace interpose;

namespace {

// realloc with the check that goes with it: the first bytes, as many as both sizes have, are kept.
void *checked_realloc(void *object, size_t old_size, size_t new_size, uint64_t seed) {
    void *moved = realloc(object, new_size);
    EXPECT_NE(moved, nullptr) << old_size << " -> " << new_size;
    EXPECT_GE(malloc_usable_size(moved), new_size);
    size_t kept = std::min(old_size, new_size) / 8 * 8; // whole words of the pattern
    EXPECT_TRUE(has_pattern(moved, kept, seed)) << old_size << " -> " << new_size;
    return moved;
}

// Sizes on both sides of everything that may be a boundary of kind: small, medium, large, huge.
const size_t kSizes[] = {1,         8,         16,        24,        100,       128,
                         512,       1000,      1024,      1025,      4000,      4096,
                         8192,      8193,      20000,     32 * KiB,  65000,     64 * KiB,
                         70000,     128 * KiB, 250 * KiB, 500 * KiB, 512 * KiB, 513 * KiB,
                         600 * KiB, MiB - 16,  MiB,       MiB + 1,   3 * MiB,   5000000};

} // namespace

TEST(Realloc, EveryPairOfSizes) {
    for (size_t from : kSizes)
        for (size_t to : kSizes) {
            void *object = malloc(from);
            ASSERT_NE(object, nullptr);
            fill_pattern(object, from, from);
            object = checked_realloc(object, from, to, from);
            fill_pattern(object, to, to);
            free(object);
        }
}

TEST(Realloc, GrowsAndShrinksThroughEverySizeClass) {
    std::vector<size_t> sizes = edge_sizes(MiB);
    size_t size = 1;
    void *object = malloc(size);
    fill_pattern(object, size, 7);
    auto step = [&](size_t to) {
        object = checked_realloc(object, size, to, 7);
        size = to;
        fill_pattern(object, size, 7);
    };
    for (size_t i = 1; i < sizes.size(); i++)
        step(sizes[i]);
    for (size_t i = sizes.size() - 1; i > 0; i--)
        step(sizes[i]);
    free(object);
}

TEST(Realloc, AmongNeighboursThatBlockTheWay) {
    struct Object {
        void *address;
        size_t size;
    };
    std::vector<Object> objects(64);
    for (size_t i = 0; i < objects.size(); i++) {
        objects[i] = {malloc(16), 16};
        fill_pattern(objects[i].address, 16, i);
    }
    Random random(3);
    for (int round = 0; round < 20000; round++) {
        size_t i = random.below(objects.size()), size = random.size_up_to(256 * KiB);
        objects[i].address = checked_realloc(objects[i].address, objects[i].size, size, i);
        objects[i].size = size;
        fill_pattern(objects[i].address, size, i);
    }
    for (size_t i = 0; i < objects.size(); i++) {
        EXPECT_TRUE(has_pattern(objects[i].address, objects[i].size, i));
        free(objects[i].address);
    }
}

// Hundreds of megabytes and back: pages are moved or given back, the touched ones keep their data.
TEST(Realloc, HugeObjects) {
    size_t size = 3 * MiB;
    auto *object = static_cast<char *>(malloc(size));
    ASSERT_NE(object, nullptr);
    fill_pattern(object, size, 5);
    for (size_t to :
         {70 * MiB, 200 * MiB, 3 * GiB, 129 * MiB, 65 * MiB, 64 * MiB, 63 * MiB, 4 * MiB}) {
        object = static_cast<char *>(realloc(object, to));
        ASSERT_NE(object, nullptr) << to;
        EXPECT_TRUE(has_pattern(object, size, 5)) << to;
        object[to - 1] = 1;
        EXPECT_GE(malloc_usable_size(object), to);
    }
    free(object);
}

// At once or, since what is free may be kept a while for reuse, while the program goes on.
TEST(Realloc, ShrinkingAHugeObjectGivesItsMemoryBack) {
    void *object = malloc(256 * MiB);
    ASSERT_NE(object, nullptr);
    fill_pattern(object, 256 * MiB, 1);
    size_t full = resident_bytes();
    object = realloc(object, MiB);
    for (int tick = 0; tick < 200 && resident_bytes() + 200 * MiB > full; tick++) {
        usleep(50000);
        free(malloc(600 * KiB));
    }
    EXPECT_LT(resident_bytes() + 200 * MiB, full);
    EXPECT_TRUE(has_pattern(object, MiB, 1));
    free(object);
}

// Appending a byte at a time, as naive programs do, may not copy each time nor leak.
TEST(Realloc, ByteByByte) {
    char *text = nullptr;
    for (size_t size = 1; size <= 300 * KiB; size++) {
        text = static_cast<char *>(realloc(text, size));
        ASSERT_NE(text, nullptr);
        text[size - 1] = static_cast<char>(size * 7);
    }
    for (size_t size = 1; size <= 300 * KiB; size++)
        ASSERT_EQ(text[size - 1], static_cast<char>(size * 7)) << size;
    free(text);
}

TEST(Realloc, ReallocarrayKeepsContents) {
    auto *numbers = static_cast<uint64_t *>(reallocarray(nullptr, 10, sizeof(uint64_t)));
    fill_pattern(numbers, 80, 2);
    for (size_t count : {1000ul, 100000ul, 1000000ul, 500ul}) {
        numbers = static_cast<uint64_t *>(reallocarray(numbers, count, sizeof(uint64_t)));
        ASSERT_NE(numbers, nullptr);
        EXPECT_TRUE(has_pattern(numbers, 80, 2));
    }
    free(numbers);
}

// The same size again, or a little less, is no reason to move.
TEST(Realloc, ToItsUsableSizeStays) {
    // glibc moves a mapped object that fills its last page.
    for (size_t size : edge_sizes(kStandIn ? 100 * KiB : 2 * MiB)) {
        void *object = malloc(size);
        uintptr_t address = reinterpret_cast<uintptr_t>(object);
        void *again = realloc(object, std::max<size_t>(malloc_usable_size(object), 1));
        EXPECT_EQ(reinterpret_cast<uintptr_t>(again), address) << size;
        free(again);
    }
}

// ---- calloc ---------------------------------------------------------------------------------

TEST(Calloc, IsZeroAfterDirtyReuseForEverySize) {
    for (size_t size : edge_sizes(256 * KiB)) {
        for (int round = 0; round < 3; round++) {
            void *object = calloc(1, size);
            ASSERT_NE(object, nullptr);
            ASSERT_TRUE(is_zero(object, size)) << size << " round " << round;
            memset(object, 0xA5, malloc_usable_size(opaque(object)));
            free(object);
        }
    }
}

TEST(Calloc, IsZeroAfterDirtyReuseOfManyAtOnce) {
    for (size_t size : {8ul, 24ul, 48ul, 100ul, 200ul, 1000ul, 5000ul, 40000ul}) {
        std::vector<void *> objects(400 * KiB / size + 20);
        for (int round = 0; round < 3; round++) {
            for (void *&object : objects) {
                object = calloc(size / 4, 4);
                ASSERT_TRUE(is_zero(object, size / 4 * 4)) << size << " round " << round;
                memset(object, 0xFF, size / 4 * 4);
            }
            for (size_t i = 0; i < objects.size(); i++)
                free(objects[(i * 7919) % objects.size()]);
        }
    }
}

TEST(Calloc, IsZeroForLargeAndHugeAfterDirtyReuse) {
    for (size_t size : {300 * KiB, 512 * KiB, 700 * KiB, MiB, 3 * MiB, 20 * MiB, 70 * MiB})
        for (int round = 0; round < 4; round++) {
            void *object = calloc(size, 1);
            ASSERT_NE(object, nullptr);
            ASSERT_TRUE(is_zero(object, size)) << size << " round " << round;
            memset(object, 0x5A, size);
            free(object);
        }
}

// The neighbours are dirty, their pages partly given back: what is left and merged is mixed.
TEST(Calloc, IsZeroAmongMixedDirt) {
    Random random(11);
    std::vector<void *> objects(100);
    for (int round = 0; round < 10000; round++) {
        void *&object = objects[random.below(objects.size())];
        size_t size = random.size_up_to(2 * MiB);
        free(object);
        if (random.below(2)) {
            object = calloc(1, size);
            ASSERT_TRUE(is_zero(object, size)) << size;
        } else {
            object = malloc(size);
        }
        memset(object, 0xEE, size);
    }
    for (void *object : objects)
        free(object);
}

// What is known to be zero is not cleared, so not made resident either.
TEST(Calloc, FreshMemoryStaysUntouched) {
    for (size_t size : {30000ul, 200000ul}) {
        std::vector<void *> objects(64 * MiB / size);
        size_t before = resident_bytes();
        for (void *&object : objects)
            object = calloc(1, size);
        EXPECT_LT(resident_bytes(), before + 32 * MiB) << size;
        for (void *object : objects)
            free(object);
    }
}

// Growth by realloc hands over stale bytes at most, never those of another live object; a calloc
// that takes what a shrink gave up is zero again.
TEST(Calloc, IsZeroWhereAShrinkGaveUpMemory) {
    for (size_t size : {4096ul, 64 * KiB, 400 * KiB, 4 * MiB}) {
        void *object = malloc(size);
        memset(object, 0x77, size);
        object = realloc(object, size / 4);
        std::vector<void *> taken;
        for (int i = 0; i < 8; i++) {
            taken.push_back(calloc(1, size / 8));
            EXPECT_TRUE(is_zero(taken.back(), size / 8)) << size;
        }
        for (void *one : taken)
            free(one);
        free(object);
    }
}

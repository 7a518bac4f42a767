// SPDX-License-Identifier: MIT
// Medium classes that take elements of larger ones in place of fresh memory.
#include "new_heap.h"

#include <cstring>

#include <gtest/gtest.h>

namespace {

constexpr size_t BYTES = 9000, CLASS_BYTES = 9216, LARGER_BYTES = 10000, LARGER_CLASS_BYTES = 10240;

// How many a class may take before it gets one of its own again.
constexpr unsigned N_ALLOWED = CLASS_BYTES / 128;

// Free, and on its class's list.
void *make_larger() {
    void *larger = heap_malloc(LARGER_BYTES);
    heap_free(larger);
    return larger;
}

TEST(Larger, FirstOfAClassIsItsOwn) {
    in_new_heap([](void *) {
        void *larger = make_larger(), *own = heap_malloc(BYTES);
        EXPECT_NE(own, larger);
        EXPECT_LT(heap_usable_bytes(own, "test"), LARGER_CLASS_BYTES);
        heap_free(own);
    });
}

TEST(Larger, NextOneIsOfALargerClassAndGoesBackToIt) {
    in_new_heap([](void *) {
        void *larger = make_larger(), *own = heap_malloc(BYTES);
        void *taken = heap_malloc(BYTES);
        EXPECT_EQ(taken, larger);
        EXPECT_GE(heap_usable_bytes(taken, "test"), LARGER_CLASS_BYTES);
        memset(taken, 0xff, heap_usable_bytes(taken, "test"));
        ASSERT_EQ(api_check(), nullptr);
        heap_free(taken);
        EXPECT_EQ(heap_malloc(LARGER_BYTES), larger);
        heap_free(larger);
        heap_free(own);
    });
}

TEST(Larger, CallocClearsIt) {
    in_new_heap([](void *) {
        void *larger = heap_malloc(LARGER_BYTES), *own = heap_malloc(BYTES);
        memset(larger, 0xff, LARGER_BYTES);
        heap_free(larger);
        uint8_t *taken = static_cast<uint8_t *>(heap_calloc(1, BYTES));
        EXPECT_EQ(taken, larger);
        for (size_t i = 0; i < BYTES; i++)
            ASSERT_EQ(taken[i], 0) << i;
        heap_free(taken);
        heap_free(own);
    });
}

TEST(Larger, NotTwiceAsLarge) {
    in_new_heap([](void *) {
        void *twice = heap_malloc(2 * BYTES), *own = heap_malloc(BYTES);
        heap_free(twice);
        void *next = heap_malloc(BYTES);
        EXPECT_NE(next, twice);
        heap_free(next);
        heap_free(own);
    });
}

TEST(Larger, AfterSoManyTheClassGetsItsOwn) {
    in_new_heap([](void *) {
        void *larger = make_larger(), *own = heap_malloc(BYTES);
        for (unsigned i = 0; i < N_ALLOWED; i++) {
            ASSERT_EQ(heap_malloc(BYTES), larger) << i;
            heap_free(larger);
        }
        void *second = heap_malloc(BYTES), *taken = heap_malloc(BYTES);
        EXPECT_NE(second, larger);
        EXPECT_EQ(taken, larger);
        heap_free(taken);
        heap_free(second);
        heap_free(own);
    });
}

TEST(Larger, NotInPlaceOfWhatItsOwnListSentHome) {
    in_new_heap([](void *) {
        void *own[6], *again[4];
        for (void *&object : own)
            object = heap_malloc(BYTES);
        void *larger = make_larger();
        for (void *object : own) // more than the list takes
            heap_free(object);
        for (void *&object : again) {
            object = heap_malloc(BYTES);
            EXPECT_NE(object, larger);
        }
        for (void *object : again)
            heap_free(object);
    });
}

// While much is free anyhow, nothing is saved.
TEST(Larger, NotWhereMuchIsFree) {
    in_new_heap([](void *) {
        void *others[4]; // so much that it does not go back at once
        for (void *&other : others)
            other = heap_malloc(36000);
        for (void *other : others)
            heap_free(other);
        void *larger = make_larger(), *own = heap_malloc(BYTES), *next = heap_malloc(BYTES);
        EXPECT_NE(next, larger);
        heap_free(next);
        heap_free(own);
    });
}

} // namespace

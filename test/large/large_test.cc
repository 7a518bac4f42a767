// SPDX-License-Identifier: MIT
// Objects come and go: where they lie, what is known of them, what other pointers are.
#include "large_fixture.h"

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <map>
#include <numeric>
#include <vector>

namespace {

TEST_F(LargeTest, ObjectsArePagesAndWritable) {
    for (size_t n_bytes : {1 * kPage, 600 * KiB, 600 * KiB + 1, MiB - 1, 5 * MiB, 31 * MiB,
                           32 * MiB, 33 * MiB, 64 * MiB, 200 * MiB}) {
        char *object = alloc(n_bytes);
        ASSERT_NE(object, nullptr);
        EXPECT_EQ(reinterpret_cast<uintptr_t>(object) % kPage, 0u);
        EXPECT_EQ(large_usable_bytes(object, &what_), vm_round_up(n_bytes));
        object[0] = object[large_usable_bytes(object, &what_) - 1] = 1;
        free(object);
    }
}

TEST_F(LargeTest, AlignedToAnyPowerOfTwo) {
    for (size_t align = 1; align <= 4 * GiB; align *= 2)
        for (size_t n_bytes : {kPage, 600 * KiB, 40 * MiB}) {
            char *object = alloc(n_bytes, align);
            ASSERT_NE(object, nullptr) << align;
            EXPECT_EQ(reinterpret_cast<uintptr_t>(object) % align, 0u) << n_bytes;
            fill(object, n_bytes, align);
            free(object);
            EXPECT_STREQ(large_validate(), nullptr);
        }
}

TEST_F(LargeTest, AlignedObjectsWasteNoMemory) {
    std::vector<char *> objects;
    for (int i = 0; i < 20; i++)
        objects.push_back(alloc(kPage, MiB));
    // The gaps between them serve others: nothing more has to be made accessible.
    uint64_t n_commits = n_calls(VM_CALL_COMMIT);
    for (int i = 0; i < 15; i++)
        objects.push_back(alloc(600 * KiB));
    EXPECT_EQ(n_calls(VM_CALL_COMMIT), n_commits);
    for (char *object : objects)
        free(object);
}

TEST_F(LargeTest, FreshMemoryIsKnownToBeZeroAndUsedMemoryIsNot) {
    char *object = alloc(MiB);
    EXPECT_TRUE(is_zero_);
    EXPECT_TRUE(is_zero(object, MiB));
    fill(object, MiB, 1);
    free(object);
    EXPECT_EQ(alloc(MiB), object); // used again, since its pages are there
    EXPECT_FALSE(is_zero_);
    free(object);
    large_purge(true);
    object = alloc(MiB);
    EXPECT_TRUE(is_zero_);
    EXPECT_TRUE(is_zero(object, MiB));
    free(object);
}

TEST_F(LargeTest, WantedZerosAreNotWrittenIntoSparseMemory) {
    keep_what_is_freed();
    for (size_t n_bytes : {MiB, 20 * MiB}) {
        char *object = alloc(n_bytes);
        object[n_bytes / 2] = 1;
        free(object);
        bool is_known_zero = true; // wanted
        EXPECT_EQ(large_alloc(n_bytes, 1, &is_known_zero), object);
        EXPECT_TRUE(is_known_zero);
        EXPECT_TRUE(is_zero(object, n_bytes));
        EXPECT_EQ(object[n_bytes / 2], 0);
        for (size_t offset = 0; offset < n_bytes; offset += kPage)
            object[offset] = 1;
        free(object);
        is_known_zero = true;
        EXPECT_EQ(large_alloc(n_bytes, 1, &is_known_zero), object);
        EXPECT_FALSE(is_known_zero); // its pages are worth keeping
        free(object);
    }
}

// Smaller ones, replaced again and again, each written to at its ends and its middle only.
TEST_F(LargeTest, SmallObjectsStaySparse) {
    std::vector<char *> objects(30);
    std::vector<size_t> sizes(30);
    for (size_t i = 0; i < 600; i++) {
        size_t n = i * 7919 % objects.size(), n_bytes = 70000 + i * 104729 % 400000;
        if (objects[n])
            free(objects[n]);
        bool is_known_zero = true; // wanted
        objects[n] = static_cast<char *>(large_alloc(n_bytes, 1, &is_known_zero));
        if (!is_known_zero)
            memset(objects[n], 0, n_bytes);
        for (size_t at : {size_t{0}, n_bytes / 2, n_bytes - 1}) {
            ASSERT_EQ(objects[n][at], 0); // to look at all of it would make it resident
            objects[n][at] = 1;
        }
        sizes[n] = n_bytes;
    }
    size_t live = std::accumulate(sizes.begin(), sizes.end(), size_t{0});
    EXPECT_LT(large_resident_bytes(), live / 4);
    for (size_t n = 0; n < objects.size(); n++) {
        EXPECT_EQ(std::count(objects[n], objects[n] + sizes[n], 1), 3);
        free(objects[n]);
    }
}

// Where all of it was written to it is cleared, or said not to be zero.
TEST_F(LargeTest, SmallObjectsThatWereDenseAreNotZero) {
    keep_what_is_freed();
    for (size_t i = 0; i < 40; i++) {
        size_t n_bytes = 100000 + i * 1000;
        bool is_known_zero = true;
        char *object = static_cast<char *>(large_alloc(n_bytes, 1, &is_known_zero));
        EXPECT_EQ(is_known_zero, is_zero(object, n_bytes));
        memset(object, 1, n_bytes);
        free(object);
    }
}

TEST_F(LargeTest, ObjectOfUsedAndFreshMemoryIsNotZero) {
    keep_what_is_freed();
    char *object = alloc(40 * MiB); // in a span of 64 MiB, the rest of which has never been used
    EXPECT_EQ(resize(object, 30 * MiB), object); // what is freed now makes part of it dirty
    free(object);
    ASSERT_EQ(stats_now().free_dirty_bytes, 40 * MiB);
    EXPECT_EQ(alloc(64 * MiB), object);
    EXPECT_FALSE(is_zero_);
    free(object);
}

TEST_F(LargeTest, ImpossibleSizesFailAndChangeNothing) {
    char *object = alloc(MiB);
    for (size_t n_bytes : {size_t{1} << 45, size_t{1} << 46, size_t{1} << 47, size_t{1} << 62,
                           static_cast<size_t>(PTRDIFF_MAX)}) {
        EXPECT_EQ(large_alloc(n_bytes, 1, &is_zero_), nullptr);
        EXPECT_EQ(large_resize(object, n_bytes, &what_), nullptr);
        EXPECT_EQ(what_, nullptr);
    }
    EXPECT_EQ(large_alloc(kPage, size_t{1} << 62, &is_zero_), nullptr);
    EXPECT_EQ(large_usable_bytes(object, &what_), MiB);
    free(object);
}

TEST_F(LargeTest, BestFitAmongHoles) {
    keep_what_is_freed();
    std::vector<char *> holes, walls;
    for (size_t n_pages : {400, 200, 600, 201, 300}) {
        holes.push_back(alloc(n_pages * kPage));
        walls.push_back(alloc(kPage));
    }
    for (char *hole : holes)
        free(hole);
    EXPECT_EQ(alloc(200 * kPage), holes[1]);
    EXPECT_EQ(alloc(200 * kPage), holes[3]);
    EXPECT_EQ(alloc(301 * kPage), holes[0]);
    for (char *object : {holes[1], holes[3], holes[0]})
        free(object);
    for (char *wall : walls)
        free(wall);
}

TEST_F(LargeTest, FreeNeighboursMelt) {
    int orders[][3] = {{0, 1, 2}, {0, 2, 1}, {1, 0, 2}, {1, 2, 0}, {2, 0, 1}, {2, 1, 0}};
    for (auto &order : orders) {
        char *before = alloc(kPage);
        char *parts[3] = {alloc(MiB), alloc(MiB), alloc(MiB)};
        char *behind = alloc(kPage);
        ASSERT_EQ(parts[1], parts[0] + MiB);
        ASSERT_EQ(parts[2], parts[1] + MiB);
        for (int i : order)
            free(parts[i]);
        EXPECT_STREQ(large_validate(), nullptr);
        EXPECT_EQ(alloc(3 * MiB), parts[0]);
        free(parts[0]);
        free(before);
        free(behind);
    }
}

TEST_F(LargeTest, ErrnoIsKept) {
    errno = 77;
    char *object = alloc(MiB);
    object = resize(object, 40 * MiB);
    large_free(&errno, &what_);
    large_alloc(size_t{1} << 62, 1, &is_zero_);
    free(object);
    large_purge(true);
    EXPECT_EQ(errno, 77);
}

// ---- Pointers that are no live object ----

TEST_F(LargeTest, DoubleFreeIsSeen) {
    for (size_t n_bytes : {600 * KiB, 20 * MiB}) {
        char *object = alloc(n_bytes);
        free(object);
        EXPECT_FALSE(large_free(object, &what_));
        EXPECT_STREQ(what_, "already free (double free)");
        EXPECT_EQ(large_usable_bytes(object, &what_), 0u);
        EXPECT_STREQ(what_, "already free (double free)");
        EXPECT_EQ(large_resize(object, n_bytes * 2, &what_), nullptr);
        EXPECT_STREQ(what_, "already free (double free)");
    }
}

TEST_F(LargeTest, DoubleFreeIsSeenAfterNeighboursMelted) {
    char *first = alloc(MiB), *second = alloc(MiB), *wall = alloc(kPage);
    free(first);
    free(second);
    EXPECT_FALSE(large_free(second, &what_));
    EXPECT_STREQ(what_, "already free (double free)");
    free(wall);
}

TEST_F(LargeTest, InteriorPointersAreSeen) {
    for (size_t n_bytes : {600 * KiB, 40 * MiB}) {
        char *object = alloc(n_bytes);
        for (size_t offset : {size_t{1}, size_t{8}, size_t{16}, kPage, n_bytes / 2, n_bytes - 1}) {
            EXPECT_FALSE(large_free(object + offset, &what_));
            EXPECT_STREQ(what_, "inside a large object, not its start");
        }
        free(object);
        EXPECT_FALSE(large_free(object + 16, &what_));
        EXPECT_NE(what_, nullptr);
    }
}

TEST_F(LargeTest, OtherPointersAreSeen) {
    char *object = alloc(MiB);
    int on_stack;
    char *beyond = store.arenas->memory + store.arenas->bytes - kPage;
    for (void *pointer : {static_cast<void *>(&on_stack), static_cast<void *>(beyond),
                          reinterpret_cast<void *>(16), reinterpret_cast<void *>(~uintptr_t{0})}) {
        EXPECT_FALSE(large_free(pointer, &what_));
        EXPECT_STREQ(what_, "not allocated here");
    }
    free(object);
}

// ---- The whole store ----

TEST_F(LargeTest, ForeachSeesEachLiveObjectOnce) {
    std::map<void *, size_t> expected, seen;
    std::vector<char *> freed;
    for (size_t i = 1; i <= 300; i++) {
        size_t n_bytes = i * 3 * kPage + (i % 50 == 0) * 40 * MiB;
        char *object = alloc(n_bytes);
        if (i % 3)
            expected[object] = n_bytes;
        else
            freed.push_back(object);
    }
    for (char *object : freed)
        free(object);
    large_foreach(
        [](void *arg, void *object, size_t n_bytes) {
            auto &map = *static_cast<std::map<void *, size_t> *>(arg);
            EXPECT_TRUE(map.emplace(object, n_bytes).second);
        },
        &seen);
    EXPECT_EQ(seen, expected);
    EXPECT_EQ(stats_now().n_objects, expected.size());
    size_t live_bytes = 0;
    for (auto &[object, n_bytes] : expected)
        live_bytes += n_bytes;
    EXPECT_EQ(stats_now().live_bytes, live_bytes);
    for (auto &[object, n_bytes] : expected)
        free(object);
}

TEST_F(LargeTest, CountsAllocsAndFrees) {
    large_stats_t before = stats_now();
    char *object = alloc(MiB);
    object = resize(object, 3 * MiB);
    free(object);
    large_free(object, &what_); // refused, not counted
    large_stats_t after = stats_now();
    EXPECT_EQ(after.n_allocs, before.n_allocs + 1);
    EXPECT_EQ(after.n_frees, before.n_frees + 1);
}

TEST_F(LargeTest, ManyObjectsAtOnce) { // the table of live objects and the descriptors grow
    std::vector<char *> objects;
    for (size_t i = 0; i < 20000; i++) {
        objects.push_back(alloc(kPage * (1 + i % 3)));
        fill(objects.back(), kPage, i);
    }
    EXPECT_STREQ(large_validate(), nullptr);
    for (size_t i = 0; i < objects.size(); i++)
        EXPECT_TRUE(is_filled(objects[i], kPage, i));
    for (size_t i = 0; i < objects.size(); i += 2)
        free(objects[i]);
    EXPECT_STREQ(large_validate(), nullptr);
    for (size_t i = 1; i < objects.size(); i += 2)
        free(objects[i]);
}

TEST_F(LargeTest, FewSystemCallsForManyObjects) {
    uint64_t n_before = n_calls(VM_CALL_COMMIT) + n_calls(VM_CALL_RESERVE);
    std::vector<char *> objects;
    for (int i = 0; i < 1000; i++)
        objects.push_back(alloc(600 * KiB));
    EXPECT_LE(n_calls(VM_CALL_COMMIT) + n_calls(VM_CALL_RESERVE) - n_before, 80u);
    for (char *object : objects)
        free(object);
}

} // namespace

// SPDX-License-Identifier: MIT
// Objects grow and shrink: in place where that is possible, else by moving pages, not bytes.
#include "large_fixture.h"

#include <fstream>
#include <string>

namespace {

bool refuse_moves(vm_call_t call) {
    return call != VM_CALL_MOVE;
}

// Kernel mappings that touch the range.
size_t n_mappings(const char *memory, size_t n_bytes) {
    std::ifstream maps("/proc/self/maps");
    size_t n = 0;
    for (std::string line; std::getline(maps, line);) {
        unsigned long begin, end;
        sscanf(line.c_str(), "%lx-%lx", &begin, &end);
        n += begin < reinterpret_cast<uintptr_t>(memory) + n_bytes &&
             end > reinterpret_cast<uintptr_t>(memory);
    }
    return n;
}

TEST_F(LargeTest, SameSizeStaysAsItIs) {
    char *object = alloc(MiB);
    EXPECT_EQ(resize(object, MiB), object);
    EXPECT_EQ(resize(object, MiB - 1), object);
    EXPECT_EQ(large_usable_bytes(object, &what_), MiB);
    free(object);
}

TEST_F(LargeTest, ShrinksInPlaceAndFreesTheTail) {
    for (size_t n_bytes : {8 * MiB, 100 * MiB}) {
        keep_what_is_freed();
        char *object = alloc(n_bytes), *wall = alloc(kPage);
        fill(object, n_bytes, 1);
        EXPECT_EQ(resize(object, n_bytes / 2 + 1), object);
        EXPECT_EQ(large_usable_bytes(object, &what_), n_bytes / 2 + kPage);
        EXPECT_TRUE(is_filled(object, n_bytes / 2, 1));
        EXPECT_GE(stats_now().free_dirty_bytes + large_purge(true), n_bytes / 2 - kPage);
        EXPECT_TRUE(is_filled(object, n_bytes / 2, 1));
        free(object);
        free(wall);
    }
}

TEST_F(LargeTest, GrowsInPlaceIntoFreeMemoryBehind) {
    char *object = alloc(MiB), *middle = alloc(MiB), *last = alloc(MiB), *wall = alloc(kPage);
    fill(object, MiB, 1);
    free(last);
    large_purge(true); // clean, while the next one will be dirty
    free(middle);
    EXPECT_EQ(resize(object, MiB + kPage), object);
    EXPECT_EQ(resize(object, 3 * MiB), object); // over the border of the two
    EXPECT_TRUE(is_filled(object, MiB, 1));
    char *moved = resize(object, 3 * MiB + kPage);
    EXPECT_NE(moved, object);
    EXPECT_TRUE(is_filled(moved, MiB, 1));
    free(moved);
    free(wall);
}

TEST_F(LargeTest, GrowsInPlaceAtTheArenasEnd) {
    char *object = alloc(MiB);
    fill(object, MiB, 1);
    for (size_t n_bytes = 2 * MiB; n_bytes <= 200 * MiB; n_bytes *= 2)
        EXPECT_EQ(resize(object, n_bytes), object);
    EXPECT_TRUE(is_filled(object, MiB, 1));
    free(object);
}

TEST_F(LargeTest, MovesPagesAndLeavesZerosBehind) {
    char *object = alloc(4 * MiB), *wall = alloc(kPage);
    fill(object, 4 * MiB, 1);
    uint64_t n_moves = n_calls(VM_CALL_MOVE);
    char *moved = resize(object, 8 * MiB);
    ASSERT_NE(moved, object);
    EXPECT_GT(n_calls(VM_CALL_MOVE), n_moves);
    EXPECT_TRUE(is_filled(moved, 4 * MiB, 1));
    EXPECT_TRUE(
        is_zero(moved + 4 * MiB, 4 * MiB)); // was fresh: no promise, but nothing else either
    EXPECT_EQ(alloc(4 * MiB), object);
    EXPECT_TRUE(is_zero_);
    EXPECT_TRUE(is_zero(object, 4 * MiB));
    free(object);
    free(moved);
    free(wall);
}

TEST_F(LargeTest, CopiesWherePagesCannotBeMoved) {
    vm_allow_hook = refuse_moves;
    char *object = alloc(4 * MiB), *wall = alloc(kPage);
    fill(object, 4 * MiB, 1);
    char *moved = resize(object, 8 * MiB);
    ASSERT_NE(moved, object);
    EXPECT_TRUE(is_filled(moved, 4 * MiB, 1));
    EXPECT_EQ(alloc(4 * MiB), object);
    EXPECT_FALSE(is_zero_);
    for (char *each : {object, moved, wall})
        free(each);
}

TEST_F(LargeTest, GrowingByStepsNeedsFewSystemCalls) {
    // Two objects in each other's way, as two vectors growing in turn are.
    char *objects[2] = {alloc(600 * KiB), alloc(600 * KiB)};
    uint64_t n_moves = n_calls(VM_CALL_MOVE), n_commits = n_calls(VM_CALL_COMMIT);
    for (size_t n_bytes = 600 * KiB; n_bytes <= 200 * MiB; n_bytes += 64 * KiB)
        for (int i : {0, 1}) {
            objects[i] = resize(objects[i], n_bytes);
            fill(objects[i] + n_bytes - 64 * KiB, 64 * KiB, i + n_bytes);
        }
    for (size_t n_bytes = 664 * KiB; n_bytes <= 200 * MiB; n_bytes += 64 * KiB)
        for (int i : {0, 1})
            EXPECT_TRUE(is_filled(objects[i] + n_bytes - 64 * KiB, 64 * KiB, i + n_bytes));
    EXPECT_LE(n_calls(VM_CALL_MOVE) - n_moves, 20u);
    EXPECT_LE(n_calls(VM_CALL_COMMIT) - n_commits, 150u);
    for (char *object : objects)
        free(object);
}

TEST_F(LargeTest, ManyGrowingObjectsKeepTheirContents) { // more than may have a span
    std::vector<char *> objects;
    for (size_t i = 0; i < LARGE_GROW_MAX_SPANS + 50; i++)
        objects.push_back(alloc(600 * KiB));
    for (size_t n_bytes : {700 * KiB, MiB, 1500 * KiB, 2 * MiB, 3 * MiB, 4 * MiB, 5 * MiB, 6 * MiB})
        for (size_t i = 0; i < objects.size(); i++) {
            if (n_bytes > 700 * KiB) {
                ASSERT_TRUE(is_filled(objects[i], 700 * KiB, i));
            }
            objects[i] = resize(objects[i], n_bytes);
            fill(objects[i], 700 * KiB, i);
        }
    EXPECT_STREQ(large_validate(), nullptr);
    EXPECT_LE(store.n_spans, LARGE_GROW_MAX_SPANS);
    for (size_t i = 0; i < objects.size(); i++) {
        EXPECT_TRUE(is_filled(objects[i], 700 * KiB, i));
        free(objects[i]);
    }
}

// Below LARGE_GROW_MIN_BYTES: free memory that is resident is preferred to fresh memory.
class LargeGrowsInDirtyTest : public LargeTest {
  protected:
    void SetUp() override {
        LargeTest::SetUp();
        keep_what_is_freed();
    }

    // A dirty extent, and the object at the arena's end.
    void arrange(size_t dirty_bytes, size_t object_bytes) {
        dirty_ = alloc(dirty_bytes);
        wall_ = alloc(kPage);
        object_ = alloc(object_bytes);
        fill(object_, object_bytes, 1);
        free(dirty_);
    }

    void TearDown() override {
        free(object_);
        free(wall_);
        LargeTest::TearDown();
    }

    char *dirty_ = nullptr, *wall_ = nullptr, *object_ = nullptr;
};

TEST_F(LargeGrowsInDirtyTest, LeavesForTwiceAsMuchAsItNeeds) {
    arrange(400 * KiB, 160 * KiB);
    uint64_t n_moves = n_calls(VM_CALL_MOVE);
    char *place = object_;
    object_ = resize(object_, 200 * KiB);
    EXPECT_EQ(object_, dirty_);
    EXPECT_TRUE(is_filled(object_, 160 * KiB, 1));
    EXPECT_EQ(n_calls(VM_CALL_MOVE), n_moves);
    EXPECT_EQ(stats_now().free_dirty_bytes, 360 * KiB); // what it left is resident
    EXPECT_EQ(resize(object_, 400 * KiB), object_);     // and here it has room
    EXPECT_EQ(alloc(160 * KiB), place);
    EXPECT_STREQ(large_validate(), nullptr);
    free(place);
}

TEST_F(LargeGrowsInDirtyTest, StaysWhereThereIsLess) {
    arrange(400 * KiB - kPage, 160 * KiB);
    EXPECT_EQ(resize(object_, 200 * KiB), object_);
    EXPECT_EQ(stats_now().free_dirty_bytes, 400 * KiB - kPage);
}

TEST_F(LargeGrowsInDirtyTest, StaysWhereWhatIsBehindItIsDirty) {
    arrange(800 * KiB, 160 * KiB);
    free(alloc(900 * KiB)); // behind it
    EXPECT_EQ(resize(object_, 200 * KiB), object_);
}

TEST_F(LargeGrowsInDirtyTest, IsCopiedThereWhenItHasToMove) {
    arrange(240 * KiB, 160 * KiB);
    char *in_the_way = alloc(kPage + 240 * KiB), *place = object_;
    uint64_t n_moves = n_calls(VM_CALL_MOVE);
    object_ = resize(object_, 200 * KiB);
    EXPECT_EQ(object_, dirty_);
    EXPECT_TRUE(is_filled(object_, 160 * KiB, 1));
    EXPECT_EQ(n_calls(VM_CALL_MOVE), n_moves);
    EXPECT_EQ(alloc(160 * KiB), place);
    free(place);
    free(in_the_way);
}

TEST_F(LargeGrowsInDirtyTest, LargerOnesGetRoomToGrowOnAndKeepIt) {
    arrange(4 * MiB, 900 * KiB);
    char *in_the_way = alloc(5 * MiB);
    object_ = resize(object_, MiB);
    EXPECT_NE(object_, dirty_);
    EXPECT_TRUE(is_filled(object_, 900 * KiB, 1));
    EXPECT_EQ(store.n_spans, 1u);
    EXPECT_EQ(resize(object_, 160 * KiB), object_);
    large_purge(true);
    free(in_the_way);
    EXPECT_EQ(resize(object_, 200 * KiB), object_);
}

TEST_F(LargeGrowsInDirtyTest, NotInAnotherProcessorsStore) {
    arrange(800 * KiB, 160 * KiB);
    large_last_store = 1;
    run_on_processor(1); // it would come to a store where nothing is free
    EXPECT_EQ(resize(object_, 200 * KiB), object_);
    run_on_processor(0);
    object_ = resize(object_, 240 * KiB);
    EXPECT_EQ(object_, dirty_);
}

// Without spans: objects move about in the one arena there is.
class LargePiecesTest : public LargeTest {
  protected:
    void SetUp() override {
        LargeTest::SetUp();
        free(alloc(kPage)); // the arena
        vm_allow_hook = [](vm_call_t call) { return call != VM_CALL_RESERVE; };
    }

    unsigned n_pieces(char *object) { return large_table_find(&store, object)->pieces.n; }
};

TEST_F(LargePiecesTest, ManyMovesKeepContentsAndBoundPieces) {
    char *objects[2] = {alloc(600 * KiB), alloc(600 * KiB)}; // in each other's way
    unsigned max_pieces = 0;
    for (size_t n_bytes = 600 * KiB; n_bytes <= 20 * MiB; n_bytes += n_bytes / 2)
        for (int i : {0, 1}) {
            fill(objects[i], n_bytes, i);
            objects[i] = resize(objects[i], vm_round_up(n_bytes + n_bytes / 2));
            EXPECT_TRUE(is_filled(objects[i], n_bytes, i));
            EXPECT_STREQ(large_validate(), nullptr);
            max_pieces = std::max(max_pieces, n_pieces(objects[i]));
        }
    EXPECT_EQ(max_pieces, EXTENT_MAX_PIECES); // so both ways of moving were taken
    for (char *object : objects)
        free(object);
    EXPECT_EQ(store.n_pieces, 0u);
}

TEST_F(LargePiecesTest, ShrinkingCutsPieces) {
    char *objects[2] = {alloc(MiB), alloc(MiB)}; // in each other's way: the first moves twice
    fill(objects[0], MiB, 1);
    for (size_t n_bytes : {2 * MiB, 4 * MiB})
        for (char *&object : objects)
            object = resize(object, n_bytes);
    char *object = objects[0];
    auto expect_pieces = [&](size_t n_bytes, unsigned n) {
        EXPECT_EQ(resize(object, n_bytes), object);
        EXPECT_EQ(n_pieces(object), n) << n_bytes;
        EXPECT_STREQ(large_validate(), nullptr);
        EXPECT_TRUE(is_filled(object, std::min(n_bytes, MiB), 1));
    };
    expect_pieces(3 * MiB, 2);    // cut behind them
    expect_pieces(2 * MiB, 2);    // at the end of one
    expect_pieces(1536 * KiB, 2); // in the middle of one
    expect_pieces(MiB, 1);
    expect_pieces(600 * KiB, 1);
    for (char *each : objects)
        free(each);
}

TEST_F(LargePiecesTest, FreeMemoryIsOneKernelMappingAgain) {
    arena_t *arena = store.arenas;
    std::vector<char *> objects;
    for (size_t i = 0; i < 40; i++) {
        objects.push_back(alloc(600 * KiB));
        fill(objects[i], 600 * KiB, i);
    }
    size_t n_before = n_mappings(arena->memory, arena->bytes);
    for (size_t i = 0; i < 40; i += 2)
        objects[i] = resize(objects[i], MiB);
    EXPECT_GT(n_mappings(arena->memory, arena->bytes), n_before);
    for (char *object : objects)
        free(object);
    EXPECT_EQ(n_mappings(arena->memory, arena->bytes), n_before);
}

} // namespace

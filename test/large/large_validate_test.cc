// SPDX-License-Identifier: MIT
// large_validate finds each kind of damage: one deliberate corruption, or more, for each invariant.
#include "large_fixture.h"

// owner.h is C.
extern "C" void owner_set(const void *memory, size_t bytes, uint16_t owner);

namespace {

class LargeValidateTest : public LargeTest {
  protected:
    // In one arena: live, dirty, wall, young (dirty), clean; and three spans.
    void SetUp() override {
        LargeTest::SetUp();
        live_ = large_table_find(&store, alloc(700 * KiB));
        char *dirty = alloc(MiB + kPage);
        wall_ = alloc(kPage);
        char *young = alloc(3 * MiB), *clean = alloc(2 * MiB);
        wall2_ = alloc(kPage);
        moved_ = large_table_find(&store, resize(live_->memory, 2 * MiB));
        live_ = large_table_find(&store, alloc(700 * KiB));
        span_ = alloc(50 * MiB);
        cached_ = alloc(80 * MiB);
        free(clean);
        large_purge(true);
        keep_what_is_freed();
        dirty_ = large_table_find(&store, dirty);
        young_ = large_table_find(&store, young);
        free(dirty);
        advance_clock_ms(5);
        free(young);
        ASSERT_STREQ(large_validate(), nullptr);
    }

    void TearDown() override {
        ASSERT_STREQ(large_validate(), nullptr); // every test repairs what it damaged
        for (char *object : {live_->memory, wall_, wall2_, span_, cached_, moved_->memory})
            free(object);
        LargeTest::TearDown();
    }

    // Sets *field to `bad`, looks for the violation, and repairs it.
    template <class Field, class Value>
    void expect_found(Field *field, Value bad, const char *invariant) {
        Field good = *field;
        *field = static_cast<Field>(bad);
        const char *what = large_validate();
        *field = good;
        ASSERT_NE(what, nullptr);
        EXPECT_EQ(std::string(what).substr(0, 2), invariant);
    }

    extent_t *live_, *dirty_, *young_, *moved_;
    char *wall_, *wall2_, *span_, *cached_;
};

TEST_F(LargeValidateTest, L1Tiling) {
    expect_found(&live_->memory, live_->memory + kPage, "L1");
    expect_found(&live_->bytes, live_->bytes + kPage, "L1");
    expect_found(&live_->bytes, live_->bytes - 1, "L1");
    expect_found(&live_->bytes, 0, "L1");
    expect_found(&live_->prev, live_, "L1");
    expect_found(&live_->next, nullptr, "L1");
    expect_found(&live_->arena, nullptr, "L1");
    expect_found(&live_->arena->committed, live_->arena->committed - kPage, "L1");
    expect_found(&live_->arena->committed, live_->arena->bytes + kPage, "L1");
    expect_found(&live_->arena->last, live_, "L1");
}

TEST_F(LargeValidateTest, L2Coalescing) {
    extent_t *next = young_->next;
    ASSERT_NE(next, nullptr);
    ASSERT_EQ(next->state, EXTENT_CLEAN);
    expect_found(&next->state, EXTENT_DIRTY, "L2");
    expect_found(&young_->state, EXTENT_CLEAN, "L2");
}

TEST_F(LargeValidateTest, L3Bins) {
    unsigned bin = extent_bin(young_->bytes);
    large_bins_t *bins = &store.bins[EXTENT_DIRTY - EXTENT_DIRTY];
    ASSERT_EQ(bins->bin[bin], young_);
    expect_found(&bins->non_empty[bin / 64], 0u, "L3");
    expect_found(&bins->non_empty[bin / 64], bins->non_empty[bin / 64] | 1u, "L3");
    expect_found(&bins->bin[bin], nullptr, "L3");
    expect_found(&young_->bin_prev, young_, "L3");
    expect_found(&young_->bin_next, young_, "L3"); // a loop
    expect_found(&young_->bin_next, live_, "L3");
    expect_found(&young_->bin, bin + 1, "L3");
}

TEST_F(LargeValidateTest, L4AgeList) {
    ASSERT_EQ(store.oldest, dirty_);
    ASSERT_EQ(dirty_->newer, young_);
    expect_found(&dirty_->newer, nullptr, "L4");
    expect_found(&young_->newer, young_, "L4"); // a loop
    expect_found(&young_->older, nullptr, "L4");
    expect_found(&dirty_->freed_ms, young_->freed_ms + 1, "L4");
    expect_found(&store.newest, dirty_, "L4");
    expect_found(&store.stats.free_dirty_bytes, 1u, "L4");
}

TEST_F(LargeValidateTest, L5Table) {
    expect_found(&store.stats.n_objects, store.stats.n_objects + 1, "L5");
    expect_found(&store.stats.live_bytes, store.stats.live_bytes - kPage, "L5");
    large_table_remove(live_);
    EXPECT_EQ(std::string(large_validate()).substr(0, 2), "L5");
    large_table_add(live_);
}

TEST_F(LargeValidateTest, L6Owners) {
    expect_found(&store.stats.reserved_bytes, store.stats.reserved_bytes + kPage, "L6");
    arena_t *arena = live_->arena;
    expect_found(&arena->bytes, arena->bytes + (size_t{1} << 30), "L6");
    owner_set(arena->memory, arena->bytes, large_store_owner(&large_stores[1]));
    EXPECT_EQ(std::string(large_validate()).substr(0, 2), "L6");
    owner_set(arena->memory, arena->bytes, large_store_owner(&store));
}

TEST_F(LargeValidateTest, L7Spans) {
    arena_t *span = large_table_find(&store, span_)->arena;
    expect_found(&span->is_span, false, "L7");
    arena_remove(&store.spans, span);
    arena_push(&store.cached, span);
    EXPECT_EQ(std::string(large_validate()).substr(0, 2), "L7"); // live, in `cached`
    arena_remove(&store.cached, span);
    arena_push(&store.spans, span);
    free(cached_);
    arena_t *cached = store.cached;
    ASSERT_NE(cached, nullptr);
    arena_remove(&store.cached, cached);
    arena_push(&store.spans, cached);
    EXPECT_EQ(std::string(large_validate()).substr(0, 2), "L7"); // free, in `spans`
    arena_remove(&store.spans, cached);
    arena_push(&store.cached, cached);
    cached_ = alloc(80 * MiB);
}

TEST_F(LargeValidateTest, L8Pieces) {
    ASSERT_EQ(moved_->pieces.n, 1u);
    expect_found(&moved_->pieces.n, EXTENT_MAX_PIECES + 1, "L8");
    expect_found(&moved_->pieces.end[0], moved_->bytes + kPage, "L8");
    expect_found(&moved_->pieces.end[0], 0u, "L8");
    expect_found(&moved_->pieces.end[0], 1u, "L8");
    expect_found(&store.n_pieces, 0u, "L8");
    expect_found(&dirty_->pieces.n, 1u, "L8");
}

} // namespace

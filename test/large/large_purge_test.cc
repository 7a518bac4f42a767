// SPDX-License-Identifier: MIT
// Free memory goes back: when, how much, and how often.
#include "large_fixture.h"

#include <unistd.h>

extern "C" {
#include "options.h"
}

namespace {

bool is_accessible(char *memory) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    bool is = write(ends[1], memory, 1) == 1;
    close(ends[0]), close(ends[1]);
    return is;
}

class LargePurgeTest : public LargeTest {
  protected:
    // So many objects of n_bytes, all written to, then all freed.
    void use(size_t n_objects, size_t n_bytes) {
        std::vector<char *> objects;
        for (size_t i = 0; i < n_objects; i++) {
            objects.push_back(alloc(n_bytes));
            fill(objects.back(), n_bytes, i);
        }
        for (char *object : objects)
            free(object);
    }

    size_t dirty_bytes() { return stats_now().free_dirty_bytes; }
};

TEST_F(LargePurgeTest, ALittleStaysAndDecays) {
    use(2, 2 * MiB);
    EXPECT_EQ(dirty_bytes(), 4 * MiB);
    advance_clock_ms(options.decay_ms);
    EXPECT_EQ(large_purge(false), 0u);
    advance_clock_ms(1);
    EXPECT_EQ(large_purge(false), 4 * MiB);
    EXPECT_EQ(dirty_bytes(), 0u);
    EXPECT_EQ(large_purge(false), 0u);
}

TEST_F(LargePurgeTest, WhatIsUsedAgainDoesNotDecay) {
    char *old = alloc(2 * MiB), *wall = alloc(kPage), *young = alloc(2 * MiB),
         *wall2 = alloc(kPage);
    free(old);
    advance_clock_ms(options.decay_ms);
    free(young);
    advance_clock_ms(1);
    EXPECT_EQ(large_purge(false), 2 * MiB);
    EXPECT_EQ(alloc(2 * MiB), young);
    EXPECT_FALSE(is_zero_);
    for (char *each : {young, wall, wall2})
        free(each);
}

TEST_F(LargePurgeTest, DecayHappensInOtherOperationsToo) {
    use(5, 2 * MiB);
    advance_clock_ms(options.decay_ms + 1);
    char *object = alloc(600 * KiB);
    EXPECT_EQ(dirty_bytes(), 0u);
    free(object);
}

TEST_F(LargePurgeTest, DecayHappensInAResizeThatChangesNothing) {
    char *object = alloc(600 * KiB);
    use(5, 2 * MiB);
    advance_clock_ms(options.decay_ms + 1);
    EXPECT_GT(dirty_bytes(), 0u);
    EXPECT_EQ(resize(object, 600 * KiB), object);
    EXPECT_EQ(dirty_bytes(), 0u);
    free(object);
}

TEST_F(LargePurgeTest, DecayFollowsItsOption) {
    uint64_t decay_ms = options.decay_ms;
    options.decay_ms = 50;
    use(2, 2 * MiB);
    advance_clock_ms(50);
    EXPECT_EQ(large_purge(false), 0u);
    advance_clock_ms(1);
    EXPECT_EQ(large_purge(false), 4 * MiB);
    options.decay_ms = decay_ms;
}

TEST_F(LargePurgeTest, WithoutARateOnlyAnExplicitPurgeGivesBack) {
    uint64_t purge_rate = options.purge_rate;
    options.purge_rate = 0;
    use(20, 5 * MiB);
    advance_clock_ms(100 * options.decay_ms);
    EXPECT_EQ(large_purge(false), 0u);
    EXPECT_GE(dirty_bytes(), 100 * MiB);
    EXPECT_GE(large_purge(true), 100 * MiB);
    options.purge_rate = purge_rate;
}

// The peak says what may lie about when fresh memory is taken.
TEST_F(LargePurgeTest, ThePeakIsForgottenByHalf) {
    char *object = alloc(30 * MiB);
    free(object);
    advance_clock_ms(LARGE_PEAK_HALF_MS);
    object = alloc(kPage);
    free(object);
    EXPECT_GE(store.peak_bytes, 14 * MiB);
    EXPECT_LE(store.peak_bytes, 20 * MiB);
    advance_clock_ms(20 * LARGE_PEAK_HALF_MS);
    free(alloc(kPage));
    EXPECT_LE(store.peak_bytes, 5 * MiB);
}

// No event may follow the last free.
TEST_F(LargePurgeTest, ABurstIsGivenBackAtOnce) {
    use(100, 4 * MiB);
    EXPECT_LE(dirty_bytes(), 4 * MiB + 512 * KiB);
    advance_clock_ms(20 * DEMAND_HALF_MS);
    use(10, 40 * MiB); // spans
    EXPECT_LE(dirty_bytes(), 4 * MiB + 512 * KiB);
    advance_clock_ms(20 * DEMAND_HALF_MS);
    use(500, 600 * KiB);
    EXPECT_LE(dirty_bytes(), 4 * MiB + 512 * KiB);
}

TEST_F(LargePurgeTest, OfABurstPartlyKeptLittleMoreStays) {
    std::vector<char *> kept;
    std::vector<char *> burst;
    for (int i = 0; i < 200; i++)
        (i % 20 == 0 ? kept : burst).push_back(alloc(2 * MiB));
    for (char *object : burst)
        free(object);
    EXPECT_EQ(stats_now().live_bytes, 20 * MiB);
    EXPECT_LE(dirty_bytes(), 20 * MiB / 4 + 2 * MiB);
    for (char *object : kept)
        free(object);
}

// Two bursts in a row may be all there is; after some more, the pages are kept for the next.
TEST_F(LargePurgeTest, ASwingLosesItsPagesOnlyAFewTimes) {
    size_t swing_bytes = 20 * 5 * MiB;
    uint64_t n_purges = 0;
    for (int i = 0; i < 20; i++) {
        if (i == 3)
            n_purges = n_calls(VM_CALL_PURGE);
        use(20, 5 * MiB);
        advance_clock_ms(100);
    }
    EXPECT_LE(n_calls(VM_CALL_PURGE) - n_purges, 20u); // the budget's refill, two seconds of it
    EXPECT_GE(dirty_bytes(), swing_bytes - 64 * MiB);
    advance_clock_ms(10 * DEMAND_HALF_MS);
    large_purge(false);
    EXPECT_LE(dirty_bytes(), MiB);
}

TEST_F(LargePurgeTest, PurgedMemoryIsNotResidentAndZero) {
    char *object = alloc(4 * MiB), *wall = alloc(kPage);
    fill(object, 4 * MiB, 1);
    EXPECT_GT(vm_resident_bytes(object, 4 * MiB), 0u);
    free(object);
    EXPECT_EQ(large_purge(true), 4 * MiB);
    EXPECT_EQ(vm_resident_bytes(object, 4 * MiB), 0u);
    EXPECT_EQ(alloc(4 * MiB), object);
    EXPECT_TRUE(is_zero_);
    EXPECT_TRUE(is_zero(object, 4 * MiB));
    free(object);
    free(wall);
}

// What comes and goes all the time is kept, whatever the soft limit says.
TEST_F(LargePurgeTest, SteadyChangeIsHardlyPurged) {
    Random random(1);
    std::vector<char *> objects(20);
    for (char *&object : objects)
        object = alloc(MiB + random.below(15 * MiB));
    auto replace_some = [&](int n) {
        for (int i = 0; i < n; i++) {
            char *&object = objects[random.below(objects.size())];
            free(object);
            object = alloc(MiB + random.below(15 * MiB));
            advance_clock_ms(1);
        }
    };
    replace_some(2000);
    uint64_t n_reused = 0;
    for (int i = 0; i < 8000; i++) { // 68 GiB come and go in eight seconds
        replace_some(1);
        n_reused += !is_zero_;
    }
    EXPECT_GE(n_reused, 7600u);
    large_stats_t stats = stats_now(); // and little lies about for it
    EXPECT_LE(stats.live_bytes + stats.free_dirty_bytes, 320 * MiB);
    for (char *object : objects)
        free(object);
}

TEST_F(LargePurgeTest, DirtyMemoryIsBoundedWithoutBudget) {
    store.spent_bytes = GiB;
    store.spent_ms = coarse_clock_ms();
    std::vector<char *> objects;
    for (int i = 0; i < 100; i++)
        objects.push_back(alloc(i % 2 ? 5 * MiB : 50 * MiB));
    for (char *object : objects) {
        free(object);
        large_stats_t stats = stats_now();
        EXPECT_LE(stats.free_dirty_bytes,
                  std::max<uint64_t>(stats.live_bytes * 9 / 4, 4 * MiB + 512 * KiB));
    }
}

// A free looks at what is to go only once for each tick of the clock, or when it might have found
// something: the same goes as if each free looked.
TEST_F(LargePurgeTest, LookingLessOftenFindsTheSame) {
    auto run = [&](bool looks_each_time, uint64_t seed) {
        large_purge(true);
        advance_clock_ms(3600 * 1000);     // the budget is full
        store.peak_ms = coarse_clock_ms(); // all else begins anew
        Random random(seed);
        std::vector<char *> objects(100);
        std::vector<size_t> dirty_after;
        for (int i = 0; i < 3000; i++) {
            if (looks_each_time)
                store.quiet_bytes = 0;
            // Mostly it grows, then shrinks; now and then time passes.
            bool shrinks = i % 1000 >= 700;
            char *&object = objects[random.below(objects.size())];
            if (object)
                free(object);
            object = shrinks && random.below(3) ? nullptr : alloc(random.size_up_to(4 * MiB));
            if (random.below(4) == 0)
                advance_clock_ms(random.below(20) ? 1 : 300);
            dirty_after.push_back(dirty_bytes());
        }
        for (char *object : objects)
            if (object)
                free(object);
        return dirty_after;
    };
    for (uint64_t seed = 1; seed <= 5; seed++)
        EXPECT_EQ(run(false, seed), run(true, seed));
}

TEST_F(LargePurgeTest, TheBudgetFillsAgain) {
    keep_what_is_freed();
    char *live = alloc(600 * MiB);
    use(24, 5 * MiB);
    EXPECT_EQ(dirty_bytes(), 120 * MiB); // no budget, and demand
    advance_clock_ms(options.decay_ms + 1);
    store.demand.greatest_bytes = 0;
    large_purge(false);
    EXPECT_EQ(dirty_bytes(), 120 * MiB); // no demand
    advance_clock_ms(10 * 60 * 1000);
    large_purge(false);
    EXPECT_EQ(dirty_bytes(), 0u);
    free(live);
}

TEST_F(LargePurgeTest, ASystemThatRefusesIsNotAskedAllTheTime) {
    vm_allow_hook = [](vm_call_t call) { return call != VM_CALL_PURGE; };
    std::vector<char *> objects;
    for (int i = 0; i < 200; i++)
        objects.push_back(alloc(2 * MiB));
    uint64_t n_purges = n_calls(VM_CALL_PURGE);
    for (char *object : objects)
        free(object);
    EXPECT_EQ(n_calls(VM_CALL_PURGE) - n_purges, 1u);
    EXPECT_STREQ(large_validate(), nullptr);
    EXPECT_EQ(dirty_bytes(), 400 * MiB); // nothing is lost, nothing is taken for zero
    char *object = alloc(2 * MiB);
    EXPECT_FALSE(is_zero_);
    vm_allow_hook = nullptr;
    advance_clock_ms(options.decay_ms + 1);
    free(object);
    EXPECT_LE(dirty_bytes(), 64 * MiB);
}

TEST_F(LargePurgeTest, PurgeAllGivesTheAddressSpaceBack) {
    use(100, 4 * MiB);
    EXPECT_GT(stats_now().reserved_bytes, 0u);
    large_purge(true);
    EXPECT_EQ(stats_now().reserved_bytes, 0u);
}

TEST_F(LargePurgeTest, ASpanIsKeptForReuse) {
    use(1, 50 * MiB); // at first it goes
    EXPECT_EQ(dirty_bytes(), 0u);
    keep_what_is_freed();
    char *object = alloc(50 * MiB);
    fill(object, 50 * MiB, 1);
    free(object);
    uint64_t n_reserves = n_calls(VM_CALL_RESERVE);
    EXPECT_EQ(alloc(60 * MiB), object); // the pages it has, and some more
    EXPECT_FALSE(is_zero_);
    free(object);
    EXPECT_EQ(alloc(33 * MiB), object);
    free(object);
    EXPECT_EQ(n_calls(VM_CALL_RESERVE), n_reserves);
}

TEST_F(LargePurgeTest, AnEmptySpanIsGivenUp) {
    char *object = alloc(600 * KiB), *wall = alloc(kPage);
    fill(object, 600 * KiB, 1);
    char *span = resize(object, 2 * MiB);
    char *wall2 = alloc(kPage);
    for (size_t n_bytes = 4 * MiB; n_bytes <= 512 * MiB; n_bytes *= 2)
        span = resize(span, n_bytes); // leaves a span whose pages were all moved away
    EXPECT_EQ(store.n_spans, 1u);
    for (char *each : {span, wall, wall2})
        free(each);
}

TEST_F(LargePurgeTest, RefusedReleaseLosesNothing) {
    keep_what_is_freed();
    use(1, 50 * MiB);
    use(1, 5 * MiB);
    EXPECT_EQ(dirty_bytes(), 55 * MiB);
    uint64_t reserved_bytes = stats_now().reserved_bytes;
    vm_allow_hook = [](vm_call_t call) { return call != VM_CALL_RELEASE; };
    large_purge(true);
    EXPECT_STREQ(large_validate(), nullptr);
    EXPECT_EQ(stats_now().reserved_bytes, reserved_bytes);
    char *object = alloc(50 * MiB);
    EXPECT_EQ(stats_now().reserved_bytes, reserved_bytes);
    free(object);
}

// Free memory without access is not counted by the system; it gets it again when it is taken, or is
// not taken.
TEST_F(LargePurgeTest, WhatIsFreeLosesItsAccessUntilItIsTaken) {
    std::vector<char *> objects;
    for (int i = 0; i < 9; i++) {
        objects.push_back(alloc(2 * MiB));
        fill(objects.back(), 2 * MiB, i);
    }
    for (int i = 1; i < 8; i += 2)
        free(objects[i]);
    large_purge(true);
    for (int i = 1; i < 8; i += 2)
        EXPECT_FALSE(is_accessible(objects[i]));
    uint64_t n_decommits = n_calls(VM_CALL_DECOMMIT);
    large_purge(true);
    EXPECT_EQ(n_calls(VM_CALL_DECOMMIT), n_decommits) << "once is enough";
    vm_allow_hook = [](vm_call_t call) { return call != VM_CALL_COMMIT; };
    EXPECT_EQ(large_alloc(MiB, 1, &is_zero_), nullptr);
    EXPECT_EQ(large_resize(objects[0], 3 * MiB, &what_), nullptr);
    EXPECT_STREQ(large_validate(), nullptr);
    vm_allow_hook = nullptr;
    EXPECT_EQ(resize(objects[0], 3 * MiB), objects[0]);
    EXPECT_TRUE(is_zero(objects[0] + 2 * MiB, MiB));
    char *taken = alloc(MiB), *other = alloc(2 * MiB);
    EXPECT_LT(taken, objects[8]);
    fill(taken, MiB, 100);
    fill(other, 2 * MiB, 101);
    for (int i = 2; i < 9; i += 2) {
        EXPECT_TRUE(is_filled(objects[i], 2 * MiB, i));
        free(objects[i]);
    }
    for (char *object : {objects[0], taken, other})
        free(object);
}

} // namespace

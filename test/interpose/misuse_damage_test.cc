// SPDX-License-Identifier: MIT
// Damage that shows later: boundary tags that were overrun, free objects that were written to, and
// what should not be on a list at all, found when the list goes home.
#include "misuse.h"

#include <pthread.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <random>
#include <thread>
#include <vector>

using namespace interpose;

// ---- Overwritten ----------------------------------------------------------------------------

// Past the end of a medium object lies its neighbour's boundary tag.
TEST(MisuseOverflow, PastAMediumObjectIsNoticedAtTheLatestByItsNeighboursFree) {
    SKIP_UNDER_STAND_IN("libmheap's line");
    char *objects[20];
    for (char *&object : objects)
        object = static_cast<char *>(malloc(5000));
    size_t usable = malloc_usable_size(objects[10]);
    for (size_t n_bytes = 1; n_bytes <= 64; n_bytes++) {
        Outcome outcome = run_in_child([&] {
            for (size_t i = 0; i < n_bytes; i++)
                objects[10][usable + i] ^= 0xFF; // surely another value than before
            free(objects[10]);
            free(objects[11]);
            free(objects[9]);
        });
        EXPECT_TRUE(is_reported(outcome, kAnyFunction, kAnyPointer)) << n_bytes << " bytes";
    }
    for (char *object : objects)
        free(object);
}

// ---- Written to after free ------------------------------------------------------------------

// Whatever is written into a free object cannot steer malloc: it is noticed when the place is
// taken again, if it hits the first 8 bytes, where the link is.  One damage in 65,536 decodes to
// something plausible by chance, which depends on the object's address: so a second object may be
// damaged in the same way, and then again.
class MisuseAfterFree : public MisuseOfSize {
  protected:
    void expect_noticed(const std::function<void(unsigned char *link)> &damage) {
        Outcome outcome;
        for (size_t i : {20, 35}) { // the first ones of a size may be kept in another way
            outcome = run_in_child([&] {
                free(objects_[i - 2]);
                free(objects_[i]);
                damage(static_cast<unsigned char *>(opaque(objects_[i])));
                for (int n = 0; n < 1000; n++)
                    opaque(malloc(GetParam()));
            });
            if (is_reported(outcome, "malloc", hex(objects_[i])))
                return;
        }
        ADD_FAILURE() << "not noticed: " << outcome;
    }
};
INSTANTIATE_TEST_SUITE_P(Sizes, MisuseAfterFree, testing::Values(24, 200, 1000, 5000),
                         [](const auto &info) { return std::to_string(info.param); });

TEST_P(MisuseAfterFree, AWordIsNoticedWhenTaken) {
    const uint64_t kValues[] = {0,
                                0x4141414141414141,
                                ~uint64_t{0},
                                1,
                                reinterpret_cast<uint64_t>(&kValues),
                                reinterpret_cast<uint64_t>(objects_[0])};
    for (uint64_t value : kValues)
        expect_noticed([&](unsigned char *link) { memcpy(link, &value, sizeof value); });
}

TEST_P(MisuseAfterFree, EachBitIsNoticedWhenTaken) {
    for (int i = 0; i < 64; i++)
        expect_noticed([&](unsigned char *link) { link[i / 8] ^= 1 << i % 8; });
}

// Another free object's link, which is a good one there, is none here.
TEST_P(MisuseAfterFree, ACopiedLinkIsNoticedWhenTaken) {
    expect_noticed([&](unsigned char *link) {
        for (int i = 30; i < 33; i++)
            free(objects_[i]);
        memcpy(link, opaque(objects_[31]), 8);
        for (int i = 32; i >= 30; i--) // these are taken first, and are in order
            require(malloc(GetParam()) == objects_[i], "last in, first out");
    });
}

// Freed by another thread, an object may be on its way to its owner for long: here in a batch, all
// of which the owner takes back at its next look.
TEST_P(MisuseAfterFree, AWriteToOneThatAnotherThreadFreedIsNoticed) {
    std::vector<void *> batch(std::min<size_t>(128, 64 * 1024 / GetParam() + 1));
    for (void *&object : batch)
        object = opaque(malloc(GetParam()));
    Outcome outcome = run_in_child([&] {
        std::thread([&] { std::for_each(batch.begin(), batch.end(), free); }).join();
        for (void *object : batch)
            memset(opaque(object), 0x41, 8);
        for (int n = 0; n < 1000; n++)
            opaque(malloc(GetParam()));
    });
    EXPECT_TRUE(is_reported(outcome, "malloc", kAnyPointer));
    std::for_each(batch.begin(), batch.end(), free);
}

// A live object may hold any word: none is taken for a link, or for a damaged one.
TEST_P(MisuseAfterFree, NoContentsOfALiveObjectAreMisuse) {
    Outcome outcome = run_in_child([&] {
        Random random(7);
        for (int round = 0; round < 50000; round++) {
            void *object = malloc(GetParam());
            uint64_t value = random.next() >> random.below(64);
            memcpy(object, &value, sizeof value);
            free(object);
        }
    });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// ---- On a list, but not by right ------------------------------------------------------------

// Freed, written to, and freed again: the second free cannot know.  The list then holds the object
// twice and has no end; whoever takes it home notices.
TEST_P(MisuseAfterFree, FreedTwiceWithAWriteBetweenIsNoticedOnTheWayHome) {
    Outcome outcome = run_in_child([&] {
        for (int i = 20; i < 30; i++)
            free(objects_[i]);
        memset(opaque(objects_[25]), 0x41, 8);
        free(opaque(objects_[25]));
        malloc_trim(0);
    });
    EXPECT_TRUE(is_reported(outcome, "free", kAnyPointer));
}

// The disabled test succeeds with abort:false, and there is one line, which `report` matches.
static void expect_goes_on(const std::string &test, const std::string &report) {
    Outcome outcome = run_program(
        {{"/proc/self/exe", "--gtest_filter=" + test, "--gtest_also_run_disabled_tests"},
         {"MHEAP_CONF=abort:false"},
         {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_TRUE(std::regex_match(
        outcome.err, std::regex("libmheap: free\\(0x[0-9a-f]+\\): " + report + "[^\n]+\n")))
        << outcome;
}

// Told to go on, the library leaves the second place behind: the object does not go home while
// somebody has it.
TEST(MisuseGoesOn, WithWhatIsOnAListTwice) {
    SKIP_UNDER_STAND_IN("libmheap's line");
    expect_goes_on("MisuseGoesOn.DISABLED_OnAListTwice", "a free block was written to");
}
TEST(MisuseGoesOn, DISABLED_OnAListTwice) {
    std::vector<void *> objects(400);
    for (void *&object : objects)
        object = malloc(200);
    free(objects[350]);
    memset(opaque(objects[350]), 0x41, 8);
    free(opaque(objects[350]));
    void *owner = opaque(malloc(200));
    ASSERT_EQ(owner, objects[350]) << "last in, first out";
    malloc_trim(0);
    for (int i = 0; i < 2000; i++)
        ASSERT_NE(opaque(malloc(200)), owner);
}

// In a large heap what a program frees without allocating waits for up to 64 more frees before it
// is looked at (heap_drain.h); malloc of its size looks at once.
class MisuseWhileDraining : public testing::Test {
  protected:
    static constexpr size_t kSize = 100, kObjects = (8 << 20) / kSize;
    std::vector<void *> objects_;

    void SetUp() override {
        SKIP_UNDER_STAND_IN("libmheap's line");
        while (objects_.size() < kObjects)
            objects_.push_back(malloc(kSize));
        std::shuffle(objects_.begin(), objects_.end(), std::mt19937(1));
        free_some(kObjects / 4);
    }
    void TearDown() override { free_some(objects_.size()); }
    void free_some(size_t n) {
        for (; n > 0; n--) {
            free(objects_.back());
            objects_.pop_back();
        }
    }
};

TEST_F(MisuseWhileDraining, FreedTwice) {
    for (size_t n_between : {0, 1, 5, 30}) {
        Outcome outcome = run_in_child([&] {
            void *object = objects_[100];
            free(object);
            free_some(n_between);
            free(opaque(object));
            free_some(100);
        });
        EXPECT_TRUE(is_reported(outcome, "free", hex(objects_[100]))) << n_between;
    }
}

TEST_F(MisuseWhileDraining, FreedTwiceThenAllocated) {
    Outcome outcome = run_in_child([&] {
        free(objects_[100]);
        free(opaque(objects_[100]));
        opaque(malloc(kSize));
    });
    EXPECT_TRUE(is_reported(outcome, "free", hex(objects_[100])));
}

TEST_F(MisuseWhileDraining, FreedTwiceThenTrimmed) {
    Outcome outcome = run_in_child([&] {
        free(objects_[100]);
        free(opaque(objects_[100]));
        malloc_trim(0);
    });
    EXPECT_TRUE(is_reported(outcome, "free", hex(objects_[100])));
}

// The second free comes when the first has gone home, and all of its run with it.
TEST_F(MisuseWhileDraining, FreedAgainWhenEverythingIsHome) {
    Outcome outcome = run_in_child([&] {
        void *object = objects_[100];
        free_some(objects_.size() - 10);
        free(opaque(object));
    });
    EXPECT_TRUE(is_reported(outcome, "free", hex(objects_[100])));
}

TEST_F(MisuseWhileDraining, FreedThenReallocated) {
    Outcome outcome = run_in_child([&] {
        free(objects_[100]);
        opaque(realloc(opaque(objects_[100]), 5000));
        free_some(100);
    });
    EXPECT_TRUE(is_reported(outcome, kAnyFunction, hex(objects_[100])));
}

TEST_F(MisuseWhileDraining, WrittenToOnceItIsHome) {
    Outcome outcome = run_in_child([&] {
        void *object = objects_[100];
        free(object);
        free_some(100);
        memset(opaque(object), 0x41, 8);
        for (size_t i = 0; i < 2 * kObjects; i++)
            opaque(malloc(kSize));
    });
    EXPECT_TRUE(is_reported(outcome, "malloc", hex(objects_[100])));
}

// Told to go on, the library takes it once.
TEST_F(MisuseWhileDraining, GoesOn) {
    expect_goes_on("MisuseWhileDraining.DISABLED_TwiceAndOn", "freed twice");
}
TEST_F(MisuseWhileDraining, DISABLED_TwiceAndOn) {
    void *twice = objects_.front();
    objects_.erase(objects_.begin());
    free(twice);
    free(opaque(twice));
    size_t n_found = 0;
    for (size_t i = 0; i < kObjects; i++)
        n_found += malloc(kSize) == twice;
    EXPECT_EQ(n_found, 1u);
}

// Where a block of a run might be, but none ever was: at the start of the newest one's 64 KiB,
// whose pages are opened from their end.
class MisuseNeverAllocated : public testing::Test {
  protected:
    static constexpr size_t kSize = 1024;
    void *place_ = nullptr;
    void SetUp() override {
        SKIP_UNDER_STAND_IN("libmheap's line");
        uintptr_t newest = 0;
        for (int i = 0; i < 300; i++)
            newest = reinterpret_cast<uintptr_t>(malloc(kSize));
        place_ = reinterpret_cast<void *>(newest & ~uintptr_t{0xffff});
    }
};

TEST_F(MisuseNeverAllocated, ReallocAndUsableSizeKnow) {
    for (const Call &row : kCalls) {
        if (row.name == std::string("free"))
            continue;
        Outcome outcome = run_in_child([&] { row.call(place_); });
        EXPECT_TRUE(is_reported(outcome, row.name, hex(place_)));
    }
}

TEST_F(MisuseNeverAllocated, FreeIsNoticedOnTheWayHome) {
    Outcome outcome = run_in_child([&] {
        free(opaque(place_));
        malloc_trim(0);
    });
    EXPECT_TRUE(is_reported(outcome, "free", hex(place_)));
}

// A page that was given back reads as zeros: what is written there meanwhile is found when the page
// is used again.
class MisuseOfPagesGivenBack : public testing::Test {
  protected:
    static constexpr size_t kSize = 1024;
    std::vector<char *> objects_ = std::vector<char *>(4000);
    char *victim_ = nullptr;
    void SetUp() override {
        SKIP_UNDER_STAND_IN("libmheap's line");
        for (char *&object : objects_)
            object = static_cast<char *>(malloc(kSize));
        for (size_t i = 0; i < objects_.size(); i++)
            if (i % 16 != 0) // the page of every fourth one stays
                free(objects_[i]);
        malloc_trim(0);
        victim_ = objects_[2008];
    }
    void TearDown() override {
        for (size_t i = 0; i < objects_.size(); i += 16)
            free(objects_[i]);
    }
    void use_all_pages() {
        for (size_t i = 0; i < objects_.size(); i++)
            if (opaque(malloc(kSize)) == victim_)
                _exit(4);
    }
};

TEST_F(MisuseOfPagesGivenBack, AWriteAfterFreeIsFound) {
    Outcome outcome = run_in_child([&] {
        memset(opaque(victim_), 0x41, 8);
        use_all_pages();
    });
    EXPECT_TRUE(is_reported(outcome, "malloc", hex(victim_)));
}

// The second free cannot know: the mark went with the page.
TEST_F(MisuseOfPagesGivenBack, AnObjectFreedTwiceThatWasAllocatedOnceIsFound) {
    Outcome outcome = run_in_child([&] {
        free(objects_[2000]); // from now on there is a list
        free(opaque(victim_));
        require(opaque(malloc(kSize)) == victim_, "last in, first out");
        memset(opaque(victim_), 0x41, 8);
        use_all_pages();
    });
    EXPECT_TRUE(is_reported(outcome, "malloc", hex(victim_)));
}

TEST_F(MisuseOfPagesGivenBack, OtherwiseNothingIs) {
    Outcome outcome = run_in_child([&] {
        std::vector<char *> others(objects_.size());
        for (int round = 0; round < 3; round++) {
            for (char *&other : others)
                other = static_cast<char *>(memset(malloc(kSize), 0x41, kSize));
            for (size_t i = 0; i < others.size(); i++)
                free(others[(i * 7919) % others.size()]);
            malloc_trim(0);
        }
    });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// The rest of the 64 KiB that is too short for a block, where 1000-byte requests lie at multiples
// of 1024 and 63 blocks fit.
TEST_F(MisuseNeverAllocated, BehindTheLastBlockToo) {
    void *place = static_cast<char *>(place_) + 63 * kSize;
    Outcome outcome = run_in_child([&] {
        free(opaque(place));
        malloc_trim(0);
    });
    EXPECT_TRUE(is_reported(outcome, "free", hex(place)));
}

// By another thread it goes through the owner's inbox.
TEST_F(MisuseNeverAllocated, FreeByAnotherThreadIsNoticedOnTheWayHome) {
    Outcome outcome = run_in_child([&] {
        pthread_t thread;
        auto body = [](void *pointer) -> void * {
            free(opaque(pointer));
            return nullptr;
        };
        require(pthread_create(&thread, nullptr, body, place_) == 0, "the thread is there");
        pthread_join(thread, nullptr);
        require(pthread_create(&thread, nullptr, body, nullptr) == 0, "its heir is there");
        pthread_join(thread, nullptr);
        malloc_trim(0);
        malloc_trim(0); // the first one took the inbox to this thread's list
    });
    EXPECT_TRUE(is_reported(outcome, "free", hex(place_)));
}

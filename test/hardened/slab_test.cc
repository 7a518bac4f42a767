// SPDX-License-Identifier: MIT
// Small objects on the hardened library: each thing that it notices, or hinders, by itself.
#include "hardened_support.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>
#include <fstream>
#include <iterator>
#include <set>

using namespace hardened;

namespace {

const size_t kSizes[] = {0, 1, 7, 8, 13, 16, 24, 100, 129, 1000, 4000, 4096, 10001, 16376};

class Slab : public testing::TestWithParam<size_t> {
  protected:
    size_t size() const { return GetParam(); }
};
INSTANTIATE_TEST_SUITE_P(Sizes, Slab, testing::ValuesIn(kSizes));

class SlabNotEmpty : public Slab {};
INSTANTIATE_TEST_SUITE_P(Sizes, SlabNotEmpty, testing::ValuesIn(kSizes + 1, std::end(kSizes)));

} // namespace

TEST_P(Slab, UsableSizeIsWhatWasAskedFor) {
    void *object = malloc(size());
    EXPECT_EQ(malloc_usable_size(object), size());
    free(object);
}

// ---- Canaries -------------------------------------------------------------------------------

TEST_P(Slab, EachByteOfTheCanaryIsChecked) {
    for (size_t i = 0; i < 8; i++)
        for (unsigned char value : {0x00, 0xFF, 0x41}) {
            Outcome outcome = run_in_child([&] {
                auto *object = static_cast<unsigned char *>(opaque(malloc(size())));
                unsigned char before = object[size() + i];
                object[size() + i] = value;
                if (before == value) // by chance: then one more than that
                    object[size() + i]++;
                free(object);
            });
            EXPECT_TRUE(is_reported(outcome, "free", "written to past its end")) << i;
        }
}

TEST_P(Slab, CanaryIsCheckedByReallocAndDelete) {
    Outcome outcome = run_in_child([&] {
        auto *object = static_cast<char *>(opaque(malloc(size())));
        object[size()] ^= 1;
        opaque(realloc(object, size() + 1000));
    });
    EXPECT_TRUE(is_reported(outcome, "realloc", "written to past its end"));
    outcome = run_in_child([&] {
        auto *object = static_cast<char *>(opaque(::operator new(size())));
        object[size()] ^= 1;
        ::operator delete(object);
    });
    EXPECT_TRUE(is_reported(outcome, "operator delete", "written to past its end"));
}

TEST_P(Slab, CanaryOfANeighbourDoesNotPass) {
    Outcome outcome = run_in_child([&] {
        auto *one = static_cast<char *>(opaque(malloc(size())));
        auto *other = static_cast<char *>(opaque(malloc(size())));
        memcpy(one + size(), other + size(), 8);
        free(one);
    });
    EXPECT_TRUE(is_reported(outcome, "free", "written to past its end"));
}

// An object that is not the first of its slab, before which a guard may lie.
static char *object_behind_another(size_t size) {
    std::vector<char *> objects(200);
    for (char *&object : objects)
        object = static_cast<char *>(malloc(size));
    return *std::find_if(objects.begin(), objects.end(), [](char *object) {
        return reinterpret_cast<uintptr_t>(object) % (64 * KiB) != 0;
    });
}

TEST_P(Slab, WriteBeforeItIsFoundWhenItIsFreed) {
    for (ptrdiff_t i = 1; i <= 8; i++) {
        Outcome outcome = run_in_child([&] {
            char *object = object_behind_another(size());
            object[-i] ^= 1;
            free(object);
        });
        EXPECT_TRUE(is_reported(outcome, "free", "written to before its start")) << i;
    }
    Outcome outcome = run_in_child([&] {
        char *object = object_behind_another(size());
        object[-8] ^= 1;
        opaque(realloc(object, size() + 1));
    });
    EXPECT_TRUE(is_reported(outcome, "realloc", "written to before its start"));
}

// What lies before an object may be a slot that is free, or waits, or one with another alignment.
TEST_P(Slab, WhateverLiesBeforeItIsNoReasonForAReport) {
    Outcome outcome = run_in_child([&] {
        std::vector<void *> objects(2000);
        for (size_t i = 0; i < 20000; i++) {
            void *&object = objects[i * 7919 % objects.size()];
            object ? i % 3 ? free(object) : free(realloc(object, size() + 1)) : (void)0;
            object = i % 5 ? malloc(size()) : nullptr;
            if (i % 4 == 0) {
                constexpr std::align_val_t k64{64};
                ::operator delete(::operator new(size(), k64), k64);
            }
        }
    });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

TEST(Canary, FollowsTheObjectsSizeInRealloc) {
    for (size_t from : {100ul, 110ul})
        for (size_t to : {101ul, 109ul, 112ul}) {
            Outcome outcome = run_in_child([&] {
                auto *object = static_cast<char *>(realloc(opaque(malloc(from)), to));
                require(malloc_usable_size(object) == to, "the size follows, too");
                object[to] ^= 1;
                free(object);
            });
            EXPECT_TRUE(is_reported(outcome, "free", "written to past its end")) << from << to;
        }
}

TEST(Canary, IsFoundByValidation) {
    Outcome outcome =
        run_program({{"/proc/self/exe", "--gtest_filter=Canary.DISABLED_ForValidation",
                      "--gtest_also_run_disabled_tests"},
                     {"MHEAP_CONF=validate:1"},
                     {}});
    EXPECT_TRUE(is_reported(outcome, "validate", "S3: an object was written to past its end"));
}
TEST(Canary, DISABLED_ForValidation) {
    auto *object = static_cast<char *>(opaque(malloc(50)));
    object[50] ^= 1;
    free(malloc(10));
}

// ---- After free -----------------------------------------------------------------------------

TEST_P(SlabNotEmpty, IsClearedWhenFreed) {
    auto *object = static_cast<unsigned char *>(opaque(malloc(size())));
    memset(object, 0x5A, size());
    free(object);
    EXPECT_TRUE(is_zero(opaque(object), size()));
}

TEST_P(SlabNotEmpty, WriteAfterFreeToAnyByteIsFoundWhenReused) {
    for (size_t at : {size_t{0}, size() / 2, size() - 1}) {
        Outcome outcome = run_in_child([&] {
            auto *object = static_cast<char *>(opaque(malloc(size())));
            free(object);
            opaque(object)[at] = 1;
            for (int i = 0; i < 20000; i++) // till it has left the quarantine
                free(opaque(malloc(size())));
            for (int i = 0; i < 2000; i++) // and other free places are used up
                opaque(malloc(size()));
        });
        // By free: of the next object, if the write was to the last bytes before that.
        EXPECT_TRUE(is_reported(outcome, "(malloc|free)", "written to")) << at;
    }
}

TEST_P(SlabNotEmpty, WriteAfterFreeIsFoundWhileItWaits) {
    Outcome outcome = run_in_child([&] {
        auto *object = static_cast<char *>(opaque(malloc(size())));
        free(object);
        opaque(object)[0] = 1;
        for (int i = 0; i < 600; i++) // nothing is freed: it stays in the quarantine
            opaque(malloc(size()));
    });
    EXPECT_TRUE(is_reported(outcome, "malloc", "written to"));
}

// The pages of a slab without an object go back; what was written there must not go unseen with
// them.
TEST_P(SlabNotEmpty, WriteAfterFreeIsFoundWhenPagesGoBack) {
    Outcome outcome = run_in_child([&] {
        std::vector<char *> objects(256 * KiB / size() + 1500);
        for (char *&object : objects)
            object = static_cast<char *>(opaque(malloc(size())));
        for (char *object : objects)
            free(object);
        for (char *object : objects)
            opaque(object)[size() - 1] = 1;
        malloc_trim(0);
    });
    EXPECT_TRUE(is_reported(outcome, "malloc_trim", "written to"));
}

TEST_P(SlabNotEmpty, MemoryComesZeroed) {
    for (int i = 0; i < 3000; i++) {
        void *object = malloc(size());
        ASSERT_TRUE(is_zero(object, size()));
        memset(object, 0xA5, size());
        free(object);
    }
}

TEST(Zeroed, WhatReallocAdds) {
    for (size_t from = 1; from < 40000; from = from * 5 / 4 + 1)
        for (size_t to : {from + 1, from + 7, from * 9 / 8, from * 2}) {
            void *object = malloc(from);
            memset(object, 0xA5, from);
            auto *resized = static_cast<char *>(realloc(object, to));
            ASSERT_TRUE(is_zero(resized + from, to - from)) << from << " to " << to;
            free(resized);
        }
}

// ---- Reuse ----------------------------------------------------------------------------------

TEST_P(Slab, FreedMemoryIsNotReusedSoon) {
    void *object = malloc(size());
    auto address = reinterpret_cast<uintptr_t>(object);
    free(object);
    for (int i = 0; i < 8; i++) { // the shortest queue there is
        void *next = malloc(size());
        EXPECT_NE(reinterpret_cast<uintptr_t>(next), address);
        free(next);
    }
}

// How many frees pass till a place is used again is not the same each time.
TEST(Reuse, ComesAfterARandomTime) {
    std::set<int> delays;
    for (int round = 0; round < 20; round++) {
        void *object = malloc(200);
        auto address = reinterpret_cast<uintptr_t>(object);
        free(object);
        int delay = 0;
        for (uintptr_t next = 0; next != address; delay++) {
            object = malloc(200);
            next = reinterpret_cast<uintptr_t>(object);
            free(object);
        }
        delays.insert(delay);
    }
    EXPECT_GT(delays.size(), 10u);
}

TEST(Reuse, DoubleFreeIsCaughtHoweverLate) {
    Outcome outcome = run_in_child([] {
        void *object = malloc(500);
        free(object);
        for (int i = 0; i < 300; i++)
            free(malloc(500));
        free(opaque(object));
    });
    EXPECT_TRUE(is_reported(outcome, "free", "already free"));
}

// ---- Placing --------------------------------------------------------------------------------

TEST(Placing, NeighboursAreNotAllocatedInOrder) {
    const size_t kObjects = 200;
    std::vector<uintptr_t> addresses(kObjects);
    for (uintptr_t &address : addresses)
        address = reinterpret_cast<uintptr_t>(malloc(40));
    size_t n_in_order = 0;
    for (size_t i = 1; i < kObjects; i++)
        n_in_order += addresses[i] - addresses[i - 1] == 48;
    EXPECT_LT(n_in_order, kObjects / 4);
    for (uintptr_t address : addresses)
        free(reinterpret_cast<void *>(address));
}

namespace {

// The address, in its page, of the tenth object in a fresh process.
std::string place_in_fresh_process(size_t size) {
    return run_program({{"/proc/self/exe", "--gtest_filter=Placing.DISABLED_Print",
                         "--gtest_also_run_disabled_tests"},
                        {"PLACING_SIZE=" + std::to_string(size)},
                        {}})
        .err;
}

} // namespace

TEST(Placing, DISABLED_Print) {
    size_t size = strtoul(getenv("PLACING_SIZE"), nullptr, 10);
    void *object = nullptr;
    for (int i = 0; i < 10; i++)
        object = malloc(size);
    dprintf(2, "%zu", reinterpret_cast<uintptr_t>(object) % (64 * KiB));
}

TEST(Placing, DiffersFromProcessToProcess) {
    for (size_t size : {40ul, 1500ul, 70000ul}) {
        std::set<std::string> places;
        for (int i = 0; i < 8; i++)
            places.insert(place_in_fresh_process(size));
        EXPECT_GT(places.size(), 1u) << size;
    }
}

// Nothing is allocated between the forks: all children begin with the same state of the heap.
TEST(Placing, ForkedChildGoesItsOwnWay) {
    uintptr_t places[6][4];
    for (auto &place : places) {
        int ends[2];
        ASSERT_EQ(pipe(ends), 0);
        pid_t child = fork();
        if (child == 0) {
            for (uintptr_t &address : place)
                address = reinterpret_cast<uintptr_t>(malloc(90));
            _exit(write(ends[1], place, sizeof place) != sizeof place);
        }
        ASSERT_EQ(read(ends[0], place, sizeof place), ssize_t(sizeof place));
        close(ends[0]);
        close(ends[1]);
        waitpid(child, nullptr, 0);
    }
    bool all_alike = true;
    for (auto &place : places)
        all_alike &= memcmp(place, places[0], sizeof place) == 0;
    EXPECT_FALSE(all_alike);
}

// ---- Guards, metadata -----------------------------------------------------------------------

// A write that runs on past an object's end meets a guard before it has gone two slabs far; so it
// reaches no metadata, which is in no slab.
TEST(Guard, EndsALinearOverflow) {
    for (size_t size : {24ul, 1000ul, 9000ul})
        for (int direction : {1, -1}) {
            Outcome outcome = run_in_child([&] {
                auto *object = static_cast<volatile char *>(malloc(size));
                for (ptrdiff_t i = 0; i < ptrdiff_t(128 * KiB); i++)
                    object[i * direction] = 'x';
            });
            EXPECT_EQ(outcome.signal, SIGSEGV) << size << outcome;
        }
}

TEST(Guard, MallocWorksOnAfterItsSlabWasOverwritten) {
    Outcome outcome = run_in_child([] {
        auto *object = static_cast<char *>(opaque(malloc(24)));
        auto slab = reinterpret_cast<uintptr_t>(object) & ~uintptr_t{65535};
        memset(reinterpret_cast<void *>(slab), 'x', 65536); // all objects of its size
        for (size_t size : {100ul, 5000ul, 100000ul})       // none of the others is affected
            for (int i = 0; i < 1000; i++)
                free(opaque(malloc(size)));
        free(object);
    });
    EXPECT_TRUE(is_reported(outcome, "free", "written to past its end"));
}

// ---- Places where no object is ---------------------------------------------------------------

// Each size has slabs of its own, and nobody else has objects of this one: so all of the slab but
// the object itself is the place of none, the slots that were never used included.
TEST(NoObject, InTheRestOfItsSlab) {
    constexpr size_t kSize = 9000, kSlot = 9216, kSlab = 64 * KiB;
    void *object = opaque(malloc(kSize));
    auto slab = reinterpret_cast<uintptr_t>(object) & ~(kSlab - 1);
    ASSERT_EQ((reinterpret_cast<uintptr_t>(object) - slab) % kSlot, 0u);
    for (size_t offset = 0; offset < kSlab; offset += kSlot)
        for (size_t inside : {size_t{0}, size_t{1}, size_t{16}, kSize, kSlot - 16}) {
            void *pointer = reinterpret_cast<void *>(slab + offset + inside);
            if (pointer == object || offset + inside >= kSlab)
                continue;
            EXPECT_TRUE(is_reported(run_in_child([&] { free(opaque(pointer)); }), "free", ""));
            EXPECT_TRUE(is_reported(run_in_child([&] { opaque(realloc(opaque(pointer), 10)); }),
                                    "realloc", ""));
            EXPECT_TRUE(is_reported(run_in_child([&] { malloc_usable_size(opaque(pointer)); }),
                                    "malloc_usable_size", ""));
        }
    free(object);
}

// ---- Freed as another thing than it is ------------------------------------------------------

TEST_P(Slab, SizedFreeComparesTheSize) {
    auto *free_sized = function_named<void(void *, size_t)>("free_sized");
    for (size_t wrong : {size() + 1, size() - 1, size_t{77777}}) {
        Outcome outcome = run_in_child([&] { free_sized(malloc(size()), wrong); });
        EXPECT_TRUE(is_reported(outcome, "free_sized", "wrong size"));
        outcome = run_in_child([&] { ::operator delete(::operator new(size()), wrong); });
        EXPECT_TRUE(is_reported(outcome, "operator delete", "wrong size"));
        outcome = run_in_child([&] { ::operator delete[](::operator new[](size()), wrong); });
        EXPECT_TRUE(is_reported(outcome, "operator delete", "wrong size"));
    }
    free_sized(malloc(size()), size());
    free_sized(realloc(malloc(5), size() + 1), size() + 1);
    ::operator delete(::operator new(size()), size());
}

TEST_P(Slab, AlignedDeleteComparesTheAlignment) {
    constexpr std::align_val_t k64{64}, k128{128};
    std::vector<std::function<void()>> wrong = {
        [&] { ::operator delete(::operator new(size()), k64); },
        [&] { ::operator delete(::operator new(size(), k64)); },
        [&] { ::operator delete(::operator new(size(), k64), k128); },
        [&] { ::operator delete(::operator new(size(), k64), size(), k128); },
        [&] { ::operator delete[](::operator new[](size(), k64)); },
    };
    for (auto &call : wrong)
        EXPECT_TRUE(is_reported(run_in_child(call), "operator delete", "alignment"));
    EXPECT_TRUE(
        is_reported(run_in_child([&] { free(::operator new(size(), k64)); }), "free", "alignment"));
    Outcome outcome =
        run_in_child([&] { ::operator delete(::operator new(size(), k64), size() + 1, k64); });
    EXPECT_TRUE(is_reported(outcome, "operator delete", "wrong size"));
    ::operator delete(::operator new(size(), k64), k64);
    ::operator delete(::operator new(size(), k64), size(), k64);
    free(aligned_alloc(64, size())); // C has no other way
}

TEST(FreeAlignedSized, ComparesBoth) {
    auto *call = function_named<void(void *, size_t, size_t)>("free_aligned_sized");
    Outcome outcome = run_in_child([&] { call(aligned_alloc(64, 640), 64, 641); });
    EXPECT_TRUE(is_reported(outcome, "free_aligned_sized", "wrong size"));
    outcome = run_in_child([&] {
        void *object = malloc(10000);
        auto address = reinterpret_cast<uintptr_t>(object);
        call(object, 2 * (address & -address), 10000); // the least alignment that it does not have
    });
    EXPECT_TRUE(is_reported(outcome, "free_aligned_sized", "wrong alignment"));
    call(aligned_alloc(64, 640), 64, 640);
}

// ---- Giving back ----------------------------------------------------------------------------

TEST(GivingBack, EmptySlabsGoBack) {
    std::vector<void *> objects(100000);
    malloc_trim(0);
    size_t before = resident_bytes();
    for (void *&object : objects)
        object = memset(malloc(600), 1, 600);
    EXPECT_GT(resident_bytes(), before + 50 * MiB);
    for (void *object : objects)
        free(object);
    EXPECT_LT(resident_bytes(), before + 8 * MiB); // without being asked
    malloc_trim(0);
    EXPECT_LT(resident_bytes(), before + 5 * MiB); // the table of objects, the metadata
}

// Addresses that only small objects had serve a large one, when there are no others.  What is left
// of pointers to them means nothing any more, wherever the large one lies.
TEST(GivingBack, RegionsServeLargeObjectsWhenMemoryHasRunOut) {
    static void *objects[1000000]; // tests before, in one process, may have left gigabytes
    auto run_out_and_free = [] {
        unsigned long pages = 0;
        std::ifstream("/proc/self/statm") >> pages;
        rlim_t bytes = pages * 4096 + 256 * MiB;
        rlimit limit = {bytes, bytes};
        require(setrlimit(RLIMIT_AS, &limit) == 0, "RLIMIT_AS set");
        size_t n = 0;
        while (n < std::size(objects) && (objects[n] = malloc(10000)))
            n++;
        require(n >= 5000 && n < std::size(objects), "memory runs out");
        for (size_t i = 0; i < n; i++)
            free(objects[i]);
        char *large = static_cast<char *>(malloc(150 * MiB));
        require(large, "all is free again: 150 MiB can be had");
        memset(large, 1, 150 * MiB);
        return n;
    };
    Outcome outcome = run_in_child([&] {
        run_out_and_free();
        for (size_t bytes = 1; bytes < 100000; bytes *= 3)
            require(malloc(bytes) != nullptr, "small ones, beside it");
    });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    outcome = run_in_child([&] { free(opaque(objects[run_out_and_free() / 2])); });
    EXPECT_TRUE(is_reported(outcome, "free", ""));
}

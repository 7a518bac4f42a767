// SPDX-License-Identifier: MIT
// Large objects on the hardened library: guard pages, quarantine, what is unused around them.
#include "hardened_support.h"

#include <malloc.h>
#include <stdlib.h>

#include <algorithm>
#include <cstring>
#include <set>

using namespace hardened;

namespace {

const size_t kTight[] = {16377, 16384, 20000, 20001, 65536, 100000}; // end where their pages end
const size_t kLoose[] = {128 * KiB, 128 * KiB + 1, 600 * KiB + 100, 3 * MiB + 5, 40 * MiB};

std::vector<size_t> all_sizes() {
    std::vector<size_t> sizes(std::begin(kTight), std::end(kTight));
    sizes.insert(sizes.end(), std::begin(kLoose), std::end(kLoose));
    return sizes;
}

class Large : public testing::TestWithParam<size_t> {
  protected:
    size_t size() const { return GetParam(); }
    volatile char *allocate() const { return static_cast<volatile char *>(malloc(size())); }
};
INSTANTIATE_TEST_SUITE_P(Sizes, Large, testing::ValuesIn(all_sizes()));

class LargeTight : public Large {};
INSTANTIATE_TEST_SUITE_P(Sizes, LargeTight, testing::ValuesIn(kTight));

bool faults(const std::function<void()> &body) {
    return run_in_child(body).signal == SIGSEGV;
}

size_t up_to(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

} // namespace

// ---- Guards ---------------------------------------------------------------------------------

TEST_P(Large, WriteBehindItsPagesFaults) {
    volatile char *object = allocate();
    auto end = reinterpret_cast<uintptr_t>(object) + size();
    auto *guard = reinterpret_cast<volatile char *>(up_to(end, 4096));
    EXPECT_TRUE(faults([&] { guard[0] = 1; }));
    EXPECT_TRUE(faults([&] { guard[4095] = 1; }));
    EXPECT_TRUE(faults([&] { opaque(guard)[0]; }));
    free(const_cast<char *>(object));
}

TEST_P(Large, WriteBeforeItsPagesFaults) {
    volatile char *object = allocate();
    auto first = reinterpret_cast<uintptr_t>(object) / 4096 * 4096;
    if (size() < 128 * KiB) // the pages of an object that ends with them begin somewhat earlier
        first = up_to(reinterpret_cast<uintptr_t>(object) + size(), 4096) - up_to(size(), 4096);
    EXPECT_TRUE(faults([&] { reinterpret_cast<volatile char *>(first)[-1] = 1; }));
    free(const_cast<char *>(object));
}

TEST_P(LargeTight, WriteSixteenBytesBehindItFaults) {
    volatile char *object = allocate();
    EXPECT_TRUE(faults([&] { object[up_to(size(), 16)] = 1; }));
    free(const_cast<char *>(object));
}

TEST_P(Large, IsGuardedAfterRealloc) {
    for (size_t to : {size() + 100000, size() * 3, size() / 2 + 16384}) {
        auto *object = static_cast<volatile char *>(realloc(malloc(size()), to));
        auto end = reinterpret_cast<uintptr_t>(object) + to;
        auto *guard = reinterpret_cast<volatile char *>(up_to(end, 4096));
        EXPECT_TRUE(faults([&] { guard[0] = 1; })) << to;
        free(const_cast<char *>(object));
    }
}

TEST_P(Large, IsGuardedWhenAligned) {
    for (size_t align : {64ul, 4096ul, 16384ul, 65536ul, 1ul << 21}) {
        auto *object = static_cast<volatile char *>(memalign(align, size()));
        ASSERT_TRUE(is_aligned(const_cast<char *>(object), align));
        ASSERT_EQ(malloc_usable_size(const_cast<char *>(object)), size());
        auto end = reinterpret_cast<uintptr_t>(object) + size();
        auto *guard = reinterpret_cast<volatile char *>(up_to(end, 4096));
        EXPECT_TRUE(faults([&] { guard[0] = 1; })) << align;
        free(const_cast<char *>(object));
    }
}

// ---- Around it ------------------------------------------------------------------------------

TEST_P(Large, TheRestOfItsLastPageIsChecked) {
    volatile char *sample = allocate();
    auto end = reinterpret_cast<uintptr_t>(sample) + size();
    size_t slack = up_to(end, 4096) - end;
    free(const_cast<char *>(sample));
    for (size_t i : {size_t{0}, slack / 2, slack - 1}) {
        if (i >= slack)
            continue;
        Outcome outcome = run_in_child([&] {
            volatile char *object = allocate();
            object[size() + i] ^= 1;
            free(const_cast<char *>(object));
        });
        EXPECT_TRUE(is_reported(outcome, "free", "written to past its end")) << i;
    }
}

TEST_P(LargeTight, WhatIsUnusedBeforeItIsChecked) {
    size_t before = up_to(size(), 4096) - up_to(size(), 16);
    for (size_t i : {size_t{1}, before / 2, before}) {
        if (i == 0 || i > before)
            continue;
        Outcome outcome = run_in_child([&] {
            volatile char *object = allocate();
            object[-ptrdiff_t(i)] = 1;
            free(const_cast<char *>(object));
        });
        EXPECT_TRUE(is_reported(outcome, "free", "written to before its start")) << i;
    }
}

TEST_P(Large, UsableSizeIsWhatWasAskedFor) {
    void *object = malloc(size());
    EXPECT_EQ(malloc_usable_size(object), size());
    object = realloc(object, size() + 1);
    EXPECT_EQ(malloc_usable_size(object), size() + 1);
    free(object);
}

// ---- After free -----------------------------------------------------------------------------

TEST_P(Large, UseAfterFreeFaults) {
    volatile char *object = allocate();
    object[0] = object[size() - 1] = 1;
    free(const_cast<char *>(object));
    EXPECT_TRUE(faults([&] { opaque(object)[0] = 1; }));
    EXPECT_TRUE(faults([&] { opaque(object)[size() - 1] = 1; }) || size() > 16 * MiB);
}

TEST(LargeReuse, FaultsAlsoWhenOthersWereAllocatedSince) {
    auto *object = static_cast<volatile char *>(malloc(70000));
    free(const_cast<char *>(object));
    for (int i = 0; i < 30; i++)
        free(malloc(70000));
    EXPECT_TRUE(faults([&] { opaque(object)[0] = 1; }));
}

// Long enough for what was freed to leave the quarantine: pages are kept, or guards only, and both
// are used again.
TEST_P(LargeTight, APlaceThatIsUsedAgainIsAsGoodAsNew) {
    std::set<char *> places;
    for (bool uses_all : {true, false}) {
        std::vector<char *> live(100, nullptr);
        for (int i = 0; i < 1000; i++) {
            char *&object = live[i % live.size()];
            free(object);
            object = static_cast<char *>(malloc(size()));
            ASSERT_TRUE(is_zero(object, size()));
            memset(object, 0xA5, uses_all ? size() : 1);
            places.insert(object);
        }
        volatile char *last = live.back();
        EXPECT_TRUE(faults([&] { last[up_to(size(), 16)] = 1; }));
        EXPECT_TRUE(
            faults([&] { last[ptrdiff_t(up_to(size(), 16) - up_to(size(), 4096)) - 1] = 1; }));
        Outcome outcome = run_in_child([&] {
            free(const_cast<char *>(last));
            free(const_cast<char *>(last));
        });
        EXPECT_TRUE(is_reported(outcome, "free", "already free")) << outcome;
        EXPECT_TRUE(faults([&] {
            free(const_cast<char *>(last));
            last[0] = 1;
        }));
        for (char *object : live)
            free(object);
    }
    EXPECT_LT(places.size(), 1500u) << "some were used again";
}

// A place before which much was left free for the sake of alignment is not used for other objects,
// whose pages may move.
TEST(LargeReuse, NotOfPlacesAlignedToMoreThanAPage) {
    for (int i = 0; i < 300; i++) {
        free(memset(memalign(64 * KiB, 128 * KiB), 1, 128 * KiB));
        void *object = realloc(malloc(128 * KiB), 129 * KiB);
        ASSERT_TRUE(is_zero(object, 129 * KiB));
        memset(object, 1, 129 * KiB);
        object = realloc(object, 1 * MiB);
        memset(object, 1, 1 * MiB);
        free(object);
        free(memset(malloc(3 * 64 * KiB), 1, 3 * 64 * KiB));
    }
}

TEST_P(Large, FreedPagesGoBackAtOnce) {
    auto use = [this](size_t n) {
        std::vector<void *> objects;
        for (size_t i = 0; i < n; i++) {
            objects.push_back(malloc(size()));
            memset(objects.back(), 1, size());
        }
        for (void *object : objects)
            free(object);
    };
    use(8); // from here on the code that it takes is resident
    size_t before = resident_bytes();
    use(8 + 8 * MiB / size());
    EXPECT_LE(resident_bytes(), before + 512 * KiB);
}

TEST_P(Large, MemoryComesZeroed) {
    for (int i = 0; i < 100 / int(1 + size() / MiB); i++) {
        void *object = malloc(size());
        ASSERT_TRUE(is_zero(object, size()));
        memset(object, 0xA5, size());
        free(object);
    }
}

TEST_P(Large, WhatReallocAddsIsZero) {
    for (size_t to : {size() + 1, size() + 5000, size() * 2, size() * 5}) {
        void *object = malloc(size());
        memset(object, 0xA5, size());
        auto *resized = static_cast<char *>(realloc(object, to));
        ASSERT_TRUE(is_zero(resized + size(), to - size())) << to;
        memset(resized, 0xA5, to);
        resized = static_cast<char *>(realloc(resized, size())); // and what was cut off
        resized = static_cast<char *>(realloc(resized, to));
        ASSERT_TRUE(is_zero(resized + size(), to - size())) << to;
        free(resized);
    }
}

// ---- Freed as another thing than it is ------------------------------------------------------

TEST_P(Large, SizeAndAlignmentAreCompared) {
    constexpr std::align_val_t k64{64}, k128{128};
    Outcome outcome = run_in_child([&] { ::operator delete(::operator new(size()), size() + 1); });
    EXPECT_TRUE(is_reported(outcome, "operator delete", "wrong size"));
    outcome = run_in_child([&] { ::operator delete(::operator new(size(), k64), k128); });
    EXPECT_TRUE(is_reported(outcome, "operator delete", "alignment"));
    outcome = run_in_child([&] { ::operator delete(::operator new(size(), k64)); });
    EXPECT_TRUE(is_reported(outcome, "operator delete", "alignment"));
    ::operator delete(::operator new(size(), k64), size(), k64);
}

// ---- Many -----------------------------------------------------------------------------------

// More than there can be guards for: the rest is checked all the same.
TEST(ManyLarge, WorkWithoutGuardsToo) {
    std::vector<char *> objects(20000);
    for (char *&object : objects)
        object = static_cast<char *>(memset(malloc(20003), 1, 100));
    Outcome outcome = run_in_child([&] {
        objects.back()[20003] ^= 1;
        free(objects.back());
    });
    EXPECT_TRUE(is_reported(outcome, "free", "written to past its end"));
    for (char *object : objects)
        free(object);
}

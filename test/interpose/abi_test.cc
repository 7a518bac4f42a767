// SPDX-License-Identifier: MIT
// The rules of POSIX, C23 and glibc that every function of the malloc family keeps: what is there,
// what zero sizes and impossible sizes give, and who may touch errno.
#include "support.h"

#include <malloc.h>
#include <stdlib.h>

#include <algorithm>
#include <cerrno>
#include <set>
#include <thread>

using namespace interpose;

namespace {

constexpr int kErrno = 4711; // no call's own

const size_t kTooLarge[] = {static_cast<size_t>(PTRDIFF_MAX),
                            static_cast<size_t>(PTRDIFF_MAX) + 1,
                            SIZE_MAX - 64 * KiB,
                            SIZE_MAX - 15,
                            SIZE_MAX - 1,
                            SIZE_MAX};

// True if the call failed as it has to: NULL with ENOMEM.
template <class Call> testing::AssertionResult fails_with_enomem(Call call) {
    errno = kErrno;
    void *result = call();
    if (result)
        return testing::AssertionFailure() << "returned " << result;
    if (errno != ENOMEM)
        return testing::AssertionFailure() << "errno is " << errno << ", not ENOMEM";
    return testing::AssertionSuccess();
}

} // namespace

// ---- What is there --------------------------------------------------------------------------

class Exports : public testing::TestWithParam<const char *> {};

TEST_P(Exports, IsOurs) {
    SKIP_UNDER_STAND_IN("exporting it");
    EXPECT_EQ(library_of(GetParam()).rfind("libmheap.so", 0), 0u)
        << GetParam() << " is found in \"" << library_of(GetParam()) << "\"";
}

INSTANTIATE_TEST_SUITE_P(All, Exports,
                         testing::Values("malloc", "calloc", "realloc", "reallocarray", "free",
                                         "free_sized", "free_aligned_sized", "aligned_alloc",
                                         "memalign", "posix_memalign", "valloc", "pvalloc",
                                         "malloc_usable_size", "malloc_trim", "malloc_stats",
                                         "malloc_info", "mallinfo", "mallinfo2", "mallopt", "cfree",
                                         "dlopen"),
                         [](const auto &info) { return std::string(info.param); });

// ---- Size zero ------------------------------------------------------------------------------

TEST(ZeroSize, EveryAllocationIsUniqueAndNotNull) {
    std::set<void *> seen;
    for (int i = 0; i < 100; i++) {
        void *objects[] = {malloc(opaque(size_t{0})),
                           calloc(opaque(size_t{0}), 8),
                           calloc(8, opaque(size_t{0})),
                           realloc(nullptr, opaque(size_t{0})),
                           reallocarray(nullptr, opaque(size_t{0}), 8),
                           aligned_alloc(64, opaque(size_t{0})),
                           memalign(64, opaque(size_t{0})),
                           valloc(opaque(size_t{0})),
                           pvalloc(opaque(size_t{0}))};
        for (void *object : objects) {
            EXPECT_NE(object, nullptr);
            EXPECT_TRUE(seen.insert(object).second) << object << " was given out twice";
        }
        void *object = nullptr;
        EXPECT_EQ(posix_memalign(&object, 64, 0), 0);
        EXPECT_NE(object, nullptr);
        EXPECT_TRUE(seen.insert(object).second);
    }
    for (void *object : seen)
        free(object);
}

TEST(ZeroSize, ReallocFreesAndReturnsNull) {
    for (size_t size : {0ul, 1ul, 24ul, 5000ul, 300 * KiB, 3 * MiB, 80 * MiB}) {
        void *object = malloc(size);
        ASSERT_NE(object, nullptr);
        errno = kErrno;
        EXPECT_EQ(realloc(object, opaque(size_t{0})), nullptr) << size;
        EXPECT_EQ(errno, kErrno) << "no error happened";
    }
}

TEST(ZeroSize, ReallocReallyFrees) {
    size_t before = 0;
    for (int round = 0; round < 2000; round++) {
        void *object = malloc(MiB);
        ASSERT_NE(object, nullptr);
        fill_pattern(object, MiB, round);
        EXPECT_EQ(realloc(object, opaque(size_t{0})), nullptr);
        if (round == 20)
            before = resident_bytes();
    }
    EXPECT_LT(resident_bytes(), before + 64 * MiB);
}

TEST(ZeroSize, ReallocarrayFreesAndReturnsNull) {
    EXPECT_EQ(reallocarray(malloc(24), opaque(size_t{0}), 8), nullptr);
    EXPECT_EQ(reallocarray(malloc(24), 8, opaque(size_t{0})), nullptr);
}

TEST(ZeroSize, FreeAndUsableSizeTakeNull) {
    free(nullptr);
    EXPECT_EQ(malloc_usable_size(nullptr), 0u);
    EXPECT_EQ(realloc(nullptr, opaque(SIZE_MAX)), nullptr);
}

// ---- Sizes that cannot be -------------------------------------------------------------------

TEST(TooLarge, EveryFunctionFailsWithEnomem) {
    for (size_t size : kTooLarge) {
        SCOPED_TRACE(size);
        size = opaque(size);
        EXPECT_TRUE(fails_with_enomem([&] { return malloc(size); }));
        EXPECT_TRUE(fails_with_enomem([&] { return calloc(1, size); }));
        EXPECT_TRUE(fails_with_enomem([&] { return calloc(size, 1); }));
        EXPECT_TRUE(fails_with_enomem([&] { return realloc(nullptr, size); }));
        EXPECT_TRUE(fails_with_enomem([&] { return reallocarray(nullptr, 1, size); }));
        for (size_t alignment : {8ul, 16ul, 64ul, 4096ul, MiB, GiB}) {
            EXPECT_TRUE(fails_with_enomem([&] { return aligned_alloc(alignment, size); }));
            EXPECT_TRUE(fails_with_enomem([&] { return memalign(alignment, size); }));
        }
        EXPECT_TRUE(fails_with_enomem([&] { return valloc(size); }));
        EXPECT_TRUE(fails_with_enomem([&] { return pvalloc(size); }));
    }
}

TEST(TooLarge, PosixMemalignReturnsEnomemAndLeavesThePointer) {
    for (size_t size : kTooLarge)
        for (size_t alignment : {8ul, 16ul, 64ul, 4096ul, MiB, GiB}) {
            void *untouched = &errno, *object = untouched;
            EXPECT_EQ(posix_memalign(&object, alignment, opaque(size)), ENOMEM);
            EXPECT_EQ(object, untouched) << alignment << " " << size;
        }
}

TEST(TooLarge, FailedReallocLeavesTheObject) {
    for (size_t size : {1ul, 24ul, 5000ul, 300 * KiB, 3 * MiB}) {
        void *object = malloc(size);
        ASSERT_NE(object, nullptr);
        fill_pattern(object, size, size);
        for (size_t wanted : kTooLarge) {
            EXPECT_TRUE(fails_with_enomem([&] { return realloc(object, opaque(wanted)); }));
            EXPECT_TRUE(has_pattern(object, size, size));
        }
        EXPECT_TRUE(fails_with_enomem([&] { return reallocarray(object, SIZE_MAX / 4, 8); }));
        EXPECT_TRUE(has_pattern(object, size, size));
        free(object);
    }
}

// The largest sizes that are legal but that no address space holds.
TEST(TooLarge, MoreThanTheAddressSpaceFailsWithEnomem) {
    for (int bits = 48; bits < 63; bits++) {
        size_t size = opaque(size_t{1} << bits);
        EXPECT_TRUE(fails_with_enomem([&] { return malloc(size); })) << bits;
        EXPECT_TRUE(fails_with_enomem([&] { return calloc(size / 16, 16); })) << bits;
        EXPECT_TRUE(fails_with_enomem([&] { return memalign(4096, size); })) << bits;
        void *object = malloc(100);
        EXPECT_TRUE(fails_with_enomem([&] { return realloc(object, size); })) << bits;
        free(object);
    }
}

TEST(Overflow, CallocAndReallocarrayFailWithEnomem) {
    const size_t kHalf = size_t{1} << 32;
    const std::pair<size_t, size_t> products[] = {
        {kHalf, kHalf},          {kHalf + 1, kHalf},      {SIZE_MAX, 2},
        {2, SIZE_MAX},           {SIZE_MAX, SIZE_MAX},    {SIZE_MAX / 2 + 1, 2},
        {SIZE_MAX / 16 + 2, 16}, {16, SIZE_MAX / 16 + 2}, {size_t{1} << 63, 2},
        {SIZE_MAX / 3 + 1, 3},   {3, SIZE_MAX / 3 + 1},   {kHalf * 2, kHalf / 2 + 1}};
    void *object = malloc(64);
    fill_pattern(object, 64, 1);
    for (const auto &product : products) {
        size_t count = product.first, size = product.second;
        SCOPED_TRACE(testing::Message() << count << " * " << size);
        EXPECT_TRUE(fails_with_enomem([&] { return calloc(opaque(count), size); }));
        EXPECT_TRUE(fails_with_enomem([&] { return reallocarray(nullptr, opaque(count), size); }));
        EXPECT_TRUE(fails_with_enomem([&] { return reallocarray(object, opaque(count), size); }));
    }
    EXPECT_TRUE(has_pattern(object, 64, 1));
    free(object);
}

TEST(Overflow, ProductsJustBelowAreServed) {
    void *object = calloc(1 << 10, 1 << 10);
    ASSERT_NE(object, nullptr);
    EXPECT_TRUE(is_zero(object, MiB));
    object = reallocarray(object, 3 << 10, 1 << 10);
    ASSERT_NE(object, nullptr);
    EXPECT_GE(malloc_usable_size(object), 3 * MiB);
    free(object);
}

// ---- errno ----------------------------------------------------------------------------------

TEST(Errno, SuccessfulCallsDoNotTouchIt) {
    for (size_t size : edge_sizes(4 * MiB)) {
        void *aligned = nullptr;
        errno = kErrno;
        void *objects[] = {malloc(size), calloc(1, size), memalign(256, size),
                           realloc(nullptr, size)};
        EXPECT_EQ(posix_memalign(&aligned, 128, size), 0);
        objects[0] = realloc(objects[0], size + 100);
        EXPECT_GE(malloc_usable_size(objects[0]), size + 100);
        for (void *object : objects) {
            EXPECT_NE(object, nullptr);
            free(object);
        }
        free(aligned);
        ASSERT_EQ(errno, kErrno) << "at size " << size;
    }
}

TEST(Errno, FreeKeepsItForEveryKindOfObject) {
    std::vector<void *> objects;
    for (size_t size : edge_sizes(MiB))
        objects.push_back(malloc(size));
    for (size_t size : {5 * MiB, 60 * MiB, 64 * MiB, 65 * MiB, 300 * MiB, 2 * GiB})
        objects.push_back(malloc(size));
    objects.push_back(memalign(GiB, 5000));
    for (void *object : objects) {
        ASSERT_NE(object, nullptr);
        errno = kErrno;
        free(object);
        ASSERT_EQ(errno, kErrno);
    }
}

// ---- The less known of the family -----------------------------------------------------------

TEST(SizedFree, TakesWhatTheAllocationSaid) {
    SKIP_UNDER_STAND_IN("free_sized, free_aligned_sized");
    auto *free_sized = function_named<void(void *, size_t)>("free_sized");
    auto *free_aligned_sized = function_named<void(void *, size_t, size_t)>("free_aligned_sized");
    ASSERT_NE(free_sized, nullptr);
    ASSERT_NE(free_aligned_sized, nullptr);
    free_sized(nullptr, 0);
    free_aligned_sized(nullptr, 16, 0);
    for (size_t size : edge_sizes(MiB)) {
        errno = kErrno;
        free_sized(malloc(size), size);
        free_sized(calloc(1, size), size);
        free_aligned_sized(aligned_alloc(128, size), 128, size);
        ASSERT_EQ(errno, kErrno);
    }
}

TEST(Cfree, Frees) {
    SKIP_UNDER_STAND_IN("cfree");
    auto *cfree = function_named<void(void *)>("cfree");
    ASSERT_NE(cfree, nullptr);
    cfree(nullptr);
    size_t before = 0;
    for (int round = 0; round < 20000; round++) {
        void *object = malloc(50 * KiB);
        fill_pattern(object, 50 * KiB, round);
        cfree(object);
        if (round == 100)
            before = resident_bytes();
    }
    EXPECT_LT(resident_bytes(), before + 32 * MiB);
}

// ---- Usable size ----------------------------------------------------------------------------

TEST(UsableSize, CoversTheRequestAndIsAllWritable) {
    std::vector<std::pair<unsigned char *, size_t>> objects;
    for (size_t size : edge_sizes(2 * MiB)) {
        auto *object = static_cast<unsigned char *>(opaque(malloc(size)));
        ASSERT_NE(object, nullptr);
        size_t usable = malloc_usable_size(object);
        ASSERT_GE(usable, size);
        EXPECT_EQ(malloc_usable_size(object), usable) << "asked twice";
        fill_pattern(object, usable, objects.size());
        objects.emplace_back(object, usable);
    }
    for (size_t i = 0; i < objects.size(); i++) {
        EXPECT_TRUE(has_pattern(objects[i].first, objects[i].second, i)) << objects[i].second;
        free(objects[i].first);
    }
}

TEST(UsableSize, WastesLittle) {
    for (size_t size : edge_sizes(4 * MiB)) {
        void *object = malloc(size);
        // Eight classes a doubling waste an eighth at most, and an object may keep a remainder
        // behind it that is too small to be one, or the rest of its last page.
        EXPECT_LE(malloc_usable_size(object), size + size / 7 + (size < 4096 ? 64 : 4096)) << size;
        free(object);
    }
}

// Whatever is asked first: whether the heap has one region, and whose it is.
TEST(UsableSize, IsTheSameInALargeHeapAndForAnotherThread) {
    std::vector<void *> objects, ballast;
    std::vector<size_t> usable;
    auto add_objects = [&] {
        for (size_t size : edge_sizes(128 * KiB)) {
            objects.push_back(malloc(std::max<size_t>(size, 1)));
            usable.push_back(malloc_usable_size(objects.back()));
            ASSERT_GE(usable.back(), size);
        }
    };
    add_objects();
    for (size_t bytes = 0; bytes < 160 * MiB; bytes += 20 * KiB) // more than two regions
        ballast.push_back(malloc(20 * KiB));
    add_objects();
    for (size_t i = 0; i < objects.size(); i++) {
        EXPECT_EQ(malloc_usable_size(objects[i]), usable[i]);
        EXPECT_EQ(realloc(objects[i], usable[i]), objects[i]) << "stays: " << usable[i];
    }
    std::thread([&] {
        free(opaque(malloc(1))); // has a heap
        for (size_t i = 0; i < objects.size(); i++)
            EXPECT_EQ(malloc_usable_size(objects[i]), usable[i]);
    }).join();
    for (void *object : objects)
        free(object);
    for (void *object : ballast)
        free(object);
}

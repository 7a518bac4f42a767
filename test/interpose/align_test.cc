// SPDX-License-Identifier: MIT
// Alignment: of every ordinary allocation, and what the aligned ones promise and refuse.
#include "support.h"

#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include <cerrno>

using namespace interpose;

namespace {

void *posix_aligned(size_t alignment, size_t size) {
    void *object = nullptr;
    return posix_memalign(&object, alignment, size) == 0 ? object : nullptr;
}

using AlignedFunction = void *(size_t, size_t);
const std::pair<const char *, AlignedFunction *> kFunctions[] = {
    {"aligned_alloc", aligned_alloc}, {"memalign", memalign}, {"posix_memalign", posix_aligned}};

// Sizes that meet each alignment below, at and above itself.
std::vector<size_t> sizes_around(size_t alignment) {
    std::vector<size_t> sizes = {0, 1, 8, 16, 24, 100, 1000, 5000, 100 * KiB};
    if (alignment <= 4 * MiB)
        for (size_t size :
             {alignment - 1, alignment, alignment + 1, 2 * alignment, 3 * alignment + 5})
            sizes.push_back(size);
    return sizes;
}

} // namespace

TEST(Alignment, SixteenBytesForEverySize) {
    for (size_t size = 0; size <= 64 * KiB; size += size < 2 * KiB ? 1 : 13) {
        void *objects[] = {malloc(size), calloc(1, size), realloc(nullptr, size)};
        for (void *object : objects) {
            ASSERT_NE(object, nullptr);
            ASSERT_TRUE(is_aligned(object, 16)) << object << " of " << size << " bytes";
            free(object);
        }
    }
}

TEST(Alignment, SixteenBytesForManyLiveObjectsOfASize) {
    for (size_t size :
         {1ul, 8ul, 9ul, 16ul, 24ul, 33ul, 40ul, 100ul, 120ul, 500ul, 1000ul, 3000ul}) {
        std::vector<void *> objects;
        for (int i = 0; i < 3000; i++) {
            objects.push_back(malloc(size));
            ASSERT_TRUE(is_aligned(objects.back(), 16)) << i << "th of " << size << " bytes";
        }
        for (void *object : objects)
            free(object);
    }
}

TEST(Alignment, SixteenBytesForLargeObjects) {
    for (size_t size = 64 * KiB; size <= 512 * MiB; size = size * 5 / 4 + 7) {
        void *object = malloc(size);
        ASSERT_NE(object, nullptr) << size;
        EXPECT_TRUE(is_aligned(object, 16)) << size;
        free(object);
    }
}

TEST(Alignment, SixteenBytesAfterRealloc) {
    char *object = nullptr;
    for (size_t size : edge_sizes(256 * KiB)) {
        object = static_cast<char *>(realloc(object, size + 1));
        ASSERT_TRUE(is_aligned(object, 16)) << size;
    }
    free(object);
}

TEST(AlignedAllocation, EveryPowerOfTwoUpToAGigabyte) {
    for (auto [name, function] : kFunctions)
        for (size_t alignment = sizeof(void *); alignment <= GiB; alignment *= 2)
            for (size_t size : sizes_around(alignment)) {
                SCOPED_TRACE(testing::Message() << name << "(" << alignment << ", " << size << ")");
                errno = 0;
                void *object = function(alignment, size);
                ASSERT_NE(object, nullptr) << "errno " << errno;
                EXPECT_TRUE(is_aligned(object, alignment)) << object;
                ASSERT_GE(malloc_usable_size(object), size);
                fill_pattern(object, size, alignment);
                EXPECT_TRUE(has_pattern(object, size, alignment));
                free(object);
            }
}

TEST(AlignedAllocation, ManyLiveOnesDoNotOverlap) {
    struct Object {
        void *address;
        size_t size;
    };
    std::vector<Object> objects;
    Random random(1);
    for (int i = 0; i < 20000; i++) {
        size_t alignment = size_t{8} << random.below(10), size = random.size_up_to(16 * KiB);
        void *object = kFunctions[random.below(3)].second(alignment, size);
        ASSERT_TRUE(object && is_aligned(object, alignment)) << alignment << " " << size;
        fill_pattern(object, size, i);
        objects.push_back({object, size});
    }
    for (size_t i = 0; i < objects.size(); i++) {
        EXPECT_TRUE(has_pattern(objects[i].address, objects[i].size, i));
        free(objects[i].address);
    }
}

// Ordinary objects just freed are on the list that an aligned one is looked for on.
TEST(AlignedAllocation, AmongOrdinaryOnesOfTheSameSize) {
    for (size_t alignment = 32; alignment <= 64 * KiB; alignment *= 2)
        for (size_t size : {alignment, 3 * alignment, size_t{2500}, size_t{4096}, 20000ul})
            for (auto [name, function] : kFunctions) {
                std::vector<void *> ordinary, aligned;
                for (int i = 0; i < 20; i++)
                    ordinary.push_back(malloc(size));
                for (void *object : ordinary)
                    free(object);
                for (int i = 0; i < 20; i++) {
                    aligned.push_back(function(alignment, size));
                    ASSERT_TRUE(aligned.back() && is_aligned(aligned.back(), alignment))
                        << name << "(" << alignment << ", " << size << "), object " << i;
                    fill_pattern(aligned.back(), size, i);
                }
                for (int i = 0; i < 20; i++) {
                    EXPECT_TRUE(has_pattern(aligned[i], size, i));
                    free(aligned[i]);
                }
            }
}

TEST(AlignedAllocation, PosixMemalignKeepsErrno) {
    for (size_t size : {100ul, 20000ul, 3 * MiB}) {
        std::vector<void *> objects(40); // some from the lists, some not
        for (void *&object : objects) {
            errno = 77;
            ASSERT_EQ(posix_memalign(&object, 128, size), 0);
            EXPECT_EQ(errno, 77);
        }
        for (void *object : objects)
            free(object);
    }
    void *object = nullptr;
    errno = 77;
    EXPECT_EQ(posix_memalign(&object, 128, opaque(size_t{PTRDIFF_MAX})), ENOMEM);
    EXPECT_EQ(errno, 77);
}

TEST(AlignedAllocation, ReallocKeepsContents) {
    for (size_t alignment : {32ul, 256ul, 4 * KiB, 64 * KiB, MiB})
        for (size_t size : {24ul, 1000ul, 20000ul, 3 * MiB}) {
            void *object = memalign(alignment, size);
            fill_pattern(object, size, size);
            object = realloc(object, 3 * size);
            ASSERT_NE(object, nullptr);
            EXPECT_TRUE(has_pattern(object, size, size));
            object = realloc(object, size / 2);
            EXPECT_TRUE(has_pattern(object, size / 2 / 8 * 8, size));
            free(object);
        }
}

// An aligned object leaves gaps before it; they must be used again.
TEST(AlignedAllocation, DoesNotLeak) {
    size_t before = 0;
    for (int round = 0; round < 20000; round++) {
        size_t alignment = size_t{64} << (round % 13);
        void *object = memalign(alignment, 3000 + round % 50000);
        ASSERT_NE(object, nullptr);
        fill_pattern(object, 3000, round);
        free(object);
        if (round == 2000)
            before = resident_bytes();
    }
    EXPECT_LT(resident_bytes(), before + 32 * MiB);
}

// ---- Refusals -------------------------------------------------------------------------------

TEST(AlignedAllocation, PosixMemalignRefusesBadAlignments) {
    for (size_t alignment : {size_t{0}, size_t{1}, size_t{2}, size_t{4}, size_t{3}, size_t{7},
                             size_t{12}, size_t{24}, size_t{100}, size_t{4097}, SIZE_MAX}) {
        void *untouched = &errno, *object = untouched;
        EXPECT_EQ(posix_memalign(&object, opaque(alignment), 100), EINVAL) << alignment;
        EXPECT_EQ(object, untouched) << alignment;
    }
}

TEST(AlignedAllocation, AlignedAllocRefusesWhatIsNoPowerOfTwo) {
    SKIP_UNDER_STAND_IN("glibc before 2.38 rounds the alignment up instead (C23 7.24.3.1)");
    for (size_t alignment : {size_t{0}, size_t{3}, size_t{24}, size_t{4097}, SIZE_MAX}) {
        errno = 0;
        EXPECT_EQ(aligned_alloc(opaque(alignment), 96), nullptr) << alignment;
        EXPECT_EQ(errno, EINVAL) << alignment;
    }
}

TEST(AlignedAllocation, AlignedAllocTakesSmallAlignmentsAndAnySize) {
    for (size_t alignment : {1ul, 2ul, 4ul, 8ul, 16ul, 32ul, 4096ul})
        for (size_t size : {1ul, 15ul, 33ul, 1000ul, 5001ul}) {
            void *object = aligned_alloc(alignment, opaque(size));
            ASSERT_NE(object, nullptr) << alignment << " " << size;
            EXPECT_TRUE(is_aligned(object, std::max(alignment, size_t{16})));
            free(object);
        }
}

// glibc's memalign rounds a bad alignment up to the next power of two.
TEST(AlignedAllocation, MemalignRoundsTheAlignmentUp) {
    const std::pair<size_t, size_t> cases[] = {
        {0, 16},  {1, 16},    {3, 16},      {17, 32},     {24, 32},
        {33, 64}, {100, 128}, {4097, 8192}, {5000, 8192}, {70000, 131072}};
    for (auto [asked, given] : cases)
        for (int i = 0; i < 20; i++) {
            void *object = memalign(opaque(asked), 200);
            ASSERT_NE(object, nullptr) << asked;
            EXPECT_TRUE(is_aligned(object, given)) << object << " for " << asked;
            free(object);
        }
}

TEST(AlignedAllocation, MemalignRefusesAlignmentsThatCannotBe) {
    for (size_t alignment : {(size_t{1} << 63) + 1, SIZE_MAX}) {
        errno = 0;
        EXPECT_EQ(memalign(opaque(alignment), 100), nullptr);
        EXPECT_EQ(errno, EINVAL);
    }
    errno = 0;
    EXPECT_EQ(memalign(opaque(size_t{1} << 63), 100), nullptr);
    EXPECT_EQ(errno, ENOMEM);
}

// ---- Page alignment -------------------------------------------------------------------------

TEST(PageAlignment, VallocAndPvalloc) {
    size_t page = sysconf(_SC_PAGESIZE);
    for (size_t size :
         {size_t{0}, size_t{1}, size_t{100}, page - 1, page, page + 1, 10 * page + 1, MiB + 1}) {
        void *plain = valloc(size), *whole = pvalloc(size);
        ASSERT_NE(plain, nullptr);
        ASSERT_NE(whole, nullptr);
        EXPECT_TRUE(is_aligned(plain, page)) << size;
        EXPECT_TRUE(is_aligned(whole, page)) << size;
        EXPECT_GE(malloc_usable_size(plain), size);
        EXPECT_GE(malloc_usable_size(whole), (size + page - 1) / page * page) << size;
        free(plain);
        free(whole);
    }
}

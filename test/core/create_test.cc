/* SPDX-License-Identifier: MIT */
/* Where heaps lie: their own memory, or a caller's at any alignment and of any size. */
#include "heap_fixture.h"

#include <algorithm>
#include <climits>

TEST(Create, OwnMemory) {
    void *v = mheap_alloc(nullptr, 1 << 20);
    ASSERT_NE(v, nullptr);
    EXPECT_EQ(reinterpret_cast<uintptr_t>(v) % vm_page_bytes(), 0u);
    EXPECT_EQ(mheap_elts(v), 0u);
    EXPECT_LE(mheap_max_size(v), 1u << 20);
    EXPECT_GE(mheap_max_size(v), (1u << 20) - vm_page_bytes());
    EXPECT_EQ(mheap_header(v)->flags & 0xffff, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    EXPECT_EQ(mheap_free(v), nullptr);
    EXPECT_EQ(mheap_free(nullptr), nullptr);
}

TEST(Create, TooSmallAndTooLargeGiveNull) {
    alignas(4096) static char memory[4096];
    for (size_t size : {size_t{0}, size_t{1}, size_t{4095}, size_t{4096}, SIZE_MAX, SIZE_MAX / 2,
                        size_t{1} << 33, size_t{1} << 32}) {
        EXPECT_EQ(mheap_alloc(nullptr, size), nullptr) << size;
        if (size <= sizeof memory) {
            EXPECT_EQ(mheap_alloc(memory, size), nullptr) << size;
        }
    }
}

TEST(Create, CallersMemoryUsesCacheAndNoVm) {
    std::vector<char> memory(64 << 10);
    void *v = mheap_alloc(memory.data(), memory.size());
    EXPECT_EQ(mheap_header(v)->flags, MHEAP_FLAG_SMALL_OBJECT_CACHE | MHEAP_FLAG_DISABLE_VM);
    mheap_free(v);
}

TEST(Create, UnknownFlagsAreIgnored) {
    void *v = mheap_alloc_with_flags(nullptr, 1 << 20, ~MHEAP_FLAG_TRACE);
    EXPECT_EQ(mheap_header(v)->flags >> 16 & (MHEAP_INTERNAL_FLAG_OWNS_VM >> 16), 1u);
    EXPECT_LT(mheap_header(v)->flags, 1u << 19);
    mheap_free(v);
}

TEST(Create, TraceFlagTraces) {
    Heap heap(1 << 20, MHEAP_FLAG_TRACE);
    EXPECT_NE(heap.h()->trace, nullptr);
}

/* Use the heap up, free it, use it up again. */
static void exercise(void *v) {
    size_t n_elts = mheap_elts(v);
    for (int round = 0; round < 2; round++) {
        std::vector<mheap_uoffset_t> u;
        mheap_uoffset_t uoffset;
        size_t n = 0;
        while (mheap_get(v, n++ % 300, &uoffset), uoffset != MHEAP_GROUNDED) {
            size_t n_bytes = mheap_data_bytes(v, uoffset);
            memset(static_cast<char *>(v) + uoffset, 0x5a, n_bytes);
            u.push_back(uoffset);
        }
        EXPECT_FALSE(u.empty());
        EXPECT_TRUE(mheap_validate(v));
        for (mheap_uoffset_t each : u)
            mheap_put(v, each);
        EXPECT_TRUE(mheap_validate(v));
        EXPECT_EQ(mheap_elts(v), n_elts);
    }
}

TEST(Create, CallersMemoryAtAnyAlignment) {
    const size_t guard = 4096, max = 5 * 4096;
    std::vector<unsigned char> arena(2 * guard + max + 8192);
    unsigned char *base = arena.data() + guard;
    base += -reinterpret_cast<uintptr_t>(base) & 4095;
    for (size_t shift : {0,    1,    2,    3,    4,    7,    8,    9,    16,   100,
                         1000, 1800, 1900, 2048, 2100, 2200, 3000, 4000, 4088, 4095})
        for (size_t size : {size_t{4096}, size_t{8191}, size_t{8192}, size_t{8193}, size_t{12288},
                            size_t{16000}, size_t{16384}}) {
            std::fill(arena.begin(), arena.end(), 0xa5);
            void *v = mheap_alloc_with_flags(base + shift, size,
                                             MHEAP_FLAG_SMALL_OBJECT_CACHE | MHEAP_FLAG_DISABLE_VM);
            if (v) {
                EXPECT_EQ(reinterpret_cast<uintptr_t>(v) % 4096, 0u);
                EXPECT_GE(reinterpret_cast<unsigned char *>(mheap_header(v)), base + shift);
                EXPECT_LE(mheap_max_size(v), size);
                exercise(v);
                mheap_free(v);
            } else
                EXPECT_LT(size, 12288u); /* a page for the header, one for alignment, one to use */
            for (unsigned char *p = arena.data(); p < base + shift; p++)
                ASSERT_EQ(*p, 0xa5) << shift << " " << size;
            for (unsigned char *p = base + shift + size; p < arena.data() + arena.size(); p++)
                ASSERT_EQ(*p, 0xa5) << shift << " " << size;
        }
}

/* Without DISABLE_VM pages of a caller's memory are given back too, but never one outside. */
TEST(Create, PurgingStaysInsideCallersMemory) {
    std::vector<unsigned char> arena(4 << 20, 0xa5);
    for (size_t shift : {0, 1, 100, 2222, 4095}) {
        std::fill(arena.begin(), arena.end(), 0xa5);
        unsigned char *memory = arena.data() + 4096 + shift;
        size_t size = (3 << 20) + shift * 7;
        Heap heap(size, 0, memory);
        exercise(heap.v());
        auto u = heap.get_n(10, 200000);
        for (size_t i : {1, 2, 3, 8, 9, 5})
            heap.put(u[i]);
        EXPECT_GT(mheap_purge(heap.h(), SIZE_MAX), 0u);
        EXPECT_EQ(heap.state(), "ok");
        for (unsigned char *p = arena.data(); p < memory; p++)
            ASSERT_EQ(*p, 0xa5);
        for (unsigned char *p = memory + size; p < arena.data() + arena.size(); p++)
            ASSERT_EQ(*p, 0xa5);
    }
}

/* Everything inside is linked by offsets: a copy elsewhere is a heap too. */
TEST(Create, ACopiedHeapWorks) {
    alignas(4096) static char first[64 << 10], second[64 << 10];
    void *v = mheap_alloc(first, sizeof first);
    mheap_uoffset_t keep, gone;
    mheap_get(v, 1000, &keep);
    mheap_get(v, 300, &gone);
    strcpy(static_cast<char *>(v) + keep, "still here");
    memcpy(second, first, sizeof first);
    memset(first, 0xff, sizeof first);

    void *copy = second + (static_cast<char *>(v) - first);
    EXPECT_TRUE(mheap_validate(copy));
    EXPECT_STREQ(static_cast<char *>(copy) + keep, "still here");
    mheap_put(copy, gone);
    mheap_uoffset_t again;
    mheap_get(copy, 300, &again);
    EXPECT_EQ(again, gone);
    exercise(copy);
}

TEST(CreateDeathTest, AFreedHeapIsNoHeap) {
    static char memory[64 << 10];
    void *v = mheap_alloc(memory, sizeof memory);
    mheap_free(v);
    mheap_uoffset_t u;
    EXPECT_DEATH(mheap_get(v, 8, &u), "mheap_get.*not a heap");
    mheap_corruption_t corruption;
    EXPECT_FALSE(mheap_validate_report(v, &corruption));
    EXPECT_EQ(corruption.invariant, 1);
}

/* SPDX-License-Identifier: MIT */
/* Getting and putting, through the public functions and the internal ones under them. */
#include "heap_fixture.h"

#include <algorithm>

namespace {

uintptr_t address_of(const Heap &heap, mheap_uoffset_t uoffset) {
    return reinterpret_cast<uintptr_t>(heap.at(uoffset));
}

} // namespace

/* ---- Sizes and alignment ---- */

TEST(MheapGet, RoundsUpToWords) {
    Heap heap;
    for (size_t n : {0, 1, 7, 8, 9, 255, 256, 257, 4096, 100001}) {
        mheap_uoffset_t u = heap.get(n);
        ASSERT_NE(u, MHEAP_GROUNDED);
        EXPECT_EQ(mheap_data_bytes(heap.v(), u), std::max<size_t>(8, (n + 7) / 8 * 8));
    }
    EXPECT_EQ(heap.state(), "ok");
}

TEST(MheapGet, AlignsTheAddressOfByteAlignOffset) {
    Heap heap(256 << 20);
    for (size_t align = 1; align <= (4 << 20); align *= 2)
        for (size_t align_offset = 0; align_offset < align;
             align_offset += std::max<size_t>(8, align / 4))
            for (size_t n : {1, 56, 4000}) {
                mheap_uoffset_t u = heap.get(n, align, align_offset);
                ASSERT_NE(u, MHEAP_GROUNDED) << align << " " << align_offset;
                EXPECT_EQ((address_of(heap, u) + align_offset) % std::max<size_t>(8, align), 0u);
            }
    EXPECT_EQ(heap.state(), "ok");
}

TEST(MheapGet, ZeroAlignIsNatural) {
    Heap heap;
    EXPECT_NE(heap.get(8, 0), MHEAP_GROUNDED);
}

TEST(MheapGet, RefusesIllegalArguments) {
    Heap heap;
    EXPECT_EQ(heap.get(8, 24), MHEAP_GROUNDED); /* no power of two */
    EXPECT_EQ(heap.get(8, 3), MHEAP_GROUNDED);
    EXPECT_EQ(heap.get(8, 64, 64), MHEAP_GROUNDED);   /* align_offset not below align */
    EXPECT_EQ(heap.get(8, 64, 4), MHEAP_GROUNDED);    /* no multiple of 8 */
    EXPECT_EQ(heap.get(8, 64 << 20), MHEAP_GROUNDED); /* larger than the heap */
    EXPECT_EQ(heap.get(8, size_t{1} << 63), MHEAP_GROUNDED);
    for (size_t n : {SIZE_MAX, SIZE_MAX - 7, SIZE_MAX - 8, SIZE_MAX / 2, size_t{1} << 32})
        EXPECT_EQ(heap.get(n), MHEAP_GROUNDED) << n;
    EXPECT_EQ(mheap_elts(heap.v()), 0u);
    EXPECT_EQ(heap.h()->len, static_cast<uint64_t>(MHEAP_FIRST_UOFFSET));
}

TEST(MheapGet, GapBeforeAnAlignedObjectIsFreeSpace) {
    Heap heap;
    heap.get(8);
    mheap_uoffset_t aligned = heap.get(64, 4096);
    mheap_uoffset_t small = heap.get(100);
    EXPECT_LT(small, aligned);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(MheapGet, SizesOf8Mod16StayAlignedTo16WithoutGaps) {
    Heap heap;
    Random random(3);
    uint64_t sum = MHEAP_FIRST_UOFFSET;
    for (int i = 0; i < 1000; i++) {
        size_t n = 8 + 16 * random.below(100);
        EXPECT_EQ(address_of(heap, heap.get(n, 16)) % 16, 0u);
        sum += n + MHEAP_TAG_BYTES;
    }
    EXPECT_EQ(heap.h()->len, sum);
}

/* A tile: 64 KiB objects whose tag is in the last bytes of the tile before. */
TEST(MheapGet, TilesLieSideBySide) {
    Heap heap;
    size_t tile = 64 << 10;
    mheap_uoffset_t first = heap.get(tile - 8, tile);
    for (size_t i = 1; i < 20; i++)
        EXPECT_EQ(heap.get(tile - 8, tile), first + i * tile);
}

TEST(MheapGet, LenMacroCountsItems) {
    Heap heap;
    uint32_t *d = reinterpret_cast<uint32_t *>(heap.at(heap.get(100)));
    EXPECT_EQ(mheap_len(heap.v(), d), 26u);
}

/* ---- Free lists ---- */

TEST(MheapGet, TakesTheExactSizeBeforeALargerOne) {
    Heap heap;
    auto small = heap.get_n(2, 100);
    auto large = heap.get_n(2, 1000);
    heap.put(large[0]);
    heap.put(small[0]);
    EXPECT_EQ(heap.get(100), small[0]);
    EXPECT_EQ(heap.get(1000), large[0]);
}

TEST(MheapGet, SplitsOffWhatIsLeft) {
    Heap heap;
    auto u = heap.get_n(2, 1000);
    heap.put(u[0]);
    EXPECT_EQ(heap.get(400), u[0]);
    EXPECT_EQ(heap.get(592), u[0] + 408);
    EXPECT_EQ(heap.state(), "ok");
    EXPECT_EQ(bin_first_non_empty(heap.h(), 0), BIN_NONE);
}

TEST(MheapGet, KeepsARemainderOfOneWord) {
    Heap heap;
    auto u = heap.get_n(2, 1000);
    heap.put(u[0]);
    EXPECT_EQ(heap.get(992), u[0]);
    EXPECT_EQ(mheap_data_bytes(heap.v(), u[0]), 1000u);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(MheapGet, FindsAlignedRoomInAFreeElement) {
    Heap heap;
    auto u = heap.get_n(3, 20000);
    heap.put(u[1]);
    uint64_t len = heap.h()->len;
    for (size_t align : {16, 64, 512, 4096}) {
        mheap_uoffset_t a = heap.get(500, align, align / 2);
        EXPECT_EQ((address_of(heap, a) + align / 2) % align, 0u);
        EXPECT_GE(a, u[1]);
        EXPECT_LT(a, u[2]);
    }
    EXPECT_EQ(heap.h()->len, len);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(MheapPut, CoalescesInEveryOrder) {
    std::vector<int> order = {0, 1, 2, 3, 4};
    do {
        Heap heap(1 << 20);
        auto u = heap.get_n(6, 72);
        for (int i : order) {
            heap.put(u[static_cast<size_t>(i)]);
            ASSERT_EQ(heap.state(), "ok");
        }
        const mheap_elt_t *e = heap.elt(u[0]);
        EXPECT_TRUE(e->is_free);
        EXPECT_EQ(elt_n_bytes(e), 5 * 72u + 4 * 8u);
        heap.put(u[5]);
        EXPECT_EQ(heap.h()->len, static_cast<uint64_t>(MHEAP_FIRST_UOFFSET));
    } while (std::next_permutation(order.begin(), order.end()));
}

TEST(MheapPut, GroundedIsIgnored) {
    Heap heap;
    heap.put(MHEAP_GROUNDED);
    EXPECT_EQ(heap.h()->stats.n_puts, 0u);
}

TEST(MheapPut, ShrinksTheVector) {
    Heap heap;
    auto u = heap.get_n(3, 1000);
    size_t full = mheap_bytes(heap.v());
    heap.put(u[1]);
    EXPECT_EQ(mheap_bytes(heap.v()), full);
    heap.put(u[2]);
    EXPECT_EQ(mheap_bytes(heap.v()), full - 2 * 1008);
    EXPECT_EQ(heap.state(), "ok");
}

/* O(1): what a search looks at does not depend on how many free objects there are. */
TEST(MheapGet, TriesPerSearchAreBounded) {
    for (size_t n_free : {1000, 10000, 100000, 1000000}) {
        Heap heap(size_t{400} << 20);
        /* Free objects of one size between live ones. */
        auto u = heap.get_n(2 * n_free, 136);
        for (size_t i = 0; i < u.size(); i += 2)
            heap.put(u[i]);
        const mheap_stats_t &stats = heap.h()->stats;
        uint64_t tries = stats.n_search_tries, searches = stats.n_searches;
        std::vector<mheap_uoffset_t> more;
        for (size_t i = 0; i < 500; i++) {
            more.push_back(heap.get(120));          /* fits only with a remainder */
            more.push_back(heap.get(136, 4096, 8)); /* alignment rarely fits */
            more.push_back(heap.get(136));          /* exact */
            more.push_back(heap.get(144));          /* just too large for all of them */
        }
        searches = stats.n_searches - searches;
        EXPECT_EQ(searches, 2000u);
        EXPECT_LE(stats.n_search_tries - tries, 9 * searches) << n_free;
        for (mheap_uoffset_t uoffset : more)
            EXPECT_NE(uoffset, MHEAP_GROUNDED);
        EXPECT_TRUE(mheap_validate(heap.v()));
    }
}

/* A bin with a range of sizes, most of them just too small. */
TEST(MheapGet, TriesAreBoundedInAWideBin) {
    for (size_t n_free : {1000, 100000}) {
        Heap heap(size_t{1} << 30);
        std::vector<mheap_uoffset_t> u;
        for (size_t i = 0; i < n_free; i++) {
            u.push_back(heap.get(4096));
            heap.get(8);
        }
        for (mheap_uoffset_t uoffset : u)
            heap.put(uoffset);
        uint64_t tries = heap.h()->stats.n_search_tries;
        for (int i = 0; i < 100; i++)
            heap.get(4104); /* the same bin, 4096 .. 4351 */
        EXPECT_LE(heap.h()->stats.n_search_tries - tries, 100u * 5) << n_free;
    }
}

/* ---- The internal interface ---- */

TEST(MheapInternal, SearchAndExtendAreSeparate) {
    Heap heap;
    mheap_t *h = heap.h();
    EXPECT_EQ(mheap_get_search_free_list(h, 100, 8, 0, nullptr), MHEAP_GROUNDED);
    EXPECT_EQ(mheap_largest_bin(h), BIN_NONE);
    mheap_uoffset_t u = mheap_get_extend(h, 100, 8, 0, nullptr);
    mheap_uoffset_t end = mheap_get_extend(h, 100, 8, 0, nullptr);
    EXPECT_EQ(end, u + 112);
    mheap_put_elt(h, u);
    EXPECT_EQ(mheap_largest_bin(h), bin_of(13));
    EXPECT_EQ(mheap_get_search_free_list(h, 100, 8, 0, nullptr), u);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(MheapInternal, TailRoomCountsDown) {
    Heap heap;
    uint64_t room = mheap_tail_room(heap.h());
    heap.get(1000);
    EXPECT_EQ(mheap_tail_room(heap.h()), room - 1008);
}

TEST(MheapInternal, ZeroIsToldOnlyOfMemoryNeverUsed) {
    Heap heap;
    mheap_t *h = heap.h();
    bool is_zero = false;
    mheap_uoffset_t a = mheap_get_extend(h, 1000, 8, 0, &is_zero);
    EXPECT_TRUE(is_zero);
    memset(heap.at(a), 1, 1000);
    mheap_put_elt(h, a);
    a = mheap_get_extend(h, 1000, 8, 0, &is_zero);
    EXPECT_FALSE(is_zero);
    mheap_uoffset_t b = mheap_get_extend(h, 1000, 4096, 0, &is_zero);
    EXPECT_TRUE(is_zero);
    for (size_t i = 0; i < 1000; i++)
        ASSERT_EQ(heap.at(b)[i], 0);
    mheap_uoffset_t c = mheap_get_search_free_list(h, 100, 8, 0, &is_zero);
    EXPECT_LT(c, b);
    EXPECT_FALSE(is_zero);
}

TEST(MheapInternal, CallersMemoryIsNeverTakenForZero) {
    std::vector<char> memory(100000, 1);
    Heap heap(memory.size(), 0, memory.data());
    bool is_zero = true;
    mheap_get_extend(heap.h(), 1000, 8, 0, &is_zero);
    EXPECT_FALSE(is_zero);
}

TEST(MheapInternal, RequestsBeyondTheHeapFindNothing) {
    Heap heap;
    mheap_t *h = heap.h();
    for (auto get : {mheap_get_search_free_list, mheap_get_extend}) {
        EXPECT_EQ(get(h, SIZE_MAX, 8, 0, nullptr), MHEAP_GROUNDED);
        EXPECT_EQ(get(h, h->max_len, 8, 0, nullptr), MHEAP_GROUNDED);
        EXPECT_EQ(get(h, 8, size_t{1} << 32, 0, nullptr), MHEAP_GROUNDED);
    }
}

TEST(MheapInternal, InitRefusesTooLittleRoom) {
    alignas(4096) static char memory[sizeof(mheap_t) + 4096];
    EXPECT_EQ(mheap_init(memory, 24, 24, 0), nullptr);
    EXPECT_NE(mheap_init(memory, 32, 32, 0), nullptr);
    EXPECT_EQ(mheap_init(memory, 0xffffffff, 32, 0), nullptr);
}

/* ---- The small-object cache ---- */

TEST(MheapCache, ReusesTheLastOneFreed) {
    Heap heap(1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    auto u = heap.get_n(4, 48);
    heap.put(u[1]);
    heap.put(u[2]);
    EXPECT_EQ(mheap_elts(heap.v()), 2u);
    EXPECT_EQ(heap.state(), "ok");
    EXPECT_EQ(heap.get(41), u[2]); /* the same size, rounded up */
    EXPECT_EQ(heap.get(48), u[1]);
    EXPECT_EQ(heap.h()->stats.n_cache_hits, 2u);
    EXPECT_EQ(heap.h()->n_cached, 0u);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(MheapCache, HonoursAlignment) {
    Heap heap(1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    mheap_uoffset_t u = heap.get(64); /* uoffset 16 */
    heap.get(64);
    heap.put(u);
    EXPECT_NE(heap.get(64, 64), u);
    EXPECT_EQ(heap.get(64, 16), u);
}

TEST(MheapCache, ServesASizeFromALittleLargerOne) {
    Heap heap(1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    auto u = heap.get_n(4, 256);
    heap.put(u[1]);
    mheap_uoffset_t much_smaller = heap.get(200);
    EXPECT_EQ(mheap_data_bytes(heap.v(), much_smaller), 200u);
    EXPECT_EQ(heap.h()->stats.n_cache_hits, 0u);
    heap.put(u[2]);
    EXPECT_EQ(heap.get(232), u[2]);
    EXPECT_EQ(mheap_data_bytes(heap.v(), u[2]), 256u);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(MheapCache, ServesTheLeastSizesFromTheirOwnListsOnly) {
    for (size_t n_words = 1; n_words < 8; n_words++) {
        Heap heap(1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
        auto u = heap.get_n(3, 8 * n_words + 8);
        heap.put(u[1]);
        heap.get(8 * n_words);
        EXPECT_EQ(heap.h()->stats.n_cache_hits, 0u) << n_words;
        heap.put(u[0]);
        EXPECT_EQ(heap.get(8 * n_words + 8), u[0]);
        EXPECT_EQ(heap.h()->stats.n_cache_hits, 1u) << n_words;
    }
}

/* Of each size, from which sizes: those of up to an eighth and nearly two words more. */
TEST(MheapCache, ServesLargerSizesFromAnEighthAndAWordMore) {
    for (size_t n_words = 8; n_words <= MHEAP_N_CACHE_LISTS; n_words++)
        for (size_t n_more = 0; n_words + n_more <= MHEAP_N_CACHE_LISTS; n_more++) {
            Heap heap(1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
            auto u = heap.get_n(3, 8 * (n_words + n_more));
            heap.put(u[1]);
            heap.get(8 * n_words);
            ASSERT_EQ(heap.h()->stats.n_cache_hits, 8 * n_more <= n_words + 15 ? 1u : 0u)
                << n_words << " + " << n_more;
            ASSERT_EQ(heap.state(), "ok");
        }
}

/* A get that finds nothing in a full cache makes room in it for the put that follows. */
TEST(MheapCache, IsNotFullAfterAGetPassedIt) {
    Heap heap(1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    auto u = heap.get_n(200, 96);
    for (size_t i = 0; i < 190; i += 2)
        heap.put(u[i]);
    const mheap_t *h = heap.h();
    EXPECT_EQ(h->n_cached, h->max_cached);
    mheap_uoffset_t large = heap.get(1000);
    EXPECT_LT(h->n_cached, h->max_cached);
    EXPECT_EQ(heap.state(), "ok");
    heap.put(large);
    EXPECT_LE(h->n_cached, h->max_cached);
    EXPECT_EQ(heap.state(), "ok");
}

/* The most that it may hold, and what is in use meanwhile. */
TEST(MheapCache, IsBoundedByWhatIsInUse) {
    Heap heap(8 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE | MHEAP_FLAG_DISABLE_VM);
    mheap_t *h = heap.h();
    Random random(3);
    std::vector<mheap_uoffset_t> u;
    for (int i = 0; i < 20000; i++)
        u.push_back(heap.get(1 + random.below(512)));
    random.shuffle(u);
    uint64_t most = 0;
    for (mheap_uoffset_t uoffset : u) {
        heap.put(uoffset);
        ASSERT_LE(h->n_cached, MHEAP_CACHE_MIN_ELTS + h->n_elts / MHEAP_CACHE_PART);
        ASSERT_LE(h->n_cached, MHEAP_CACHE_MAX_ELTS);
        most = std::max<uint64_t>(most, h->n_cached);
    }
    EXPECT_EQ(most, MHEAP_CACHE_MAX_ELTS);
    EXPECT_EQ(h->n_cached, MHEAP_CACHE_MIN_ELTS);
    EXPECT_EQ(mheap_elts(heap.v()), 0u);
    EXPECT_EQ(heap.state(), "ok");
}

/* What a program no longer asks for does not keep the cache from others. */
TEST(MheapCache, EvictsFromAllListsInTurn) {
    Heap heap(8 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    auto old = heap.get_n(MHEAP_CACHE_MIN_ELTS, 96), now = heap.get_n(400, 200);
    for (mheap_uoffset_t uoffset : old)
        heap.put(uoffset);
    for (mheap_uoffset_t uoffset : now)
        heap.put(uoffset);
    uint64_t n_hits = heap.h()->stats.n_cache_hits;
    heap.get_n(MHEAP_CACHE_MIN_ELTS, 200);
    EXPECT_EQ(heap.h()->stats.n_cache_hits - n_hits, MHEAP_CACHE_MIN_ELTS);
}

/* Else it would be the longer for what it keeps for later. */
TEST(MheapCache, IsGivenUpBeforeTheHeapGrows) {
    Heap heap(8 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    auto u = heap.get_n(10, 96);
    uint64_t len = heap.h()->len;
    for (size_t i = 2; i < 8; i++)
        heap.put(u[i]);
    EXPECT_EQ(heap.get(500), u[2]);
    EXPECT_EQ(heap.h()->len, len);
    EXPECT_EQ(heap.h()->n_cached, 0u);
}

TEST(MheapCache, LargeObjectsPassItBy) {
    Heap heap(1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    heap.put(heap.get(520));
    EXPECT_EQ(heap.h()->n_cached, 0u);
    heap.put(heap.get(512));
    EXPECT_EQ(heap.h()->n_cached, 1u);
}

TEST(MheapCache, IsGivenUpBeforeAGetFails) {
    Heap heap(16 << 10, MHEAP_FLAG_SMALL_OBJECT_CACHE); /* the cache can hold all of it */
    std::vector<mheap_uoffset_t> u;
    for (mheap_uoffset_t uoffset; (uoffset = heap.get(100)) != MHEAP_GROUNDED;)
        u.push_back(uoffset);
    for (mheap_uoffset_t uoffset : u)
        heap.put(uoffset);
    EXPECT_EQ(heap.h()->stats.n_cache_flushes, 0u);
    EXPECT_NE(heap.get(10000), MHEAP_GROUNDED);
    EXPECT_EQ(heap.h()->stats.n_cache_flushes, 1u);
    EXPECT_EQ(heap.state(), "ok");
}

/* ---- Heaps without lock, trace and validation ---- */

TEST(MheapPlain, IsToldByTheMagicAlone) {
    for (uint32_t flags = 0; flags < 32; flags++) {
        Heap heap(1 << 20, flags);
        bool is_plain =
            !(flags & (MHEAP_FLAG_TRACE | MHEAP_FLAG_THREAD_SAFE | MHEAP_FLAG_VALIDATE));
        EXPECT_EQ(heap.h()->plain_magic == MHEAP_MAGIC, is_plain) << flags;
        EXPECT_EQ(heap.state(), "ok");
    }
}

TEST(MheapPlain, EndsWithTracingAndComesBack) {
    Heap heap(1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    mheap_uoffset_t u = heap.get(100);
    ASSERT_TRUE(mheap_trace(heap.v(), true));
    EXPECT_NE(heap.h()->plain_magic, MHEAP_MAGIC);
    heap.put(u);
    ASSERT_TRUE(mheap_trace(heap.v(), false));
    EXPECT_EQ(heap.h()->plain_magic, MHEAP_MAGIC);
    EXPECT_EQ(heap.get(100), u);
}

/* ---- Growing to the end ---- */

TEST(MheapGrow, FailsCleanlyAtTheMaximum) {
    Heap heap(1 << 20);
    std::vector<mheap_uoffset_t> u;
    for (mheap_uoffset_t uoffset; (uoffset = heap.get(1000)) != MHEAP_GROUNDED;)
        u.push_back(uoffset);
    EXPECT_GT(u.size(), 1000u);
    EXPECT_LE(mheap_bytes(heap.v()), mheap_max_size(heap.v()));
    EXPECT_EQ(heap.h()->stats.n_failures, 1u);
    EXPECT_EQ(heap.state(), "ok");
    while (heap.get(8) != MHEAP_GROUNDED)
        continue;
    EXPECT_LT(mheap_tail_room(heap.h()), 16u);
    EXPECT_EQ(heap.state(), "ok");
    heap.put(u[500]);
    EXPECT_EQ(heap.get(1000), u[500]);
}

TEST(MheapGrow, OnlyWhatIsUsedIsResident) {
    Heap heap(size_t{1} << 30);
    mheap_t *h = heap.h();
    EXPECT_LE(vm_resident_bytes(reinterpret_cast<char *>(h) - h->vm_offset, 64 << 10), 16u << 10);
    heap.get(10 << 20);
    EXPECT_LE(h->accessible_len, 12u << 20);
}

TEST(MheapGrow, LargestHeapUsesAllItsOffsets) {
    size_t size = (size_t{1} << 32) - 4096;
    EXPECT_EQ(mheap_alloc(nullptr, size + 4096), nullptr);
    Heap heap(size);
    mheap_uoffset_t u = heap.get(size - (1 << 20));
    ASSERT_NE(u, MHEAP_GROUNDED);
    mheap_uoffset_t last = heap.get(1000 << 10);
    ASSERT_NE(last, MHEAP_GROUNDED);
    EXPECT_EQ(heap.get(64 << 10), MHEAP_GROUNDED);
    EXPECT_EQ(heap.state(), "ok");
    heap.put(u);
    EXPECT_EQ(heap.get(1 << 30), u);
    EXPECT_EQ(heap.state(), "ok");
    heap.put(u);
    heap.put(last);
    EXPECT_EQ(heap.h()->len, 16u);
}

/* SPDX-License-Identifier: MIT */
#include "heap_fixture.h"

namespace {

/* All small sizes, then those around every bin's boundary. */
std::vector<uint64_t> interesting_words() {
    std::vector<uint64_t> words;
    for (uint64_t n = 1; n <= 4096; n++)
        words.push_back(n);
    for (uint32_t bin = bin_of(4096); bin < MHEAP_N_BINS; bin++)
        for (int64_t d = -2; d <= 2; d++)
            words.push_back(bin_min_bytes(bin) / 8 + static_cast<uint64_t>(d));
    words.push_back((1ull << 29) - 1);
    return words;
}

} // namespace

TEST(Bin, EachSizeUpTo256BytesHasItsOwn) {
    for (uint64_t n = 1; n <= 32; n++) {
        EXPECT_EQ(bin_of(n), n - 1);
        EXPECT_EQ(bin_min_bytes(bin_of(n)), n * 8);
    }
    EXPECT_EQ(bin_of(33), 32u);
}

TEST(Bin, LargestSizeIsInTheLastBin) {
    EXPECT_EQ(bin_of((1ull << 29) - 1), MHEAP_N_BINS - 1);
}

TEST(Bin, BinsPartitionTheSizesInOrder) {
    for (uint64_t n : interesting_words()) {
        uint32_t bin = bin_of(n);
        EXPECT_LE(bin_min_bytes(bin), n * 8);
        if (bin + 1 < MHEAP_N_BINS) {
            EXPECT_GT(bin_min_bytes(bin + 1), n * 8);
        }
    }
}

TEST(Bin, WidthIsAtMostASixteenthOfTheSize) {
    for (uint32_t bin = MHEAP_N_SMALL_BINS + 1; bin + 1 < MHEAP_N_BINS; bin++)
        EXPECT_LE((bin_min_bytes(bin + 1) - bin_min_bytes(bin)) * 16, bin_min_bytes(bin));
}

TEST(Bin, AllAtLeastIsTheFirstSureBin) {
    for (uint64_t n : interesting_words()) {
        uint32_t sure = bin_all_at_least(n);
        if (sure < MHEAP_N_BINS) {
            EXPECT_GE(bin_min_bytes(sure), n * 8) << n;
        }
        if (sure > 0 && sure != MHEAP_N_SMALL_BINS + 1) { /* bin 32 holds 264 bytes only */
            EXPECT_LT(bin_min_bytes(sure - 1), n * 8) << n;
        }
    }
    EXPECT_EQ(bin_all_at_least(1ull << 29), MHEAP_N_BINS);
    EXPECT_EQ(bin_all_at_least(1ull << 33), MHEAP_N_BINS);
}

TEST(Bin, BitmapSearchAgreesWithALinearOne) {
    Heap heap;
    mheap_t h = *heap.h();
    Random random(7);
    for (int round = 0; round < 200; round++) {
        memset(h.non_empty_free_elt_heads, 0, sizeof h.non_empty_free_elt_heads);
        h.non_empty_bin_words = 0;
        std::vector<bool> bits(MHEAP_N_BINS);
        for (uint64_t n = random.below(6); n > 0; n--) {
            uint64_t bin = random.below(MHEAP_N_BINS);
            bits[bin] = true;
            bin_set_bit(&h, static_cast<uint32_t>(bin));
        }
        uint32_t first = BIN_NONE, last = BIN_NONE;
        for (uint32_t bin = 0; bin < MHEAP_N_BINS; bin++) {
            EXPECT_EQ(bin_last_non_empty(&h, bin), last);
            if (bits[bin])
                last = bin;
        }
        EXPECT_EQ(bin_last_non_empty(&h, MHEAP_N_BINS), last);
        EXPECT_EQ(mheap_largest_bin(&h), last);
        EXPECT_EQ(bin_first_non_empty(&h, MHEAP_N_BINS), BIN_NONE);
        for (uint32_t bin = MHEAP_N_BINS; bin-- > 0;) {
            if (bits[bin])
                first = bin;
            EXPECT_EQ(bin_first_non_empty(&h, bin), first);
        }
    }
}

TEST(Bin, BitmapForgetsWhatIsCleared) {
    Heap heap;
    mheap_t h = *heap.h();
    for (uint32_t bin : {0u, 1u, 63u, 64u, MHEAP_N_BINS - 1})
        bin_set_bit(&h, bin);
    for (uint32_t bin : {1u, 64u, 0u, 63u, MHEAP_N_BINS - 1}) {
        bin_clear_bit_if(&h, bin, true);
        EXPECT_NE(bin_first_non_empty(&h, bin), bin);
    }
    EXPECT_EQ(bin_first_non_empty(&h, 0), BIN_NONE);
    EXPECT_EQ(h.non_empty_bin_words, 0u);
}

/* Five free elements of one bin, kept apart by live ones. */
class BinList : public ::testing::Test {
  protected:
    void SetUp() override {
        auto u = heap.get_n(10, 104);
        for (size_t i = 0; i < 10; i += 2) {
            heap.put(u[i]);
            free_.push_back(u[i]);
        }
    }
    std::vector<mheap_uoffset_t> listed() {
        std::vector<mheap_uoffset_t> uoffsets;
        for (mheap_elt_t *e = bin_head(heap.h(), bin); e; e = bin_next(heap.h(), e))
            uoffsets.push_back(elt_uoffset(heap.h(), e));
        return uoffsets;
    }
    Heap heap;
    uint32_t bin = bin_of(13);
    std::vector<mheap_uoffset_t> free_;
};

TEST_F(BinList, LastInIsFirst) {
    EXPECT_EQ(listed(), std::vector<mheap_uoffset_t>(free_.rbegin(), free_.rend()));
}

TEST_F(BinList, RemovesFromHeadMiddleAndTail) {
    mheap_t *h = heap.h();
    for (size_t i : {4, 2, 0}) {
        EXPECT_EQ(bin_remove(h, heap.elt(free_[i])), 104u);
        heap.elt(free_[i])->is_free = 0;
    }
    EXPECT_EQ(listed(), (std::vector<mheap_uoffset_t>{free_[3], free_[1]}));
    bin_remove(h, heap.elt(free_[3]));
    bin_remove(h, heap.elt(free_[1]));
    EXPECT_TRUE(listed().empty());
    EXPECT_EQ(bin_first_non_empty(h, 0), BIN_NONE);
}

TEST_F(BinList, KeepsNoDirtyBytesOfSmallElements) {
    EXPECT_EQ(heap.h()->free_dirty_bytes, 0u);
}

using BinListDeathTest = BinList;

TEST_F(BinListDeathTest, NoticesALinkOverwrittenAfterFree) {
    for (mheap_uoffset_t wrong : {0u, 3u, 16u, 0xfffffff0u, free_[0]}) {
        heap.elt(free_[2])->free_elt.next_uoffset = wrong;
        EXPECT_DEATH(bin_remove(heap.h(), heap.elt(free_[2])),
                     "links of a free object are damaged");
        EXPECT_DEATH(listed(), "links of a free object are damaged");
    }
    heap.elt(free_[2])->free_elt.next_uoffset = free_[1];
    heap.elt(free_[2])->free_elt.prev_uoffset = MHEAP_GROUNDED;
    EXPECT_DEATH(bin_remove(heap.h(), heap.elt(free_[2])), "links of a free object are damaged");
}

TEST_F(BinListDeathTest, NoticesATagOverwrittenByTheObjectBefore) {
    heap.elt(free_[2])->n_user_data = 14;
    EXPECT_DEATH(bin_remove(heap.h(), heap.elt(free_[2])), "boundary tag of a free object");
}

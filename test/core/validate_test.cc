/* SPDX-License-Identifier: MIT */
/* A deliberate corruption for each invariant, and garbage everywhere. */
#include "heap_fixture.h"

#include "validate.h"

/* live free live free live cached, then a large free one and a live one. */
class Validate : public ::testing::Test {
  protected:
    void SetUp() override {
        a = heap.get(96), free_a = heap.get(96), b = heap.get(96), free_b = heap.get(96);
        c = heap.get(96);
        cached = heap.get(64);
        large = heap.get(64 << 10);
        last = heap.get(64);
        for (mheap_uoffset_t u : {free_a, free_b, large})
            mheap_put_elt(h(), u); /* past the cache */
        heap.put(cached);
        ASSERT_EQ(heap.state(), "ok");
    }
    mheap_t *h() { return heap.h(); }

    void expect(int invariant, mheap_uoffset_t uoffset = MHEAP_GROUNDED) {
        mheap_corruption_t corruption = heap.corruption();
        EXPECT_EQ(corruption.invariant, invariant) << corruption.what;
        EXPECT_EQ(corruption.uoffset, uoffset);
        EXPECT_EQ(std::string(corruption.what).substr(0, 1), "M");
        EXPECT_FALSE(mheap_validate(heap.v()));
    }

    Heap heap{16 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE};
    mheap_uoffset_t a, free_a, b, free_b, c, cached, large, last;
};

TEST_F(Validate, SoundHeapIsOk) {
    mheap_corruption_t corruption;
    EXPECT_TRUE(mheap_validate_report(heap.v(), &corruption));
    EXPECT_EQ(corruption.invariant, 0);
    EXPECT_EQ(corruption.uoffset, MHEAP_GROUNDED);
    EXPECT_STREQ(corruption.what, "ok");
}

TEST_F(Validate, M1Magic) {
    h()->magic ^= 1;
    expect(1);
    h()->magic ^= 1;
}

TEST_F(Validate, M1Version) {
    h()->layout_version++;
    expect(1);
}

TEST_F(Validate, M1Lengths) {
    uint64_t len = h()->len;
    for (uint64_t wrong : {len + 1, uint64_t{8}, h()->max_len + 8, h()->never_used_off + 8}) {
        h()->len = wrong;
        expect(1);
    }
    h()->len = len;
    h()->never_used_off = h()->accessible_len + 1;
    expect(1);
}

TEST_F(Validate, M2NoEndMark) {
    elt_at(h(), h()->len)->n_user_data = 1;
    expect(2, static_cast<mheap_uoffset_t>(h()->len));
}

TEST_F(Validate, M2FreeEndMark) {
    elt_at(h(), h()->len)->is_free = 1;
    expect(2, static_cast<mheap_uoffset_t>(h()->len));
}

TEST_F(Validate, M2EndMarkTooEarly) {
    heap.elt(b)->n_user_data = MHEAP_N_USER_DATA_INVALID;
    expect(2, b);
}

TEST_F(Validate, M3WrongSizeOfPrevious) {
    heap.elt(b)->prev_n_user_data++;
    expect(3, b);
}

TEST_F(Validate, M3WrongStateOfPrevious) {
    heap.elt(b)->prev_is_free = 0;
    expect(3, b);
}

TEST_F(Validate, M3SpareBit) {
    heap.elt(b)->prev_spare = 1;
    expect(3, b);
}

TEST_F(Validate, M3FirstElementHasNoPrevious) {
    heap.elt(MHEAP_FIRST_UOFFSET)->prev_n_user_data = 2;
    expect(3, MHEAP_FIRST_UOFFSET);
}

TEST_F(Validate, M3OverflowIntoTheNextTag) {
    memset(heap.at(a) + 96, 0x41, 8);
    expect(3, free_a);
}

TEST_F(Validate, M4Empty) {
    heap.elt(c)->n_user_data = 0;
    expect(4, c);
}

TEST_F(Validate, M4ReachesPastTheEnd) {
    heap.elt(last)->n_user_data++;
    expect(4, last);
    heap.elt(last)->n_user_data = MHEAP_N_USER_DATA_INVALID - 1;
    expect(4, last);
}

TEST_F(Validate, M5TwoFreeNeighbours) {
    elt_set(heap.elt(b), 12, true);
    expect(5, b);
}

TEST_F(Validate, M5LastIsFree) {
    mheap_uoffset_t behind = heap.get(64);
    elt_set(heap.elt(behind), 8, true);
    bin_push(h(), heap.elt(behind), heap.elt(behind)->n_user_data, 0);
    expect(5, behind + 72);
}

TEST_F(Validate, M6FreeElementOnNoList) {
    mheap_elt_t *e = heap.elt(large);
    uint64_t dirty_bytes = bin_remove(h(), e);
    h()->free_dirty_bytes += dirty_bytes; /* only the list is wrong */
    e->free_elt.next_uoffset = e->free_elt.prev_uoffset = MHEAP_GROUNDED;
    expect(6, large);
}

TEST_F(Validate, M6FreeElementOnlyInACircleOfItsOwn) {
    mheap_elt_t *e = heap.elt(large);
    uint64_t dirty_bytes = bin_remove(h(), e);
    h()->free_dirty_bytes += dirty_bytes;
    e->free_elt.next_uoffset = e->free_elt.prev_uoffset = large;
    expect(6);
}

TEST_F(Validate, M6ListHoldsALiveElement) {
    uint32_t bin = bin_of(33);
    h()->first_free_elt_uoffset_by_bin[bin] = c;
    h()->non_empty_free_elt_heads[bin / 64] |= 1ull << bin % 64;
    expect(6, c);
}

TEST_F(Validate, M6WrongBin) {
    uint32_t bin = bin_of(elt_n_bytes(heap.elt(large)) / 8);
    h()->first_free_elt_uoffset_by_bin[bin] = MHEAP_GROUNDED;
    h()->first_free_elt_uoffset_by_bin[bin + 1] = large;
    expect(6, large);
}

TEST_F(Validate, M6ListHoldsAForgedElement) {
    /* A free-looking tag inside a live object, well linked, in place of a real element. */
    mheap_elt_t *fake = elt_at(h(), c + 16);
    mheap_elt_t *e = heap.elt(large);
    uint64_t dirty_bytes = bin_remove(h(), e);
    h()->free_dirty_bytes += dirty_bytes;
    memset(fake, 0, sizeof *fake);
    elt_set(fake, 4, true);
    bin_push(h(), fake, fake->n_user_data, 0);
    e->free_elt.next_uoffset = e->free_elt.prev_uoffset = large;
    expect(6);
}

TEST_F(Validate, M7PrevDoesNotLinkBack) {
    heap.elt(free_a)->free_elt.prev_uoffset = large; /* was free_b */
    expect(7, free_a);
}

TEST_F(Validate, M7NextLeadsNowhere) {
    for (mheap_uoffset_t wrong : {0u, 1u, 8u, 0xfffffff0u, a, b + 8}) {
        heap.elt(free_b)->free_elt.next_uoffset = wrong;
        mheap_corruption_t corruption = heap.corruption();
        EXPECT_EQ(corruption.invariant, 7) << wrong;
    }
}

TEST_F(Validate, M7Circle) {
    heap.elt(free_a)->free_elt.next_uoffset = free_b;
    heap.elt(free_b)->free_elt.prev_uoffset = free_a;
    mheap_corruption_t corruption = heap.corruption();
    EXPECT_EQ(corruption.invariant, 7);
}

TEST_F(Validate, M8BitMissing) {
    uint32_t bin = bin_of(12);
    h()->non_empty_free_elt_heads[bin / 64] &= ~(1ull << bin % 64);
    expect(8);
}

TEST_F(Validate, M8BitTooMany) {
    h()->non_empty_free_elt_heads[0] |= 1;
    expect(8);
}

TEST_F(Validate, M8BitBeyondTheBins) {
    h()->non_empty_free_elt_heads[MHEAP_N_BIN_WORDS - 1] |= 1ull << 63;
    expect(8);
}

TEST_F(Validate, M8WordMissing) {
    h()->non_empty_bin_words &= h()->non_empty_bin_words - 1;
    expect(8);
}

TEST_F(Validate, M8WordTooMany) {
    h()->non_empty_bin_words |= 1u << (MHEAP_N_BIN_WORDS - 1);
    expect(8);
}

TEST_F(Validate, M9Count) {
    h()->n_elts++;
    expect(9);
}

TEST_F(Validate, M10CachedBitWithoutCache) {
    heap.elt(a)->is_cached = 1;
    h()->n_elts--;
    expect(10);
}

TEST_F(Validate, M10FreeAndCached) {
    heap.elt(free_b)->is_cached = 1;
    expect(10, free_b);
}

TEST_F(Validate, M10LostFromTheList) {
    h()->cache_heads[8 - 1] = MHEAP_GROUNDED;
    expect(10);
    h()->non_empty_cache_heads = 0;
    expect(10);
}

TEST_F(Validate, M10WrongList) {
    h()->cache_heads[8 - 1] = MHEAP_GROUNDED;
    h()->cache_heads[9 - 1] = cached;
    h()->non_empty_cache_heads = 1 << (9 - 1);
    expect(10, cached);
}

TEST_F(Validate, M10BitTooMany) {
    h()->non_empty_cache_heads |= 1ull << 63;
    expect(10);
}

TEST_F(Validate, M10Circle) {
    heap.elt(cached)->cached_elt.next_uoffset = cached;
    expect(10, cached);
}

TEST_F(Validate, M10WildLink) {
    heap.elt(cached)->cached_elt.next_uoffset = 0xfffffff0;
    expect(10, 0xfffffff0);
}

TEST_F(Validate, M10Count) {
    h()->n_cached++;
    expect(10);
}

TEST_F(Validate, M10Limit) {
    h()->max_cached++;
    expect(10);
}

TEST_F(Validate, M10Lists) {
    h()->n_cache_lists = 0;
    expect(10);
}

TEST_F(Validate, M1PlainWithALock) {
    h()->flags |= MHEAP_FLAG_THREAD_SAFE;
    expect(1);
}

TEST_F(Validate, M10WithoutCacheTheBitIsTheOwners) {
    Heap plain;
    mheap_uoffset_t u = plain.get(5000);
    plain.elt(u)->is_cached = 1;
    EXPECT_EQ(plain.state(), "ok");
    plain.h()->n_cached = 1;
    EXPECT_EQ(plain.corruption().invariant, 10);
}

TEST_F(Validate, M11Sum) {
    h()->free_dirty_bytes += 1;
    expect(11);
}

TEST_F(Validate, M11SumOfCleanBytes) {
    h()->free_clean_bytes += 8;
    expect(11);
}

TEST_F(Validate, M11MoreDirtyBehindTheEndThanWasUsed) {
    h()->tail_dirty_bytes = h()->never_used_off - h()->len + 8;
    expect(11);
}

TEST_F(Validate, M11MoreDirtyThanLong) {
    heap.elt(large)->free_elt.n_dirty = (64 << 10) + 1;
    expect(11, large);
}

TEST_F(Validate, M11CleanOnesDisagree) {
    heap.elt(large)->free_elt.n_clean += 4096;
    expect(11, large);
}

TEST_F(Validate, FirstViolationInAddressOrderIsReported) {
    heap.elt(last)->prev_n_user_data = 1;
    expect(3, last);
    heap.elt(free_b)->is_cached = 1;
    expect(10, free_b);
    heap.elt(free_a)->prev_spare = 1;
    expect(3, free_a);
}

/* Whatever is written into the vector, validation ends and does not fault. */
TEST_F(Validate, SurvivesGarbage) {
    std::vector<char> good(heap.at(0), heap.at(0) + h()->len);
    Random random(11);
    for (int round = 0; round < 20000; round++) {
        for (uint64_t n = 1 + random.below(4); n > 0; n--) {
            uint64_t where = random.below(n % 2 ? 700 : h()->len) & ~3ull;
            static const uint32_t words[] = {0, 1, 8, 16, 0x3fffffff, 0x80000001, 0xffffffff};
            uint32_t word = static_cast<uint32_t>(random.below(1ull << 32));
            if (random.below(2))
                word = words[random.below(7)];
            memcpy(heap.at(0) + where, &word, sizeof word);
        }
        mheap_corruption_t corruption;
        mheap_validate_report(heap.v(), &corruption);
        if (random.below(8) == 0)
            memcpy(heap.at(0), good.data(), good.size());
    }
    memcpy(heap.at(0), good.data(), good.size());
    EXPECT_EQ(heap.state(), "ok");
}

TEST_F(Validate, SurvivesGarbageInTheListHeads) {
    Random random(12);
    for (int round = 0; round < 5000; round++) {
        mheap_t saved = *h();
        for (int n = 0; n < 3; n++)
            h()->first_free_elt_uoffset_by_bin[random.below(MHEAP_N_BINS)] =
                static_cast<mheap_uoffset_t>(random.below(1ull << 32));
        h()->cache_heads[random.below(MHEAP_N_CACHE_LISTS)] =
            static_cast<mheap_uoffset_t>(random.below(h()->len + 64));
        EXPECT_FALSE(mheap_validate(heap.v()));
        *h() = saved;
    }
}

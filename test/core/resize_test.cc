/* SPDX-License-Identifier: MIT */
#include "heap_fixture.h"

class Resize : public ::testing::Test {
  protected:
    void SetUp() override {
        for (int i = 0; i < 4; i++) {
            u.push_back(heap.get(1000));
            memset(heap.at(u.back()), i + 1, 1000);
        }
    }
    void TearDown() override { EXPECT_EQ(heap.state(), "ok"); }
    bool resize(mheap_uoffset_t uoffset, size_t n) { return mheap_resize(heap.v(), uoffset, n); }
    size_t bytes(mheap_uoffset_t uoffset) { return mheap_data_bytes(heap.v(), uoffset); }
    void expect_contents(mheap_uoffset_t uoffset, size_t n, char c) {
        for (size_t i = 0; i < n; i++)
            ASSERT_EQ(heap.at(uoffset)[i], c);
    }
    Heap heap{1 << 20};
    std::vector<mheap_uoffset_t> u;
};

TEST_F(Resize, SameSizeDoesNothing) {
    EXPECT_TRUE(resize(u[1], 1000));
    EXPECT_TRUE(resize(u[1], 993));
    EXPECT_EQ(bytes(u[1]), 1000u);
}

TEST_F(Resize, ShrinkingGivesUpTheTail) {
    EXPECT_TRUE(resize(u[1], 500));
    EXPECT_EQ(bytes(u[1]), 504u);
    EXPECT_EQ(heap.get(488), u[1] + 512);
    expect_contents(u[1], 500, 2);
}

TEST_F(Resize, ShrinkingByAWordKeepsIt) {
    EXPECT_TRUE(resize(u[1], 992));
    EXPECT_EQ(bytes(u[1]), 1000u);
    EXPECT_TRUE(resize(u[1], 984));
    EXPECT_EQ(bytes(u[1]), 984u);
}

TEST_F(Resize, TailCoalescesWithAFreeNext) {
    heap.put(u[2]);
    EXPECT_TRUE(resize(u[1], 100));
    EXPECT_EQ(elt_n_bytes(heap.elt(u[1] + 112)), 1000u - 104 + 1000 + 8 - 8);
}

TEST_F(Resize, ShrinkingTheLastShrinksTheVector) {
    uint64_t len = heap.h()->len;
    EXPECT_TRUE(resize(u[3], 8));
    EXPECT_EQ(heap.h()->len, len - 992);
}

TEST_F(Resize, GrowsIntoAFreeNext) {
    heap.put(u[2]);
    EXPECT_TRUE(resize(u[1], 1500));
    EXPECT_EQ(bytes(u[1]), 1504u);
    EXPECT_EQ(heap.get(496), u[1] + 1512);
    expect_contents(u[1], 1000, 2);
    expect_contents(u[3], 1000, 4);
}

TEST_F(Resize, GrowsIntoAllOfAFreeNext) {
    heap.put(u[2]);
    EXPECT_FALSE(resize(u[1], 2009));
    EXPECT_EQ(bytes(u[1]), 1000u);
    EXPECT_TRUE(resize(u[1], 2000)); /* a word would remain: it is kept */
    EXPECT_EQ(bytes(u[1]), 2008u);
    EXPECT_EQ(bin_first_non_empty(heap.h(), 0), BIN_NONE);
}

TEST_F(Resize, DoesNotGrowIntoALiveNext) {
    EXPECT_FALSE(resize(u[1], 1001));
    EXPECT_FALSE(resize(u[1], SIZE_MAX));
    EXPECT_EQ(bytes(u[1]), 1000u);
}

TEST_F(Resize, TheLastGrowsWithTheVector) {
    EXPECT_TRUE(resize(u[3], 500000));
    EXPECT_EQ(bytes(u[3]), 500000u);
    memset(heap.at(u[3]) + 1000, 4, 499000);
    expect_contents(u[3], 500000, 4);
    EXPECT_FALSE(resize(u[3], 2 << 20));
    EXPECT_EQ(bytes(u[3]), 500000u);
    EXPECT_NE(heap.get(8), MHEAP_GROUNDED);
}

TEST_F(Resize, ZeroIsTakenAsOne) {
    EXPECT_TRUE(resize(u[1], 0));
    EXPECT_EQ(bytes(u[1]), 8u);
}

using ResizeDeathTest = Resize;

TEST_F(ResizeDeathTest, RefusesWhatIsNoObject) {
    EXPECT_DEATH(resize(u[1] + 8, 8), "mheap_resize.*not the start of an object");
    heap.put(u[1]);
    EXPECT_DEATH(resize(u[1], 8), "mheap_resize.*already free");
    EXPECT_DEATH(mheap_resize_elt(heap.h(), u[1], 8), "realloc.*already free");
}

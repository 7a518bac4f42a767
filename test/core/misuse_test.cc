/* SPDX-License-Identifier: MIT */
/* A user's mistakes: each dies with a line that names the function, the address, and what is wrong.
 */
#include "heap_fixture.h"

class MisuseDeathTest : public ::testing::TestWithParam<uint32_t> {
  protected:
    void SetUp() override { u = heap.get_n(6, 96); }
    std::string line(mheap_uoffset_t uoffset, const std::string &what) {
        char address[32];
        snprintf(address, sizeof address, "%p", static_cast<void *>(heap.at(uoffset)));
        return "^libmheap: mheap_put\\(" + std::string(address) + "\\): .*" + what;
    }
    void expect_death(mheap_uoffset_t uoffset, const std::string &what) {
        EXPECT_DEATH(heap.put(uoffset), line(uoffset, what));
    }
    Heap heap{1 << 20, GetParam()};
    std::vector<mheap_uoffset_t> u;
};

TEST_P(MisuseDeathTest, DoublePut) {
    heap.put(u[1]);
    expect_death(u[1], "already free \\(double free\\)");
    heap.put(u[3]);
    expect_death(u[1], "already free");
}

TEST_P(MisuseDeathTest, DoublePutAfterCoalescing) {
    for (size_t i : {1, 2, 3})
        mheap_put_elt(heap.h(), u[i]);
    for (size_t i : {1, 2, 3})
        expect_death(u[i], "already free \\(double free\\)");
}

TEST_P(MisuseDeathTest, DoublePutBehindTheEnd) {
    mheap_put_elt(heap.h(), u[5]);
    expect_death(u[5], "behind the last one \\(already free\\?\\)");
}

TEST_P(MisuseDeathTest, InteriorOffset) {
    memset(heap.at(u[2]), 0, 96);
    expect_death(u[2] + 8, "not the start of an object");
    expect_death(u[2] + 88, "not the start of an object");
    expect_death(u[2] + 4, "not the start of an object");
    memset(heap.at(u[2]), 0xff, 96);
    expect_death(u[2] + 16, "not the start of an object");
}

TEST_P(MisuseDeathTest, WildOffset) {
    for (mheap_uoffset_t wild : {0u, 8u, 0x7ffffff8u, 0xfffffff0u})
        expect_death(wild, "not the start of an object");
}

TEST_P(MisuseDeathTest, OverflowIntoTheNextTag) {
    memset(heap.at(u[2]) + 96, 0x41, 8);
    expect_death(u[2], "boundary tag behind the object is damaged");
    expect_death(u[3], "boundary tag before the object is damaged");
}

TEST_P(MisuseDeathTest, OverflowByOneByte) {
    heap.at(u[2])[96] = 0;
    expect_death(u[2], "boundary tag behind the object is damaged");
    expect_death(u[3], "boundary tag before the object is damaged");
}

TEST_P(MisuseDeathTest, UnderflowIntoTheOwnTag) {
    memset(heap.at(u[2]) - 4, 0x41, 4);
    EXPECT_DEATH(heap.put(u[2]), "damaged|already free|not the start");
}

TEST_P(MisuseDeathTest, WriteAfterFreeIsNoticedOnReuse) {
    heap.put(u[1]);
    heap.put(u[3]);
    memset(heap.at(u[3]), 0x41, 16);
    EXPECT_DEATH(heap.get_n(2, 96), "written to after it was freed");
}

TEST_P(MisuseDeathTest, DataBytesOfAFreedObject) {
    heap.put(u[1]);
    EXPECT_DEATH(mheap_data_bytes(heap.v(), u[1]), "mheap_data_bytes.*already free");
}

TEST_P(MisuseDeathTest, InsideAFreeOne) {
    memset(heap.at(u[1]), 0, 96);
    mheap_put_elt(heap.h(), u[1]);
    expect_death(u[1] + 24, "not the start of an object: inside a free one");
}

/* Without a size to go on with, the way from the first object ends before it gets there. */
TEST_P(MisuseDeathTest, BehindATagOfNothing) {
    memset(heap.at(u[1]) - 8, 0, 8);
    memset(heap.at(u[3]) - 8, 0x41, 8);
    expect_death(u[3], "boundary tag before the object is damaged");
}

/* What a put finds when it takes a free neighbour off its list. */
TEST_P(MisuseDeathTest, DamagedFreeNeighbour) {
    for (size_t i : {0, 2, 4})
        mheap_put_elt(heap.h(), u[i]); /* past the cache: 4 is the head, then 2, then 0 */
    auto put_between = [this] { mheap_put_elt(heap.h(), u[1]); };
    mheap_elt_t *e = heap.elt(u[2]), good = *e;
    e->n_user_data++;
    EXPECT_DEATH(put_between(), "boundary tag of a free object is damaged");
    *e = good;
    for (mheap_uoffset_t wrong : {3u, 0xfffffff0u, MHEAP_GROUNDED, u[3]}) {
        e->free_elt.prev_uoffset = wrong;
        EXPECT_DEATH(put_between(), "links of a free object are damaged") << wrong;
    }
}

INSTANTIATE_TEST_SUITE_P(Flags, MisuseDeathTest,
                         ::testing::Values(0u, uint32_t{MHEAP_FLAG_SMALL_OBJECT_CACHE}));

TEST(ValidateDeathTest, DamageIsFoundAroundTheNextOperation) {
    Heap heap(1 << 20, MHEAP_FLAG_VALIDATE);
    auto u = heap.get_n(4, 96);
    memset(heap.at(u[2]) + 96, 0x41, 8);
    EXPECT_DEATH(heap.get(8), "mheap_get_aligned\\(0x[0-9a-f]+\\): M3: ");
    EXPECT_DEATH(heap.put(u[0]), "mheap_put\\(0x[0-9a-f]+\\): M3: ");
    EXPECT_DEATH(
        mheap_foreach(
            heap.v(), [](void *, void *, void *, size_t) -> uintptr_t { return 0; }, nullptr),
        "mheap_foreach.*M3");
    mheap_usage_t usage;
    EXPECT_DEATH(mheap_usage(heap.v(), &usage), "mheap_usage.*M3");
}

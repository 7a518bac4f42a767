/* SPDX-License-Identifier: MIT */
/* Several objects at once, side by side. */
#include "heap_fixture.h"

namespace {

constexpr size_t kBytes = 104;
constexpr uint32_t kStride = kBytes + MHEAP_TAG_BYTES;

// An object that is free but for what keeps it from the heap's end.
mheap_uoffset_t make_hole(Heap &heap, size_t n_bytes) {
    mheap_uoffset_t hole = heap.get(n_bytes);
    heap.get(8);
    mheap_put_elt(heap.h(), hole);
    return hole;
}

void put_row(Heap &heap, mheap_uoffset_t first, uint32_t n, Random &random) {
    std::vector<mheap_uoffset_t> objects;
    for (uint32_t i = 0; i < n; i++)
        objects.push_back(first + i * kStride);
    random.shuffle(objects);
    for (mheap_uoffset_t object : objects)
        mheap_put_elt(heap.h(), object);
}

} // namespace

TEST(Row, IsCutOutOfOneFreeElement) {
    Heap heap;
    Random random(1);
    mheap_uoffset_t hole = make_hole(heap, 5000);
    uint64_t n_elts = heap.h()->n_elts, len = heap.h()->len;
    uint32_t n = 7;
    EXPECT_EQ(mheap_get_row(heap.h(), kBytes, &n), hole);
    EXPECT_EQ(n, 7u);
    EXPECT_EQ(heap.h()->n_elts, n_elts + 7);
    for (uint32_t i = 0; i < n; i++) {
        EXPECT_TRUE(mheap_is_live(heap.h(), hole + i * kStride));
        EXPECT_EQ(elt_n_bytes(heap.elt(hole + i * kStride)), kBytes);
    }
    EXPECT_EQ(heap.state(), "ok");
    put_row(heap, hole, n, random);
    EXPECT_EQ(heap.state(), "ok");
    EXPECT_EQ(heap.h()->n_elts, n_elts);
    EXPECT_EQ(heap.h()->len, len);
    EXPECT_EQ(heap.get(5000), hole) << "all of it is one again";
}

TEST(Row, HasAsManyAsFit) {
    for (size_t n_fit = 1; n_fit <= 5; n_fit++)
        for (size_t more = 0; more < kStride; more += 8) {
            Heap heap;
            mheap_uoffset_t hole = make_hole(heap, n_fit * kStride - MHEAP_TAG_BYTES + more);
            uint32_t n = 100;
            EXPECT_EQ(mheap_get_row(heap.h(), kBytes, &n), hole);
            EXPECT_EQ(n, n_fit);
            // What is too small for an element is the last one's.
            size_t last_bytes = elt_n_bytes(heap.elt(hole + (n - 1) * kStride));
            EXPECT_EQ(last_bytes, kBytes + (more == 8 ? 8 : 0));
            EXPECT_EQ(heap.state(), "ok");
        }
}

TEST(Row, ComesOutOfWhatOneWouldComeOutOf) {
    Heap heap;
    make_hole(heap, 5000);
    mheap_uoffset_t exact = make_hole(heap, kBytes);
    uint32_t n = 8;
    EXPECT_EQ(mheap_get_row(heap.h(), kBytes, &n), exact);
    EXPECT_EQ(n, 1u);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(Row, IsNotMadeOfWhatIsTooSmall) {
    Heap heap;
    make_hole(heap, kBytes - 8);
    uint32_t n = 8;
    EXPECT_EQ(mheap_get_row(heap.h(), kBytes, &n), MHEAP_GROUNDED);
    EXPECT_EQ(n, 8u);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(Row, CanBeCutOutOfAnObject) {
    Heap heap;
    Random random(2);
    mheap_uoffset_t object = heap.get(10 * kStride - MHEAP_TAG_BYTES);
    heap.get(8);
    uint64_t n_elts = heap.h()->n_elts;
    mheap_cut_row(heap.h(), object, kBytes, 10);
    EXPECT_EQ(heap.h()->n_elts, n_elts + 9);
    EXPECT_EQ(heap.state(), "ok");
    put_row(heap, object, 10, random);
    EXPECT_EQ(heap.state(), "ok");
    EXPECT_EQ(heap.h()->n_elts, n_elts - 1);
}

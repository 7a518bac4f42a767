/* SPDX-License-Identifier: MIT */
#include "heap_fixture.h"

/* The layout is read from outside, byte by byte: an inspector knows only this. */
TEST(Elt, TagHalvesLieAsDocumented) {
    mheap_elt_t e;
    memset(&e, 0, sizeof e);
    e.prev_n_user_data = 0x2abcdef1;
    e.prev_is_free = 1;
    e.n_user_data = 5;
    e.is_cached = 1;
    uint32_t halves[2];
    memcpy(halves, &e, sizeof halves);
    EXPECT_EQ(halves[0], 0x2abcdef1u | 1u << 31);
    EXPECT_EQ(halves[1], 5u | 1u << 30);
    EXPECT_EQ(reinterpret_cast<char *>(e.user_data) - reinterpret_cast<char *>(&e), 8);
}

TEST(Elt, OffsetsAndAddressesConvertBothWays) {
    Heap heap;
    EXPECT_EQ(elt_uoffset(heap.h(), elt_at(heap.h(), 4096)), 4096u);
    EXPECT_EQ(elt_user_data(heap.elt(4096)), heap.at(4096));
}

TEST(Elt, FirstObjectIsAlignedTo16) {
    Heap heap;
    EXPECT_EQ(heap.get(8), static_cast<mheap_uoffset_t>(MHEAP_FIRST_UOFFSET));
    EXPECT_EQ(reinterpret_cast<uintptr_t>(heap.at(MHEAP_FIRST_UOFFSET)) % 16, 0u);
}

TEST(Elt, NextAndPrevAreInverse) {
    Heap heap;
    auto u = heap.get_n(3, 40);
    mheap_elt_t *middle = heap.elt(u[1]);
    EXPECT_EQ(elt_next(middle), heap.elt(u[2]));
    EXPECT_EQ(elt_prev(middle), heap.elt(u[0]));
    EXPECT_EQ(elt_n_bytes(middle), 40u);
    EXPECT_TRUE(elt_is_end_mark(elt_next(heap.elt(u[2]))));
}

TEST(Elt, SetRepeatsSizeAndStateBehind) {
    Heap heap;
    auto u = heap.get_n(2, 40);
    mheap_elt_t *e = heap.elt(u[0]), *next = heap.elt(u[1]);
    elt_set(e, 5, true);
    EXPECT_EQ(next->prev_n_user_data, 5u);
    EXPECT_TRUE(next->prev_is_free);
    EXPECT_EQ(next->n_user_data, 5u); /* the other half is untouched */
    elt_set(e, 5, false);
    EXPECT_FALSE(next->prev_is_free);
}

TEST(Elt, SoundOnlyIfBothNeighboursAgree) {
    Heap heap;
    auto u = heap.get_n(3, 40);
    mheap_elt_t *e = heap.elt(u[1]);
    EXPECT_TRUE(elt_is_sound(heap.h(), e));
    for (uint32_t wrong : {0u, 4u, 6u, 0x3ffffffeu, 0x3fffffffu}) {
        e->n_user_data = wrong;
        EXPECT_FALSE(elt_is_sound(heap.h(), e)) << wrong;
        e->n_user_data = 5;
        e->prev_n_user_data = wrong;
        EXPECT_FALSE(elt_is_sound(heap.h(), e)) << wrong;
        e->prev_n_user_data = 5;
    }
    e->prev_is_free = 1;
    EXPECT_FALSE(elt_is_sound(heap.h(), e));
    e->prev_is_free = 0;
    EXPECT_TRUE(elt_is_sound(heap.h(), e));
}

TEST(Elt, PlausibleOffsetsLieInsideOnWords) {
    Heap heap;
    heap.get_n(3, 40);
    const mheap_t *h = heap.h();
    EXPECT_TRUE(uoffset_is_plausible(h, MHEAP_FIRST_UOFFSET));
    EXPECT_TRUE(uoffset_is_plausible(h, h->len - 8));
    EXPECT_FALSE(uoffset_is_plausible(h, h->len));
    EXPECT_FALSE(uoffset_is_plausible(h, MHEAP_FIRST_UOFFSET - 8));
    EXPECT_FALSE(uoffset_is_plausible(h, MHEAP_FIRST_UOFFSET + 4));
    EXPECT_FALSE(uoffset_is_plausible(h, MHEAP_GROUNDED));
}

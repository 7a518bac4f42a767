/* SPDX-License-Identifier: MIT */
/* Free pages go back to the system: what, when, and that nothing else does. */
#include "heap_fixture.h"

namespace {

size_t resident(const Heap &heap) {
    mheap_t *h = heap.h();
    return vm_resident_bytes(reinterpret_cast<char *>(h) - h->vm_offset, h->vm_n_bytes);
}

mheap_uoffset_t get_filled(Heap &heap, size_t n_bytes, char c) {
    mheap_uoffset_t u = heap.get(n_bytes);
    memset(heap.at(u), c, n_bytes);
    return u;
}

bool refuse_purge(vm_call_t call) {
    return call != VM_CALL_PURGE;
}

} // namespace

TEST(Purge, FreeElementsLoseTheirWholePages) {
    Heap heap(16 << 20, MHEAP_FLAG_DISABLE_VM);
    mheap_uoffset_t a = get_filled(heap, 1 << 20, 1), b = get_filled(heap, 1 << 20, 2);
    mheap_uoffset_t c = get_filled(heap, 1000, 3);
    size_t before = resident(heap);
    mheap_put_elt(heap.h(), a);
    mheap_put_elt(heap.h(), b);
    EXPECT_EQ(heap.h()->free_dirty_bytes, (2u << 20) + 8);
    size_t given = mheap_purge(heap.h(), SIZE_MAX);
    EXPECT_GE(given, (2u << 20) - 8192);
    EXPECT_EQ(before - resident(heap), given);
    EXPECT_EQ(heap.h()->free_dirty_bytes, 0u);
    for (int i = 0; i < 1000; i++)
        ASSERT_EQ(heap.at(c)[i], 3);
    EXPECT_EQ(heap.state(), "ok");
    EXPECT_EQ(heap.get(2 << 20), a);
}

TEST(Purge, APurgedElementIsNotPurgedAgain) {
    Heap heap(16 << 20, MHEAP_FLAG_DISABLE_VM);
    mheap_uoffset_t a = get_filled(heap, 1 << 20, 1);
    heap.get(8);
    mheap_put_elt(heap.h(), a);
    EXPECT_GT(mheap_purge(heap.h(), SIZE_MAX), 0u);
    uint64_t n_calls = vm_n_calls(VM_CALL_PURGE);
    EXPECT_EQ(mheap_purge(heap.h(), SIZE_MAX), 0u);
    EXPECT_EQ(vm_n_calls(VM_CALL_PURGE), n_calls);
}

TEST(Purge, WhatIsSplitOffAPurgedElementIsClean) {
    Heap heap(16 << 20, MHEAP_FLAG_DISABLE_VM);
    mheap_uoffset_t a = get_filled(heap, 1 << 20, 1);
    heap.get(8);
    mheap_put_elt(heap.h(), a);
    mheap_purge(heap.h(), SIZE_MAX);
    mheap_uoffset_t part = get_filled(heap, 100000, 1);
    EXPECT_EQ(heap.h()->free_dirty_bytes, 0u);
    mheap_put_elt(heap.h(), part);
    EXPECT_GE(heap.h()->free_dirty_bytes, 100000u);
    EXPECT_LE(heap.h()->free_dirty_bytes, 100000u + 2 * vm_page_bytes());
    EXPECT_EQ(heap.state(), "ok");
}

/* Pages that two purged elements share with the object between them are free as a whole only once
 * that is freed too. */
TEST(Purge, PagesAtTheJointOfMergedElementsGoToo) {
    Heap heap(16 << 20, MHEAP_FLAG_DISABLE_VM);
    mheap_uoffset_t a = get_filled(heap, 500000, 1), b = get_filled(heap, 64, 2);
    mheap_uoffset_t c = get_filled(heap, 500000, 3);
    get_filled(heap, 64, 4);
    mheap_put_elt(heap.h(), a);
    mheap_put_elt(heap.h(), c);
    mheap_purge(heap.h(), SIZE_MAX);
    mheap_put_elt(heap.h(), b);
    mheap_purge(heap.h(), SIZE_MAX);
    size_t tail_and_links = 3 * vm_page_bytes(), header = 2 * vm_page_bytes();
    EXPECT_LE(resident(heap), header + tail_and_links);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(Purge, SmallElementsKeepTheirPages) {
    Heap heap(16 << 20, MHEAP_FLAG_DISABLE_VM);
    mheap_uoffset_t a = get_filled(heap, MHEAP_PURGE_MIN_BYTES - 8, 1);
    heap.get(8);
    mheap_put_elt(heap.h(), a);
    EXPECT_EQ(mheap_purge(heap.h(), SIZE_MAX), 0u);
}

TEST(Purge, BudgetTakesTheLargestFirst) {
    Heap heap(64 << 20, MHEAP_FLAG_DISABLE_VM);
    std::vector<mheap_uoffset_t> u;
    for (size_t n : {100000, 4000000, 200000, 1000000}) {
        u.push_back(get_filled(heap, n, 1));
        heap.get(8);
    }
    for (mheap_uoffset_t uoffset : u)
        mheap_put_elt(heap.h(), uoffset);
    EXPECT_EQ(mheap_purge(heap.h(), 0), 0u);
    EXPECT_EQ(mheap_purge(heap.h(), 1), 0u); // every piece is more than twice as much
    size_t given = mheap_purge(heap.h(), 2100000);
    EXPECT_GT(given, 3990000u);
    EXPECT_LE(given, 4000000u);
    given = mheap_purge(heap.h(), 110000); // of those up to twice as much
    EXPECT_GT(given, 190000u);
    EXPECT_LE(given, 200000u);
    given = mheap_purge(heap.h(), 1000000);
    EXPECT_GT(given, 990000u);
    EXPECT_LE(given, 1000000u);
    EXPECT_EQ(heap.h()->free_dirty_bytes, 100000u);
}

TEST(Purge, TheTailBehindTheVectorGoesAndIsZeroAgain) {
    Heap heap(16 << 20, MHEAP_FLAG_DISABLE_VM);
    mheap_t *h = heap.h();
    mheap_uoffset_t a = get_filled(heap, 5 << 20, 1);
    mheap_put_elt(h, a);
    EXPECT_EQ(mheap_dirty_bytes(h), (5u << 20) + 8);
    EXPECT_GE(mheap_purge(h, SIZE_MAX), 5u << 20);
    EXPECT_LT(mheap_dirty_bytes(h), vm_page_bytes());
    EXPECT_EQ(heap.state(), "ok");
    bool is_zero = true;
    a = mheap_get_extend(h, 1000, 8, 0, &is_zero);
    EXPECT_FALSE(is_zero); /* the page with the end mark was kept */
    mheap_uoffset_t b = mheap_get_extend(h, 4 << 20, 4096, 0, &is_zero);
    EXPECT_TRUE(is_zero);
    for (size_t i = 0; i < 4 << 20; i++)
        ASSERT_EQ(heap.at(b)[i], 0);
}

TEST(Purge, DecommittedTailComesBackZero) {
    Heap heap(16 << 20, MHEAP_FLAG_DISABLE_VM);
    mheap_t *h = heap.h();
    mheap_uoffset_t kept = get_filled(heap, 1000, 1);
    mheap_put_elt(h, get_filled(heap, 5 << 20, 2));
    uint64_t accessible_len = h->accessible_len;
    size_t taken = mheap_decommit_tail(h);
    EXPECT_EQ(taken, accessible_len - h->accessible_len);
    EXPECT_EQ(h->accessible_len, vm_page_bytes());
    EXPECT_EQ(mheap_decommit_tail(h), 0u);
    EXPECT_EQ(heap.state(), "ok");
    bool is_zero = false;
    mheap_uoffset_t u = mheap_get_extend(h, 5 << 20, 4096, 0, &is_zero);
    EXPECT_TRUE(is_zero);
    for (size_t i = 0; i < 5 << 20; i++)
        ASSERT_EQ(heap.at(u)[i], 0);
    for (size_t i = 0; i < 1000; i++)
        ASSERT_EQ(heap.at(kept)[i], 1);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(Purge, CallersMemoryIsNotDecommitted) {
    std::vector<char> memory(1 << 20);
    Heap heap(memory.size(), 0, memory.data());
    EXPECT_EQ(mheap_decommit_tail(heap.h()), 0u);
}

TEST(Purge, AllocationThatWasNeverTouchedIsNotDirtyAsAGap) {
    Heap heap(64 << 20, MHEAP_FLAG_DISABLE_VM);
    heap.get(8, 1 << 20);
    EXPECT_EQ(heap.h()->free_dirty_bytes, 0u);
    EXPECT_EQ(heap.state(), "ok");
}

/* ---- mheap_put's policy ---- */

TEST(PurgePolicy, NotOneCallPerFree) {
    Heap heap(size_t{1} << 30);
    mheap_uoffset_t pinned = heap.get(8);
    uint64_t n_calls = vm_n_calls(VM_CALL_PURGE);
    for (int i = 0; i < 1600; i++)
        heap.put(heap.get(1536 << 10));
    EXPECT_LE(vm_n_calls(VM_CALL_PURGE) - n_calls, 160u);
    heap.put(pinned);
}

TEST(PurgePolicy, SmallFreesMakeNoCalls) {
    Heap heap(size_t{1} << 30);
    uint64_t n_calls = vm_n_calls(VM_CALL_PURGE);
    for (int round = 0; round < 100; round++)
        for (mheap_uoffset_t u : heap.get_n(100, 5000))
            heap.put(u);
    EXPECT_EQ(vm_n_calls(VM_CALL_PURGE), n_calls);
}

TEST(PurgePolicy, ABurstThatIsFreedGoesBack) {
    Heap heap(size_t{1} << 30);
    std::vector<mheap_uoffset_t> u;
    for (int i = 0; i < 640; i++)
        u.push_back(get_filled(heap, 100000, 1));
    for (size_t i = 0; i < u.size(); i += 2)
        heap.put(u[i]);
    /* Half of it is free: of that, no more stays than the policy's quarter of the vector. */
    EXPECT_LE(resident(heap), (64u << 20) * 3 / 4 + (2 << 20));
    for (size_t i = 1; i < u.size(); i += 2)
        heap.put(u[i]);
    EXPECT_LE(resident(heap), 2u << 20);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(PurgePolicy, OneHugeObjectGoesBackAtOnce) {
    Heap heap(size_t{1} << 30);
    heap.put(get_filled(heap, 100 << 20, 1));
    EXPECT_LE(resident(heap), 1u << 20);
}

TEST(PurgePolicy, DisableVmMakesNoCalls) {
    Heap heap(size_t{1} << 30, MHEAP_FLAG_DISABLE_VM);
    uint64_t n_calls = vm_n_calls(VM_CALL_PURGE);
    heap.put(get_filled(heap, 100 << 20, 1));
    EXPECT_EQ(vm_n_calls(VM_CALL_PURGE), n_calls);
    EXPECT_GE(resident(heap), 100u << 20);
}

/* Locked pages cannot be given back: trying must not cost a call per free. */
TEST(PurgePolicy, ARefusalIsNotRepeatedForEachFree) {
    Heap heap(size_t{1} << 30);
    std::vector<mheap_uoffset_t> u;
    for (int i = 0; i < 200; i++) {
        u.push_back(get_filled(heap, 100000, 1));
        heap.get(8);
    }
    uint64_t n_calls = vm_n_calls(VM_CALL_PURGE), n_puts = 0;
    vm_allow_hook = refuse_purge;
    for (mheap_uoffset_t uoffset : u)
        heap.put(uoffset);
    uint64_t n_refused = vm_n_calls(VM_CALL_PURGE) - n_calls;
    for (; n_puts < 1000; n_puts++)
        heap.put(heap.get(50000));
    vm_allow_hook = nullptr;
    EXPECT_EQ(vm_n_calls(VM_CALL_PURGE) - n_calls, n_refused);
    EXPECT_EQ(heap.state(), "ok");
    EXPECT_GT(mheap_purge(heap.h(), SIZE_MAX), 200u * 90000);
}

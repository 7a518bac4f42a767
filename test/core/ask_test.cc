/* SPDX-License-Identifier: MIT */
#include "heap_fixture.h"

namespace {

void expect_sums(const Heap &heap) {
    mheap_usage_t usage;
    mheap_usage(heap.v(), &usage);
    EXPECT_EQ(usage.bytes_total, usage.bytes_used + usage.bytes_overhead + usage.bytes_free);
    EXPECT_EQ(usage.object_count, mheap_elts(heap.v()));
    EXPECT_EQ(usage.bytes_total, mheap_bytes(heap.v()));
    EXPECT_EQ(usage.bytes_max, mheap_max_size(heap.v()));
    EXPECT_LE(usage.bytes_free_reclaimed, usage.bytes_free);
    /* Overhead is exactly: the header, the pad, a tag for each object, the end mark. */
    EXPECT_EQ(usage.bytes_overhead, sizeof(mheap_t) + 8 + 8 * usage.object_count + 8);
}

} // namespace

TEST(Usage, OfAnEmptyHeap) {
    Heap heap;
    mheap_usage_t usage;
    mheap_usage(heap.v(), &usage);
    EXPECT_EQ(usage.object_count + usage.bytes_used + usage.bytes_free, 0u);
    expect_sums(heap);
}

TEST(Usage, CountsLiveFreeAndCached) {
    Heap heap(1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    auto u = heap.get_n(3, 1000);
    auto small = heap.get_n(3, 40);
    heap.put(u[1]);
    heap.put(small[1]);
    mheap_usage_t usage;
    mheap_usage(heap.v(), &usage);
    EXPECT_EQ(usage.object_count, 4u);
    EXPECT_EQ(usage.bytes_used, 2 * 1000u + 2 * 40);
    EXPECT_EQ(usage.bytes_free, 1008u + 48);
    expect_sums(heap);
}

TEST(Usage, KnowsWhatWasGivenBack) {
    Heap heap(16 << 20, MHEAP_FLAG_DISABLE_VM);
    mheap_uoffset_t u = heap.get(1 << 20);
    heap.get(8);
    heap.put(u);
    mheap_usage_t usage;
    mheap_usage(heap.v(), &usage);
    EXPECT_EQ(usage.bytes_free_reclaimed, 0u);
    size_t given = mheap_purge(heap.h(), SIZE_MAX);
    mheap_usage(heap.v(), &usage);
    EXPECT_EQ(usage.bytes_free_reclaimed, given);
    expect_sums(heap);
}

TEST(Foreach, VisitsLiveObjectsInAddressOrder) {
    Heap heap(1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    auto u = heap.get_n(6, 40);
    heap.put(u[1]);
    mheap_put_elt(heap.h(), u[3]);
    std::vector<void *> seen;
    EXPECT_EQ(mheap_foreach(
                  heap.v(),
                  [](void *arg, void *, void *data, size_t n_bytes) -> uintptr_t {
                      EXPECT_EQ(n_bytes, 40u);
                      static_cast<std::vector<void *> *>(arg)->push_back(data);
                      return 0;
                  },
                  &seen),
              0u);
    EXPECT_EQ(seen,
              (std::vector<void *>{heap.at(u[0]), heap.at(u[2]), heap.at(u[4]), heap.at(u[5])}));
}

TEST(Foreach, StopsWithTheFirstAnswer) {
    Heap heap;
    auto u = heap.get_n(6, 40);
    struct search {
        void *wanted;
        int n_calls;
    } s = {heap.at(u[2]), 0};
    uintptr_t answer = mheap_foreach(
        heap.v(),
        [](void *arg, void *, void *data, size_t) -> uintptr_t {
            auto *search = static_cast<struct search *>(arg);
            search->n_calls++;
            return data == search->wanted ? 42 : 0;
        },
        &s);
    EXPECT_EQ(answer, 42u);
    EXPECT_EQ(s.n_calls, 3);
}

TEST(IsHeapObject, OnlyTheStartOfALiveOne) {
    Heap heap(1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE);
    auto u = heap.get_n(4, 40);
    auto large = heap.get_n(2, 1000);
    heap.put(u[1]);
    heap.put(large[0]);
    for (mheap_uoffset_t live : {u[0], u[2], u[3], large[1]})
        EXPECT_TRUE(mheap_is_heap_object(heap.v(), live));
    for (mheap_uoffset_t other :
         {u[1], large[0], u[0] + 8, u[0] + 1, 0u, 8u, large[1] + 1008, MHEAP_GROUNDED})
        EXPECT_FALSE(mheap_is_heap_object(heap.v(), other)) << other;
}

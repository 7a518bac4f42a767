/* SPDX-License-Identifier: MIT */
/* A THREAD_SAFE heap used from several threads; meant for a thread sanitizer. */
#include "heap_fixture.h"

#include <atomic>
#include <thread>

namespace {

const uint32_t flags = MHEAP_FLAG_THREAD_SAFE | MHEAP_FLAG_SMALL_OBJECT_CACHE;

void fill(Heap &heap, mheap_uoffset_t u, size_t n, char c) {
    memset(heap.at(u), c, n);
}

/* Does the object still hold what its owner wrote? */
bool holds(const Heap &heap, mheap_uoffset_t u, size_t n, char c) {
    for (size_t i = 0; i < n; i++)
        if (heap.at(u)[i] != c)
            return false;
    return true;
}

void churn(Heap &heap, uint64_t seed, int n_rounds) {
    struct object {
        mheap_uoffset_t u;
        size_t n;
    };
    Random random(seed);
    std::vector<object> mine;
    char c = static_cast<char>(seed);
    for (int i = 0; i < n_rounds; i++) {
        if (mine.size() < 50 || random.below(2)) {
            object o = {0, 1 + random.below(random.below(20) ? 400 : 40000)};
            mheap_get_aligned(heap.v(), o.n, size_t{8} << random.below(5), 0, &o.u);
            ASSERT_NE(o.u, MHEAP_GROUNDED);
            fill(heap, o.u, o.n, c);
            mine.push_back(o);
            continue;
        }
        object &o = mine[random.below(mine.size())];
        ASSERT_TRUE(holds(heap, o.u, o.n, c));
        ASSERT_GE(mheap_data_bytes(heap.v(), o.u), o.n);
        size_t n = 1 + random.below(1000);
        if (random.below(3) == 0 && mheap_resize(heap.v(), o.u, n)) {
            o.n = n;
            fill(heap, o.u, n, c);
            continue;
        }
        mheap_put(heap.v(), o.u);
        o = mine.back();
        mine.pop_back();
    }
    for (const object &o : mine) {
        ASSERT_TRUE(holds(heap, o.u, o.n, c));
        mheap_put(heap.v(), o.u);
    }
}

} // namespace

TEST(Threads, EachWithItsOwnObjects) {
    Heap heap(256 << 20, flags);
    std::vector<std::thread> threads;
    for (uint64_t t = 1; t <= 4; t++)
        threads.emplace_back([&heap, t] { churn(heap, t, 8000); });
    for (auto &thread : threads)
        thread.join();
    EXPECT_EQ(mheap_elts(heap.v()), 0u);
    EXPECT_EQ(heap.state(), "ok");
}

/* One makes objects, another frees them; the offset is handed over through an atomic slot. */
TEST(Threads, HandingObjectsOver) {
    Heap heap(64 << 20, flags);
    std::atomic<mheap_uoffset_t> slots[64];
    for (auto &slot : slots)
        slot = 0;
    const int n_objects = 20000;
    std::thread maker([&] {
        for (int i = 0; i < n_objects; i++) {
            mheap_uoffset_t u;
            mheap_get(heap.v(), 8 + static_cast<size_t>(i % 500), &u);
            memset(heap.at(u), i, 8);
            while (slots[i % 64].load(std::memory_order_relaxed))
                std::this_thread::yield();
            slots[i % 64].store(u, std::memory_order_release);
        }
    });
    for (int i = 0; i < n_objects; i++) {
        mheap_uoffset_t u;
        while (!(u = slots[i % 64].load(std::memory_order_acquire)))
            std::this_thread::yield();
        ASSERT_EQ(heap.at(u)[7], static_cast<char>(i));
        mheap_put(heap.v(), u);
        slots[i % 64].store(0, std::memory_order_relaxed);
    }
    maker.join();
    EXPECT_EQ(mheap_elts(heap.v()), 0u);
}

TEST(Threads, ReadersWhileOthersChange) {
    Heap heap(64 << 20, flags);
    std::atomic<bool> is_over{false};
    std::thread changer([&] {
        churn(heap, 1, 15000);
        is_over = true;
    });
    while (!is_over) {
        ASSERT_EQ(heap.state(), "ok");
        mheap_usage_t usage;
        mheap_usage(heap.v(), &usage);
        ASSERT_EQ(usage.bytes_total, usage.bytes_used + usage.bytes_overhead + usage.bytes_free);
        ASSERT_LE(mheap_bytes(heap.v()), mheap_max_size(heap.v()));
        mheap_format_to(
            heap.v(), [](void *, const char *, size_t) {}, nullptr, 2);
        mheap_foreach(
            heap.v(), [](void *, void *, void *, size_t) -> uintptr_t { return 0; }, nullptr);
        mheap_is_heap_object(heap.v(), 4096);
    }
    changer.join();
}

TEST(Threads, TracingIsSwitchedWhileOthersAllocate) {
    Heap heap(64 << 20, flags);
    std::atomic<bool> is_over{false};
    std::thread a([&] { churn(heap, 1, 3000); });
    std::thread b([&] {
        churn(heap, 2, 3000);
        is_over = true;
    });
    while (!is_over) {
        EXPECT_TRUE(mheap_trace(heap.v(), true));
        mheap_trace_foreach(
            heap.v(), [](void *, const mheap_trace_row_t *) {}, nullptr);
        EXPECT_TRUE(mheap_trace(heap.v(), false));
    }
    a.join();
    b.join();
    EXPECT_EQ(heap.state(), "ok");
}

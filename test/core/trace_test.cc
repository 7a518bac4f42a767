/* SPDX-License-Identifier: MIT */
#include "heap_fixture.h"

#include <algorithm>
#include <map>

#include "trace.h"

namespace {

std::vector<mheap_trace_row_t> rows_of(trace_table_t *t) {
    std::vector<mheap_trace_row_t> rows;
    EXPECT_TRUE(trace_foreach(
        t,
        [](void *arg, const mheap_trace_row_t *row) {
            static_cast<std::vector<mheap_trace_row_t> *>(arg)->push_back(*row);
        },
        &rows));
    return rows;
}

std::vector<mheap_trace_row_t> rows_of(const Heap &heap) {
    std::vector<mheap_trace_row_t> rows;
    mheap_trace_foreach(
        heap.v(),
        [](void *arg, const mheap_trace_row_t *row) {
            static_cast<std::vector<mheap_trace_row_t> *>(arg)->push_back(*row);
        },
        &rows);
    return rows;
}

__attribute__((noinline)) mheap_uoffset_t get_here(Heap &heap, size_t n) {
    mheap_uoffset_t u;
    mheap_get(heap.v(), n, &u);
    return u;
}

__attribute__((noinline)) mheap_uoffset_t get_there(Heap &heap, size_t n) {
    mheap_uoffset_t u;
    mheap_get_aligned(heap.v(), n, 64, 0, &u);
    return u;
}

__attribute__((noinline)) uint32_t capture_inner(uintptr_t *callers, uint32_t max, unsigned skip) {
    uint32_t n = trace_capture(callers, max, skip);
    asm volatile(""); /* no tail call */
    return n;
}

__attribute__((noinline)) uint32_t capture_outer(uintptr_t *callers, uint32_t max, unsigned skip,
                                                 uintptr_t *return_address) {
    *return_address = reinterpret_cast<uintptr_t>(__builtin_return_address(0));
    uint32_t n = capture_inner(callers, max, skip);
    asm volatile("");
    return n;
}

class Table : public ::testing::Test {
  protected:
    void SetUp() override { t = trace_create(); }
    void TearDown() override { trace_destroy(t); }
    trace_table_t *t;
    uintptr_t a[3] = {1, 2, 3}, b[3] = {1, 2, 4};
};

} // namespace

TEST_F(Table, GroupsByCallStack) {
    EXPECT_TRUE(trace_add(t, 100, 10, a, 3));
    EXPECT_TRUE(trace_add(t, 200, 20, a, 3));
    EXPECT_TRUE(trace_add(t, 300, 500, b, 3));
    EXPECT_TRUE(trace_add(t, 400, 40, a, 2));
    auto rows = rows_of(t);
    ASSERT_EQ(rows.size(), 3u); /* most bytes first */
    EXPECT_EQ(rows[0].n_bytes, 500u);
    EXPECT_EQ(rows[0].sample, 300u);
    EXPECT_EQ(rows[1].n_bytes, 40u);
    EXPECT_EQ(rows[1].n_callers, 2u);
    EXPECT_EQ(rows[2].n_bytes, 30u);
    EXPECT_EQ(rows[2].n_allocations, 2u);
    EXPECT_TRUE(rows[2].sample == 100 || rows[2].sample == 200);
    EXPECT_EQ(rows[2].callers[2], 3u);
}

TEST_F(Table, EmptyHasNoRows) {
    EXPECT_TRUE(rows_of(t).empty());
    trace_add(t, 1, 1, a, 3);
    trace_remove(t, 1);
    EXPECT_TRUE(rows_of(t).empty());
}

TEST_F(Table, RemovesAndResizes) {
    trace_add(t, 100, 10, a, 3);
    trace_add(t, 200, 20, a, 3);
    trace_remove(t, 100);
    trace_remove(t, 100);
    trace_remove(t, 999);
    trace_resize(t, 200, 7);
    trace_resize(t, 999, 7);
    auto rows = rows_of(t);
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0].n_allocations, 1u);
    EXPECT_EQ(rows[0].n_bytes, 7u);
    EXPECT_EQ(rows[0].sample, 200u);
}

TEST_F(Table, ANewRecordReplacesTheOld) {
    trace_add(t, 100, 10, a, 3);
    trace_add(t, 100, 20, b, 3);
    auto rows = rows_of(t);
    ASSERT_EQ(rows.size(), 1u);
    EXPECT_EQ(rows[0].callers[2], 4u);
}

TEST_F(Table, KeyZeroAndNoCallersAreFine) {
    EXPECT_TRUE(trace_add(t, 0, 10, a, 0));
    EXPECT_EQ(rows_of(t).size(), 1u);
    trace_remove(t, 0);
    EXPECT_TRUE(rows_of(t).empty());
}

/* Against a map, with many keys and stacks, through all growing and moving of slots. */
TEST_F(Table, AgreesWithAModel) {
    Random random(5);
    std::map<uintptr_t, std::pair<uint64_t, uintptr_t>> model;
    for (int i = 0; i < 100000; i++) {
        uintptr_t key = 16 * random.below(20000);
        if (random.below(3)) {
            uint64_t n_bytes = random.below(1000);
            uintptr_t callers[2] = {7, random.below(3000)};
            ASSERT_TRUE(trace_add(t, key, n_bytes, callers, 2));
            model[key] = {n_bytes, callers[1]};
        } else {
            trace_remove(t, key);
            model.erase(key);
        }
    }
    std::map<uintptr_t, std::pair<uint64_t, uint64_t>> expected, found;
    for (const auto &entry : model) {
        expected[entry.second.second].first += 1;
        expected[entry.second.second].second += entry.second.first;
    }
    auto rows = rows_of(t);
    for (const auto &row : rows) {
        found[row.callers[1]] = {row.n_allocations, row.n_bytes};
        EXPECT_EQ(model.at(row.sample).second, row.callers[1]);
    }
    EXPECT_EQ(found, expected);
    EXPECT_TRUE(std::is_sorted(rows.begin(), rows.end(),
                               [](const auto &x, const auto &y) { return x.n_bytes > y.n_bytes; }));
    for (const auto &entry : model)
        trace_remove(t, entry.first);
    EXPECT_TRUE(rows_of(t).empty());
    EXPECT_EQ(trace_n_lost(t), 0u);
}

TEST_F(Table, LosesRecordsWithoutMemoryAndRecovers) {
    vm_allow_hook = [](vm_call_t) { return false; };
    uint64_t n_done = 0;
    for (uintptr_t key = 1; key <= 10000; key++)
        n_done += trace_add(t, key, 1, a, 3);
    size_t n_rows = 0;
    EXPECT_EQ(trace_snapshot(t, &n_rows), nullptr);
    EXPECT_NE(n_rows, 0u);
    vm_allow_hook = nullptr;
    EXPECT_EQ(trace_n_lost(t), 10000 - n_done);
    EXPECT_GT(trace_n_lost(t), 0u);
    EXPECT_EQ(rows_of(t)[0].n_allocations, n_done);
    EXPECT_TRUE(trace_add(t, 20000, 1, a, 3));
}

TEST_F(Table, LosesOnlyNewCallStacksWithoutMemory) {
    static int n_left;
    for (int n_allowed = 0; n_allowed < 2; n_allowed++) {
        n_left = n_allowed; /* the first, then the second mapping of a larger table fails */
        vm_allow_hook = [](vm_call_t call) { return call != VM_CALL_MAP || n_left-- > 0; };
        uintptr_t caller = 1;
        while (trace_add(t, caller % 100, 1, &caller, 1))
            caller++;
        vm_allow_hook = nullptr;
        EXPECT_GT(caller, 100u);
        EXPECT_EQ(rows_of(t).size(), 99u); /* the key's old record is gone, the others are there */
    }
    EXPECT_EQ(trace_n_lost(t), 2u);
    uintptr_t caller = 1 << 20;
    EXPECT_TRUE(trace_add(t, 1000, 1, &caller, 1));
}

TEST_F(Table, KeepsNoMoreCallersThanARowHas) {
    uintptr_t callers[MHEAP_TRACE_CALLERS + 5] = {};
    EXPECT_TRUE(trace_add(t, 1, 1, callers, MHEAP_TRACE_CALLERS + 5));
    EXPECT_EQ(rows_of(t)[0].n_callers, static_cast<uint32_t>(MHEAP_TRACE_CALLERS));
}

TEST_F(Table, LockCanBeHeldOverAForkAndReset) {
    trace_lock(t);
    trace_unlock(t);
    trace_lock(t);
    trace_reset_lock(t);
    EXPECT_TRUE(trace_add(t, 1, 1, a, 3));
}

TEST(TraceCapture, BeginsWithTheCallersCaller) {
    uintptr_t callers[MHEAP_TRACE_CALLERS], expected;
    trace_warm_up();
    uint32_t n = capture_outer(callers, MHEAP_TRACE_CALLERS, 1, &expected);
    ASSERT_GE(n, 2u);
    EXPECT_EQ(callers[0], expected);
    uintptr_t second = callers[1];
    n = capture_outer(callers, 3, 2, &expected);
    EXPECT_LE(n, 3u);
    EXPECT_EQ(callers[0], second);
    n = capture_outer(callers, MHEAP_TRACE_CALLERS, 0, &expected);
    EXPECT_EQ(callers[1], expected);
}

/* ---- In a heap ---- */

TEST(Trace, GroupsByWhereTheUserCalled) {
    Heap heap(1 << 20);
    EXPECT_TRUE(mheap_trace(heap.v(), true));
    volatile int n_here = 3, n_there = 2; /* not unrolled: that would be several call stacks */
    for (int i = 0; i < n_here; i++)
        get_here(heap, 100);
    mheap_uoffset_t there = 0;
    for (int i = 0; i < n_there; i++)
        there = get_there(heap, 1000);
    auto rows = rows_of(heap);
    ASSERT_EQ(rows.size(), 2u);
    EXPECT_EQ(rows[0].n_allocations, 2u);
    EXPECT_EQ(rows[0].n_bytes, 2000u);
    EXPECT_EQ(rows[1].n_allocations, 3u);
    EXPECT_EQ(rows[1].n_bytes, 312u);
    EXPECT_GE(rows[0].n_callers, 2u);
    EXPECT_TRUE(mheap_is_heap_object(heap.v(), static_cast<mheap_uoffset_t>(rows[0].sample)));

    /* The innermost caller is the user's function, not one of ours. */
    auto code = reinterpret_cast<uintptr_t>(&get_there);
    EXPECT_GT(rows[0].callers[0], code);
    EXPECT_LT(rows[0].callers[0], code + 1000);

    heap.put(there);
    mheap_resize(heap.v(), static_cast<mheap_uoffset_t>(rows_of(heap)[0].sample), 8);
    EXPECT_EQ(rows_of(heap).back().n_bytes, 8u);
}

TEST(Trace, SwitchingOffForgets) {
    Heap heap(1 << 20, MHEAP_FLAG_TRACE);
    mheap_uoffset_t u = get_here(heap, 100);
    EXPECT_EQ(rows_of(heap).size(), 1u);
    EXPECT_TRUE(mheap_trace(heap.v(), false));
    EXPECT_TRUE(mheap_trace(heap.v(), false));
    EXPECT_TRUE(rows_of(heap).empty());
    EXPECT_TRUE(mheap_trace(heap.v(), true));
    EXPECT_TRUE(mheap_trace(heap.v(), true));
    EXPECT_TRUE(rows_of(heap).empty());
    heap.put(u);
    EXPECT_EQ(heap.state(), "ok");
}

TEST(Trace, CachedObjectsAreNotLive) {
    Heap heap(1 << 20, MHEAP_FLAG_TRACE | MHEAP_FLAG_SMALL_OBJECT_CACHE);
    mheap_uoffset_t u = get_here(heap, 100);
    heap.put(u);
    EXPECT_TRUE(rows_of(heap).empty());
    EXPECT_EQ(get_here(heap, 100), u);
    EXPECT_EQ(rows_of(heap).size(), 1u);
}

TEST(Trace, FailsToSwitchOnWithoutMemory) {
    Heap heap(1 << 20);
    for (int n = 0; n < 4; n++) {
        static int n_left;
        n_left = n;
        vm_allow_hook = [](vm_call_t call) { return call != VM_CALL_MAP || n_left-- > 0; };
        EXPECT_FALSE(mheap_trace(heap.v(), true));
        EXPECT_EQ(mheap_alloc_with_flags(nullptr, 1 << 20, MHEAP_FLAG_TRACE), nullptr);
        vm_allow_hook = nullptr;
    }
    EXPECT_TRUE(mheap_trace(heap.v(), true));
}

/* SPDX-License-Identifier: MIT */
/* The system calls, and what the heap does when any one of them fails. */
#include "heap_fixture.h"

#include <cerrno>

namespace {

long n_calls_until_failure; /* the hook lets so many pass, then refuses one (or all) */
bool fails_for_ever;
bool has_failed;

bool refuse_nth(vm_call_t) {
    if (--n_calls_until_failure > 0)
        return true;
    if (n_calls_until_failure == 0 || fails_for_ever) {
        has_failed = true;
        return false;
    }
    return true;
}

bool refuse_commit(vm_call_t call) {
    return call != VM_CALL_COMMIT;
}

class FailAt {
  public:
    FailAt(long n, bool for_ever) {
        n_calls_until_failure = n;
        fails_for_ever = for_ever;
        has_failed = false;
        vm_allow_hook = refuse_nth;
    }
    ~FailAt() { vm_allow_hook = nullptr; }
};

bool is_aligned(void *p, size_t align) {
    return reinterpret_cast<uintptr_t>(p) % align == 0;
}

/* A heap's life.  Everything may fail but nothing may break. */
void live() {
    void *v = mheap_alloc_with_flags(nullptr, 64 << 20, MHEAP_FLAG_TRACE);
    if (!v)
        return;
    std::vector<mheap_uoffset_t> u;
    for (size_t i = 0; i < 200; i++) {
        mheap_uoffset_t uoffset;
        size_t n_bytes = i % 10 ? 1000 + i : 600000;
        mheap_get(v, n_bytes, &uoffset);
        if (uoffset == MHEAP_GROUNDED)
            continue;
        memset(static_cast<char *>(v) + uoffset, 1, n_bytes);
        u.push_back(uoffset);
    }
    if (!u.empty())
        mheap_resize(v, u.back(), 3 << 20);
    for (size_t i = 0; i < u.size(); i += 2)
        mheap_put(v, u[i]);
    mheap_purge(mheap_header(v), SIZE_MAX);
    ASSERT_TRUE(mheap_validate(v));
    for (size_t i = 1; i < u.size(); i += 2)
        mheap_put(v, u[i]);
    ASSERT_TRUE(mheap_validate(v));
    ASSERT_EQ(mheap_elts(v), 0u);
    mheap_free(v);
}

} // namespace

TEST(Vm, ReservesAligned) {
    size_t page = vm_page_bytes();
    for (size_t align : {page, 16 * page, size_t{64} << 20}) {
        void *p = vm_reserve(3 * page, align);
        ASSERT_NE(p, nullptr);
        EXPECT_TRUE(is_aligned(p, align));
        EXPECT_EQ(vm_reserve_at(p, page), nullptr); /* taken */
        EXPECT_TRUE(vm_release(p, 3 * page));
        EXPECT_EQ(vm_reserve_at(p, page), p);
        EXPECT_TRUE(vm_release(p, page));
    }
}

TEST(Vm, CommitPurgeRenewDecommit) {
    size_t page = vm_page_bytes();
    char *p = static_cast<char *>(vm_reserve(8 * page, page));
    ASSERT_TRUE(vm_commit(p, 4 * page));
    EXPECT_EQ(vm_resident_bytes(p, 8 * page), 0u);
    memset(p, 1, 4 * page);
    EXPECT_EQ(vm_resident_bytes(p, 8 * page), 4 * page);
    EXPECT_TRUE(vm_purge(p + page, 2 * page));
    EXPECT_EQ(vm_resident_bytes(p, 8 * page), 2 * page);
    EXPECT_EQ(p[page], 0);
    EXPECT_EQ(p[0], 1);
    EXPECT_TRUE(vm_renew(p, 4 * page));
    EXPECT_EQ(p[0], 0);
    p[0] = 1;
    EXPECT_TRUE(vm_decommit(p, 4 * page));
    EXPECT_TRUE(vm_commit(p, page));
    EXPECT_EQ(p[0], 0);
    EXPECT_TRUE(vm_release(p, 8 * page));
}

TEST(Vm, MovesPages) {
    size_t page = vm_page_bytes();
    char *from = static_cast<char *>(vm_map(2 * page)), *to = static_cast<char *>(vm_map(2 * page));
    strcpy(from, "moved");
    if (vm_move(from, to, 2 * page)) { /* not before Linux 5.7 */
        EXPECT_STREQ(to, "moved");
        EXPECT_STREQ(from, "");
    }
    vm_release(from, 2 * page);
    vm_release(to, 2 * page);
}

TEST(VmFailure, MovesNothingWhenRefused) {
    size_t n = 4 * vm_page_bytes();
    char *from = static_cast<char *>(vm_map(n)), *to = static_cast<char *>(vm_map(n));
    from[0] = 1;
    {
        FailAt first(1, false);
        EXPECT_FALSE(vm_move(from, to, n));
    }
    EXPECT_EQ(from[0], 1);
    EXPECT_EQ(to[0], 0);
    vm_release(from, n);
    vm_release(to, n);
}

/* The first try is not aligned by luck (64 GiB); the second, wider one is refused. */
TEST(VmFailure, NoRoomForTheWiderReservation) {
    FailAt third(3, false); /* reserve, release, reserve */
    EXPECT_EQ(vm_reserve(vm_page_bytes(), size_t{1} << 36), nullptr);
    EXPECT_TRUE(has_failed);
}

TEST(Vm, PopulatesAtOnce) {
    size_t page = vm_page_bytes();
    char *p = static_cast<char *>(vm_map(16 * page));
    if (vm_populate(p, 8 * page)) { /* not before Linux 5.14 */
        EXPECT_EQ(vm_resident_bytes(p, 16 * page), 8 * page);
        EXPECT_EQ(p[0], 0);
    }
    vm_huge_pages(p, 16 * page, true);
    vm_huge_pages(p, 16 * page, false);
    p[0] = 1;
    vm_release(p, 16 * page);
}

TEST(Vm, KeepsErrno) {
    errno = 12345;
    EXPECT_EQ(vm_reserve(size_t{1} << 60, vm_page_bytes()), nullptr);
    EXPECT_EQ(vm_reserve(SIZE_MAX - 4095, vm_page_bytes()), nullptr);
    EXPECT_EQ(vm_map(size_t{1} << 60), nullptr);
    EXPECT_FALSE(vm_purge(reinterpret_cast<void *>(1), 1));
    EXPECT_EQ(errno, 12345);
}

TEST(Vm, RoundsUpToPages) {
    size_t page = vm_page_bytes();
    EXPECT_EQ(vm_round_up(0), 0u);
    EXPECT_EQ(vm_round_up(1), page);
    EXPECT_EQ(vm_round_up(page), page);
}

TEST(VmFailure, EachCallFailingOnce) {
    long n = 1;
    for (;; n++) {
        FailAt fail(n, false);
        live();
        if (!has_failed || HasFatalFailure())
            break;
    }
    EXPECT_GT(n, 10) << "the scenario makes that many calls";
}

TEST(VmFailure, AllCallsFailingFromTheNthOn) {
    for (long n = 1; n < 40; n++) {
        FailAt fail(n, true);
        live();
    }
}

TEST(VmFailure, NoMemoryLeavesTheHeapAsItWas) {
    Heap heap(64 << 20);
    mheap_uoffset_t u = heap.get(1000);
    uint64_t len = heap.h()->len;
    vm_allow_hook = refuse_commit;
    EXPECT_EQ(heap.get(1 << 20), MHEAP_GROUNDED);
    EXPECT_FALSE(mheap_resize(heap.v(), u, 1 << 20));
    vm_allow_hook = nullptr;
    EXPECT_EQ(heap.h()->len, len);
    EXPECT_EQ(heap.h()->n_elts, 1u);
    EXPECT_EQ(heap.state(), "ok");
    EXPECT_TRUE(mheap_resize(heap.v(), u, 1 << 20));
}

/* Where a large step fails, the smallest that serves is tried. */
TEST(VmFailure, CommitFallsBackToTheSmallestStep) {
    Heap heap(64 << 20);
    {
        static int n;
        n = 0;
        vm_allow_hook = [](vm_call_t call) { return call != VM_CALL_COMMIT || ++n > 1; };
        EXPECT_NE(heap.get(100 << 10), MHEAP_GROUNDED);
        vm_allow_hook = nullptr;
    }
    EXPECT_LE(heap.h()->accessible_len, (100u << 10) + 2 * vm_page_bytes());
    EXPECT_EQ(heap.state(), "ok");
}

TEST(VmFailure, CreationFailsCleanly) {
    for (long n = 1; n <= 2; n++) {
        FailAt fail(n, false);
        EXPECT_EQ(mheap_alloc(nullptr, 1 << 20), nullptr);
    }
}

TEST(VmFailure, LostTraceRecordsAreCounted) {
    Heap heap(64 << 20, MHEAP_FLAG_TRACE);
    vm_allow_hook = [](vm_call_t call) { return call != VM_CALL_MAP; };
    auto u = heap.get_n(10000, 8);
    for (mheap_uoffset_t uoffset : u)
        heap.put(uoffset);
    vm_allow_hook = nullptr;
    EXPECT_EQ(heap.state(), "ok");
    std::string text;
    mheap_format_to(
        heap.v(),
        [](void *arg, const char *t, size_t n) { static_cast<std::string *>(arg)->append(t, n); },
        &text, 1);
    EXPECT_NE(text.find(" records lost"), std::string::npos);
    EXPECT_EQ(text.find("(0 records lost"), std::string::npos) << text;
}

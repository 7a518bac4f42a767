// SPDX-License-Identifier: MIT
// The pages of runs are faulted in with one call each where a class has many; a program may forbid
// itself that call.
#include "new_heap.h"

#include <csignal>
#include <cstddef>
#include <cstdlib>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>
#include <vector>

#include <gtest/gtest.h>

#include "vm.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

namespace {

constexpr size_t kMiB = size_t{1} << 20, kRun = size_t{64} << 10;

std::vector<void *> allocate(size_t n_bytes, size_t size) {
    std::vector<void *> objects(n_bytes / size);
    for (void *&object : objects)
        object = heap_malloc(size);
    return objects;
}

void free_all(const std::vector<void *> &objects) {
    for (void *object : objects)
        heap_free(object);
}

uint64_t n_populates() {
    return vm_n_calls(VM_CALL_POPULATE);
}

bool kernel_can() {
    void *page = vm_map(vm_page_bytes());
    bool can = vm_populate(page, vm_page_bytes());
    vm_release(page, vm_page_bytes());
    return can;
}

TEST(FaultIn, ABusyClassHasItsRunsAtOnce) {
    if (!kernel_can())
        GTEST_SKIP() << "no MADV_POPULATE_WRITE";
    in_new_heap([](void *pin) {
        uint64_t before = n_populates();
        std::vector<void *> objects = allocate(8 * kMiB, 256);
        uint64_t n_calls = n_populates() - before;
        EXPECT_GT(n_calls, 8 * kMiB / kRun / 2);
        EXPECT_LE(n_calls, 8 * kMiB / kRun);
        double resident = static_cast<double>(api_resident_bytes(pin));
        EXPECT_NEAR(static_cast<double>(api_accounted_bytes(pin)), resident, resident * 0.02);
        free_all(objects);
    });
}

// Ten runs of each class: nobody knows whether the next one is going to be used.
TEST(FaultIn, ManyClassesOfFewRunsAreNotFaultedIn) {
    in_new_heap([](void *) {
        uint64_t before = n_populates();
        std::vector<std::vector<void *>> objects;
        for (size_t size = 64; size <= 1024; size += size / 8)
            objects.push_back(allocate(10 * kRun, size));
        EXPECT_EQ(n_populates(), before);
        for (const auto &of_size : objects)
            free_all(of_size);
    });
}

#if defined(__x86_64__)
// What the kernel does instead of madvise(..., MADV_POPULATE_WRITE).
bool forbid_populate(uint32_t instead) {
    struct sock_filter program[] = {
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_madvise, 0, 3),
        BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, args[2])),
        BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, MADV_POPULATE_WRITE, 0, 1),
        BPF_STMT(BPF_RET | BPF_K, instead),
        BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
    };
    struct sock_fprog filter = {sizeof program / sizeof program[0], program};
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
           prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &filter) == 0;
}

void grow_where_it_is_forbidden() {
    if (!forbid_populate(SECCOMP_RET_ERRNO | 1 /* EPERM */))
        _exit(2);
    uint64_t before = n_populates();
    for (int i = 0; i < 3; i++)
        free_all(allocate(8 * kMiB, 256));
    _exit(n_populates() - before == 1 && !api_check() ? 0 : 1);
}

// As browsers' sandboxes do it.
void grow_where_it_traps() {
    signal(SIGSYS, [](int) { _exit(1); });
    if (!forbid_populate(SECCOMP_RET_TRAP))
        _exit(2);
    free_all(allocate(8 * kMiB, 256));
    _exit(api_check() ? 1 : 0);
}

bool is_well_or_may_not_filter(int status) {
    int code = WIFEXITED(status) ? WEXITSTATUS(status) : -1;
    return code == 0 || code == 2;
}

// In a process of its own, in whose heaps no other test has left anything.
class FaultInForbidden : public testing::Test {
  protected:
    void SetUp() override { GTEST_FLAG_SET(death_test_style, "threadsafe"); }
    void TearDown() override { GTEST_FLAG_SET(death_test_style, "fast"); }
};

TEST_F(FaultInForbidden, AProgramThatForbidsItselfTheCallIsAskedOnce) {
    EXPECT_EXIT(grow_where_it_is_forbidden(), is_well_or_may_not_filter, "");
}

TEST_F(FaultInForbidden, NothingIsTriedWhereSystemCallsTrap) {
    EXPECT_EXIT(grow_where_it_traps(), is_well_or_may_not_filter, "");
}
#endif

} // namespace

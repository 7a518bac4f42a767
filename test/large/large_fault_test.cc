// SPDX-License-Identifier: MIT
// System calls that fail: the Nth one, all of a kind, one in a few.  Nothing is lost, what is live
// keeps its contents, and the next operation works again.
#include "large_fixture.h"

namespace {

uint64_t calls_left; // before the one that fails

bool fail_at_zero(vm_call_t) {
    return calls_left-- != 0;
}

struct Object {
    char *memory;
    size_t n_bytes;
};

class LargeFaultTest : public LargeTest {
  protected:
    void add(size_t n_bytes, size_t align = 1) {
        char *memory = static_cast<char *>(large_alloc(n_bytes, align, &is_zero_));
        if (!memory)
            return;
        if (is_zero_) {
            EXPECT_TRUE(is_zero(memory, n_bytes));
        }
        fill(memory, n_bytes, objects_.size());
        objects_.push_back({memory, n_bytes});
    }

    void change(size_t i, size_t n_bytes) {
        if (i >= objects_.size() || !objects_[i].memory)
            return;
        char *memory = static_cast<char *>(large_resize(objects_[i].memory, n_bytes, &what_));
        EXPECT_EQ(what_, nullptr);
        if (!memory)
            return;
        EXPECT_TRUE(is_filled(memory, std::min(n_bytes, objects_[i].n_bytes), i));
        fill(memory, n_bytes, i);
        objects_[i] = {memory, n_bytes};
    }

    void drop(size_t i) {
        if (i >= objects_.size() || !objects_[i].memory)
            return;
        free(objects_[i].memory);
        objects_[i].memory = nullptr;
    }

    // A bit of everything, with every kind of system call in it.
    void run_script() {
        add(MiB);
        add(600 * KiB);
        add(50 * MiB);
        add(2 * MiB, 16 * MiB);
        add(kPage, 128 * MiB);
        change(0, 3 * MiB);
        change(1, 40 * MiB);
        change(0, 5 * MiB);
        drop(2);
        add(40 * MiB);
        change(0, 700 * KiB);
        change(1, 90 * MiB);
        drop(3);
        large_purge(false);
        add(100 * MiB);
        drop(1);
        large_purge(true);
        add(MiB);
        change(6, 300 * MiB);
    }

    void check_and_drop_all() {
        ASSERT_STREQ(large_validate(), nullptr);
        size_t n_live = 0;
        for (size_t i = 0; i < objects_.size(); i++) {
            if (!objects_[i].memory)
                continue;
            n_live++;
            EXPECT_TRUE(is_filled(objects_[i].memory, objects_[i].n_bytes, i));
        }
        EXPECT_EQ(stats_now().n_objects, n_live);
        for (size_t i = 0; i < objects_.size(); i++)
            drop(i);
        objects_.clear();
    }

    std::vector<Object> objects_;
};

TEST_F(LargeFaultTest, EachSystemCallMayFail) {
    for (uint64_t n = 0;; n++) {
        SCOPED_TRACE(n);
        calls_left = n;
        vm_allow_hook = fail_at_zero;
        run_script();
        vm_allow_hook = nullptr;
        bool has_failed = calls_left > n; // wrapped
        check_and_drop_all();
        large_purge(true);
        ASSERT_EQ(stats_now().reserved_bytes, 0u);
        if (!has_failed) {
            EXPECT_GT(n, 20u);
            break;
        }
    }
}

vm_call_t refused;

TEST_F(LargeFaultTest, EachKindMayFailAlways) {
    for (int call = 0; call < VM_N_CALLS; call++) {
        SCOPED_TRACE(call);
        refused = static_cast<vm_call_t>(call);
        vm_allow_hook = [](vm_call_t asked) { return asked != refused; };
        run_script();
        check_and_drop_all();
        vm_allow_hook = nullptr;
        large_purge(true);
        ASSERT_EQ(stats_now().reserved_bytes, 0u);
    }
}

TEST_F(LargeFaultTest, NothingWorksWithoutTheSystem) {
    vm_allow_hook = [](vm_call_t) { return false; };
    EXPECT_EQ(large_alloc(MiB, 1, &is_zero_), nullptr);
    EXPECT_EQ(large_alloc(100 * MiB, 1, &is_zero_), nullptr);
    EXPECT_EQ(stats_now().reserved_bytes, 0u);
}

// As under RLIMIT_AS: large ranges are not to be had, only what is asked for last, the exact need.
TEST_F(LargeFaultTest, LittleAddressSpaceIsEnough) {
    static Random random(1);
    size_t n_objects = 0;
    for (int i = 0; i < 100; i++) {
        vm_allow_hook = [](vm_call_t call) {
            return call != VM_CALL_RESERVE || random.below(3) == 0;
        };
        for (int j = 0; j < 5; j++)
            add(3 * MiB);
        n_objects += objects_.size();
        vm_allow_hook = nullptr;
        check_and_drop_all();
        large_purge(true);
    }
    EXPECT_GT(n_objects, 50u);
}

} // namespace

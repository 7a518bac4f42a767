// SPDX-License-Identifier: MIT
// Several threads at once, also across fork.  Meaningful under the thread sanitizer, too.
#include "large_fixture.h"

#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <mutex>
#include <thread>

namespace {

constexpr int kThreads = 4;

// The parameter: how many stores there are from the beginning.
class LargeThreadsTest : public LargeTest, public testing::WithParamInterface<unsigned> {
  protected:
    void SetUp() override {
        LargeTest::SetUp();
        large_last_store = GetParam() - 1;
    }

    struct Object {
        char *memory;
        size_t n_bytes;
        uint64_t seed;
    };

    // Objects that change hands between threads.
    void hand_over(Object object) {
        std::lock_guard<std::mutex> guard(mutex_);
        shared_.push_back(object);
    }
    bool take_over(Object *object) {
        std::lock_guard<std::mutex> guard(mutex_);
        if (shared_.empty())
            return false;
        *object = shared_.back();
        shared_.pop_back();
        return true;
    }

    void check_and_free(const Object &object) {
        EXPECT_TRUE(is_filled(object.memory, object.n_bytes, object.seed));
        const char *what;
        EXPECT_TRUE(large_free(object.memory, &what));
    }

    void work(int thread, int n_steps) {
        run_on_processor(static_cast<unsigned>(thread));
        Random random(thread + 1);
        const char *what;
        for (int i = 0; i < n_steps; i++) {
            Object object = {nullptr, random.size_up_to(8 * MiB), random.next()};
            bool is_known_zero = false;
            object.memory = static_cast<char *>(large_alloc(object.n_bytes, 1, &is_known_zero));
            ASSERT_NE(object.memory, nullptr);
            fill(object.memory, object.n_bytes, object.seed);
            if (random.below(2)) {
                size_t n_bytes = random.size_up_to(16 * MiB);
                object.memory = static_cast<char *>(large_resize(object.memory, n_bytes, &what));
                ASSERT_NE(object.memory, nullptr);
                EXPECT_TRUE(
                    is_filled(object.memory, std::min(n_bytes, object.n_bytes), object.seed));
                object.n_bytes = n_bytes;
                fill(object.memory, n_bytes, object.seed);
            }
            hand_over(object);
            if (random.below(3) && take_over(&object))
                check_and_free(object);
            advance_clock_ms(random.below(20));
        }
    }

    void free_shared() {
        Object object;
        while (take_over(&object))
            check_and_free(object);
    }

    void run(int n_steps, const std::function<void()> &meanwhile) {
        std::vector<std::thread> threads;
        std::atomic<int> n_running{kThreads};
        for (int i = 0; i < kThreads; i++)
            threads.emplace_back([this, i, n_steps, &n_running] {
                work(i, n_steps);
                n_running--;
            });
        do
            meanwhile();
        while (n_running);
        for (std::thread &thread : threads)
            thread.join();
        free_shared();
    }

    std::mutex mutex_;
    std::vector<Object> shared_;
};

TEST_P(LargeThreadsTest, AllOperationsAtOnce) {
    run(150, [] {
        EXPECT_STREQ(large_validate(), nullptr);
        size_t n = 0;
        large_foreach([](void *arg, void *, size_t) { ++*static_cast<size_t *>(arg); }, &n);
        stats_now();
        large_purge(false);
        std::this_thread::yield();
    });
}

TEST_P(LargeThreadsTest, PurgeAllMeanwhile) {
    run(100, [] {
        large_purge(true);
        EXPECT_STREQ(large_validate(), nullptr);
    });
}

TEST_P(LargeThreadsTest, ForkMeanwhile) {
    run(60, [] {
        large_fork_prepare();
        pid_t child = fork();
        if (child == 0) { // only this thread is left: the store is whole and usable
            large_fork_child();
            bool is_known_zero = false;
            const char *what;
            if (large_validate())
                _exit(1);
            void *object = large_alloc(40 * MiB, 1, &is_known_zero);
            if (!object || !large_resize(object, 50 * MiB, &what) || large_validate())
                _exit(2);
            large_purge(true);
            _exit(large_validate() ? 3 : 0);
        }
        large_fork_parent();
        int status = 0;
        ASSERT_EQ(waitpid(child, &status, 0), child);
        EXPECT_TRUE(WIFEXITED(status));
        EXPECT_EQ(WEXITSTATUS(status), 0);
    });
}

// An address range on its way back to the kernel: the child could not tell whose it is.
TEST_P(LargeThreadsTest, ForkWaitsForWhatLeaves) {
    static std::atomic<bool> is_leaving, is_forking, has_left;
    is_leaving = is_forking = has_left = false;
    char *object = alloc(64 * MiB);
    vm_allow_hook = [](vm_call_t call) {
        if (call != VM_CALL_RELEASE)
            return true;
        is_leaving = true;
        while (!is_forking)
            std::this_thread::yield();
        usleep(20000); // the other thread is between there and its answer
        has_left = true;
        return true;
    };
    std::thread thread([object] {
        const char *what;
        EXPECT_TRUE(large_free(object, &what));
        large_purge(true);
    });
    while (!is_leaving)
        std::this_thread::yield();
    is_forking = true;
    large_fork_prepare();
    EXPECT_TRUE(has_left);
    EXPECT_EQ(store.leaving, nullptr);
    large_fork_parent();
    thread.join();
    vm_allow_hook = nullptr;
}

// A signal handler that forks while its thread is inside learns that it is, and takes no lock.
TEST_P(LargeThreadsTest, ForkFromInsideIsKnown) {
    static pid_t child;
    child = 0;
    char *object = alloc(MiB);
    EXPECT_FALSE(large_is_inside());
    large_foreach( // called under the lock, as such a handler would be
        [](void *, void *, size_t) {
            EXPECT_TRUE(large_is_inside());
            child = fork();
            if (child == 0) {
                large_fork_child();
                _exit(0);
            }
        },
        nullptr);
    EXPECT_FALSE(large_is_inside());
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    free(object); // the lock still works
}

INSTANTIATE_TEST_SUITE_P(Stores, LargeThreadsTest, testing::Values(1u, 4u));

} // namespace

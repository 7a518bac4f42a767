// SPDX-License-Identifier: MIT
// fork at any moment: the child of a threaded program allocates, frees what the parent's threads
// left in its copy, starts threads and forks again; the parent goes on.
#include "support.h"

#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/single_threaded.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <memory>
#include <thread>

using namespace interpose;

extern "C" char **environ;

namespace {

struct Object {
    size_t size;
    uint64_t seed;
    char data[];
};

// Slots full of live objects that threads keep replacing.  A slot's object was filled before it was
// put there and is freed only after it was taken out, so in a forked copy every slot is intact.
class Slots {
  public:
    static constexpr size_t kCount = 500;

    ~Slots() { drain(); }

    void replace(Random &random) {
        size_t size = random.size_up_to(random.below(200) ? 4 * KiB : MiB);
        auto *object = static_cast<Object *>(malloc(sizeof(Object) + size));
        require(object != nullptr, "malloc has memory");
        object->size = size;
        object->seed = random.next();
        fill_pattern(object->data, size, object->seed);
        check_and_free(slots_[random.below(kCount)].exchange(object));
    }

    bool all_intact() const {
        for (const std::atomic<Object *> &slot : slots_)
            if (const Object *object = slot; object && !is_intact(object))
                return false;
        return true;
    }

    void drain() {
        for (std::atomic<Object *> &slot : slots_)
            check_and_free(slot.exchange(nullptr));
    }

  private:
    static bool is_intact(const Object *object) {
        return has_pattern(object->data, object->size, object->seed);
    }
    static void check_and_free(Object *object) {
        require(!object || is_intact(object), "the object is intact when it is freed");
        free(object);
    }

    std::atomic<Object *> slots_[kCount] = {};
};

// Threads that replace objects in the slots until they are stopped.
class Load {
  public:
    Load(Slots *slots, int n_threads) {
        for (int t = 0; t < n_threads; t++)
            threads_.emplace_back([this, slots, t] {
                Random random(t + 1);
                while (!stop_) {
                    slots->replace(random);
                    n_steps_++;
                }
            });
        while (n_steps_ < 1000)
            sched_yield();
    }
    ~Load() {
        stop_ = true;
        for (std::thread &thread : threads_)
            thread.join();
    }

  private:
    std::atomic<bool> stop_{false};
    std::atomic<size_t> n_steps_{0};
    std::vector<std::thread> threads_;
};

// The exit status of a child, or minus the signal that ended it.
int wait_for(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        if (errno != EINTR)
            return -1000;
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

void work_in_child(Slots *slots, int steps) {
    Random random(getpid());
    for (int i = 0; i < steps; i++)
        slots->replace(random);
}

} // namespace

TEST(Fork, ChildAllocatesAndFreesTheParentsObjects) {
    auto slots = std::make_unique<Slots>();
    Load load(slots.get(), 4);
    for (int i = 0; i < 300; i++) {
        pid_t child = fork();
        if (child == 0) {
            work_in_child(slots.get(), 300);
            require(slots->all_intact(), "the child's copy is intact");
            slots->drain();
            work_in_child(slots.get(), 300);
            _exit(0);
        }
        ASSERT_EQ(wait_for(child), 0) << i;
    }
}

TEST(Fork, ChildStartsThreadsAndForksAgain) {
    auto slots = std::make_unique<Slots>();
    Load load(slots.get(), 3);
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        if (child == 0) {
            {
                Load childs_load(slots.get(), 2);
                work_in_child(slots.get(), 100);
                pid_t grandchild = fork();
                if (grandchild == 0) {
                    work_in_child(slots.get(), 100);
                    slots->drain();
                    _exit(0);
                }
                require(wait_for(grandchild) == 0, "the grandchild works");
            }
            require(slots->all_intact(), "the child's copy is intact");
            _exit(0);
        }
        ASSERT_EQ(wait_for(child), 0) << i;
    }
}

// Through exit, with static destructors, atexit handlers and stdio.
TEST(Fork, ChildExitsNormally) {
    auto slots = std::make_unique<Slots>();
    Load load(slots.get(), 2);
    fflush(nullptr);
    for (int i = 0; i < 50; i++) {
        pid_t child = fork();
        if (child == 0) {
            work_in_child(slots.get(), 100);
            atexit([] { free(malloc(100)); });
            exit(0);
        }
        ASSERT_EQ(wait_for(child), 0) << i;
    }
}

TEST(Fork, ManyChildrenAtOnce) {
    auto slots = std::make_unique<Slots>();
    Load load(slots.get(), 2);
    for (int round = 0; round < 10; round++) {
        std::vector<pid_t> children(16);
        for (pid_t &child : children) {
            child = fork();
            if (child == 0) {
                work_in_child(slots.get(), 200);
                _exit(0);
            }
        }
        for (pid_t child : children)
            ASSERT_EQ(wait_for(child), 0);
    }
}

TEST(Fork, FromSeveralThreadsAtOnce) {
    auto slots = std::make_unique<Slots>();
    Load load(slots.get(), 2);
    std::vector<std::thread> forkers;
    for (int t = 0; t < 4; t++)
        forkers.emplace_back([&] {
            for (int i = 0; i < 40; i++) {
                pid_t child = fork();
                if (child == 0) {
                    work_in_child(slots.get(), 100);
                    _exit(0);
                }
                EXPECT_EQ(wait_for(child), 0);
            }
        });
    for (std::thread &forker : forkers)
        forker.join();
}

// A line of descendants, each of which first uses what it inherited.
TEST(Fork, ThirtyGenerations) {
    auto slots = std::make_unique<Slots>();
    pid_t first = fork();
    if (first == 0) {
        for (int generation = 0; generation < 30; generation++) {
            {
                Load load(slots.get(), 2);
                work_in_child(slots.get(), 50);
            }
            pid_t child = fork();
            if (child)
                _exit(wait_for(child) == 0 ? 0 : 100);
        }
        require(slots->all_intact(), "the last one's copy is intact");
        _exit(0);
    }
    EXPECT_EQ(wait_for(first), 0);
}

// Forks while threads start and end: their heaps are being made, left and adopted.
TEST(Fork, WhileThreadsComeAndGo) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> starters;
    for (int t = 0; t < 2; t++)
        starters.emplace_back([&stop] {
            while (!stop)
                std::thread([] {
                    for (size_t size = 1; size < 100 * KiB; size *= 2)
                        free(malloc(size));
                }).join();
        });
    for (int i = 0; i < 200; i++) {
        pid_t child = fork();
        if (child == 0) {
            for (int k = 0; k < 5; k++)
                std::thread([] { free(malloc(1000)); }).join();
            _exit(0);
        }
        EXPECT_EQ(wait_for(child), 0) << i;
    }
    stop = true;
    for (std::thread &starter : starters)
        starter.join();
}

// Memory in the child is bounded too: the heaps of threads that no longer exist are used again.
TEST(Fork, ChildReusesTheLostThreadsMemory) {
    auto slots = std::make_unique<Slots>();
    Load load(slots.get(), 4);
    pid_t child = fork();
    if (child == 0) {
        slots->drain();
        work_in_child(slots.get(), 20000);
        size_t before = resident_bytes();
        for (int i = 0; i < 20; i++)
            std::thread([&] { work_in_child(slots.get(), 5000); }).join();
        require(resident_bytes() < before + 64 * MiB, "resident memory stays bounded");
        _exit(0);
    }
    EXPECT_EQ(wait_for(child), 0);
}

// ---- Handlers of the program around fork ----------------------------------------------------

namespace {

std::atomic<bool> g_handlers_on;
std::atomic<int> g_handler_calls;
void *g_handler_object;

void allocate_in_handler() {
    if (!g_handlers_on)
        return;
    for (size_t size : {24ul, 1000ul, 20000ul, MiB}) {
        void *object = malloc(size);
        require(object != nullptr, "a handler can allocate");
        fill_pattern(object, size, size);
        require(has_pattern(object, size, size), "the handler's object is its own");
        free(g_handler_object);
        g_handler_object = object;
    }
    g_handler_calls++;
}

} // namespace

TEST(ForkHandlers, Allocate) {
    static const int registered = // once, though the test may be repeated
        pthread_atfork(allocate_in_handler, allocate_in_handler, allocate_in_handler);
    ASSERT_EQ(registered, 0);
    auto slots = std::make_unique<Slots>();
    Load load(slots.get(), 3);
    g_handlers_on = true;
    g_handler_calls = 0;
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        if (child == 0) {
            require(g_handler_calls == 2 * i + 2, "the handlers ran");
            work_in_child(slots.get(), 50);
            _exit(0);
        }
        EXPECT_EQ(wait_for(child), 0) << i;
    }
    g_handlers_on = false;
    EXPECT_EQ(g_handler_calls, 200);
}

// The same by a library that registered its handlers before anything else ran, before malloc was
// first called perhaps: its handlers are the innermost, those of malloc may be around them.
TEST(ForkHandlers, OfAnEarlyLibrary) {
    Outcome outcome = run_program({{"early_atfork"}, {}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(outcome.out, "ok\n");
}

// ---- vfork, posix_spawn ---------------------------------------------------------------------

namespace {

// Apart, since the parent's frame must survive what the child does to it.
__attribute__((noinline)) pid_t vfork_and_exec(const char *path) {
    pid_t child = vfork();
    if (child == 0) {
        execl(path, path, static_cast<char *>(nullptr));
        _exit(127);
    }
    return child;
}

} // namespace

TEST(Spawn, VforkAndExecUnderLoad) {
    auto slots = std::make_unique<Slots>();
    Load load(slots.get(), 2);
    for (int i = 0; i < 200; i++)
        ASSERT_EQ(wait_for(vfork_and_exec("/bin/true")), 0);
}

TEST(Spawn, PosixSpawnUnderLoad) {
    auto slots = std::make_unique<Slots>();
    Load load(slots.get(), 2);
    for (int i = 0; i < 200; i++) {
        char name[] = "true";
        char *argv[] = {name, nullptr};
        pid_t child;
        ASSERT_EQ(posix_spawn(&child, "/bin/true", nullptr, nullptr, argv, environ), 0);
        ASSERT_EQ(wait_for(child), 0);
    }
}

TEST(Spawn, SystemAndPopenUnderLoad) {
    auto slots = std::make_unique<Slots>();
    Load load(slots.get(), 2);
    for (int i = 0; i < 30; i++) {
        ASSERT_EQ(system("exit 0"), 0);
        FILE *pipe = popen("echo hello", "r");
        ASSERT_NE(pipe, nullptr);
        char line[16] = "";
        EXPECT_NE(fgets(line, sizeof line, pipe), nullptr);
        EXPECT_STREQ(line, "hello\n");
        pclose(pipe);
    }
}

// ---- fork in a signal handler ---------------------------------------------------------------

namespace {

std::atomic<int> g_forks;

// Interrupts whatever malloc is doing.  The child does nothing but end.
void fork_in_handler(int) {
    int saved_errno = errno;
    pid_t child = fork();
    if (child == 0)
        _exit(0);
    int status = 0;
    while (waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    require(child > 0 && status == 0, "fork works in a signal handler");
    g_forks++;
    errno = saved_errno;
}

// Allocates on this thread, with slow paths and system calls, while the handler forks.
void allocate_until_forked(int n_forks) {
    auto slots = std::make_unique<Slots>();
    struct sigaction action = {};
    action.sa_handler = fork_in_handler;
    sigaction(SIGALRM, &action, nullptr);
    g_forks = 0;
    itimerval timer = {{0, 2000}, {0, 2000}};
    setitimer(ITIMER_REAL, &timer, nullptr);
    Random random(1);
    std::vector<void *> burst(500);
    while (g_forks < n_forks) {
        slots->replace(random);
        size_t size = random.size_up_to(2 * KiB);
        for (void *&object : burst)
            object = malloc(size);
        for (void *object : burst)
            free(object);
    }
    timer = {};
    setitimer(ITIMER_REAL, &timer, nullptr);
    signal(SIGALRM, SIG_DFL);
}

} // namespace

TEST(ForkInSignalHandler, DoesNotHang) {
    if (kStandIn && !__libc_single_threaded)
        GTEST_SKIP() << "an earlier test has made this process a threaded one; see below";
    Outcome outcome = run_in_child([] { allocate_until_forked(300); });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

TEST(ForkInSignalHandler, DoesNotHangInAThreadedProgram) {
    SKIP_UNDER_STAND_IN("glibc's fork takes the arena lock that the interrupted malloc holds");
    Outcome outcome = run_in_child([] {
        auto slots = std::make_unique<Slots>();
        sigset_t alarm;
        sigemptyset(&alarm);
        sigaddset(&alarm, SIGALRM);
        pthread_sigmask(SIG_BLOCK, &alarm, nullptr); // inherited: the signals are for this thread
        Load load(slots.get(), 2);
        pthread_sigmask(SIG_UNBLOCK, &alarm, nullptr);
        allocate_until_forked(200);
    });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

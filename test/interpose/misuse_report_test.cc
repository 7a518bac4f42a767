// SPDX-License-Identifier: MIT
// The report itself, on its bad days: standard error that cannot be written to, signal handlers,
// several threads at once, a misuse while one is reported, the child of a fork.
#include "misuse.h"

#include <fcntl.h>
#include <pthread.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <cerrno>
#include <cstring>
#include <thread>

using namespace interpose;

namespace {

class MisuseReport : public testing::Test {
  protected:
    void SetUp() override { SKIP_UNDER_STAND_IN("libmheap's line"); }
};

int g_foreign[16];

void abuse() {
    free(opaque(g_foreign + 8));
}

size_t count_lines(const std::string &text) {
    size_t n = 0;
    for (size_t at = 0; (at = text.find("libmheap: free(", at)) != std::string::npos; at++)
        n++;
    return n;
}

// A pipe in place of standard error; returns its reading end.
int pipe_as_stderr() {
    int ends[2];
    require(pipe(ends) == 0 && dup2(ends[1], STDERR_FILENO) >= 0, "a pipe");
    close(ends[1]);
    return ends[0];
}

// The signal that ends a child of this (child) process which does `body`.
int signal_of(const std::function<void()> &body) {
    pid_t child = fork();
    if (child == 0) {
        body();
        _exit(0);
    }
    int status = 0;
    waitpid(child, &status, 0);
    return WIFSIGNALED(status) ? WTERMSIG(status) : 0;
}

} // namespace

TEST_F(MisuseReport, NamesSizePlaceAndHeapOfTheObject) {
    char *object = static_cast<char *>(malloc(5000));
    Outcome outcome = run_in_child([&] { free(opaque(object + 48)); });
    EXPECT_TRUE(is_reported(outcome, "free", hex(object + 48)));
    EXPECT_NE(outcome.err.find("; 48 bytes into 5128 at " + hex(object) + ", heap "),
              std::string::npos)
        << outcome;
    outcome = run_in_child([&] {
        free(object);
        free(opaque(object));
    });
    EXPECT_NE(outcome.err.find("double free); 5128 bytes, heap "), std::string::npos) << outcome;
    free(object);
    object = static_cast<char *>(malloc(3 * MiB));
    outcome = run_in_child([&] { free(opaque(object + 48)); });
    EXPECT_NE(outcome.err.find("; 48 bytes into 3145728 at " + hex(object) + "\n"),
              std::string::npos)
        << outcome;
    free(object);
}

TEST_F(MisuseReport, StandardErrorIsClosed) {
    Outcome outcome = run_in_child([] {
        close(STDERR_FILENO);
        abuse();
    });
    EXPECT_EQ(outcome.signal, SIGABRT) << outcome;
}

TEST_F(MisuseReport, NobodyReadsStandardError) {
    Outcome outcome = run_in_child([] {
        close(pipe_as_stderr());
        abuse();
    });
    EXPECT_EQ(outcome.signal, SIGABRT) << outcome; // not SIGPIPE
}

TEST_F(MisuseReport, StandardErrorIsAFullPipe) {
    Outcome outcome = run_in_child([] {
        pipe_as_stderr();
        char bytes[4096] = "";
        int flags = fcntl(STDERR_FILENO, F_GETFL);
        fcntl(STDERR_FILENO, F_SETFL, flags | O_NONBLOCK);
        while (write(STDERR_FILENO, bytes, sizeof bytes) > 0)
            ;
        fcntl(STDERR_FILENO, F_SETFL, flags); // from here on a write waits
        abuse();
    });
    EXPECT_EQ(outcome.signal, SIGABRT) << outcome;
}

TEST_F(MisuseReport, InASignalHandlerOnASmallStack) {
    Outcome outcome = run_in_child([] {
        static char stack[8192];
        stack_t alternate = {};
        alternate.ss_sp = stack;
        alternate.ss_size = sizeof stack;
        require(sigaltstack(&alternate, nullptr) == 0, "sigaltstack");
        struct sigaction action = {};
        action.sa_handler = [](int) { abuse(); };
        action.sa_flags = SA_ONSTACK;
        sigaction(SIGUSR1, &action, nullptr);
        raise(SIGUSR1);
    });
    EXPECT_TRUE(is_reported(outcome, "free", hex(g_foreign + 8)));
}

// Wherever in malloc and free the signal comes.
TEST_F(MisuseReport, InASignalHandlerInTheMiddleOfOurs) {
    for (unsigned n_calls : {1u, 100u, 3000u, 20000u}) {
        Outcome outcome = run_in_child([&] {
            signal(SIGALRM, [](int) { abuse(); });
            for (unsigned i = 0; i < n_calls; i++)
                free(malloc(i % 100000));
            ualarm(1000, 0);
            for (unsigned i = 0;; i++)
                free(malloc(i % 100000));
        });
        EXPECT_TRUE(is_reported(outcome, "free", hex(g_foreign + 8)));
    }
}

// A handler of SIGABRT may allocate, even when the report came from inside a locked heap.
TEST_F(MisuseReport, TheAbortHandlerAllocates) {
    Outcome outcome = run_in_child([] {
        signal(SIGABRT, [](int) {
            for (size_t size : {10u, 1000u, 50000u, 3000000u}) {
                void *objects[100];
                for (void *&object : objects)
                    object = malloc(size);
                for (void *object : objects)
                    free(object);
            }
        });
        void *objects[100];
        for (void *&object : objects)
            object = malloc(300);
        for (void *object : objects)
            free(object);
        memset(opaque(objects[97]), 0x41, 8); // still on the list, as what was freed last
        malloc_trim(0);                       // finds it, its lock held
    });
    EXPECT_TRUE(is_reported(outcome, "free", kAnyPointer));
}

TEST_F(MisuseReport, AMisuseInTheAbortHandler) {
    Outcome outcome = run_in_child([] {
        signal(SIGABRT, [](int) { abuse(); });
        abuse();
    });
    EXPECT_EQ(outcome.signal, SIGABRT) << outcome;
    EXPECT_GE(count_lines(outcome.err), 1u) << outcome;
    EXPECT_LE(count_lines(outcome.err), 3u) << outcome;
}

// Whole lines, and an end.
TEST_F(MisuseReport, SeveralThreadsAtOnce) {
    for (int round = 0; round < 10; round++) {
        Outcome outcome = run_in_child([] {
            static std::atomic<int> n_ready;
            n_ready = 0;
            for (int i = 0; i < 8; i++)
                std::thread([] {
                    n_ready++;
                    while (n_ready < 8)
                        sched_yield();
                    abuse();
                }).detach();
            for (;;)
                pause();
        });
        EXPECT_EQ(outcome.signal, SIGABRT) << outcome;
        EXPECT_TRUE(std::regex_match(outcome.err,
                                     std::regex("(libmheap: free\\(0x[0-9a-f]+\\): [^\n]+\n)+")))
            << outcome;
    }
}

TEST_F(MisuseReport, InTheChildOfAThreadedProcess) {
    Outcome outcome = run_in_child([] {
        static std::atomic<bool> stop;
        stop = false;
        std::thread worker([] {
            while (!stop)
                free(malloc(4000));
        });
        for (int i = 0; i < 20; i++)
            require(signal_of(abuse) == SIGABRT, "the child is aborted");
        stop = true;
        worker.join();
    });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(count_lines(outcome.err), 20u) << outcome;
}

TEST_F(MisuseReport, SignalsBlockedOrIgnoredDoNotSaveTheProcess) {
    Outcome outcome = run_in_child([] {
        signal(SIGABRT, SIG_IGN);
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_BLOCK, &all, nullptr);
        abuse();
    });
    EXPECT_TRUE(is_reported(outcome, "free", hex(g_foreign + 8)));
}

// A thread that is to be cancelled is not, in the middle of a report.
TEST_F(MisuseReport, IsNoCancellationPoint) {
    Outcome outcome = run_in_child([] {
        pthread_t thread;
        static std::atomic<bool> cancelled;
        cancelled = false;
        auto body = [](void *) -> void * {
            while (!cancelled)
                ;
            abuse();
            return nullptr;
        };
        require(pthread_create(&thread, nullptr, body, nullptr) == 0, "the thread is there");
        pthread_cancel(thread);
        cancelled = true;
        pthread_join(thread, nullptr);
    });
    EXPECT_TRUE(is_reported(outcome, "free", hex(g_foreign + 8)));
}

// Everything around the object is nonsense: the report ends all the same.
TEST_F(MisuseReport, InACorruptedHeap) {
    Outcome outcome = run_in_child([] {
        char *objects[50];
        for (char *&object : objects)
            object = static_cast<char *>(malloc(5000));
        Random random(3);
        for (int i = 10; i < 40; i++)
            for (size_t at = 0; at + 8 <= 5128 + 8; at += 8) { // tags and all
                uint64_t word = random.next();
                memcpy(opaque(objects[i]) + at, &word, sizeof word);
            }
        for (int i = 10; i < 40; i++)
            require(signal_of([&] { free(opaque(objects[i] + 16)); }) == SIGABRT, "aborted");
    });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(count_lines(outcome.err), 30u) << outcome;
}

// With abort:false nothing of the caller's changes: errno, the signal mask, pending signals.
TEST_F(MisuseReport, LeavesNoTraceWhenItReturns) {
    Outcome outcome = run_program({{"misuse_returns"}, {"MHEAP_CONF=abort:false"}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(outcome.out, "ok\n");
}

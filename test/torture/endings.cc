// SPDX-License-Identifier: MIT
// Ends of processes and threads that never quite were: children leave by exit, quick_exit or from
// another thread, while threads allocate and exit handlers and static destructors free; and
// pthread_create fails in each way that it can, before and after the thread exists.
#include "torture.h"

#include <pthread.h>
#include <sched.h>
#include <sys/resource.h>
#include <unistd.h>

using namespace torture;

namespace {

Slots *g_slots; // never deleted: threads use it to the very end

void replace_some(Xorshift &random, size_t n_steps) {
    for (size_t i = 0; i < n_steps; i++)
        g_slots->replace(random, make_any_way(random, random.size_up_to(64 * KiB)));
}

// ---- Exits ----------------------------------------------------------------------------------

void at_end() {
    Xorshift random(7);
    replace_some(random, 30);
}

struct Static {
    std::vector<Object *> objects;
    ~Static() {
        for (Object *object : objects)
            check_and_free(object);
        at_end();
    }
};

[[noreturn]] void end_somehow(size_t number) {
    switch (number % 4) {
    case 0:
        std::thread([] { exit(0); }).join();
        break;
    case 1:
        at_quick_exit(at_end);
        quick_exit(0);
    case 2:
        _exit(0);
    }
    exit(0);
}

// Threads go on allocating until the kernel ends them.
[[noreturn]] void live_in_child(size_t number) {
    for (size_t t = 0; t < 3; t++)
        std::thread([t] {
            Xorshift random(t + 1);
            while (true)
                replace_some(random, 100);
        }).detach();
    static Static local;
    thread_local Static of_thread;
    for (size_t i = 0; i < 100; i++) {
        local.objects.push_back(make(i * 20, i));
        of_thread.objects.push_back(make(i * 10, i));
    }
    for (int i = 0; i < 40; i++) // more than libc has room for without allocating
        atexit(at_end);
    end_somehow(number);
}

void end_children(size_t n) {
    fflush(nullptr);
    for (size_t i = 0; i < n; i++) {
        pid_t child = fork();
        require(child >= 0, "fork succeeds");
        if (child == 0)
            live_in_child(i);
        require(wait_for(child) == 0, "the child ends as it meant to");
    }
}

// ---- Threads that cannot be had -------------------------------------------------------------

void *never(void *) {
    require(false, "a thread that could not be created does not run");
    return nullptr;
}

// No address space for the stack.
void fail_for_stack(pthread_attr_t *attributes) {
    pthread_attr_setstacksize(attributes, size_t{1} << 46);
    pthread_t thread;
    require(pthread_create(&thread, attributes, never, nullptr) == EAGAIN, "no stack is EAGAIN");
}

// The thread is there when it turns out that it may not run anywhere: it is ended again.
void fail_for_affinity(pthread_attr_t *attributes) {
    cpu_set_t none;
    CPU_ZERO(&none);
    pthread_attr_setaffinity_np(attributes, sizeof none, &none);
    pthread_t thread;
    require(pthread_create(&thread, attributes, never, nullptr) == EINVAL, "no CPU is EINVAL");
}

void fail_to_create(size_t number) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    if (number % 2)
        fail_for_stack(&attributes);
    else
        fail_for_affinity(&attributes);
    pthread_attr_destroy(&attributes);
    // One that can be had uses the memory that those left.
    std::thread([number] { check_and_free(make(number % 5000, number)); }).join();
}

void fail_often(size_t n, size_t growth) {
    std::atomic<bool> stop{false};
    size_t early = 0;
    {
        Threads load(2, [&](size_t t) {
            Xorshift random(t + 100);
            while (!stop)
                replace_some(random, 20);
        });
        for (size_t i = 0; i < n; i++) {
            fail_to_create(i);
            if (i == n / 4)
                early = resident_bytes();
        }
        stop = true;
    }
    printf("endings: %zu threads failed, resident %zu kB after a quarter, %zu kB at the end\n", n,
           early / KiB, resident_bytes() / KiB);
    require(resident_bytes() < early + growth, "failed threads leave nothing");
}

} // namespace

void torture_run(Arguments &arguments) {
    size_t n_rounds = arguments.number("rounds", 100);
    size_t n_failures = arguments.number("failures", 20 * n_rounds);
    size_t growth = arguments.number("growth", 32 * MiB);
    arguments.check_all_used();
    g_slots = new Slots(300);
    end_children(n_rounds);
    fail_often(n_failures, growth);
    printf("endings: %zu processes\n", n_rounds);
}

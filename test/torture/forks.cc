// SPDX-License-Identifier: MIT
// fork, again and again, from a program whose threads replace objects, come and go all the while.
// Each child checks the parent's objects, replaces and frees them, starts a thread and forks again.
#include "torture.h"

#include <unistd.h>

using namespace torture;

namespace {

std::atomic<bool> g_stop;

void replace_some(Slots &slots, Xorshift &random, size_t n_steps) {
    for (size_t i = 0; i < n_steps; i++) {
        size_t size = random.size_up_to(random.below(300) ? 4 * KiB : 512 * KiB);
        slots.replace(random, make_any_way(random, size));
    }
}

void load(Slots &slots, size_t number) {
    Xorshift random(number);
    while (!g_stop) {
        replace_some(slots, random, 500);
        std::thread([&] { replace_some(slots, random, 5); }).join();
    }
}

// In the child nobody else runs; the objects are those of threads that are no more.
[[noreturn]] void live_in_child(Slots &slots, size_t number, int generation) {
    Xorshift random(number);
    replace_some(slots, random, 60);
    if (number % 16 == 0) {
        std::thread thread([&] { replace_some(slots, random, 40); });
        thread.join();
    }
    if (generation < 2 && number % 4 == 0) {
        pid_t grandchild = fork();
        require(grandchild >= 0, "the child can fork");
        if (grandchild == 0)
            live_in_child(slots, number + 1, generation + 1);
        require(wait_for(grandchild) == 0, "the grandchild ends well");
    }
    slots.check_all();
    if (number % 2)
        slots.drain();
    replace_some(slots, random, 40);
    _exit(0);
}

void fork_many(Slots &slots, std::atomic<size_t> &n_left) {
    for (size_t left; (left = n_left--) > 0 && left < SIZE_MAX / 2;) {
        pid_t child = fork();
        require(child >= 0, "fork succeeds");
        if (child == 0)
            live_in_child(slots, left, 0);
        require(wait_for(child) == 0, "the child ends well");
    }
}

} // namespace

void torture_run(Arguments &arguments) {
    size_t n_forks = arguments.number("forks", 10000);
    size_t n_threads = arguments.number("threads", 3);
    size_t n_forkers = arguments.number("forkers", 2);
    arguments.check_all_used();
    Slots slots(400);
    std::atomic<size_t> n_left{n_forks};
    {
        Threads loads(n_threads, [&](size_t t) { load(slots, t + 1); });
        {
            Threads forkers(n_forkers, [&](size_t) { fork_many(slots, n_left); });
        }
        g_stop = true;
    }
    slots.check_all();
    printf("forks: %zu, resident %zu kB at the end\n", n_forks, resident_bytes() / KiB);
}

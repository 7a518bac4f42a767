// SPDX-License-Identifier: MIT
// Storms of programs: chains of processes that replace themselves by exec, each time from another
// thread, while the others allocate; several chains at once, each with objects before and after.
#include "torture.h"

#include <unistd.h>

using namespace torture;

namespace {

std::string g_any; // whether any malloc will do, for the next link, too

void allocate_for_ever(Slots &slots, size_t seed) {
    Xorshift random(seed);
    while (true)
        slots.replace(random, make_any_way(random, random.size_up_to(32 * KiB)));
}

// By a thread that is not the first, from the middle of the others' work.
[[noreturn]] void exec_again(size_t length) {
    std::string arguments[] = {"/proc/self/exe", "chains=0", "length=" + std::to_string(length - 1),
                               g_any};
    char *argv[] = {arguments[0].data(), arguments[1].data(), arguments[2].data(),
                    arguments[3].data(), nullptr};
    execv("/proc/self/exe", argv);
    require(false, "exec succeeds");
    abort();
}

void one_link(size_t length) {
    auto *slots = new Slots(200); // the threads that use it are never joined
    Xorshift random(length);
    for (size_t i = 0; i < 200; i++)
        slots->replace(random, make_any_way(random, random.size_up_to(4 * KiB)));
    if (length == 0)
        return slots->check_all();
    for (size_t t = 0; t < 2; t++)
        std::thread(allocate_for_ever, std::ref(*slots), t + 1).detach();
    std::thread([&] { exec_again(length); }).join();
}

void start_chains(size_t n_chains, size_t length) {
    std::vector<pid_t> chains;
    for (size_t i = 0; i < n_chains; i++) {
        chains.push_back(fork());
        require(chains.back() >= 0, "fork succeeds");
        if (chains.back() == 0)
            exec_again(length + 1);
    }
    for (pid_t chain : chains)
        require(wait_for(chain) == 0, "the chain comes to its end");
    printf("execs: %zu chains of %zu\n", n_chains, length);
}

} // namespace

void torture_run(Arguments &arguments) {
    size_t n_chains = arguments.number("chains", 4); // 0: be a link of one
    size_t length = arguments.number("length", 100);
    g_any = "any=" + std::to_string(arguments.any_malloc());
    arguments.check_all_used();
    if (n_chains)
        start_chains(n_chains, length);
    else
        one_link(length);
}

// SPDX-License-Identifier: MIT
// Mixed load that never ends before its time and whose live memory stays the same: objects of every
// size handed from thread to thread, short-lived threads, trees, growing buffers, now and then a
// fork and a program run.  scripts/soak watches its memory from outside.
#include "torture.h"

#include <malloc.h>
#include <spawn.h>
#include <time.h>
#include <unistd.h>

#include <memory>
#include <string>

using namespace torture;

extern "C" char **environ;

namespace {

// What one step does; each kind of load keeps a constant number of objects.
struct Shared {
    Slots small{30000}, medium{2000}, between{48}, large{12};
    std::atomic<size_t> n_steps{0};
    std::atomic<bool> stop{false};
};

// Large objects of which a process may have several stores, once threads wait for one.
size_t buffer_size(Xorshift &random) {
    return 37 * KiB + random.size_up_to(475 * KiB);
}

void step(Shared &shared, Xorshift &random) {
    for (int i = 0; i < 400; i++)
        shared.small.replace(random, make_any_way(random, random.size_up_to(1 * KiB)));
    for (int i = 0; i < 20; i++)
        shared.medium.replace(random, make_any_way(random, 1 * KiB + random.below(31 * KiB)));
    for (int i = 0; i < 4; i++)
        shared.between.replace(random, make_any_way(random, buffer_size(random)));
    if (random.below(20) == 0)
        shared.large.replace(random, make_any_way(random, 256 * KiB + random.below(2 * MiB)));
}

void build_tree(Xorshift &random) {
    std::map<uint64_t, std::string> tree;
    for (int i = 0; i < 1000; i++)
        tree[random.below(5000)] = std::string(random.size_up_to(300), 't');
    for (const auto &[key, text] : tree)
        require(text.find_first_not_of('t') == std::string::npos, "a tree keeps its strings");
}

void grow_buffer(Xorshift &random) {
    Object *buffer = make(16, random.next());
    for (size_t size = 16, limit = random.size_up_to(8 * MiB); size < limit; size += size / 2)
        buffer = resize(buffer, size);
    check_and_free(buffer);
}

// A server's buffers, taken and given back without a pause between.
void use_buffers(Xorshift random) {
    char *buffers[8] = {};
    for (int i = 0; i < 3000; i++) {
        char *&buffer = buffers[random.below(8)];
        free(buffer);
        size_t size = buffer_size(random);
        buffer = static_cast<char *>(malloc(size));
        require(buffer != nullptr, "there is memory for a buffer");
        buffer[0] = buffer[size - 1] = 1;
    }
    for (char *buffer : buffers)
        free(buffer);
}

void fork_once(Shared &shared, Xorshift &random) {
    pid_t child = fork();
    require(child >= 0, "fork succeeds");
    if (child == 0) {
        for (int i = 0; i < 200; i++)
            shared.small.replace(random, make_any_way(random, random.size_up_to(4 * KiB)));
        shared.medium.check_all();
        _exit(0);
    }
    require(wait_for(child) == 0, "the child ends well");
}

void spawn_once() {
    char name[] = "true";
    char *const arguments[] = {name, nullptr};
    pid_t child;
    require(posix_spawnp(&child, name, nullptr, nullptr, arguments, environ) == 0,
            "spawn succeeds");
    require(wait_for(child) == 0, "the spawned program ends well");
}

void work(Shared &shared, size_t number) {
    Xorshift random(number + 1);
    for (size_t i = 0; !shared.stop; i++) {
        step(shared, random);
        shared.n_steps++;
        if (i % 8 == 1)
            std::thread([&] { step(shared, random); }).join();
        if (i % 16 == 2)
            build_tree(random);
        if (i % 16 == 3)
            grow_buffer(random);
        if (i % 64 == 4) // several at once, so that they wait for each other
            Threads crew(4, [i](size_t t) { use_buffers(Xorshift(i + t)); });
        if (i % 2048 == 4)
            fork_once(shared, random);
        if (i % 2048 == 5)
            spawn_once();
        if (i % 512 == 6)
            usleep(50000); // a thread that sleeps for a while, its lists full
    }
}

// malloc's own account on standard error, under a line with the time: where the memory is.
void report(time_t seconds) {
    fprintf(stderr, "soak: after %lld s\n", static_cast<long long>(seconds));
    malloc_stats();
}

time_t seconds_now() {
    timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec;
}

} // namespace

void torture_run(Arguments &arguments) {
    size_t n_seconds = arguments.number("seconds", 60);
    size_t n_threads = arguments.number("threads", 4);
    size_t max_steps = arguments.number("steps", SIZE_MAX); // ends it early
    size_t report_every = arguments.number("report", 0);    // seconds; 0: never
    arguments.check_all_used();
    auto shared = std::make_unique<Shared>();
    {
        Threads threads(n_threads, [&](size_t t) { work(*shared, t); });
        time_t start = seconds_now(), reported = 0;
        for (time_t now = 0; now < time_t(n_seconds) && shared->n_steps < max_steps;
             now = seconds_now() - start) {
            if (report_every > 0 && now >= reported + time_t(report_every)) {
                report(now);
                reported = now;
            }
            usleep(100000);
        }
        shared->stop = true;
    }
    shared->small.check_all();
    shared->medium.check_all();
    shared->between.check_all();
    shared->large.check_all();
    printf("soak: %zu threads, %zu steps, %.1f million objects; peak %zu kB, resident %zu kB\n",
           n_threads, shared->n_steps.load(), shared->n_steps * 424 / 1e6,
           status_kilobytes("VmHWM"), resident_bytes() / KiB);
}

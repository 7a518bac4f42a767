// SPDX-License-Identifier: MIT
// Threads that live for a moment, several at a time: each checks and frees what others left, leaves
// objects of its own, and frees some in a destructor that runs late in its death.  Memory stays
// bounded however many there were.
#include "torture.h"

#include <pthread.h>

using namespace torture;

namespace {

struct LateObjects {
    std::vector<Object *> objects;
    ~LateObjects() {
        for (Object *object : objects)
            check_and_free(object);
        check_and_free(make(objects.size() * 8, 1));
    }
};
thread_local LateObjects late;

void short_life(Slots &slots, size_t seed) {
    Xorshift random(seed);
    for (int i = 0; i < 24; i++) {
        size_t size = random.size_up_to(random.below(400) ? 2 * KiB : 512 * KiB);
        slots.replace(random, make_any_way(random, size));
    }
    for (int i = 0; i < 4; i++)
        late.objects.push_back(make(random.size_up_to(2 * KiB), random.next()));
}

} // namespace

void torture_run(Arguments &arguments) {
    size_t n_threads = arguments.number("threads", 100000);
    size_t n_at_once = arguments.number("at_once", 8);
    size_t growth = arguments.number("growth", 24 * MiB);
    arguments.check_all_used();
    Slots slots(1000);
    std::atomic<size_t> n_started{0}, early{0};
    Threads(n_at_once, [&](size_t) {
        for (size_t i; (i = n_started++) < n_threads;) {
            std::thread(short_life, std::ref(slots), i).join();
            if (i == n_threads / 5)
                early = resident_bytes();
        }
    });
    size_t late_bytes = resident_bytes();
    slots.check_all();
    printf("churn: %zu threads, resident %zu kB after a fifth of them, %zu kB at the end\n",
           n_threads, early / KiB, late_bytes / KiB);
    require(late_bytes < early + growth, "memory stays bounded over all threads");
}

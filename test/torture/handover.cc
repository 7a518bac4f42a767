// SPDX-License-Identifier: MIT
// 1, 2, 4 ... threads hand objects of every size to each other through slots at random: who frees
// or resizes an object is hardly ever who made it.
#include "torture.h"

using namespace torture;

namespace {

// Few slots a thread, large objects rare, so that most memory changes hands.
void work(Slots &slots, size_t seed, size_t n_steps, size_t limit) {
    Xorshift random(seed);
    for (size_t i = 0; i < n_steps; i++) {
        size_t size = random.size_up_to(random.below(500) ? 8 * KiB : limit);
        Object *object = i % 8 ? nullptr : slots.take(random);
        slots.replace(random, object ? resize(object, size) : make_any_way(random, size));
    }
}

} // namespace

void torture_run(Arguments &arguments) {
    size_t n_steps = arguments.number("steps", 300000); // of all threads together, each round
    size_t max_threads = arguments.number("threads", 64);
    size_t limit = arguments.number("limit", 4 * MiB);
    size_t seed = arguments.number("seed", 1);
    arguments.check_all_used();
    Slots slots(2000); // objects stay in it from one round to the next
    for (size_t n_threads = 1; n_threads <= max_threads; n_threads *= 2)
        Threads(n_threads, [&](size_t t) {
            work(slots, seed * 1000 + n_threads + t, n_steps / n_threads, limit);
        });
    slots.check_all();
    printf("handover: peak %zu kB\n", status_kilobytes("VmHWM"));
}

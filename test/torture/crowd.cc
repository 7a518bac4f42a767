// SPDX-License-Identifier: MIT
// Very many threads alive at once in one process: each allocates, all wait until the last one has,
// then each frees what another one made.  Resident memory is stated, by thread.
#include "torture.h"

#include <pthread.h>
#include <unistd.h>

using namespace torture;

namespace {

constexpr size_t kObjects = 200;
constexpr size_t kStack = 64 * KiB;

std::vector<std::vector<Object *>>
    g_objects; // a row a thread; by who made it, then by who frees it
pthread_barrier_t g_barrier;
size_t g_limit;

// Two hundred small objects, half of them freed at once.
void *live(void *argument) {
    size_t number = reinterpret_cast<size_t>(argument), n = g_objects.size();
    Xorshift random(number);
    for (size_t i = 0; i < kObjects; i++) {
        Object *object = make(random.size_up_to(g_limit), number * kObjects + i);
        if (i % 2)
            g_objects[number].push_back(object);
        else
            check_and_free(object);
    }
    pthread_barrier_wait(&g_barrier); // everybody has allocated
    pthread_barrier_wait(&g_barrier); // and has been counted
    for (Object *object : g_objects[(number + n / 2) % n])
        check_and_free(object);
    pthread_barrier_wait(&g_barrier); // everybody has freed
    pthread_barrier_wait(&g_barrier);
    return nullptr;
}

pthread_t start(size_t number) {
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, kStack);
    pthread_t thread;
    int error = pthread_create(&thread, &attributes, live, reinterpret_cast<void *>(number));
    require(error == 0, "a thread can be started");
    pthread_attr_destroy(&attributes);
    return thread;
}

} // namespace

void torture_run(Arguments &arguments) {
    size_t n_threads = arguments.number("threads", 10000);
    g_limit = arguments.number("limit", 512);
    size_t rounds = arguments.number("rounds", 2);
    arguments.check_all_used();
    for (size_t round = 0; round < rounds; round++) {
        size_t before = resident_bytes();
        g_objects.assign(n_threads, {});
        pthread_barrier_init(&g_barrier, nullptr, n_threads + 1);
        std::vector<pthread_t> threads;
        for (size_t t = 0; t < n_threads; t++)
            threads.push_back(start(t));
        pthread_barrier_wait(&g_barrier);
        size_t full = resident_bytes();
        pthread_barrier_wait(&g_barrier);
        pthread_barrier_wait(&g_barrier);
        size_t freed = resident_bytes();
        pthread_barrier_wait(&g_barrier);
        for (pthread_t thread : threads)
            pthread_join(thread, nullptr);
        pthread_barrier_destroy(&g_barrier);
        printf("crowd: %zu threads alive, resident %zu MiB (%.1f KiB a thread, stacks included), "
               "%zu MiB when all is freed, %zu MiB when all are gone; before %zu MiB\n",
               n_threads, full / MiB, double(full - before) / KiB / n_threads, freed / MiB,
               resident_bytes() / MiB, before / MiB);
    }
}

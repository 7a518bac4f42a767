// SPDX-License-Identifier: MIT
// Objects that one thread allocates and another frees, and threads that come and go.  Each object
// carries a pattern of its own, checked by whoever frees it.
#include "support.h"

#include <limits.h>
#include <pthread.h>
#include <stdlib.h>

#include <atomic>
#include <memory>
#include <thread>

using namespace interpose;

namespace {

// An object that knows its size and seed, so that any thread can check it.
struct Object {
    size_t size;
    uint64_t seed;
    char data[];
};

Object *make(size_t size, uint64_t seed) {
    auto *object = static_cast<Object *>(malloc(sizeof(Object) + size));
    if (!object)
        abort();
    object->size = size;
    object->seed = seed;
    fill_pattern(object->data, size, seed);
    return object;
}

// Frees it; false if its content is not what was put there.
bool check_and_free(Object *object) {
    bool intact = has_pattern(object->data, object->size, object->seed);
    free(object);
    return intact;
}

// A bounded queue for one producer and one consumer.
class Ring {
  public:
    void push(Object *object) {
        while (head_ - tail_.load(std::memory_order_acquire) == kLength)
            sched_yield();
        slots_[head_++ % kLength].store(object, std::memory_order_release);
    }
    Object *pop() {
        std::atomic<Object *> &slot = slots_[tail_.load(std::memory_order_relaxed) % kLength];
        Object *object;
        while (!(object = slot.exchange(nullptr, std::memory_order_acquire)))
            sched_yield();
        tail_.fetch_add(1, std::memory_order_release);
        return object;
    }

  private:
    static constexpr size_t kLength = 1024;
    std::atomic<Object *> slots_[kLength] = {};
    size_t head_ = 0;
    std::atomic<size_t> tail_{0};
};

// One thread allocates `count` objects of the sizes that `size_of(random)` gives and never frees;
// this one frees them and never allocates.  How much memory that took beyond the first tenth.
template <class SizeOf> size_t growth_of_one_way(size_t count, SizeOf size_of) {
    auto ring = std::make_unique<Ring>();
    std::thread producer([&] {
        Random random(1);
        for (size_t i = 0; i < count; i++)
            ring->push(make(size_of(random), i));
    });
    size_t before = 0, most = 0;
    for (size_t i = 0; i < count; i++) {
        EXPECT_TRUE(check_and_free(ring->pop()));
        if (i == count / 10)
            before = resident_bytes();
        else if (i % (count / 50) == 0)
            most = std::max(most, resident_bytes());
    }
    producer.join();
    return most > before ? most - before : 0;
}

} // namespace

// ---- Frees by other threads -----------------------------------------------------------------

TEST(OneWay, SmallObjectsStayBounded) {
    EXPECT_LT(growth_of_one_way(2000000, [](Random &random) { return random.below(480); }),
              32 * MiB);
}

TEST(OneWay, MediumObjectsStayBounded) {
    EXPECT_LT(growth_of_one_way(40000, [](Random &random) { return random.below(40 * KiB); }),
              96 * MiB); // the queue alone holds up to 40
}

TEST(OneWay, LargeObjectsStayBounded) {
    // The queue alone may hold 1024 objects of up to 900 KiB, of which two pages are touched.
    auto ring = std::make_unique<Ring>();
    std::thread producer([&] {
        for (size_t i = 0; i < 20000; i++) {
            auto *object = static_cast<Object *>(malloc(600 * KiB + i % 300 * KiB));
            object->size = 100;
            object->seed = i;
            fill_pattern(object->data, object->size, i);
            ring->push(object);
        }
    });
    size_t before = 0;
    for (size_t i = 0; i < 20000; i++) {
        EXPECT_TRUE(check_and_free(ring->pop()));
        if (i == 4000)
            before = resident_bytes();
    }
    producer.join();
    EXPECT_LT(resident_bytes(), before + 64 * MiB);
}

// Two threads, each the other's consumer; of many objects at a time, since on a busy machine each
// wait for the other may take as long as the others' turns.
TEST(Exchange, TwoThreadsFreeEachOthers) {
    constexpr int kAtOnce = 100;
    auto there = std::make_unique<Ring>(), back = std::make_unique<Ring>();
    auto work = [](Ring *to, Ring *from, uint64_t seed) {
        Random random(seed);
        for (int i = 0; i < 300000; i += kAtOnce) {
            for (int k = 0; k < kAtOnce; k++)
                to->push(make(random.size_up_to(8 * KiB), seed + i + k));
            for (int k = 0; k < kAtOnce; k++)
                EXPECT_TRUE(check_and_free(from->pop()));
        }
    };
    std::thread other(work, there.get(), back.get(), 1000);
    work(back.get(), there.get(), 2000);
    other.join();
}

// Every thread puts objects into slots that all share and frees what was there before.
TEST(Exchange, ManyThreadsThroughSharedSlots) {
    constexpr size_t kSlots = 4096;
    auto slots = std::make_unique<std::atomic<Object *>[]>(kSlots);
    for (size_t i = 0; i < kSlots; i++)
        slots[i] = nullptr;
    std::vector<std::thread> threads;
    for (int t = 0; t < 8; t++)
        threads.emplace_back([&slots, t] {
            Random random(t);
            for (int i = 0; i < 100000; i++) {
                size_t limit = i % 100 ? 2 * KiB : 300 * KiB;
                Object *mine = make(random.size_up_to(limit), random.next());
                Object *other = slots[random.below(kSlots)].exchange(mine);
                EXPECT_TRUE(!other || check_and_free(other));
            }
        });
    for (std::thread &thread : threads)
        thread.join();
    for (size_t i = 0; i < kSlots; i++)
        if (Object *left = slots[i]) {
            EXPECT_TRUE(check_and_free(left));
        }
}

// realloc of another thread's object.
TEST(Exchange, ReallocOfAnothersObjects) {
    std::vector<char *> objects(3000);
    for (size_t round = 0; round < 12; round++) {
        std::thread([&] {
            for (size_t i = 0; i < objects.size(); i++) {
                size_t old_size = round ? 16 + (i * round) % 5000 : 0;
                size_t size = 16 + (i * (round + 1)) % 5000;
                objects[i] = static_cast<char *>(realloc(objects[i], size));
                size_t kept = std::min(old_size, size) / 8 * 8;
                EXPECT_TRUE(has_pattern(objects[i], kept, i)) << i << " in round " << round;
                fill_pattern(objects[i], size, i);
            }
        }).join();
    }
    for (char *object : objects)
        free(object);
}

// ---- Threads that come and go ---------------------------------------------------------------

TEST(ShortThreads, TwentyThousandDoNotGrow) {
    size_t before = 0;
    for (int i = 0; i < 20000; i++) {
        std::thread([i] {
            Object *objects[50];
            for (int k = 0; k < 50; k++)
                objects[k] = make(16 + k * 20, i + k);
            for (Object *object : objects)
                EXPECT_TRUE(check_and_free(object));
        }).join();
        if (i == 2000)
            before = resident_bytes();
    }
    EXPECT_LT(resident_bytes(), before + 4 * MiB);
}

// Each thread leaves objects behind, which the next one frees.
TEST(ShortThreads, ObjectsOutliveTheirThread) {
    constexpr size_t kLeft = 100;
    std::vector<Object *> left;
    left.reserve(kLeft);
    size_t before = 0;
    for (int i = 0; i < 5000; i++) {
        std::thread([&] {
            for (Object *object : left)
                EXPECT_TRUE(check_and_free(object));
            left.clear();
            Random random(i);
            for (size_t k = 0; k < kLeft; k++)
                left.push_back(make(random.size_up_to(4 * KiB), i + k));
        }).join();
        if (i == 500)
            before = resident_bytes();
    }
    for (Object *object : left)
        EXPECT_TRUE(check_and_free(object));
    EXPECT_LT(resident_bytes(), before + 8 * MiB);
}

// Many at once, whose memory must serve the next many.
TEST(ShortThreads, WavesReuseTheirMemory) {
    size_t before = 0;
    for (int wave = 0; wave < 20; wave++) {
        std::vector<std::thread> threads;
        for (int t = 0; t < 32; t++)
            threads.emplace_back([t] {
                std::vector<Object *> objects;
                for (int i = 0; i < 2000; i++)
                    objects.push_back(make(100 + i % 400, t + i));
                for (Object *object : objects)
                    EXPECT_TRUE(check_and_free(object));
            });
        for (std::thread &thread : threads)
            thread.join();
        if (wave == 4)
            before = resident_bytes();
    }
    EXPECT_LT(resident_bytes(), before + 48 * MiB);
}

// A thread that never allocates frees for one that lives on, then ends: nothing may stay with it.
TEST(ShortThreads, WhatADyingThreadFreedIsNotLost) {
    size_t before = 0;
    std::vector<Object *> objects(20);
    for (int i = 0; i < 10000; i++) {
        for (size_t k = 0; k < objects.size(); k++)
            objects[k] = make(1000, k);
        std::thread([&] {
            for (Object *object : objects)
                EXPECT_TRUE(check_and_free(object));
        }).join();
        if (i == 1000)
            before = resident_bytes();
    }
    EXPECT_LT(resident_bytes(), before + 8 * MiB); // 180 MiB passed through
}

// ---- Destructors of a dying thread ----------------------------------------------------------

namespace {

pthread_key_t g_late_key;
std::atomic<int> g_late_rounds;

// Sets its key again each time, so it runs PTHREAD_DESTRUCTOR_ITERATIONS times: surely after any
// destructor of malloc's own.
void late_destructor(void *value) {
    auto *object = static_cast<Object *>(value);
    EXPECT_TRUE(check_and_free(object));
    for (size_t size : {10ul, 100ul, 3000ul, 100 * KiB, MiB})
        EXPECT_TRUE(check_and_free(make(size, size)));
    if (++g_late_rounds % PTHREAD_DESTRUCTOR_ITERATIONS)
        pthread_setspecific(g_late_key, make(200, 1));
}

struct ThreadLocal {
    Object *object = make(300, 3);
    ~ThreadLocal() {
        EXPECT_TRUE(check_and_free(object));
        std::vector<Object *> more;
        for (int i = 0; i < 100; i++)
            more.push_back(make(i * 10, i));
        for (Object *one : more)
            EXPECT_TRUE(check_and_free(one));
    }
};

thread_local ThreadLocal t_local;

} // namespace

TEST(DyingThread, KeyDestructorsAllocateAndFreeInEveryRound) {
    ASSERT_EQ(pthread_key_create(&g_late_key, late_destructor), 0);
    g_late_rounds = 0;
    size_t before = 0;
    for (int i = 0; i < 200; i++) {
        std::thread([] { pthread_setspecific(g_late_key, make(100, 0)); }).join();
        if (i == 20)
            before = resident_bytes();
    }
    EXPECT_EQ(g_late_rounds, 200 * PTHREAD_DESTRUCTOR_ITERATIONS);
    EXPECT_LT(resident_bytes(), before + 8 * MiB);
    pthread_key_delete(g_late_key);
}

TEST(DyingThread, ThreadLocalObjectsAllocateAndFree) {
    for (int i = 0; i < 500; i++)
        std::thread([] { EXPECT_EQ(t_local.object->size, 300u); }).join();
}

// The thread's first allocation happens in its destructors.
TEST(DyingThread, FirstAllocationInADestructor) {
    static std::atomic<int> n_done;
    n_done = 0;
    pthread_key_t key;
    ASSERT_EQ(pthread_key_create(&key,
                                 [](void *) {
                                     EXPECT_TRUE(check_and_free(make(64, 9)));
                                     n_done++;
                                 }),
              0);
    for (int i = 0; i < 200; i++) {
        pthread_t thread;
        ASSERT_EQ(pthread_create(
                      &thread, nullptr,
                      [](void *at) -> void * {
                          pthread_setspecific(*static_cast<pthread_key_t *>(at), at);
                          return nullptr;
                      },
                      &key),
                  0);
        pthread_join(thread, nullptr);
    }
    EXPECT_EQ(n_done, 200);
    pthread_key_delete(key);
}

// Cancelled in the middle of its work, wherever that is.
TEST(DyingThread, CancelledThreads) {
    for (int i = 0; i < 300; i++) {
        static std::atomic<bool> running;
        running = false;
        pthread_t thread;
        ASSERT_EQ(pthread_create(
                      &thread, nullptr,
                      [](void *) -> void * {
                          for (size_t k = 0;; k++) {
                              free(make(k % 2000, k));
                              running = true;
                              pthread_testcancel();
                          }
                      },
                      nullptr),
                  0);
        while (!running)
            sched_yield();
        pthread_cancel(thread);
        pthread_join(thread, nullptr);
    }
    EXPECT_TRUE(check_and_free(make(100, 1)));
}

// ---- Whole programs -------------------------------------------------------------------------

TEST(ThreadProgram, MainEndsByPthreadExit) {
    Outcome outcome = run_program({{"main_exits"}, {}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(outcome.out, "ok\n");
}

TEST(ThreadProgram, TakesEveryPthreadKey) {
    Outcome outcome = run_program({{"all_keys"}, {}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(outcome.out, "ok\n");
}

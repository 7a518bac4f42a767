// SPDX-License-Identifier: MIT
// Thread heaps: model, threads that free each other's objects, adoption, checking, the purge
// budget.
#include "heaps_api.h"

#include <algorithm>
#include <atomic>
#include <cstring>
#include <map>
#include <mutex>
#include <numeric>
#include <random>
#include <string>
#include <thread>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

#include <gtest/gtest.h>

namespace {

// As in every program: creating a thread allocates, so the start is over when there are two.
const bool has_started = (heap_free(heap_malloc(1)), true);

void fill(void *object, size_t bytes, uint8_t tag) {
    if (object)
        memset(object, tag, bytes);
}

bool is_filled(const void *object, size_t bytes, uint8_t tag) {
    const uint8_t *p = static_cast<const uint8_t *>(object);
    for (size_t i = 0; i < bytes; i += i < 64 ? 1 : 61)
        if (p[i] != tag)
            return false;
    return bytes == 0 || p[bytes - 1] == tag;
}

struct Object {
    void *address;
    size_t bytes;
    uint8_t tag;
};

size_t random_size(std::mt19937 &rng) {
    static const size_t limits[] = {64, 64, 64, 1024, 1024, 8192, 8192, 100000, 600000, 3000000};
    return rng() % limits[rng() % 10];
}

// ---- One thread against a model -----------------------------------------------------------------

class Model : public testing::TestWithParam<unsigned> {
  protected:
    std::mt19937 rng{GetParam()};
    std::vector<Object> live;

    void allocate() {
        size_t bytes = random_size(rng);
        void *address;
        switch (rng() % 4) {
        case 0:
            address = heap_calloc(1, bytes);
            ASSERT_TRUE(is_filled(address, bytes, 0)) << bytes;
            break;
        case 1: {
            size_t align = size_t{16} << rng() % 12;
            address = heap_memalign(align, bytes);
            ASSERT_EQ(reinterpret_cast<uintptr_t>(address) % align, 0u) << align;
            break;
        }
        default:
            address = heap_malloc(bytes);
        }
        ASSERT_NE(address, nullptr);
        ASSERT_GE(heap_usable_bytes(address, "test"), bytes);
        live.push_back({address, bytes, static_cast<uint8_t>(rng())});
        fill(address, bytes, live.back().tag);
    }

    void resize(Object &object) {
        size_t bytes = random_size(rng) + 1;
        size_t kept = bytes < object.bytes ? bytes : object.bytes;
        object.address = heap_realloc(object.address, bytes);
        ASSERT_NE(object.address, nullptr);
        ASSERT_TRUE(is_filled(object.address, kept, object.tag));
        object.bytes = bytes;
        fill(object.address, bytes, object.tag);
    }

    void release(size_t i) {
        ASSERT_TRUE(is_filled(live[i].address, live[i].bytes, live[i].tag)) << live[i].bytes;
        heap_free(live[i].address);
        live[i] = live.back();
        live.pop_back();
    }
};

TEST_P(Model, RandomOperations) {
    for (unsigned step = 0; step < 6000 && !HasFatalFailure(); step++) {
        unsigned what = rng() % 100;
        if (live.empty() || (what < 48 && live.size() < 500))
            allocate();
        else if (what < 58)
            resize(live[rng() % live.size()]);
        else
            release(rng() % live.size());
        if (step % 500 == 0) {
            ASSERT_EQ(api_check(), nullptr);
        }
        if (step % 2000 == 1999)
            heaps_trim();
    }
    while (!live.empty() && !HasFatalFailure())
        release(live.size() - 1);
    EXPECT_EQ(api_check(), nullptr);
}

INSTANTIATE_TEST_SUITE_P(Seeds, Model, testing::Range(1u, 6u));

// ---- Threads ------------------------------------------------------------------------------------

// Threads put objects into shared slots and free what they find there, while another validates.
TEST(Heaps, ThreadsFreeEachOthersObjects) {
    struct Slot {
        std::mutex mutex;
        Object object{};
    };
    std::vector<Slot> slots(512);
    std::atomic<bool> stop{false};
    std::atomic<int> n_wrong{0};
    auto work = [&](unsigned seed) {
        std::mt19937 rng(seed);
        for (int i = 0; i < 8000; i++) {
            size_t bytes = i % 50 ? rng() % 600 : random_size(rng);
            Object mine{heap_malloc(bytes), bytes, static_cast<uint8_t>(rng())};
            fill(mine.address, mine.bytes, mine.tag);
            {
                Slot &slot = slots[rng() % slots.size()];
                std::lock_guard<std::mutex> guard(slot.mutex);
                std::swap(mine, slot.object);
            }
            if (mine.address) {
                n_wrong += !is_filled(mine.address, mine.bytes, mine.tag);
                heap_free(mine.address);
            }
        }
    };
    std::thread checker([&] {
        while (!stop)
            n_wrong += api_check() != nullptr;
    });
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 4; t++)
        threads.emplace_back(work, t);
    for (auto &thread : threads)
        thread.join();
    stop = true;
    checker.join();
    EXPECT_EQ(n_wrong, 0);
    for (Slot &slot : slots)
        heap_free(slot.object.address);
    EXPECT_EQ(api_check(), nullptr);
}

// What sleeps gives back, while others wake up.
TEST(Heaps, DecayAmongThreadsAtWork) {
    std::atomic<int> n_at_work{3};
    std::vector<std::thread> threads;
    for (unsigned t = 0; t < 3; t++)
        threads.emplace_back([&, t] {
            std::mt19937 rng(t);
            std::vector<Object> live(200);
            for (int i = 0; i < 6000; i++) {
                Object &object = live[rng() % live.size()];
                EXPECT_TRUE(is_filled(object.address, object.bytes, object.tag));
                heap_free(object.address);
                size_t bytes = random_size(rng) % 40000;
                object = {heap_malloc(bytes), bytes, static_cast<uint8_t>(rng())};
                fill(object.address, bytes, object.tag);
            }
            for (Object &object : live)
                heap_free(object.address);
            api_thread_ends();
            n_at_work--;
        });
    while (n_at_work)
        api_decay();
    for (auto &thread : threads)
        thread.join();
    EXPECT_EQ(api_check(), nullptr);
}

TEST(Heaps, ADeadThreadsHeapIsAdopted) {
    auto use = [] { heap_free(heap_malloc(100)); };
    for (int i = 0; i < 4; i++)
        std::thread(use).join();
    unsigned before = api_n_heaps();
    for (int i = 0; i < 300; i++)
        std::thread(use).join();
    EXPECT_EQ(api_n_heaps(), before);
}

// Four heaps without an owner, in one of which there is free memory: it is used again, whichever it
// is.
TEST(Heaps, TheHeapWithMostToSpareIsAdopted) {
    constexpr uint64_t kDebt = uint64_t{1} << 40;
    purge_budget_settle(0, kDebt); // what is freed stays
    for (int fullest = 0; fullest < 4; fullest++) {
        heaps_trim();
        std::atomic<int> n_ready{0};
        unsigned expected = 0, adopted = 0;
        std::vector<std::thread> threads;
        for (int i = 0; i < 4; i++)
            threads.emplace_back([&, i] {
                std::vector<void *> objects;
                for (int n = 0; n < (i == fullest ? 1000 : 10); n++)
                    objects.push_back(heap_malloc(3000));
                if (i == fullest)
                    expected = api_self_id();
                n_ready++;
                while (n_ready < 4)
                    std::this_thread::yield();
                for (void *object : objects)
                    heap_free(object);
                api_thread_ends();
            });
        for (auto &thread : threads)
            thread.join();
        std::thread([&] {
            heap_free(heap_malloc(100));
            adopted = api_self_id();
            api_thread_ends();
        }).join();
        EXPECT_EQ(adopted, expected);
    }
    purge_budget_settle(kDebt, 0);
}

TEST(Heaps, LiveThreadsHaveHeapsOfTheirOwn) {
    std::mutex mutex;
    std::map<unsigned, int> owners;
    std::atomic<int> n_ready{0};
    std::vector<std::thread> threads;
    for (int i = 0; i < 20; i++)
        threads.emplace_back([&] {
            void *object = heap_malloc(10);
            {
                std::lock_guard<std::mutex> guard(mutex);
                owners[api_self_id()]++;
            }
            n_ready++;
            while (n_ready < 20)
                std::this_thread::yield();
            heap_free(object);
        });
    for (auto &thread : threads)
        thread.join();
    EXPECT_EQ(owners.size(), 20u);
    EXPECT_EQ(owners.count(0), 0u);
}

// What a thread that is gone left, and what is freed into its heap later, is used by its heir.
TEST(Heaps, ObjectsOutliveTheirThread) {
    std::vector<void *> objects;
    unsigned owner = 0;
    heap_free(heap_malloc(1)); /* this thread shall have a heap of its own */
    std::thread([&] {
        for (int i = 0; i < 10000; i++) {
            objects.push_back(heap_malloc(200));
            fill(objects.back(), 200, 7);
        }
        owner = api_self_id();
    }).join();
    for (void *object : objects) {
        ASSERT_TRUE(is_filled(object, 200, 7));
        heap_free(object);
    }
    uint64_t accessible = api_accessible_bytes(objects[5000]);
    unsigned heir = 0;
    for (int tries = 0; tries < 100 && heir != owner; tries++)
        std::thread([&] {
            for (int i = 0; i < 9000; i++)
                objects[i] = heap_malloc(200);
            heir = api_self_id();
            for (int i = 0; i < 9000; i++)
                heap_free(objects[i]);
        }).join();
    EXPECT_EQ(heir, owner);
    EXPECT_EQ(api_accessible_bytes(objects[5000]), accessible);
    EXPECT_EQ(api_check(), nullptr);
}

// Hand-over, adoption and fork at once: threads that die and are replaced while they free each
// other's objects, and a thread that forks among them.
TEST(Heaps, ForkAmongThreadsThatComeAndGo) {
    struct Slot {
        std::mutex mutex;
        Object object{};
    };
    std::vector<Slot> slots(64);
    std::atomic<bool> stop{false};
    std::atomic<int> n_wrong{0};
    auto short_life = [&](unsigned seed) {
        std::mt19937 rng(seed);
        for (int i = 0; i < 300; i++) {
            size_t bytes = i % 50 ? rng() % 600 : rng() % 200000;
            Object mine{heap_malloc(bytes), bytes, static_cast<uint8_t>(rng())};
            fill(mine.address, mine.bytes, mine.tag);
            {
                Slot &slot = slots[rng() % slots.size()];
                std::lock_guard<std::mutex> guard(slot.mutex);
                std::swap(mine, slot.object);
            }
            n_wrong += !is_filled(mine.address, mine.address ? mine.bytes : 0, mine.tag);
            heap_free(mine.address);
        }
        api_thread_ends();
    };
    std::vector<std::thread> lines;
    for (unsigned t = 0; t < 3; t++)
        lines.emplace_back([&, t] {
            for (unsigned life = 0; !stop; life++)
                std::thread(short_life, t * 1000 + life).join();
        });
    for (int i = 0; i < 12; i++) {
        Object before{heap_malloc(500), 500, 7};
        fill(before.address, before.bytes, before.tag);
        pid_t child = fork();
        if (child == 0) {
            bool is_sound = api_check() == nullptr && is_filled(before.address, 500, 7);
            for (int k = 0; k < 100; k++)
                heap_free(heap_malloc(static_cast<size_t>(k) * 700));
            heap_free(before.address);
            heaps_trim();
            _exit(is_sound && api_check() == nullptr ? 0 : 1);
        }
        int status = -1;
        EXPECT_EQ(waitpid(child, &status, 0), child);
        EXPECT_EQ(status, 0);
        heap_free(before.address);
    }
    stop = true;
    for (auto &line : lines)
        line.join();
    EXPECT_EQ(n_wrong, 0);
    for (Slot &slot : slots)
        heap_free(slot.object.address);
    EXPECT_EQ(api_check(), nullptr);
}

// ---- Giving back, checking ----------------------------------------------------------------------

TEST(Heaps, TrimGivesEmptyRegionsBack) {
    heap_free(heap_malloc(1)); /* the heap's first region stays */
    heaps_trim();
    uint64_t before = api_reserved_bytes();
    std::vector<void *> objects;
    for (int i = 0; i < 6000; i++)
        objects.push_back(heap_malloc(34000));
    EXPECT_GT(api_reserved_bytes(), before + (uint64_t{128} << 20));
    EXPECT_EQ(api_check(), nullptr) << "with several regions";
    for (size_t i = 0; i < objects.size(); i++) {
        heap_free(objects[i]);
        if (i == objects.size() / 2) {
            heaps_trim();
            EXPECT_EQ(api_check(), nullptr) << "without some of them";
        }
    }
    heaps_trim();
    EXPECT_EQ(api_reserved_bytes(), before);
    EXPECT_EQ(api_check(), nullptr);
}

TEST(PurgeBudget, WhatGrewMayBeGivenBackOnce) {
    while (api_budget_take(1 << 20))
        ;
    uint64_t lots = uint64_t{1} << 40; /* more than time can have earned meanwhile */
    EXPECT_FALSE(api_budget_take(lots));
    purge_budget_earn(lots);
    EXPECT_TRUE(api_budget_take(lots));
    EXPECT_FALSE(api_budget_take(lots));
}

TEST(PurgeBudget, MoreSpentThanTakenIsADebt) {
    while (api_budget_take(1 << 20))
        ;
    uint64_t lots = uint64_t{1} << 40;
    purge_budget_settle(0, 2 * lots);
    purge_budget_earn(2 * lots);
    EXPECT_FALSE(api_budget_take(lots)); /* all of it went into the debt */
    purge_budget_earn(lots);
    EXPECT_TRUE(api_budget_take(lots));
    purge_budget_settle(lots, 0);
    EXPECT_TRUE(api_budget_take(lots));
}

class Damage : public testing::TestWithParam<std::pair<damage_t, const char *>> {};

TEST_P(Damage, IsFound) {
    std::vector<void *> objects;
    for (int i = 0; i < 3000; i++)
        objects.push_back(heap_malloc(48));
    void *block = objects.back();
    for (void *object : objects)
        if (object != block)
            heap_free(object);
    heaps_trim(); /* all but one of the blocks back in their runs */
    ASSERT_EQ(api_check(), nullptr);
    auto [damage, number] = GetParam();
    api_damage(damage, block);
    const char *what = api_check();
    api_damage(damage, block);
    ASSERT_NE(what, nullptr);
    EXPECT_EQ(std::string(what).substr(0, 2), number) << what;
    EXPECT_EQ(api_check(), nullptr);
    heap_free(block);
}

INSTANTIATE_TEST_SUITE_P(
    Each, Damage,
    testing::Values(std::pair{DAMAGE_ENTRY, "H1"}, std::pair{DAMAGE_ENTRY_RESIDENT, "H1"},
                    std::pair{DAMAGE_HEAP_RESIDENT, "H1"}, std::pair{DAMAGE_HEAP_CLEAN, "H1"},
                    std::pair{DAMAGE_RUN_COUNT, "H4"}, std::pair{DAMAGE_RUN_LIST, "H4"},
                    std::pair{DAMAGE_PARTIAL, "H5"}, std::pair{DAMAGE_SUM, "H4"},
                    std::pair{DAMAGE_N_RUNS, "H4"}, std::pair{DAMAGE_TILE, "H3"}));

} // namespace

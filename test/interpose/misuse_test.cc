// SPDX-License-Identifier: MIT
// Misuse that the default build catches: one line on standard error that names the function, the
// pointer and what is wrong, then abort; never silent damage.  Each case runs in a forked child.
#include "misuse.h"

#include <pthread.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <thread>

using namespace interpose;

namespace {

void on_another_thread(const std::function<void()> &body) {
    std::thread(body).join();
}

class Misuse : public MisuseOfSize {};
class MisuseOfClass : public MisuseOfSize {};

// 24 bytes: a run or a small element; 5000: an element; 3 MiB: page-granular.
INSTANTIATE_TEST_SUITE_P(Sizes, Misuse, testing::Values(24, 5000, 3 * MiB),
                         [](const auto &info) { return std::to_string(info.param); });

} // namespace

// ---- An object already free -----------------------------------------------------------------

TEST_P(Misuse, FreedAtOnceAgain) {
    expect_all_caught(object_, [&] { free(object_); });
}

TEST_P(Misuse, FreedAgainAfterOthers) {
    expect_all_caught(object_, [&] {
        free(object_);
        free(objects_[3]);
        free(objects_[kObjects / 2 + 1]);
        free(objects_[kObjects / 2 - 1]);
    });
}

// Sizes away from the object's own, so that its place is not given to another meanwhile.
TEST_P(Misuse, FreedAgainMuchLater) {
    expect_all_caught(object_, [&] {
        Random random(1);
        free(object_);
        for (int i = 0; i < 1000; i++)
            free(malloc(200 + random.below(600)));
    });
}

TEST_P(Misuse, FreedAgainWhenItsNeighboursAreReused) {
    expect_all_caught(object_, [&] {
        free(object_);
        free(objects_[kObjects / 2 - 1]);
        free(objects_[kObjects / 2 + 1]);
        void *reused = malloc(GetParam());
        if (reused == object_) // then that one is free again
            free(reused);
    });
}

TEST_P(Misuse, FreedAgainAfterEverythingElse) {
    expect_all_caught(object_, [&] {
        for (void *object : objects_)
            free(object);
    });
}

TEST_P(Misuse, FreedAgainAfterTrim) {
    expect_all_caught(object_, [&] {
        free(object_);
        malloc_trim(0);
    });
}

TEST_P(Misuse, FreedHereThenByAnotherThread) {
    for (const Call &row : kCalls) {
        Outcome outcome = run_in_child([&] {
            free(object_);
            on_another_thread([&] { row.call(object_); });
        });
        EXPECT_TRUE(is_reported(outcome, row.name, hex(object_)));
    }
}

TEST_P(Misuse, FreedTwiceByAnotherThread) {
    Outcome outcome = run_in_child([&] {
        on_another_thread([&] {
            free(object_);
            free(opaque(object_));
        });
    });
    EXPECT_TRUE(is_reported(outcome, "free", hex(object_)));
}

TEST_P(Misuse, FreedByAnotherThreadThenHere) {
    expect_all_caught(object_, [&] { on_another_thread([&] { free(object_); }); });
}

TEST_P(Misuse, FreedByAnotherThreadThatLivesThenHere) {
    expect_all_caught(object_, [&] {
        static std::atomic<bool> freed;
        freed = false;
        std::thread([&] {
            free(object_);
            freed = true;
            for (;;)
                pause();
        }).detach();
        while (!freed)
            sched_yield();
    });
}

TEST_P(Misuse, FreedByAnotherThreadAmongMany) {
    expect_all_caught(object_, [&] {
        on_another_thread([&] {
            for (void *object : objects_)
                free(object);
        });
    });
}

// realloc frees too: its old pointer is stale.
TEST_P(Misuse, StaleAfterRealloc) {
    for (const Call &row : kCalls) {
        Outcome outcome = run_in_child([&] {
            void *stale = object_, *moved = realloc(opaque(object_), 70 * MiB);
            require(moved != nullptr && moved != stale, "realloc moves the object");
            row.call(stale);
        });
        EXPECT_TRUE(is_reported(outcome, row.name, hex(object_)));
    }
}

TEST_P(Misuse, FreedByReallocToZero) {
    expect_all_caught(object_, [&] { opaque(realloc(opaque(object_), opaque(size_t{0}))); });
}

TEST_P(Misuse, DeletedTwice) {
    Outcome outcome = run_in_child([&] {
        ::operator delete(object_);
        ::operator delete(opaque(object_));
    });
    EXPECT_TRUE(is_reported(outcome, kAnyFunction, hex(object_)));
    outcome = run_in_child([&] {
        ::operator delete(object_, GetParam());
        ::operator delete(opaque(object_), GetParam());
    });
    EXPECT_TRUE(is_reported(outcome, kAnyFunction, hex(object_)));
}

// Of sizes that are served elsewhere: nobody is given the object's place between the two frees.
TEST_P(Misuse, FreedTwiceWhileOtherThreadsAllocate) {
    Outcome outcome = run_in_child([&] {
        for (int t = 0; t < 2; t++)
            std::thread([] {
                for (size_t i = 0;; i++)
                    free(malloc(500 + i % 3000));
            }).detach();
        free(object_);
        free(opaque(object_));
    });
    EXPECT_TRUE(is_reported(outcome, "free", hex(object_)));
}

// ---- Into an object -------------------------------------------------------------------------

TEST_P(Misuse, Interior) {
    char *object = static_cast<char *>(object_);
    size_t half = GetParam() / 2;
    for (size_t offset : {1ul, 8ul, 16ul, half, half / 16 * 16 + 16, GetParam() - 1})
        expect_all_caught(object + offset);
}

TEST_P(Misuse, InteriorOnAPage) {
    if (GetParam() < 2 * 4096)
        GTEST_SKIP() << "no page lies wholly inside";
    char *object = static_cast<char *>(object_);
    for (size_t offset : {4 * KiB, 64 * KiB, MiB, 2 * MiB})
        expect_all_caught(object + offset);
}

TEST_P(Misuse, JustBefore) {
    char *object = static_cast<char *>(object_);
    expect_all_caught(object - 8);
    expect_all_caught(object - 1);
}

TEST_P(Misuse, InteriorOfAFreeObject) {
    char *inside = static_cast<char *>(object_) + 16;
    expect_all_caught(inside, [&] { free(object_); });
}

TEST_P(Misuse, InteriorByAnotherThread) {
    char *inside = static_cast<char *>(object_) + 16;
    Outcome outcome = run_in_child([&] { on_another_thread([&] { free(opaque(inside)); }); });
    EXPECT_TRUE(is_reported(outcome, "free", hex(inside)));
}

// An aligned allocation has a gap before it, or lies inside a larger block: only its own start is
// it.  The highest of many: its gap is as new, and nobody else's object can end where it begins.
TEST_P(Misuse, InteriorOfAnAlignedObject) {
    void *aligned[kObjects];
    for (void *&object : aligned)
        object = memalign(16 * KiB, GetParam());
    char *highest = static_cast<char *>(*std::max_element(aligned, aligned + kObjects));
    expect_all_caught(highest + 16);
    expect_all_caught(highest - 16);
    for (void *object : aligned)
        free(object);
}

// The fast path takes the first byte of each 64 KiB for a block's start.
TEST_P(Misuse, AtTheStartOf64KiB) {
    char *aligned = static_cast<char *>(memalign(64 * KiB, GetParam()));
    expect_all_caught(aligned + 16);
    expect_all_caught(aligned, [&] { free(aligned); });
    expect_all_caught(aligned, [&] { on_another_thread([&] { free(aligned); }); });
    free(aligned);
}

// Equal small objects lie side by side in 64 KiB, the last eight bytes left out.  What remains
// behind the last object is the place of none.  (If one never comes to lie there, as in the
// hardened library, there is no such place.)
TEST_P(MisuseOfClass, BehindTheLastOfManyObjects) {
    const size_t bytes = GetParam(), tile = 64 * KiB, n_in_tile = (tile - 8) / bytes;
    std::vector<char *> objects;
    char *last = nullptr;
    for (size_t i = 0; i < 10 * n_in_tile && !last; i++) {
        objects.push_back(static_cast<char *>(malloc(bytes)));
        if (reinterpret_cast<uintptr_t>(objects.back()) % tile == (n_in_tile - 1) * bytes)
            last = objects.back();
    }
    if (last)
        expect_all_caught(last + bytes);
    for (char *object : objects)
        free(object);
}

INSTANTIATE_TEST_SUITE_P(Sizes, MisuseOfClass, testing::Values(16, 112, 1024, 4096),
                         [](const auto &info) { return std::to_string(info.param); });

// ---- Not ours at all ------------------------------------------------------------------------

namespace {

int g_static = 1;
const char g_constant[64] = "constant";
alignas(4096) char g_page[8192];

class MisuseForeign : public testing::Test {
  protected:
    void SetUp() override { SKIP_UNDER_STAND_IN("libmheap's line"); }
};

} // namespace

TEST_F(MisuseForeign, Stack) {
    alignas(16) char on_stack[64] = "";
    expect_all_caught(on_stack + 32);
    expect_all_caught(on_stack + 1);
}

TEST_F(MisuseForeign, Static) {
    expect_all_caught(&g_static);
    expect_all_caught(const_cast<char *>(g_constant));
    expect_all_caught(g_page + 4096);
    expect_all_caught(g_page + 16);
}

TEST_F(MisuseForeign, Code) {
    expect_all_caught(reinterpret_cast<void *>(&is_reported));
    expect_all_caught(reinterpret_cast<void *>(function_named<void *(size_t)>("malloc")));
}

TEST_F(MisuseForeign, AnotherMapping) {
    for (size_t size : {size_t{8192}, 3 * MiB, 200 * MiB}) {
        void *mapping =
            mmap(nullptr, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        ASSERT_NE(mapping, MAP_FAILED);
        expect_all_caught(mapping);
        expect_all_caught(static_cast<char *>(mapping) + 16);
        munmap(mapping, size);
        expect_all_caught(mapping); // nothing is mapped there any more
    }
}

TEST_F(MisuseForeign, UnreadableMapping) {
    void *mapping = mmap(nullptr, MiB, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    ASSERT_NE(mapping, MAP_FAILED);
    expect_all_caught(static_cast<char *>(mapping) + 64);
    munmap(mapping, MiB);
}

TEST_F(MisuseForeign, NumbersThatAreNoAddress) {
    for (uintptr_t address :
         {uintptr_t{1}, uintptr_t{8}, uintptr_t{16}, uintptr_t{0x1000}, uintptr_t{0x123456789ab0},
          uintptr_t{1} << 46, uintptr_t{1} << 47, uintptr_t{1} << 48, uintptr_t{1} << 60,
          uintptr_t{1} << 63, ~uintptr_t{0} - 15, ~uintptr_t{0}})
        expect_all_caught(reinterpret_cast<void *>(address));
}

// Where a small object's neighbours would be, if there were so many.
TEST_F(MisuseForeign, PlacesOfTheHeapThatWereNeverUsed) {
    void *object = malloc(100);
    char *start = reinterpret_cast<char *>(reinterpret_cast<uintptr_t>(object) & ~(64 * MiB - 1));
    for (size_t offset : {size_t{0}, 64 * KiB, MiB, 40 * MiB, 64 * MiB - 64 * KiB}) {
        expect_all_caught(start + offset);
        expect_all_caught(start + offset + 16);
    }
    free(object);
}

// The first thing that a new thread does, before it has anything of its own.
TEST_F(MisuseForeign, FirstCallOfAThread) {
    for (const Call &row : kCalls) {
        Outcome outcome = run_in_child([&] {
            pthread_t thread;
            require(pthread_create(
                        &thread, nullptr,
                        [](void *row) -> void * {
                            static_cast<const Call *>(row)->call(&g_static);
                            return nullptr;
                        },
                        const_cast<Call *>(&row)) == 0,
                    "the thread is there");
            pthread_join(thread, nullptr);
        });
        EXPECT_TRUE(is_reported(outcome, row.name, hex(&g_static)));
    }
}

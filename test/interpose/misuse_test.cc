// SPDX-License-Identifier: MIT
// Misuse that the default build catches: one line on standard error that names the function, the
// pointer and what is wrong, then abort; never silent damage.  Each case runs in a forked child.
#include "support.h"

#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mman.h>

#include <algorithm>
#include <atomic>
#include <cstring>
#include <regex>
#include <thread>

using namespace interpose;

namespace {

// A misuse reported by "libmheap: FUNCTION(0xPOINTER): what is wrong".
testing::AssertionResult is_reported(const Outcome &outcome, const std::string &function,
                                     const std::string &pointer) {
    std::regex line("libmheap: " + function + "\\(" + pointer + "\\): [^\n]{8,}\n");
    if (outcome.signal != SIGABRT)
        return testing::AssertionFailure() << "not aborted: " << outcome;
    if (!std::regex_match(outcome.err, line))
        return testing::AssertionFailure()
               << "not the line expected for " << function << "(" << pointer << "): " << outcome;
    return testing::AssertionSuccess();
}

std::string hex(const void *pointer) {
    char text[32];
    snprintf(text, sizeof text, "0x%lx", reinterpret_cast<unsigned long>(pointer));
    return text;
}

const char *const kAnyFunction = "[a-z_ ]+";
const char *const kAnyPointer = "0x[0-9a-f]+";

// The calls that take a pointer, each with the name that its report bears.
struct Call {
    const char *name;
    void (*call)(void *pointer);
};
const Call kCalls[] = {
    {"free", [](void *pointer) { free(opaque(pointer)); }},
    {"realloc", [](void *pointer) { opaque(realloc(opaque(pointer), 10000)); }},
    {"malloc_usable_size", [](void *pointer) { opaque(malloc_usable_size(opaque(pointer))); }},
};

// Every call of the three is caught when given `pointer`, after `before` has been done.
template <class Before> void expect_all_caught(void *pointer, Before before) {
    for (const Call &row : kCalls) {
        Outcome outcome = run_in_child([&] {
            before();
            row.call(pointer);
        });
        EXPECT_TRUE(is_reported(outcome, row.name, hex(pointer)));
    }
}

void expect_all_caught(void *pointer) {
    expect_all_caught(pointer, [] {});
}

void on_another_thread(const std::function<void()> &body) {
    std::thread(body).join();
}

class Misuse : public testing::TestWithParam<size_t> {
  protected:
    void SetUp() override {
        SKIP_UNDER_STAND_IN("libmheap's line");
        for (void *&object : objects_) { // neighbours on both sides
            object = malloc(GetParam());
            fill_pattern(object, GetParam(), 1);
        }
        object_ = objects_[kObjects / 2];
    }
    void TearDown() override {
        for (void *object : objects_)
            free(object);
    }

    static constexpr size_t kObjects = 40;
    void *objects_[kObjects] = {};
    void *object_ = nullptr; // the one in the middle, that a test abuses
};

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

TEST_P(Misuse, FreedTwiceWhileOtherThreadsAllocate) {
    Outcome outcome = run_in_child([&] {
        for (int t = 0; t < 2; t++)
            std::thread([] {
                for (size_t i = 0;; i++)
                    free(malloc(i % 40000));
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
// it.
TEST_P(Misuse, InteriorOfAnAlignedObject) {
    char *object = static_cast<char *>(memalign(16 * KiB, GetParam()));
    expect_all_caught(object + 16);
    expect_all_caught(object - 16);
    free(object);
}

// ---- Overwritten ----------------------------------------------------------------------------

// Past the end of a medium object lies its neighbour's boundary tag.
TEST(MisuseOverflow, PastAMediumObjectIsNoticedAtTheLatestByItsNeighboursFree) {
    SKIP_UNDER_STAND_IN("libmheap's line");
    char *objects[20];
    for (char *&object : objects)
        object = static_cast<char *>(malloc(5000));
    size_t usable = malloc_usable_size(objects[10]);
    for (size_t n_bytes = 1; n_bytes <= 64; n_bytes += n_bytes < 16 ? 1 : 8) {
        Outcome outcome = run_in_child([&] {
            for (size_t i = 0; i < n_bytes; i++)
                objects[10][usable + i] ^= 0xFF; // surely another value than before
            free(objects[10]);
            free(objects[11]);
            free(objects[9]);
        });
        EXPECT_TRUE(is_reported(outcome, kAnyFunction, kAnyPointer)) << n_bytes << " bytes";
    }
    for (char *object : objects)
        free(object);
}

// Whatever is written into a free object cannot steer malloc: it is noticed when the place is
// taken again.  The write hits the first 8 bytes, where a link may be.
class MisuseAfterFree : public Misuse {};
INSTANTIATE_TEST_SUITE_P(Sizes, MisuseAfterFree, testing::Values(24, 200, 1000, 5000),
                         [](const auto &info) { return std::to_string(info.param); });

TEST_P(MisuseAfterFree, WriteIsNoticedWhenTaken) {
    const uint64_t kValues[] = {0x4141414141414141, ~uint64_t{0}, 1,
                                reinterpret_cast<uint64_t>(&kValues),
                                reinterpret_cast<uint64_t>(objects_[0])};
    for (uint64_t value : kValues) {
        Outcome outcome = run_in_child([&] {
            free(object_);
            memcpy(opaque(object_), &value, sizeof value);
            for (int i = 0; i < 1000; i++)
                opaque(malloc(GetParam()));
        });
        EXPECT_TRUE(is_reported(outcome, kAnyFunction, kAnyPointer)) << value;
    }
}

TEST_P(MisuseAfterFree, OneByteIsNoticedWhenTaken) {
    Outcome outcome = run_in_child([&] {
        free(object_);
        static_cast<unsigned char *>(opaque(object_))[0] ^= 0x55;
        for (int i = 0; i < 1000; i++)
            opaque(malloc(GetParam()));
    });
    EXPECT_TRUE(is_reported(outcome, kAnyFunction, kAnyPointer));
}

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

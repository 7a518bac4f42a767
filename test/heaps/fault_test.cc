// SPDX-License-Identifier: MIT
// Memory system calls that fail, by vm_allow_hook: the Nth of each kind and of any kind for every N
// there is, several in a row, random ones, all of a kind.  A fixed history of four threads
// (world.h) must get through it: what is live keeps its contents, every invariant holds, and
// afterwards allocation works and everything comes home.
#include "heaps_api.h"
#include "world.h"

#include "../objects.h"
#include "../random.h"

#include <string>

#include <gtest/gtest.h>

extern "C" {
#include "vm.h"
}

namespace {

// ---- Which calls fail ---------------------------------------------------------------------------

constexpr int kAny = VM_N_CALLS;

struct Faults {
    int kind = kAny;
    uint64_t first = 0, n = 0; // these of the calls of that kind, counted from 0
    uint32_t permille = 0;     // and these at random
    uint64_t seed = 0;
    uint64_t n_asked = 0, n_failed = 0;
} faults;
Xorshift dice(0);

bool allow(vm_call_t call) {
    if (faults.kind != kAny && call != faults.kind)
        return true;
    uint64_t number = faults.n_asked++;
    bool fails = number - faults.first < faults.n || dice.below(1000) < faults.permille;
    faults.n_failed += fails;
    return !fails;
}

void begin(const Faults &wanted) {
    faults = wanted;
    dice = Xorshift(wanted.seed);
    vm_allow_hook = allow;
}

// ---- The history --------------------------------------------------------------------------------

class History {
  public:
    // Enough of everything for each kind of system call.
    void play() {
        for (unsigned step = 0; step < 520; step++) {
            if (step % 40 == 0)
                world_switch_to(step / 40 % WORLD_MAX_THREADS);
            if (step % 230 == 229)
                world_thread_dies();
            if (step % 170 == 169)
                heaps_trim();
            if (step % 100 == 60)
                grow_one();
            if (step == 350)
                release_all(), heaps_trim();
            if (step % 100 == 99)
                world_advance_clock_ms(700);
            one_step(step);
            if (step % 175 == 0)
                check();
        }
    }

    void end() {
        vm_allow_hook = nullptr;
        check();
        for (size_t bytes : {1u, 100u, 5000u, 300000u, 3000000u}) {
            void *pointer = heap_malloc(bytes);
            CHECK(pointer, "no memory, though nothing fails any more");
            heap_free(pointer);
        }
        release_all();
        const char *what = world_lost();
        CHECK(!what, what);
        check();
        world_forget();
    }

    unsigned n_refused() const { return n_refused_; }

  private:
    void check() {
        const char *what = api_check();
        CHECK(!what, what);
        objects_.check_all();
    }

    size_t random_size() {
        static const size_t limits[] = {64,    500,    500,    4000,   4000,    30000,
                                        30000, 500000, 500000, 600000, 3000000, 40000000};
        return 1 + random_.below(limits[random_.below(12)]);
    }

    void keep(void *pointer, size_t bytes) {
        if (pointer)
            objects_.add(static_cast<char *>(pointer), bytes, heap_usable_bytes(pointer, "test"));
        else
            n_refused_++;
    }

    void one_step(unsigned step) {
        size_t choice = random_.below(16), bytes = random_size();
        bool is_growing = step / 150 % 2 == 0;
        if (!objects_.has_room(bytes) || choice < (is_growing ? 4u : 9u))
            return release();
        if (choice < 11 || objects_.count() == 0)
            keep(heap_malloc(bytes), bytes);
        else if (choice == 11)
            keep(heap_memalign(size_t{32} << random_.below(13), bytes), bytes);
        else if (choice == 12)
            zeroed(bytes);
        else if (choice == 13)
            for (int i = 0; i < 100; i++)
                keep(heap_malloc(bytes % 1000), bytes % 1000);
        else
            resize(bytes);
    }

    void zeroed(size_t bytes) {
        void *pointer = heap_calloc(1, bytes);
        if (pointer)
            Objects::check_zero(static_cast<char *>(pointer), bytes);
        keep(pointer, bytes);
    }

    void resize(size_t bytes) {
        auto it = objects_.pick(static_cast<uint8_t>(random_.next()));
        void *old = reinterpret_cast<void *>(it->first);
        Object object = objects_.take(it);
        void *moved = heap_realloc(old, bytes);
        if (moved)
            Objects::check(static_cast<char *>(moved), object, bytes);
        keep(moved ? moved : old, moved ? bytes : object.n_bytes);
    }

    // So large that its pages are moved, with something behind it each time.
    void grow_one() {
        void *pointer = heap_malloc(700000), *obstacle = nullptr;
        for (size_t bytes = 700000; pointer && bytes < 7000000; bytes *= 3) {
            static_cast<char *>(pointer)[bytes - 1] = 5;
            heap_free(obstacle);
            obstacle = heap_malloc(600000);
            void *grown = heap_realloc(pointer, bytes * 3);
            CHECK(!grown || static_cast<char *>(grown)[bytes - 1] == 5, "lost in realloc");
            if (!grown)
                break;
            pointer = grown;
        }
        heap_free(obstacle);
        heap_free(pointer);
    }

    void release_all() {
        while (objects_.count())
            release();
    }

    void release() {
        if (objects_.count() == 0)
            return;
        auto it = objects_.pick(static_cast<uint8_t>(random_.next()));
        void *pointer = reinterpret_cast<void *>(it->first);
        objects_.take(it);
        heap_free(pointer);
    }

    Xorshift random_{7};
    Objects objects_;
    unsigned n_refused_ = 0;
};

// The number of calls that failed.
uint64_t play_with(const Faults &wanted) {
    History history;
    begin(wanted);
    history.play();
    uint64_t n_failed = faults.n_failed;
    history.end();
    return n_failed;
}

// ---- Tests --------------------------------------------------------------------------------------

// The kinds that the history makes use of; huge pages are nowhere asked for, and so short a history
// has no class of many runs.
class NthCall : public testing::TestWithParam<int> {};

TEST_P(NthCall, MayFail) {
    uint64_t n = 0,
             length = GetParam() == kAny ? 1 : 2; // 2: the second try for the same fails, too
    while (play_with({GetParam(), n, length, 0, 0, 0, 0}) > 0)
        n++;
    EXPECT_GE(n, 3u) << "the history hardly makes such calls";
}

std::string name_of(const testing::TestParamInfo<int> &info) {
    static const char *const names[] = {"Reserve", "Map",   "Commit",   "Populate", "Purge", "Huge",
                                        "Move",    "Renew", "Decommit", "Release",  "Any"};
    return names[info.param];
}

INSTANTIATE_TEST_SUITE_P(Kinds, NthCall,
                         testing::Values(VM_CALL_RESERVE, VM_CALL_COMMIT, VM_CALL_PURGE,
                                         VM_CALL_MOVE, VM_CALL_DECOMMIT, VM_CALL_RELEASE, kAny),
                         name_of);

TEST(Faults, AnyRandomSubsetMayFail) {
    for (uint64_t seed = 1; seed <= 20; seed++) {
        SCOPED_TRACE(seed);
        EXPECT_GT(play_with({kAny, 0, 0, static_cast<uint32_t>(seed * 45), seed, 0, 0}), 0u);
    }
}

TEST(Faults, EachKindMayFailAlways) {
    for (int kind = 0; kind <= kAny; kind++) {
        SCOPED_TRACE(kind);
        play_with({kind, 0, UINT64_MAX, 0, 0, 0, 0});
    }
}

TEST(Faults, FromTheNthOnAllMayFail) {
    for (uint64_t n = 0; n < 200; n += 3)
        play_with({kAny, n, UINT64_MAX, 0, 0, 0, 0});
}

// That refusals come through at all: with nothing from the system there is nothing for the program.
TEST(Faults, WithoutTheSystemThereIsNoMemory) {
    History history;
    begin({kAny, 0, UINT64_MAX, 0, 0, 0, 0});
    history.play();
    EXPECT_GT(history.n_refused(), 100u);
    history.end();
}

} // namespace

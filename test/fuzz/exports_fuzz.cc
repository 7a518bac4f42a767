// SPDX-License-Identifier: MIT
// The exported names, linked into this program, so malloc is ours for all of it: up to four real
// threads at once allocate, resize and free what lies in slots that they share, so most objects are
// freed by another thread than their own, while memory system calls fail and children are forked.
// Every object is compared with what was written to it; when the threads have ended, which they do
// again and again in one input, all invariants are checked.
//
// One input is many histories: what the threads do is given, in which order is not.  A finding may
// need its input run again, many times.
#include <malloc.h>
#include <sched.h>
#include <sys/wait.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <new>
#include <thread>
#include <vector>

#include "input.h"

#include "../heaps/heaps_api.h"

namespace {

constexpr unsigned kThreads = 4;
constexpr size_t kSlots = 64;
constexpr size_t kMaxBytes = size_t{1200} << 10;

// ---- Which store of large objects ----

thread_local unsigned t_processor; // a thread hops from one to the next as it likes

// ---- Failing calls ----

std::atomic<int64_t> g_calls_left{-1}; // below 0: none fails

bool allow(vm_call_t) {
    return g_calls_left.load() < 0 || g_calls_left.fetch_sub(1) != 0;
}

// ---- Slots ----

enum How : uint8_t { C_FREE, DELETE, DELETE_ARRAY, DELETE_ALIGNED };

struct Held {
    char *address = nullptr;
    Object object = {};
    size_t align = 16;
    How how = C_FREE;
};

// Whoever has `is_taken` looks at the rest.
struct Slot {
    std::atomic_flag is_taken = ATOMIC_FLAG_INIT;
    Held held;
};

Slot g_slots[kSlots];
std::atomic<size_t> g_live_bytes{0};
std::atomic<uint8_t> g_next_tag{0};

Held exchange(size_t number, const Held &wanted) {
    Slot &slot = g_slots[number % kSlots];
    while (slot.is_taken.test_and_set(std::memory_order_acquire))
        sched_yield();
    Held old = slot.held;
    slot.held = wanted;
    slot.is_taken.clear(std::memory_order_release);
    return old;
}

void release(const Held &held) {
    if (!held.address)
        return;
    Objects::check(held.address, held.object, held.object.n_bytes);
    g_live_bytes -= held.object.n_bytes;
    switch (held.how) {
    case C_FREE:
        free(held.address);
        break;
    case DELETE:
        ::operator delete(held.address, held.object.n_bytes);
        break;
    case DELETE_ARRAY:
        ::operator delete[](held.address);
        break;
    case DELETE_ALIGNED:
        ::operator delete (held.address, std::align_val_t{held.align});
    }
}

// The object in `held` has `n_bytes` now: checked, filled, and counted.  NULL stays out.
void adopt(Held *held, size_t n_bytes) {
    if (!held->address)
        return;
    CHECK(reinterpret_cast<uintptr_t>(held->address) % held->align == 0, "not aligned");
    size_t n_usable = malloc_usable_size(held->address);
    CHECK(n_usable >= n_bytes, "an object is smaller than asked for");
    held->object = {n_bytes, n_usable, ++g_next_tag};
    g_live_bytes += n_bytes;
    Objects::write(held->address, held->object, n_bytes);
}

Held make(uint8_t way, size_t n_bytes) {
    Held held;
    if (g_live_bytes + n_bytes > Objects::kMaxBytes)
        return held;
    size_t align = size_t{1} << (4 + way / 16);
    void *memory = nullptr;
    switch (way % 8) {
    case 0:
    case 1:
        memory = malloc(n_bytes);
        break;
    case 2:
        memory = calloc(1, n_bytes);
        if (memory)
            Objects::check_zero(static_cast<char *>(memory), n_bytes);
        break;
    case 3:
        memory = posix_memalign(&memory, align, n_bytes) == 0 ? memory : nullptr;
        held.align = align;
        break;
    case 4:
        memory = aligned_alloc(align, n_bytes);
        held.align = align;
        break;
    case 5:
        memory = ::operator new(n_bytes, std::nothrow);
        held.how = DELETE;
        break;
    case 6:
        memory = ::operator new[](n_bytes, std::nothrow);
        held.how = DELETE_ARRAY;
        break;
    default:
        memory = ::operator new (n_bytes, std::align_val_t{align}, std::nothrow);
        held.align = align;
        held.how = DELETE_ALIGNED;
    }
    held.address = static_cast<char *>(memory);
    adopt(&held, n_bytes);
    return held;
}

void resize(size_t number, size_t n_bytes) {
    Held held = exchange(number, Held());
    if (!held.address || held.how != C_FREE || n_bytes == 0) {
        release(held);
        return;
    }
    void *moved = realloc(held.address, n_bytes);
    if (moved) { // else the old one is untouched
        Objects::check(static_cast<char *>(moved), held.object, n_bytes);
        g_live_bytes -= held.object.n_bytes;
        held.address = static_cast<char *>(moved);
        held.align = 16;
        adopt(&held, n_bytes);
    }
    release(exchange(number, held));
}

// The child has the memory of one thread and no other: it works on with what it finds.
void fork_once(size_t number) {
    pid_t child = fork();
    if (child == 0) {
        g_calls_left = -1;
        for (size_t i = 0; i < 40; i++)
            free(memset(malloc(100 * i * i), 1, 100 * i * i));
        Slot &slot = g_slots[number % kSlots];
        if (!slot.is_taken.test_and_set()) // else another thread was changing it
            release(slot.held);
        const char *what = api_check();
        CHECK(!what, what);
        _exit(0);
    }
    int status = 0;
    CHECK(child < 0 || waitpid(child, &status, 0) == child, "waitpid fails");
    CHECK(status == 0, "the child does not end well");
}

// ---- An input ----

struct Step {
    uint8_t op, choice;
    size_t n_bytes;
};

void special(const Step &step) {
    switch (step.choice % 16) {
    case 0:
        malloc_trim(0);
        break;
    case 1:
        fork_once(step.op);
        break;
    case 2: {
        const char *what = api_check();
        CHECK(!what, what);
        break;
    }
    case 3:
        CHECK(mallinfo2().uordblks > 0, "nothing is in use");
        break;
    case 4:
    case 5:
        sched_yield();
        break;
    case 6:
    case 7:
        t_processor = step.choice / 16;
        break;
    default:
        g_calls_left = step.choice / 8;
    }
}

void play(const std::vector<Step> &steps) {
    for (const Step &step : steps) {
        uint8_t more = step.op / 32;
        switch (step.op % 8) {
        case 0:
        case 1:
            release(exchange(step.choice, make(more * 37u, step.n_bytes)));
            break;
        case 2: // many of one size, each in the place of another
            for (unsigned n = 0; n < more * 24u + 8; n++)
                release(exchange(step.choice + n, make(0, step.n_bytes)));
            break;
        case 3: // the same one again and again
            for (unsigned n = 0; n < more * 24u + 8; n++)
                release(make(more, step.n_bytes));
            break;
        case 4:
            resize(step.choice, step.n_bytes);
            break;
        case 5:
            release(exchange(step.choice, Held()));
            break;
        case 6:
            for (unsigned n = 0; n < more * 8u + 4; n++)
                release(exchange(step.choice + n, Held()));
            break;
        default:
            special(step);
        }
    }
}

// All at once; the next ones start when all have ended, and take over their heaps.
void run_threads(const std::array<std::vector<Step>, kThreads> &steps) {
    std::atomic<unsigned> n_waiting{0};
    std::vector<std::thread> threads;
    for (unsigned i = 0; i < kThreads; i++)
        threads.emplace_back([&, i] {
            t_processor = i;
            for (n_waiting++; n_waiting < kThreads;)
                sched_yield();
            play(steps[i]);
        });
    for (std::thread &thread : threads)
        thread.join();
    g_calls_left = -1;
    const char *what = api_check();
    CHECK(!what, what);
}

void run(Input input) {
    vm_allow_hook = allow;
    api_use_large_stores(1u << input.byte() % 4);
    std::array<std::vector<Step>, kThreads> steps;
    for (unsigned n = 0; !input.is_at_end() && n < 400; n++) {
        uint8_t op = input.byte(), choice = input.byte();
        bool has_size = op % 8 < 5;
        steps[op / 8 % kThreads].push_back({op, choice, has_size ? input.size() % kMaxBytes : 0});
        if (op == 255) {
            run_threads(steps);
            steps = {};
        }
    }
    run_threads(steps);
    for (size_t i = 0; i < kSlots; i++)
        release(exchange(i, Held()));
    CHECK(g_live_bytes == 0, "some object was lost count of");
    const char *what = api_check();
    CHECK(!what, what);
}

} // namespace

// In the place of the library's.
extern "C" unsigned processor_now(void) {
    return t_processor++;
}

size_t fuzz_operation_bytes(const uint8_t *bytes, size_t n_bytes, bool is_first) {
    if (is_first)
        return 1;
    return 2 + (bytes[0] % 8 < 5 ? size_code_bytes(bytes, n_bytes, 2) : 0);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    run(Input(bytes, n_bytes));
    return 0;
}

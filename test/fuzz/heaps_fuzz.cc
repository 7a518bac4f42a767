// SPDX-License-Identifier: MIT
// The malloc layer: four threads, played one after the other (test/heaps/world.h), allocate, resize
// and free each other's objects, die and are born, while memory system calls fail now and then.
// Objects are compared with a model, all invariants are checked, and at the end everything must
// have come home.
#include "input.h"

#include "../heaps/heaps_api.h"
#include "../heaps/world.h"

namespace {

class Run {
  public:
    Run(const uint8_t *bytes, size_t n_bytes) : input_(bytes, n_bytes) {}

    void go() {
        for (unsigned n = 1; !input_.is_at_end() && n < 4000; n++) {
            step();
            if (n % 32 == 0)
                validate();
        }
        finish();
    }

  private:
    void validate() {
        const char *what = api_check();
        CHECK(!what, what);
    }

    void keep(void *pointer, size_t bytes, size_t align) {
        if (!pointer)
            return;
        CHECK(reinterpret_cast<uintptr_t>(pointer) % align == 0, "not aligned");
        objects_.add(static_cast<char *>(pointer), bytes, heap_usable_bytes(pointer, "fuzz"));
    }

    void allocate(size_t bytes) {
        if (objects_.has_room(bytes))
            keep(heap_malloc(bytes), bytes, 16);
    }

    void allocate_zero(size_t bytes) {
        if (!objects_.has_room(bytes))
            return;
        void *pointer = heap_calloc(bytes % 7 == 0 ? 7 : 1, bytes % 7 == 0 ? bytes / 7 : bytes);
        if (pointer)
            Objects::check_zero(static_cast<char *>(pointer), bytes);
        keep(pointer, bytes, 16);
    }

    void allocate_aligned(size_t bytes, unsigned log2) {
        if (objects_.has_room(bytes))
            keep(heap_memalign(size_t{1} << log2, bytes), bytes, size_t{1} << log2);
    }

    void resize(size_t bytes) {
        if (objects_.count() == 0 || !objects_.has_room(bytes))
            return;
        auto it = objects_.pick(input_.byte());
        void *old = reinterpret_cast<void *>(it->first);
        Object object = objects_.take(it);
        void *moved = heap_realloc(old, bytes);
        if (moved) {
            Objects::check(static_cast<char *>(moved), object, bytes);
            keep(moved, bytes, 16);
        } else if (bytes != 0) { // no memory: the old one is untouched
            keep(old, object.n_bytes, 16);
        }
    }

    void release(uint8_t choice) {
        if (objects_.count() == 0)
            return;
        auto it = objects_.pick(choice);
        void *pointer = reinterpret_cast<void *>(it->first);
        objects_.take(it);
        heap_free(pointer);
    }

    void special(uint8_t what) {
        switch (what % 8) {
        case 0:
            heaps_trim();
            break;
        case 1:
            world_thread_dies();
            break;
        case 2:
            validate();
            objects_.check_all();
            break;
        case 3:
            world_advance_clock_ms(input_.byte() * 20u);
            break;
        default:
            fault::arm(what / 8);
        }
    }

    void step() {
        uint8_t op = input_.byte(), more = op / 16;
        switch (op % 16) {
        case 0:
        case 1:
        case 2:
            allocate(input_.size());
            break;
        case 3: // many of one size: lists overflow, runs fill
            for (size_t bytes = input_.byte() * 12u, n = more * 12u + 2; n > 0; n--)
                allocate(bytes);
            break;
        case 4:
            allocate_zero(input_.size());
            break;
        case 5:
            allocate_aligned(input_.size(), more + 1u);
            break;
        case 6:
        case 7:
            resize(input_.size());
            break;
        case 8:
        case 9:
        case 10:
            release(input_.byte());
            break;
        case 11:
        case 12: // many, from a place on
            for (unsigned n = more * 12u + 2, choice = input_.byte(); n > 0; n--)
                release(static_cast<uint8_t>(choice));
            break;
        case 13:
        case 14:
            world_switch_to(more % WORLD_MAX_THREADS);
            break;
        default:
            special(static_cast<uint8_t>(more * 16 + input_.byte() % 16));
        }
    }

    void finish() {
        fault::disarm();
        void *pointer = heap_malloc(100);
        CHECK(pointer, "no memory, though nothing fails any more");
        heap_free(pointer);
        validate();
        while (objects_.count())
            release(0);
        const char *what = world_lost();
        CHECK(!what, what);
        validate();
        world_forget();
    }

    Input input_;
    Objects objects_;
};

} // namespace

size_t fuzz_operation_bytes(const uint8_t *bytes, size_t n_bytes, bool is_first) {
    if (is_first)
        return 0;
    unsigned op = bytes[0] % 16;
    if (op == 13 || op == 14)
        return 1;
    if (op == 3 || (op >= 8 && op <= 12))
        return 2;
    if (op == 15)
        return n_bytes > 1 && bytes[1] % 8 == 3 ? 3 : 2;
    return 1 + size_code_bytes(bytes, n_bytes, 1) + (op == 6 || op == 7);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    Run(bytes, n_bytes).go();
    return 0;
}

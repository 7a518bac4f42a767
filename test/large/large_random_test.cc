// SPDX-License-Identifier: MIT
// Random operations against a simple model: contents, no overlap, invariants, with and without
// system calls that fail.
#include "large_fixture.h"

#include <map>

namespace {

struct Parameters {
    uint64_t seed;
    size_t max_bytes;
    unsigned fail_one_in; // system calls; 0: none fails
    unsigned n_stores = 1;
};

Random fault_random(0);
unsigned fault_one_in;
bool fail_some(vm_call_t) {
    return fault_random.below(fault_one_in) != 0;
}

class LargeRandomTest : public LargeTest, public testing::WithParamInterface<Parameters> {
  protected:
    struct Object {
        size_t n_bytes;
        uint64_t seed;
    };

    void expect_no_overlap(char *memory, size_t n_bytes) {
        auto next = model_.lower_bound(memory);
        if (next != model_.end()) {
            EXPECT_LE(memory + n_bytes, next->first);
        }
        if (next != model_.begin()) {
            --next;
            EXPECT_LE(next->first + next->second.n_bytes, memory);
        }
    }

    void add(char *memory, size_t n_bytes) {
        expect_no_overlap(memory, n_bytes);
        uint64_t seed = random_.next();
        fill(memory, n_bytes, seed);
        model_[memory] = {n_bytes, seed};
    }

    void alloc_one() {
        size_t n_bytes = random_.size_up_to(GetParam().max_bytes);
        size_t align = random_.below(4) ? 1 : kPage << random_.below(14);
        bool is_known_zero = random_.below(2); // wanted
        auto *memory = static_cast<char *>(large_alloc(n_bytes, align, &is_known_zero));
        if (!memory)
            return;
        EXPECT_EQ(reinterpret_cast<uintptr_t>(memory) % align, 0u);
        if (is_known_zero) {
            EXPECT_TRUE(is_zero(memory, n_bytes));
        }
        add(memory, n_bytes);
    }

    std::map<char *, Object>::iterator any() {
        return std::next(model_.begin(), random_.below(model_.size()));
    }

    void free_one() {
        auto object = any();
        EXPECT_TRUE(is_filled(object->first, object->second.n_bytes, object->second.seed));
        free(object->first);
        EXPECT_FALSE(large_free(object->first, &what_));
        model_.erase(object);
    }

    void resize_one() {
        auto object = any();
        char *memory = object->first;
        Object old = object->second;
        size_t n_bytes = random_.size_up_to(GetParam().max_bytes);
        auto *resized = static_cast<char *>(large_resize(memory, n_bytes, &what_));
        ASSERT_EQ(what_, nullptr);
        if (!resized) {
            EXPECT_TRUE(is_filled(memory, old.n_bytes, old.seed));
            return;
        }
        EXPECT_TRUE(is_filled(resized, std::min(n_bytes, old.n_bytes), old.seed));
        model_.erase(object);
        add(resized, n_bytes);
    }

    void step() {
        run_on_processor(static_cast<unsigned>(random_.below(GetParam().n_stores)));
        size_t choice = random_.below(10);
        if (model_.empty() || (choice < 4 && model_.size() < 40))
            alloc_one();
        else if (choice < 7)
            resize_one();
        else
            free_one();
        if (random_.below(50) == 0)
            large_purge(random_.below(10) == 0);
        advance_clock_ms(random_.below(30));
    }

    Random random_{GetParam().seed};
    std::map<char *, Object> model_;
};

TEST_P(LargeRandomTest, AgreesWithTheModel) {
    large_last_store = GetParam().n_stores - 1;
    fault_one_in = GetParam().fail_one_in;
    if (fault_one_in)
        vm_allow_hook = fail_some;
    for (int i = 0; i < 1500; i++) {
        step();
        if (i % 8 == 0) {
            ASSERT_STREQ(large_validate(), nullptr) << i;
        }
        if (HasFailure())
            break;
    }
    vm_allow_hook = nullptr;
    while (!model_.empty())
        free_one();
}

INSTANTIATE_TEST_SUITE_P(Seeds, LargeRandomTest,
                         testing::Values(Parameters{1, 2 * MiB, 0}, Parameters{2, 16 * MiB, 0},
                                         Parameters{3, 100 * MiB, 0}, Parameters{4, 4 * MiB, 2},
                                         Parameters{5, 16 * MiB, 5}, Parameters{6, 100 * MiB, 10},
                                         Parameters{7, MiB, 0, 4}, Parameters{8, 4 * MiB, 3, 8}));

} // namespace

// SPDX-License-Identifier: MIT
// Random calls of the whole family against a model: each live object's size and content is known,
// is checked whenever the object is touched, and all of them at the end.
#include "support.h"

#include <malloc.h>
#include <stdlib.h>

using namespace interpose;

namespace {

class Model {
  public:
    Model(uint64_t seed, size_t n_slots, size_t size_limit)
        : random_(seed), slots_(n_slots), size_limit_(size_limit) {}

    ~Model() {
        for (Slot &slot : slots_)
            release(slot);
    }

    void step() {
        Slot &slot = slots_[random_.below(slots_.size())];
        if (!slot.address)
            fill(slot);
        else if (random_.below(3) == 0)
            resize(slot);
        else
            release(slot);
    }

  private:
    struct Slot {
        void *address = nullptr;
        size_t size = 0;
        uint64_t seed = 0;
    };

    void *allocate(size_t size) {
        size_t alignment = size_t{8} << random_.below(11);
        void *object = nullptr;
        switch (random_.below(8)) {
        case 0: {
            void *zeroed = calloc(1, size);
            EXPECT_TRUE(is_zero(zeroed, size));
            return zeroed;
        }
        case 1:
            object = memalign(alignment, size);
            EXPECT_TRUE(is_aligned(object, alignment));
            return object;
        case 2:
            EXPECT_EQ(posix_memalign(&object, alignment, size), 0);
            EXPECT_TRUE(is_aligned(object, alignment));
            return object;
        case 3:
            return realloc(nullptr, size);
        default:
            return malloc(size);
        }
    }

    void fill(Slot &slot) {
        slot.size = random_.size_up_to(size_limit_);
        slot.address = allocate(slot.size);
        slot.seed = random_.next();
        ASSERT_NE(slot.address, nullptr);
        ASSERT_TRUE(is_aligned(slot.address, 16));
        ASSERT_GE(malloc_usable_size(slot.address), slot.size);
        fill_pattern(slot.address, slot.size, slot.seed);
    }

    void resize(Slot &slot) {
        size_t size = random_.size_up_to(size_limit_);
        void *moved = realloc(slot.address, size);
        ASSERT_NE(moved, nullptr);
        EXPECT_TRUE(has_pattern(moved, std::min(size, slot.size) / 8 * 8, slot.seed));
        slot.address = moved;
        slot.size = size;
        fill_pattern(slot.address, slot.size, slot.seed);
    }

    void release(Slot &slot) {
        EXPECT_TRUE(!slot.address || has_pattern(slot.address, slot.size, slot.seed));
        free(slot.address);
        slot = Slot();
    }

    Random random_;
    std::vector<Slot> slots_;
    size_t size_limit_;
};

void run(size_t n_slots, size_t size_limit, int n_steps) {
    for (uint64_t seed = 1; seed <= 3; seed++) {
        Model model(seed, n_slots, size_limit);
        for (int i = 0; i < n_steps && !testing::Test::HasFailure(); i++)
            model.step();
    }
}

} // namespace

TEST(RandomModel, SmallObjects) {
    run(20000, 2 * KiB, 400000);
}
TEST(RandomModel, SmallAndMediumObjects) {
    run(3000, 256 * KiB, 60000);
}
TEST(RandomModel, EverySize) {
    run(100, 8 * MiB, 6000);
}

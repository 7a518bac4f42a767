/* SPDX-License-Identifier: MIT */
/*
 * Random operations on a heap against a simple model: a map from offset to size and contents.
 * Every combination of flags, own and caller's memory.
 */
#include "heap_fixture.h"

#include <map>
#include <memory>
#include <tuple>

namespace {

const uint32_t N_FLAGS = 32; /* combinations of the five public flags */

struct object_t {
    size_t n_bytes;
    size_t align, align_offset;
    unsigned char seed;
};

class Model : public ::testing::TestWithParam<std::tuple<uint32_t, bool>> {
  protected:
    void SetUp() override {
        flags = std::get<0>(GetParam());
        bool is_callers = std::get<1>(GetParam());
        size_t size = 3 << 20;
        if (is_callers)
            memory.reset(new char[size]);
        heap.reset(new Heap(size, flags, memory.get()));
    }

    /* Mostly small sizes, some large; mostly natural alignment. */
    size_t random_size() {
        static const size_t limits[] = {64, 64, 256, 256, 1000, 1000, 5000, 100000};
        return random.below(limits[random.below(8)]);
    }

    void fill(mheap_uoffset_t uoffset, const object_t &o, size_t from = 0) {
        for (size_t i = from; i < o.n_bytes; i++)
            heap->at(uoffset)[i] = static_cast<char>(o.seed + i);
    }
    void expect_contents(mheap_uoffset_t uoffset, const object_t &o, size_t n_bytes) {
        for (size_t i = 0; i < n_bytes; i++)
            ASSERT_EQ(heap->at(uoffset)[i], static_cast<char>(o.seed + i)) << uoffset << "+" << i;
    }

    /* The new object overlaps none of the model's, tags included, and lies in the heap. */
    void expect_disjoint(mheap_uoffset_t uoffset, size_t n_bytes) {
        auto next = objects.upper_bound(uoffset);
        if (next != objects.end()) {
            ASSERT_LE(uoffset + n_bytes + MHEAP_TAG_BYTES, next->first);
        }
        if (next != objects.begin()) {
            --next;
            ASSERT_LE(next->first + next->second.n_bytes + MHEAP_TAG_BYTES, uoffset);
        }
        ASSERT_LE(sizeof(mheap_t) + uoffset + n_bytes, mheap_max_size(heap->v()));
    }

    void get() {
        object_t o = {random_size(), 8, 0, static_cast<unsigned char>(random.below(256))};
        if (random.below(4) == 0) {
            o.align = size_t{1} << random.below(14);
            if (o.align > 8)
                o.align_offset = 8 * random.below(o.align / 8);
        }
        mheap_uoffset_t uoffset = heap->get(o.n_bytes, o.align, o.align_offset);
        if (uoffset == MHEAP_GROUNDED)
            return;
        uintptr_t address = reinterpret_cast<uintptr_t>(heap->at(uoffset)) + o.align_offset;
        ASSERT_EQ(address % o.align, 0u);
        ASSERT_EQ(uoffset % 8, 0u);
        ASSERT_GE(mheap_data_bytes(heap->v(), uoffset), o.n_bytes);
        expect_disjoint(uoffset, mheap_data_bytes(heap->v(), uoffset));
        objects[uoffset] = o;
        fill(uoffset, o);
    }

    std::map<mheap_uoffset_t, object_t>::iterator any_object() {
        auto it = objects.lower_bound(static_cast<mheap_uoffset_t>(random.below(heap->h()->len)));
        return it == objects.end() ? objects.begin() : it;
    }

    void put() {
        auto it = any_object();
        expect_contents(it->first, it->second, it->second.n_bytes);
        heap->put(it->first);
        objects.erase(it);
    }

    void resize() {
        auto it = any_object();
        object_t &o = it->second;
        size_t n_bytes = random.below(2) ? random_size() : o.n_bytes + random.below(64);
        size_t before = mheap_data_bytes(heap->v(), it->first), old = o.n_bytes;
        bool done = mheap_resize(heap->v(), it->first, n_bytes);
        size_t after = mheap_data_bytes(heap->v(), it->first);
        expect_contents(it->first, o, std::min(old, n_bytes));
        if (!done) {
            ASSERT_GT(n_bytes, before);
            ASSERT_EQ(before, after);
            return;
        }
        ASSERT_GE(after, n_bytes);
        o.n_bytes = n_bytes;
        fill(it->first, o, std::min(old, n_bytes));
    }

    void step() {
        uint64_t choice = random.below(100);
        bool is_growing = step_number / 1000 % 2 == 0;
        if (objects.empty() || choice < (is_growing ? 55u : 35u))
            get();
        else if (choice < 88)
            put();
        else if (choice < 99)
            resize();
        else if (random.below(20) == 0)
            mheap_trace(heap->v(), random.below(2));
        else if (!(flags & MHEAP_FLAG_DISABLE_VM))
            mheap_purge(heap->h(), random.below(1 << 20));
        step_number++;
    }

    void expect_agreement() {
        ASSERT_EQ(heap->state(), "ok");
        ASSERT_EQ(mheap_elts(heap->v()), objects.size());
        std::vector<mheap_uoffset_t> found, expected;
        auto collect = [](void *arg, void *v, void *data, size_t) -> uintptr_t {
            static_cast<std::vector<mheap_uoffset_t> *>(arg)->push_back(
                static_cast<mheap_uoffset_t>(static_cast<char *>(data) - static_cast<char *>(v)));
            return 0;
        };
        mheap_foreach(heap->v(), collect, &found);
        for (const auto &o : objects)
            expected.push_back(o.first);
        ASSERT_EQ(found, expected);
        mheap_usage_t usage;
        mheap_usage(heap->v(), &usage);
        ASSERT_EQ(usage.bytes_total, usage.bytes_used + usage.bytes_overhead + usage.bytes_free);
    }

    uint32_t flags = 0;
    std::unique_ptr<char[]> memory;
    std::unique_ptr<Heap> heap;
    std::map<mheap_uoffset_t, object_t> objects;
    Random random{99};
    int step_number = 0;
};

TEST_P(Model, RandomOperations) {
    int n_steps = flags & MHEAP_FLAG_VALIDATE ? 1500 : 6000;
    for (int i = 0; i < n_steps; i++) {
        step();
        if (i % 200 == 0)
            expect_agreement();
        if (HasFatalFailure())
            return;
    }
    while (!objects.empty() && !HasFatalFailure())
        put();
    expect_agreement();
}

std::string name_of(const ::testing::TestParamInfo<std::tuple<uint32_t, bool>> &info) {
    static const char *const names[] = {"Trace", "DisableVm", "ThreadSafe", "Cache", "Validate"};
    std::string name = std::get<1>(info.param) ? "Callers" : "Own";
    for (uint32_t i = 0; i < 5; i++)
        if (std::get<0>(info.param) >> i & 1)
            name += names[i];
    return name;
}

INSTANTIATE_TEST_SUITE_P(AllFlags, Model,
                         ::testing::Combine(::testing::Range(0u, N_FLAGS), ::testing::Bool()),
                         name_of);

} // namespace

/* SPDX-License-Identifier: MIT */
/* heap_fixture.h - a heap for one test, destroyed at the end of it. */
#ifndef HEAP_FIXTURE_H
#define HEAP_FIXTURE_H

#include <cstdint>
#include <cstring>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "mheap.h"
#include "mheap_internal.h"
#include "vm.h"

class Heap {
  public:
    explicit Heap(size_t size = 16 << 20, uint32_t flags = 0, void *memory = nullptr)
        : v_(mheap_alloc_with_flags(memory, size, flags)) {
        EXPECT_NE(v_, nullptr);
    }
    Heap(const Heap &) = delete;
    Heap &operator=(const Heap &) = delete;
    ~Heap() { mheap_free(v_); }

    void *v() const { return v_; }
    mheap_t *h() const { return mheap_header(v_); }
    char *at(mheap_uoffset_t uoffset) const { return static_cast<char *>(v_) + uoffset; }
    mheap_elt_t *elt(mheap_uoffset_t uoffset) const { return elt_at(h(), uoffset); }

    mheap_uoffset_t get(size_t n_bytes, size_t align = 8, size_t align_offset = 0) {
        mheap_uoffset_t uoffset = 0;
        EXPECT_EQ(mheap_get_aligned(v_, n_bytes, align, align_offset, &uoffset), v_);
        return uoffset;
    }
    std::vector<mheap_uoffset_t> get_n(size_t n, size_t n_bytes) {
        std::vector<mheap_uoffset_t> uoffsets;
        for (size_t i = 0; i < n; i++)
            uoffsets.push_back(get(n_bytes));
        return uoffsets;
    }
    void put(mheap_uoffset_t uoffset) { mheap_put(v_, uoffset); }

    /* "ok", or the violated invariant in words. */
    std::string state() const {
        mheap_corruption_t corruption;
        mheap_validate_report(v_, &corruption);
        return corruption.what;
    }
    mheap_corruption_t corruption() const {
        mheap_corruption_t c;
        EXPECT_FALSE(mheap_validate_report(v_, &c));
        return c;
    }

  private:
    void *v_;
};

/* A small repeatable generator: xorshift64*. */
class Random {
  public:
    explicit Random(uint64_t seed) : state_(seed * 0x9e3779b97f4a7c15ull + 1) {}
    uint64_t below(uint64_t n) {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return (state_ * 0x2545f4914f6cdd1dull >> 16) % n;
    }
    template <class T> void shuffle(std::vector<T> &items) {
        for (size_t i = items.size(); i > 1; i--)
            std::swap(items[i - 1], items[below(i)]);
    }

  private:
    uint64_t state_;
};

#endif /* HEAP_FIXTURE_H */

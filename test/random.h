// SPDX-License-Identifier: MIT
// random.h - xorshift64* (Vigna, 2016): reproducible, no lock, one a thread.
#ifndef MHEAP_TEST_RANDOM_H
#define MHEAP_TEST_RANDOM_H

#include <cstddef>
#include <cstdint>

class Xorshift {
  public:
    explicit Xorshift(uint64_t seed) : state_(seed * 2 + 1) {}
    uint64_t next() {
        state_ ^= state_ >> 12;
        state_ ^= state_ << 25;
        state_ ^= state_ >> 27;
        return state_ * 0x2545F4914F6CDD1Dull;
    }
    size_t below(size_t limit) { return next() % limit; }
    // Sizes as programs ask for them: the smaller the more likely, but any doubling.
    size_t size_up_to(size_t limit) {
        size_t n_doublings = 0;
        while (size_t{16} << n_doublings < limit)
            n_doublings++;
        size_t first = below(n_doublings + 1), second = below(n_doublings + 1);
        size_t largest = size_t{16} << (first < second ? first : second);
        return 1 + below(largest < limit ? largest : limit);
    }

  private:
    uint64_t state_;
};

#endif // MHEAP_TEST_RANDOM_H

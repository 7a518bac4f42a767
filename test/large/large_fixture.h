// SPDX-License-Identifier: MIT
// What the tests of the store of large objects share.
#ifndef LARGE_FIXTURE_H
#define LARGE_FIXTURE_H

#include <gtest/gtest.h>

#include <cstddef>
#include <cstdint>
#include <vector>

#include "../random.h"

extern "C" {
#include "large_internal.h"
#include "vm.h"
}

constexpr size_t KiB = 1024, MiB = 1024 * KiB, GiB = 1024 * MiB;
constexpr size_t kPage = 4096;

// The one in use unless a test, or threads that wait, bring others into use.
inline large_store_t &store = large_stores[0];

// The store's clock: stands still unless a test moves it on.
void set_clock_ms(uint64_t ms);
void advance_clock_ms(uint64_t ms);

// Where the calling thread is said to run.
void run_on_processor(unsigned number);

// Contents derived from a seed, a word here and there: two objects that overlap spoil each other's.
void fill(void *object, size_t n_bytes, uint64_t seed);
bool is_filled(const void *object, size_t n_bytes, uint64_t seed);
bool is_zero(const void *object, size_t n_bytes);

class Random : public Xorshift {
  public:
    using Xorshift::Xorshift;
    // From a page up, each doubling below `limit` about equally likely.
    size_t size_up_to(size_t limit);
};

large_stats_t stats_now();
uint64_t n_calls(vm_call_t call);

// Each test begins and ends with an empty store that holds no address space.
class LargeTest : public testing::Test {
  protected:
    void SetUp() override;
    void TearDown() override;

    // Like large_alloc, but fails the test if there is no memory.
    char *alloc(size_t n_bytes, size_t align = 1);
    void free(void *object);
    char *resize(void *object, size_t n_bytes);

    // As if the program had just shown a great demand, and there were no purge budget.
    void keep_what_is_freed();

    const char *what_ = nullptr;
    bool is_zero_ = false; // of the last alloc
};

#endif // LARGE_FIXTURE_H

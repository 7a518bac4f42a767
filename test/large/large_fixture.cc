// SPDX-License-Identifier: MIT
#include "large_fixture.h"

#include <atomic>
#include <cstring>

#include "processor.h"

static std::atomic<uint64_t> clock_ms{1000000};

extern "C" uint64_t coarse_clock_ms(void) {
    return clock_ms.load(std::memory_order_relaxed);
}

static thread_local unsigned processor;

extern "C" unsigned processor_now(void) {
    return processor;
}

void run_on_processor(unsigned number) {
    processor = number;
}

void set_clock_ms(uint64_t ms) {
    clock_ms = ms;
}
void advance_clock_ms(uint64_t ms) {
    clock_ms += ms;
}

static uint64_t word_at(uint64_t seed, size_t offset) {
    return (seed + 1) * 0x9E3779B97F4A7C15ull + offset;
}

// In the first 4 MiB every page, then every 16th: a page fault takes long.
static size_t step_at(size_t offset) {
    return offset < 4 * MiB ? kPage - 8 : 16 * kPage - 8;
}

void fill(void *object, size_t n_bytes, uint64_t seed) {
    for (size_t offset = 0; offset + 8 <= n_bytes; offset += step_at(offset)) {
        uint64_t word = word_at(seed, offset);
        memcpy(static_cast<char *>(object) + offset, &word, 8);
    }
}

bool is_filled(const void *object, size_t n_bytes, uint64_t seed) {
    for (size_t offset = 0; offset + 8 <= n_bytes; offset += step_at(offset)) {
        uint64_t word;
        memcpy(&word, static_cast<const char *>(object) + offset, 8);
        if (word != word_at(seed, offset))
            return false;
    }
    return true;
}

bool is_zero(const void *object, size_t n_bytes) {
    for (size_t offset = 0; offset + 8 <= n_bytes; offset += step_at(offset) / 2) {
        uint64_t word;
        memcpy(&word, static_cast<const char *>(object) + offset, 8);
        if (word != 0)
            return false;
    }
    return true;
}

size_t Random::size_up_to(size_t limit) {
    size_t n_doublings = 0;
    while (kPage << (n_doublings + 1) < limit)
        n_doublings++;
    size_t size = kPage << below(n_doublings + 1);
    return std::min(limit, size + below(size));
}

large_stats_t stats_now() {
    large_stats_t stats;
    large_stats(&stats);
    return stats;
}

uint64_t n_calls(vm_call_t call) {
    return vm_n_calls(call);
}

void LargeTest::SetUp() {
    vm_allow_hook = nullptr;
    set_clock_ms(1000000);
    run_on_processor(0);
    large_purge(true);
    large_last_store = 0;
    store.n_waits = 0;
    store.n_judged = store.stats.n_allocs + store.stats.n_frees;
    store.spent_bytes = 0;
    ASSERT_EQ(stats_now().n_objects, 0u);
    ASSERT_EQ(stats_now().reserved_bytes, 0u);
}

void LargeTest::TearDown() {
    vm_allow_hook = nullptr;
    EXPECT_STREQ(large_validate(), nullptr);
    EXPECT_EQ(stats_now().n_objects, 0u);
    EXPECT_EQ(stats_now().live_bytes, 0u);
    large_purge(true);
    EXPECT_STREQ(large_validate(), nullptr);
    EXPECT_EQ(stats_now().free_dirty_bytes, 0u);
    EXPECT_EQ(stats_now().reserved_bytes, 0u);
}

char *LargeTest::alloc(size_t n_bytes, size_t align) {
    is_zero_ = false; // not wanted
    char *object = static_cast<char *>(large_alloc(n_bytes, align, &is_zero_));
    if (!object)
        ADD_FAILURE() << "no memory for " << n_bytes << " bytes";
    return object;
}

void LargeTest::free(void *object) {
    EXPECT_TRUE(large_free(object, &what_)) << what_;
}

void LargeTest::keep_what_is_freed() {
    store.spent_bytes = GiB;
    store.demand.greatest_bytes = GiB;
    store.demand.halved_ms = coarse_clock_ms();
    store.peak_bytes = GiB;
    store.peak_ms = coarse_clock_ms();
    store.spent_ms = coarse_clock_ms();
}

char *LargeTest::resize(void *object, size_t n_bytes) {
    char *resized = static_cast<char *>(large_resize(object, n_bytes, &what_));
    if (!resized)
        ADD_FAILURE() << "not resized: " << (what_ ? what_ : "no memory");
    return resized;
}

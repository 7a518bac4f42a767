// SPDX-License-Identifier: MIT
// input.h - a fuzzer's bytes read as operations, and failing system calls.
#ifndef MHEAP_FUZZ_INPUT_H
#define MHEAP_FUZZ_INPUT_H

#include "../objects.h"

extern "C" {
#include "vm.h"
}

class Input {
  public:
    Input(const uint8_t *bytes, size_t n_bytes) : next_(bytes), end_(bytes + n_bytes) {}
    bool is_at_end() const { return next_ == end_; }
    uint8_t byte() { return next_ < end_ ? *next_++ : 0; }
    // Up to 1016 in steps of 8, or 16 steps in each fourfold range from 512 bytes up to 8 MiB; the
    // same a little smaller or larger.
    size_t size() {
        size_t code = byte(), nudge = code < 128 ? 0 : byte() % 16;
        size_t bytes = code < 128 ? code * 8 : (16 + code % 16) << (5 + 2 * ((code - 128) / 16));
        return bytes + nudge - (nudge ? 8 : 0);
    }

  private:
    const uint8_t *next_, *end_;
};

// Where an operation's size lies, it has so many bytes.
inline size_t size_code_bytes(const uint8_t *bytes, size_t n_bytes, size_t at) {
    return at < n_bytes && bytes[at] >= 128 ? 2 : 1;
}

// One memory system call in the future fails; then all work again.
namespace fault {
inline uint64_t calls_left;
inline bool allow(vm_call_t) {
    if (calls_left-- != 0)
        return true;
    vm_allow_hook = nullptr;
    return false;
}
inline void arm(uint64_t n_calls) {
    calls_left = n_calls;
    vm_allow_hook = allow;
}
inline void disarm() {
    vm_allow_hook = nullptr;
}
} // namespace fault

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes);

// How long the harness's operation at `bytes` is, or what comes before the first one; at least 1
// (mutate.cc).
size_t fuzz_operation_bytes(const uint8_t *bytes, size_t n_bytes, bool is_first);

#endif // MHEAP_FUZZ_INPUT_H

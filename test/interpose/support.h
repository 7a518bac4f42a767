// SPDX-License-Identifier: MIT
// What the tests of the malloc ABI share.  They are black boxes: each is a program linked with
// libmheap.so first, so that its malloc is ours, and asks only what any caller can see.
//
// The option MHEAP_TEST_STAND_IN builds the same tests without libmheap, on glibc's malloc, to try
// the tests themselves.  What glibc does not promise is then skipped (SKIP_UNDER_STAND_IN).
#ifndef INTERPOSE_SUPPORT_H
#define INTERPOSE_SUPPORT_H

#include <gtest/gtest.h>

#include <dlfcn.h>
#include <sys/resource.h>

#include <cstddef>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "../pattern.h"
#include "../random.h"

namespace interpose {

inline constexpr bool kStandIn = MHEAP_TEST_STAND_IN;

#define SKIP_UNDER_STAND_IN(why)                                                                   \
    do {                                                                                           \
        if (interpose::kStandIn)                                                                   \
            GTEST_SKIP() << "the stand-in does not promise this: " << why;                         \
    } while (0)

constexpr size_t KiB = 1024;
constexpr size_t MiB = 1024 * KiB;
constexpr size_t GiB = 1024 * MiB;

// Keeps the compiler from knowing where a pointer came from, and so from warning about the misuse
// or optimising the calls that a test is about.
template <class T> T *opaque(T *pointer) {
    asm volatile("" : "+r"(pointer) : : "memory");
    return pointer;
}

// The same for a number: sizes that can never be had are otherwise a compile-time warning.
inline size_t opaque(size_t number) {
    asm volatile("" : "+r"(number));
    return number;
}

// The function `name` as the program sees it, NULL if there is none: for those that the C library's
// headers do not declare.
template <class Function> Function *function_named(const char *name) {
    return reinterpret_cast<Function *>(dlsym(RTLD_DEFAULT, name));
}

// File name, without its folder, of the library that defines `name`; empty if none does.
std::string library_of(const char *name);

inline bool is_aligned(const void *pointer, size_t alignment) {
    return reinterpret_cast<uintptr_t>(pointer) % alignment == 0;
}

// Every size up to 1 KiB, then those around each sixteenth of a doubling, up to `limit`: whatever
// the size classes are, their edges are among them.
std::vector<size_t> edge_sizes(size_t limit);

using Random = Xorshift;

// How a child process ended, and what it wrote.
struct Outcome {
    bool exited = false; // by exit or _exit, with `status`; otherwise by the signal `signal`
    int status = 0;
    int signal = 0;
    std::string out;
    std::string err;

    bool succeeded() const { return exited && status == 0; }
};
std::ostream &operator<<(std::ostream &stream, const Outcome &outcome);

// Aborted, and all of standard error is one line, "libmheap: " and what the regular expression
// `report` matches?
testing::AssertionResult is_aborted_with(const Outcome &outcome, const std::string &report);

// Runs `body` in a fork of this process and then leaves it by _exit(0).  Only what it writes to
// standard error is caught.
Outcome run_in_child(const std::function<void()> &body);

// In a child: leaves it with status 100 and a line on standard error unless `condition` holds.
void require(bool condition, const char *what);

// A program of test/interpose/programs and what to run it with.
struct Program {
    std::vector<std::string> arguments;   // the first is the program's name or a path
    std::vector<std::string> environment; // NAME=value, added to ours
    std::vector<std::pair<int, rlim_t>> limits;
};
Outcome run_program(const Program &program);
std::string program_path(const std::string &name);

} // namespace interpose

#endif // INTERPOSE_SUPPORT_H

// SPDX-License-Identifier: MIT
// What the tests of misuse share: the line that a report is, the calls that take a pointer, and
// objects with neighbours to be abused.  Each misuse happens in a forked child.
#ifndef INTERPOSE_MISUSE_H
#define INTERPOSE_MISUSE_H

#include "support.h"

#include <malloc.h>
#include <signal.h>
#include <stdlib.h>

#include <regex>

namespace interpose {

// A misuse reported by "libmheap: FUNCTION(0xPOINTER): what is wrong".
inline testing::AssertionResult is_reported(const Outcome &outcome, const std::string &function,
                                            const std::string &pointer) {
    return is_aborted_with(outcome, function + "\\(" + pointer + "\\): [^\n]{8,}");
}

inline std::string hex(const void *pointer) {
    char text[32];
    snprintf(text, sizeof text, "0x%lx", reinterpret_cast<unsigned long>(pointer));
    return text;
}

inline const char *const kAnyFunction = "[a-z_ ]+";
inline const char *const kAnyPointer = "0x[0-9a-f]+";

// The calls that take a pointer, each with the name that its report bears.
struct Call {
    const char *name;
    void (*call)(void *pointer);
};
inline const Call kCalls[] = {
    {"free", [](void *pointer) { free(opaque(pointer)); }},
    {"realloc", [](void *pointer) { opaque(realloc(opaque(pointer), 10000)); }},
    {"malloc_usable_size", [](void *pointer) { opaque(malloc_usable_size(opaque(pointer))); }},
};

// Every call of the three is caught when given `pointer`, after `before` has been done.
template <class Before> void expect_all_caught(void *pointer, Before before) {
    for (const Call &row : kCalls) {
        Outcome outcome = run_in_child([&] {
            before();
            row.call(pointer);
        });
        EXPECT_TRUE(is_reported(outcome, row.name, hex(pointer)));
    }
}

inline void expect_all_caught(void *pointer) {
    expect_all_caught(pointer, [] {});
}

// The parameter is the size of the objects.
class MisuseOfSize : public testing::TestWithParam<size_t> {
  protected:
    void SetUp() override {
        SKIP_UNDER_STAND_IN("libmheap's line");
        for (void *&object : objects_) { // neighbours on both sides
            object = malloc(GetParam());
            fill_pattern(object, GetParam(), 1);
        }
        object_ = objects_[kObjects / 2];
    }
    void TearDown() override {
        for (void *object : objects_)
            free(object);
    }

    static constexpr size_t kObjects = 40;
    void *objects_[kObjects] = {};
    void *object_ = nullptr; // the one in the middle, that a test abuses
};

} // namespace interpose

#endif // INTERPOSE_MISUSE_H

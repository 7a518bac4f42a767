// SPDX-License-Identifier: MIT
// What the tests of the hardened library share; it is a black box as in test/interpose.
#ifndef HARDENED_SUPPORT_H
#define HARDENED_SUPPORT_H

#include "../interpose/support.h"

#include <signal.h>

namespace hardened {

using namespace interpose;

// A misuse reported by "libmheap: FUNCTION(0xPOINTER): ... WHAT ...", then SIGABRT.
inline testing::AssertionResult is_reported(const Outcome &outcome, const std::string &function,
                                            const std::string &what) {
    return is_aborted_with(outcome, function + "\\(0x[0-9a-f]+\\): [^\n]*" + what + "[^\n]*");
}

} // namespace hardened

#endif // HARDENED_SUPPORT_H

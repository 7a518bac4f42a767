// SPDX-License-Identifier: MIT
// What the tests of the hardened library share; it is a black box as in test/interpose.
#ifndef HARDENED_SUPPORT_H
#define HARDENED_SUPPORT_H

#include "../interpose/support.h"

#include <signal.h>

#include <regex>

namespace hardened {

using namespace interpose;

// A misuse reported by "libmheap: FUNCTION(0xPOINTER): ... WHAT ...", then SIGABRT.
inline testing::AssertionResult is_reported(const Outcome &outcome, const std::string &function,
                                            const std::string &what) {
    std::regex line("libmheap: " + function + "\\(0x[0-9a-f]+\\): [^\n]*" + what + "[^\n]*\n");
    if (outcome.signal != SIGABRT)
        return testing::AssertionFailure() << "not aborted: " << outcome;
    if (!std::regex_match(outcome.err, line))
        return testing::AssertionFailure()
               << "not the line expected for " << function << ", " << what << ": " << outcome;
    return testing::AssertionSuccess();
}

} // namespace hardened

#endif // HARDENED_SUPPORT_H

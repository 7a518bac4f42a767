// SPDX-License-Identifier: MIT
// Each row of docs/MISUSE.md on the hardened library: what docs/HARDENED.md says of them all.
#include "../interpose/misuse_rows.h"
#include "hardened_support.h"

#include <set>

using namespace hardened;

namespace {

// Nothing looks at what was overrun or read any more.
const std::set<std::string> kSilent = {"overflow-only", "over-read"};

// By luck: whether the object behind the one overrun is freed; and whose the place is that would
// never have been used in an ordinary heap.
const std::set<std::string> kEither = {"overflow-small", "never-realloc", "never-free",
                                       "never-free-reused"};

class HardenedRows : public testing::TestWithParam<Row> {};
INSTANTIATE_TEST_SUITE_P(Rows, HardenedRows, testing::ValuesIn(rows()), name_of_test);

bool is_silent(const Outcome &outcome) {
    return outcome.exited && outcome.status == 0 && outcome.err.empty();
}

} // namespace

TEST_P(HardenedRows, AreAsTheDocumentSays) {
    const Row &row = GetParam();
    Outcome outcome = run_program({{"misuses", row.name}, {"MHEAP_CONF="}, {}});
    auto reported = is_reported(outcome, "[a-z_]+", "");
    if (row.expected == "refuses")
        EXPECT_TRUE(outcome.exited && outcome.status == 3 && outcome.err.empty()) << outcome;
    else if (kSilent.count(row.name))
        EXPECT_TRUE(is_silent(outcome)) << outcome;
    else if (kEither.count(row.name))
        EXPECT_TRUE(is_silent(outcome) || reported) << outcome;
    else if (row.name == "after-free-large")
        EXPECT_EQ(outcome.signal, SIGSEGV) << outcome;
    else if (row.name == "underflow-8") // a guard lies before the first object of a slab
        EXPECT_TRUE(outcome.signal == SIGSEGV || reported) << outcome;
    else
        EXPECT_TRUE(reported);
}

// SPDX-License-Identifier: MIT
// The table of docs/MISUSE.md, row by row: programs/misuses.c does each misuse and says what
// libmheap does about it; here is who believes neither.
#include "misuse.h"
#include "misuse_rows.h"

#include <fstream>
#include <sstream>

using namespace interpose;

namespace {

bool starts_with(const std::string &text, const char *start) {
    return text.rfind(start, 0) == 0;
}

// Where it is noticed decides which function the line names.
std::string function_of(const Row &row) {
    if (starts_with(row.name, "after-free") || row.name == "twice-overwritten" ||
        row.name == "never-free-reused")
        return "(malloc|mheap)";
    if (row.name.find("usable-size") != std::string::npos)
        return "malloc_usable_size";
    bool is_realloc = row.name.find("realloc") != std::string::npos;
    bool frees = starts_with(row.name, "twice") || starts_with(row.name, "stale");
    return is_realloc && !frees ? "realloc" : "free";
}

class MisuseTable : public testing::TestWithParam<Row> {
  protected:
    void SetUp() override { SKIP_UNDER_STAND_IN("what libmheap does about misuse"); }
    Outcome run(const char *options) {
        return run_program({{"misuses", GetParam().name}, {options}, {}});
    }
    // A damaged link is believed once in 65,536.
    bool may_go_unnoticed() { return starts_with(GetParam().name, "after-free"); }
};
INSTANTIATE_TEST_SUITE_P(Rows, MisuseTable, testing::ValuesIn(rows()), name_of_test);

} // namespace

TEST_P(MisuseTable, IsAsTheTableSays) {
    const Row &row = GetParam();
    Outcome outcome = run("MHEAP_CONF=");
    if (row.expected == "stops" || row.expected == "later") {
        if (outcome.signal != SIGABRT && may_go_unnoticed())
            outcome = run("MHEAP_CONF=");
        EXPECT_TRUE(is_reported(outcome, function_of(row), kAnyPointer));
    } else if (row.expected == "refuses") {
        EXPECT_TRUE(outcome.exited && outcome.status == 3 && outcome.err.empty()) << outcome;
    } else {
        ASSERT_EQ(row.expected, "no");
        EXPECT_TRUE(outcome.exited && outcome.err.empty()) << outcome;
    }
}

// With abort:false the same line, at the wrong call or later, and the program goes on undamaged.  A
// heap that is itself damaged is another matter: the process ends after all.
TEST_P(MisuseTable, AbortFalseReportsAndGoesOn) {
    const Row &row = GetParam();
    if (row.expected != "stops" && row.expected != "later")
        GTEST_SKIP() << "nothing is reported";
    if (row.name == "after-free-space")
        GTEST_SKIP() << "damage to the heap's own lists ends the process in any case";
    Outcome outcome = run("MHEAP_CONF=abort:false");
    if (outcome.err.empty() && may_go_unnoticed())
        outcome = run("MHEAP_CONF=abort:false");
    EXPECT_TRUE(outcome.exited && (outcome.status == 0 || outcome.status == 3)) << outcome;
    EXPECT_TRUE(std::regex_match(outcome.err, std::regex("(libmheap: " + function_of(row) +
                                                         "\\(0x[0-9a-f]+\\): [^\n]+\n)+")))
        << outcome;
}

// At least forty, with different names.
TEST(MisuseTableRows, AreManyAndDifferent) {
    std::vector<std::string> names;
    for (const Row &row : rows())
        names.push_back(row.name);
    std::sort(names.begin(), names.end());
    EXPECT_EQ(std::unique(names.begin(), names.end()), names.end());
    EXPECT_GE(names.size(), 40u);
}

// The document has each row, and says of it what the tests above have shown.
TEST(MisuseTableRows, AreInTheDocument) {
    std::ifstream file(MHEAP_MISUSE_DOC);
    std::stringstream text;
    text << file.rdbuf();
    ASSERT_FALSE(text.str().empty()) << MHEAP_MISUSE_DOC;
    for (const Row &row : rows())
        EXPECT_NE(
            text.str().find("| `" + row.name + "` | " + row.what + " | " + row.expected + " |"),
            std::string::npos)
            << row.name;
}

/* SPDX-License-Identifier: MIT */
#include "fatal.h"

#include <cerrno>
#include <fcntl.h>
#include <string>
#include <unistd.h>

#include <gtest/gtest.h>

namespace {

std::string text_of(const line_t &line) {
    return std::string(line.text, line.n_bytes);
}

} // namespace

TEST(Line, PutsTextAndNumbersTogether) {
    line_t line = {};
    line_text(&line, "a ");
    line_decimal(&line, 0);
    line_text(&line, " ");
    line_decimal(&line, UINT64_MAX);
    line_text(&line, " ");
    line_hex(&line, 0xdeadbeef);
    EXPECT_EQ(text_of(line), "a 0 18446744073709551615 0xdeadbeef");
}

TEST(Line, CutsWhatIsTooLongAndKeepsTheNewline) {
    line_t line = {};
    for (int i = 0; i < 1000; i++)
        line_text(&line, "0123456789");
    EXPECT_EQ(line.n_bytes, sizeof line.text - 1);

    int ends[2];
    ASSERT_EQ(pipe(ends), 0);
    errno = 77;
    line_write(&line, ends[1]);
    EXPECT_EQ(errno, 77);
    EXPECT_EQ(line.n_bytes, 0u);
    char text[512];
    ASSERT_EQ(read(ends[0], text, sizeof text), static_cast<ssize_t>(sizeof line.text));
    EXPECT_EQ(text[sizeof line.text - 1], '\n');
    close(ends[0]);
    close(ends[1]);
}

TEST(Line, AClosedDescriptorIsNoTrouble) {
    line_t line = {};
    line_text(&line, "lost");
    line_write(&line, -1);
    EXPECT_EQ(line.n_bytes, 0u);
}

TEST(FatalDeathTest, NamesFunctionPointerAndReason) {
    EXPECT_EXIT(fatal("free", reinterpret_cast<void *>(0x1234), "no object"),
                ::testing::KilledBySignal(SIGABRT), "^libmheap: free\\(0x1234\\): no object\n");
}

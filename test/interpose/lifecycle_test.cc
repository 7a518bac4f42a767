// SPDX-License-Identifier: MIT
// malloc from the first instruction of a process to its last: before main, in libraries that come
// and go, in destructors and exit handlers.  Each case is a program of its own.
#include "support.h"

using namespace interpose;

namespace {

void expect_ok(const std::vector<std::string> &arguments) {
    Outcome outcome = run_program({arguments, {}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(outcome.out, "ok\n");
    EXPECT_EQ(outcome.err, "");
}

} // namespace

TEST(Lifecycle, BeforeMainAndAfterExit) {
    expect_ok({"early_late"});
}
TEST(Lifecycle, ErrnoIsZeroWhenMainStarts) {
    expect_ok({"errno_at_main"});
}
TEST(Lifecycle, StaticAndThreadLocalDestructors) {
    expect_ok({"static_objects"});
}
TEST(Lifecycle, QuickExit) {
    expect_ok({"static_objects", "quick_exit"});
}
TEST(Lifecycle, ExitFromAThread) {
    expect_ok({"static_objects", "thread_exit"});
}
TEST(Lifecycle, LibrariesThatComeAndGo) {
    expect_ok({"load_unload"});
}
TEST(Lifecycle, ThreadsThatLoadAndUnload) {
    expect_ok({"load_unload", "threads"});
}

// Signals may jump out of a handler, though not out of malloc itself: the program blocks them
// there.
TEST(Lifecycle, LongjmpOutOfHandlers) {
    expect_ok({"signal_jump"});
}

// A program that allocates nothing itself, many times: nothing may be left to chance at start.
TEST(Lifecycle, StartsAndEndsAThousandTimes) {
    for (int i = 0; i < 1000; i++) {
        Outcome outcome = run_program({{"errno_at_main"}, {}, {}});
        ASSERT_TRUE(outcome.succeeded()) << "in run " << i << ": " << outcome;
    }
}

// Few file descriptors, closed standard streams: malloc needs neither.
TEST(Lifecycle, WithoutFileDescriptors) {
    Outcome outcome = run_program(
        {{"/bin/sh", "-c", "exec '" + program_path("errno_at_main") + "' <&- >&- 2>&-"}, {}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

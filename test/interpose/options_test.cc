// SPDX-License-Identifier: MIT
// MHEAP_CONF: the options that a user can set, and what becomes of mistakes in it.
#include "support.h"

#include <signal.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fstream>
#include <regex>
#include <sstream>

using namespace interpose;

namespace {

class Options : public testing::Test {
  protected:
    void SetUp() override { SKIP_UNDER_STAND_IN("MHEAP_CONF"); }

    // Runs the program with the options; it must end well and write just "ok", whatever they are.
    Outcome run(const std::string &options, std::vector<std::string> arguments = {"leaks"}) {
        Outcome outcome = run_program({arguments, {"MHEAP_CONF=" + options}, {}});
        EXPECT_TRUE(outcome.succeeded()) << options << ": " << outcome;
        EXPECT_EQ(outcome.out, "ok\n") << options;
        return outcome;
    }
};

size_t count(const std::string &text, const std::string &what) {
    size_t n = 0;
    for (size_t at = text.find(what); at != std::string::npos; at = text.find(what, at + 1))
        n++;
    return n;
}

size_t n_lines(const std::string &text) {
    return std::count(text.begin(), text.end(), '\n');
}

// Every line on standard error says whose it is.
bool is_all_ours(const std::string &text) {
    std::istringstream stream(text);
    for (std::string line; std::getline(stream, line);)
        if (line.find("libmheap") == std::string::npos && line.rfind(" ", 0) != 0)
            return false;
    return true;
}

} // namespace

// ---- What is set ----------------------------------------------------------------------------

TEST_F(Options, NoneMeansSilence) {
    EXPECT_EQ(run("").err, "");
    unsetenv("MHEAP_CONF");
    Outcome outcome = run_program({{"leaks"}, {}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(outcome.err, "");
}

TEST_F(Options, StatsPrintsAtExit) {
    Outcome outcome = run("stats:true");
    EXPECT_NE(outcome.err.find("libmheap"), std::string::npos) << outcome;
    EXPECT_GE(n_lines(outcome.err), 5u) << outcome;
    EXPECT_TRUE(is_all_ours(outcome.err)) << outcome;
    EXPECT_TRUE(std::regex_search(outcome.err, std::regex("[1-9][0-9]{3,}"))) << outcome;
    EXPECT_EQ(run("stats:false").err, "");
}

// The program leaks 7 objects of 1234 bytes and one of 3 MiB: they are in the numbers.
TEST_F(Options, StatsAreTrue) {
    std::string text = run("stats:true").err;
    std::smatch live;
    ASSERT_TRUE(std::regex_search(text, live, std::regex("live +([0-9]+)\n"))) << text;
    EXPECT_GE(std::stoul(live[1]), 7 * 1234 + 3 * MiB);
    EXPECT_LE(std::stoul(live[1]), 4 * MiB);
}

TEST_F(Options, TraceNamesWhatIsStillAllocatedByCallStack) {
    std::string text = run("trace:true").err;
    EXPECT_TRUE(is_all_ours(text)) << text;
    EXPECT_NE(text.find("leak_small_here"), std::string::npos) << text;
    EXPECT_NE(text.find("leak_large_here"), std::string::npos) << text;
    EXPECT_NE(text.find("main"), std::string::npos) << text;
    EXPECT_EQ(text.find("free_everything_here"), std::string::npos) << text;
    // One row a call stack: 7 objects in one, the largest first.
    EXPECT_EQ(count(text, "leak_small_here"), 1u) << text;
    EXPECT_TRUE(
        std::regex_search(text, std::regex("\\b7\\b[^\n]*\n(?! *libmheap)[^\n]*leak_small_here")))
        << text;
    EXPECT_LT(text.find("leak_large_here"), text.find("leak_small_here")) << text;
}

TEST_F(Options, TraceWorksInAThreadedProgram) {
    std::string text = run("trace:true", {"leaks", "threads"}).err;
    EXPECT_EQ(count(text, "leak_small_here"), 1u) << text; // all threads' stacks are the same
    EXPECT_TRUE(std::regex_search(text, std::regex("\\b28\\b"))) << text;
}

TEST_F(Options, ValidateIsSilentWhenAllIsWell) {
    EXPECT_EQ(run("validate:true").err, "");
    EXPECT_EQ(run("validate:100").err, "");
    EXPECT_EQ(run("validate:1k", {"leaks", "threads"}).err, "");
}

// By default an overwritten tag is found when a neighbour is freed; with validate, by any next
// call.
TEST_F(Options, ValidateFindsDamageAtTheNextCall) {
    Outcome outcome = run_program({{"misuses", "overflow-only"}, {"MHEAP_CONF=validate:true"}, {}});
    EXPECT_EQ(outcome.signal, SIGABRT) << outcome;
    EXPECT_TRUE(std::regex_match(outcome.err, std::regex("libmheap: [^\n]+\n"))) << outcome;
    Outcome by_default = run_program({{"misuses", "overflow-only"}, {"MHEAP_CONF="}, {}});
    EXPECT_TRUE(by_default.succeeded()) << by_default;
}

TEST_F(Options, AbortFalseReportsAndGoesOn) {
    for (const char *what : {"twice-small", "inside-medium", "foreign-stack"}) {
        Outcome outcome = run("abort:false", {"misuses", what});
        EXPECT_TRUE(
            std::regex_match(outcome.err, std::regex("libmheap: free\\(0x[0-9a-f]+\\): [^\n]+\n")))
            << what << ": " << outcome;
        EXPECT_EQ(run_program({{"misuses", what}, {"MHEAP_CONF=abort:true"}, {}}).signal, SIGABRT);
    }
}

TEST_F(Options, SeveralAtOnce) {
    std::string text = run("stats:1,trace:true,validate:1").err;
    EXPECT_NE(text.find("leak_small_here"), std::string::npos);
    EXPECT_NE(text.find("live"), std::string::npos);
}

// Whole programs under the options that send every call the slow way.
TEST_F(Options, ProgramsRunUnderEachOfThem) {
    for (const char *options : {"trace:true", "validate:50", "stats:true,trace:true,validate:100"})
        for (const char *program :
             {"early_late", "static_objects", "load_unload", "early_atfork", "all_keys", "c_host"})
            run(options, {program});
    run("validate:true", {"early_late"});
    run("validate:true", {"static_objects"});
}

// ---- Mistakes -------------------------------------------------------------------------------

TEST_F(Options, UnknownKeysAreNamedOnce) {
    for (const char *program : {"leaks", "errno_at_main", "static_objects", "load_unload"}) {
        std::string text = run("nosuchkey:1", {program}).err;
        EXPECT_EQ(n_lines(text), 1u) << text;
        EXPECT_EQ(count(text, "nosuchkey"), 1u) << text;
        EXPECT_EQ(text.rfind("libmheap: ", 0), 0u) << text;
    }
}

TEST_F(Options, UnknownKeysDoNotHideTheOthers) {
    std::string text = run("first:1,stats:true,second").err;
    EXPECT_EQ(count(text, "first"), 1u) << text;
    EXPECT_EQ(count(text, "second"), 1u) << text;
    EXPECT_NE(text.find("live"), std::string::npos) << text;
}

// A prefix or an extension of a key is not the key.
TEST_F(Options, KeysAreWholeWords) {
    for (const char *options : {"stat:true", "statss:true", "STATS:true", " stats:true"}) {
        std::string text = run(options).err;
        EXPECT_EQ(n_lines(text), 1u) << text;
    }
}

TEST_F(Options, BadValuesAreNamedAndIgnored) {
    for (const char *options :
         {"stats:maybe", "stats:", "stats", "stats:truer", "stats:true:true", "validate:-1",
          "validate:1x", "validate:k", "validate:0x10", "validate:99999999999999999999",
          "validate:18446744073709551615g", "validate: 1", "validate:"}) {
        std::string text = run(options).err;
        EXPECT_EQ(n_lines(text), 1u) << options << "\n" << text;
        EXPECT_NE(text.find(std::string(options).substr(0, 5)), std::string::npos) << text;
    }
}

TEST_F(Options, EmptyItemsAreNoMistake) {
    EXPECT_EQ(run(",,stats:false,,").err, "");
}

TEST_F(Options, GarbageDoesNoHarm) {
    Random random(1);
    for (int i = 0; i < 100; i++) {
        std::string garbage;
        for (size_t n = random.below(200); n > 0; n--)
            garbage += static_cast<char>(1 + random.below(255));
        run(garbage);
    }
    std::string text = run(std::string(100000, 'x')).err;
    EXPECT_EQ(n_lines(text), 1u);
    EXPECT_LT(text.size(), 1000u) << "an overlong word is cut";
    run(std::string(30000, ','));
    run(std::string(30000, ':'));
}

// ---- Privileged programs --------------------------------------------------------------------

// A copy of the program that runs as another user than the caller: AT_SECURE is set.
TEST_F(Options, AreIgnoredInSetuidPrograms) {
    if (geteuid() != 0)
        GTEST_SKIP() << "only root can give a program to another user";
    std::string copy = program_path("leaks") + "_setuid";
    std::ofstream(copy, std::ios::binary)
        << std::ifstream(program_path("leaks"), std::ios::binary).rdbuf();
    ASSERT_EQ(chown(copy.c_str(), 65534, 65534), 0) << strerror(errno);
    ASSERT_EQ(chmod(copy.c_str(), 04755), 0) << strerror(errno);
    Outcome shows = run_program({{copy, "secure"}, {"MHEAP_CONF="}, {}});
    if (shows.out != "secure\nok\n") {
        unlink(copy.c_str());
        GTEST_SKIP() << "the file system ignores the setuid bit: " << shows;
    }
    Outcome outcome = run_program({{copy}, {"MHEAP_CONF=stats:true,nosuchkey:1"}, {}});
    unlink(copy.c_str());
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(outcome.out, "ok\n");
    EXPECT_EQ(outcome.err, "");
}

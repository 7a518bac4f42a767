// SPDX-License-Identifier: MIT
// MHEAP_CONF: what it sets, what it warns about.
#include <gtest/gtest.h>

#include <cstdlib>
#include <string>
#include <vector>

#include <sys/wait.h>
#include <unistd.h>

extern "C" {
#include "options.h"
}

namespace {

struct Warning {
    std::string what, about;
    bool operator==(const Warning &other) const {
        return what == other.what && about == other.about;
    }
};

std::ostream &operator<<(std::ostream &stream, const Warning &warning) {
    return stream << warning.what << " '" << warning.about << "'";
}

class OptionsTest : public testing::Test {
  protected:
    void parse(const std::string &text) {
        to_ = options_t();
        warnings_.clear();
        options_parse(
            text.c_str(), &to_,
            [](void *arg, const char *about, uint64_t n_bytes, const char *what) {
                static_cast<std::vector<Warning> *>(arg)->push_back(
                    {what, std::string(about, n_bytes)});
            },
            &warnings_);
    }

    void expect_bad(const std::string &text) {
        parse(text);
        EXPECT_EQ(warnings_, std::vector<Warning>({{"bad value", text}}));
        EXPECT_EQ(to_.validate, 0u) << text;
        EXPECT_FALSE(to_.stats) << text;
    }

    options_t to_;
    std::vector<Warning> warnings_;
};

TEST_F(OptionsTest, Defaults) {
    EXPECT_FALSE(options.stats);
    EXPECT_FALSE(options.trace);
    EXPECT_EQ(options.validate, 0u);
    EXPECT_FALSE(options.deepbind);
    EXPECT_TRUE(options.abort);
}

TEST_F(OptionsTest, Booleans) {
    for (const char *text : {"stats:true", "stats:1"}) {
        parse(text);
        EXPECT_TRUE(to_.stats) << text;
        EXPECT_TRUE(warnings_.empty());
    }
    for (const char *text : {"stats:true,stats:false", "stats:1,stats:0"}) {
        parse(text);
        EXPECT_FALSE(to_.stats) << text;
        EXPECT_TRUE(warnings_.empty());
    }
    for (const char *text :
         {"stats:2", "stats:yes", "stats:", "stats", "stats:True", "stats:true "})
        expect_bad(text);
}

TEST_F(OptionsTest, Numbers) {
    std::pair<const char *, uint64_t> good[] = {
        {"0", 0},
        {"7", 7},
        {"true", 1},
        {"false", 0},
        {"10k", 10 << 10},
        {"10K", 10 << 10},
        {"3m", 3 << 20},
        {"2g", uint64_t{2} << 30},
        {"18446744073709551615", UINT64_MAX},
        {"17179869183g", uint64_t{17179869183} << 30},
    };
    for (auto [value, number] : good) {
        parse(std::string("validate:") + value);
        EXPECT_EQ(to_.validate, number) << value;
        EXPECT_TRUE(warnings_.empty());
    }
    for (const char *value : {"", "k", "1kk", "1x", "-1", "+1", " 1", "0x10", "1.5",
                              "18446744073709551616", "17179869184g", "99999999999999999999999"})
        expect_bad(std::string("validate:") + value);
}

TEST_F(OptionsTest, NumbersOutOfTheirRange) {
    parse("decay_ms:1024g"); // 2^40, the most
    EXPECT_EQ(to_.decay_ms, uint64_t{1} << 40);
    EXPECT_TRUE(warnings_.empty());
    expect_bad("decay_ms:1099511627777");
}

TEST_F(OptionsTest, SeveralItemsLastOneCounts) {
    parse(",stats:true,,validate:5,trace:1,validate:6,");
    EXPECT_TRUE(to_.stats);
    EXPECT_TRUE(to_.trace);
    EXPECT_EQ(to_.validate, 6u);
    EXPECT_TRUE(warnings_.empty());
}

TEST_F(OptionsTest, UnknownKeysAreNamedAndTheRestCounts) {
    parse("foo:1,stats:true,statsx:1,stat:1,:,abc");
    EXPECT_TRUE(to_.stats);
    EXPECT_EQ(warnings_, std::vector<Warning>({{"unknown key", "foo"},
                                               {"unknown key", "statsx"},
                                               {"unknown key", "stat"},
                                               {"unknown key", ""},
                                               {"unknown key", "abc"}}));
}

// In a child, whose environment is MHEAP_CONF=text: what it writes to standard error.
std::string warnings_of_child(const char *text, bool (*check)()) {
    int ends[2];
    EXPECT_EQ(pipe(ends), 0);
    pid_t child = fork();
    if (child == 0) {
        dup2(ends[1], STDERR_FILENO);
        setenv("MHEAP_CONF", text, 1);
        options_init();
        options_init();
        options_warn();
        options_warn();
        _exit(check() ? 0 : 1);
    }
    close(ends[1]);
    std::string output;
    char buffer[512];
    for (ssize_t n; (n = read(ends[0], buffer, sizeof buffer)) > 0;)
        output.append(buffer, n);
    close(ends[0]);
    int status = 0;
    EXPECT_EQ(waitpid(child, &status, 0), child);
    EXPECT_EQ(status, 0);
    return output;
}

TEST_F(OptionsTest, TheEnvironmentIsReadAndWarnedAboutOnce) {
    EXPECT_EQ(warnings_of_child("stats:true,foo:1,validate:x,deepbind:1",
                                [] { return options.stats && options.deepbind; }),
              "libmheap: MHEAP_CONF: unknown key 'foo'\n"
              "libmheap: MHEAP_CONF: bad value 'validate:x'\n");
    EXPECT_EQ(warnings_of_child("trace:1", [] { return options.trace && !options.stats; }), "");
}

TEST_F(OptionsTest, ALongKeyIsCut) {
    std::string key(1000, 'k');
    std::string output = warnings_of_child(key.c_str(), [] { return true; });
    EXPECT_EQ(output.find("libmheap: MHEAP_CONF: unknown key 'kkkk"), 0u);
    EXPECT_LE(output.size(), 256u);
    EXPECT_EQ(output.back(), '\n');
}

} // namespace

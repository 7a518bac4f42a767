// SPDX-License-Identifier: MIT
// A program with rights that its caller does not have (AT_SECURE) ignores MHEAP_CONF, whichever way
// it came by them and whatever is asked for.
#include "support.h"

#include <signal.h>
#include <sys/stat.h>
#include <unistd.h>

#include <fstream>
#include <string>

using namespace interpose;

namespace {

enum class Right { kUser, kGroup };

// A copy of a program that gives whoever runs it another user or another group.  Each process has a
// file of its own: ctest runs these tests side by side.
class PrivilegedCopy {
  public:
    PrivilegedCopy(const std::string &name, Right right)
        : path_(program_path(name) + "_secure" + std::to_string(getpid())) {
        std::ofstream(path_, std::ios::binary)
            << std::ifstream(program_path(name), std::ios::binary).rdbuf();
        uid_t user = right == Right::kUser ? 65534 : 0;
        gid_t group = right == Right::kGroup ? 65534 : 0;
        mode_t bits = right == Right::kUser ? 04755 : 02755;
        made_ = chown(path_.c_str(), user, group) == 0 && chmod(path_.c_str(), bits) == 0;
    }
    ~PrivilegedCopy() { unlink(path_.c_str()); }

    // Whether the kernel says to such a program that it is one: some file systems ignore it all.
    bool is_secure(const std::string &question) const {
        return made_ &&
               run_program({{path_, question}, {"MHEAP_CONF="}, {}}).out.rfind("secure", 0) == 0;
    }
    Outcome run(const std::string &argument, const std::string &conf) const {
        return run_program({{path_, argument}, {"MHEAP_CONF=" + conf}, {}});
    }

  private:
    std::string path_;
    bool made_ = false;
};

class Secure : public testing::TestWithParam<Right> {};

INSTANTIATE_TEST_SUITE_P(Rights, Secure, testing::Values(Right::kUser, Right::kGroup),
                         [](const auto &info) {
                             return info.param == Right::kUser ? "Setuid" : "Setgid";
                         });

} // namespace

TEST_P(Secure, NoOptionIsRead) {
    if (geteuid() != 0)
        GTEST_SKIP() << "only root can give rights to a program";
    PrivilegedCopy copy("leaks", GetParam());
    if (!copy.is_secure("secure"))
        GTEST_SKIP() << "the file system ignores such rights";
    for (const char *conf : {"stats:true", "trace:true", "stats:true,trace:true,validate:1",
                             "nosuchkey:1", "validate:yes"}) {
        Outcome outcome = copy.run("", conf);
        EXPECT_TRUE(outcome.succeeded()) << conf << ": " << outcome;
        EXPECT_EQ(outcome.err, "") << conf;
    }
}

// Else a caller could make a privileged program go on after its heap was damaged.
TEST_P(Secure, MisuseAborts) {
    if (geteuid() != 0)
        GTEST_SKIP() << "only root can give rights to a program";
    if (!PrivilegedCopy("leaks", GetParam()).is_secure("secure"))
        GTEST_SKIP() << "the file system ignores such rights";
    Outcome plain = run_program({{"misuses", "twice-small"}, {"MHEAP_CONF=abort:false"}, {}});
    EXPECT_TRUE(plain.exited) << "the option works in an ordinary program: " << plain;
    Outcome secure = PrivilegedCopy("misuses", GetParam()).run("twice-small", "abort:false");
    EXPECT_EQ(secure.signal, SIGABRT) << secure;
}

// SPDX-License-Identifier: MIT
// What is made of the kernel's words about control groups, with given texts.
#include "group_limit.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>
#include <vector>

namespace {

std::string file_of(const group_t &group) {
    return std::string(group.folder) + "/" + group.file;
}

// The files that are asked, from the group itself up to the root.
std::vector<std::string> files(const std::string &text) {
    std::vector<std::string> files;
    group_t group;
    if (group_find(text.c_str(), &group))
        do
            files.push_back(file_of(group));
        while (group_go_up(&group));
    return files;
}

using Files = std::vector<std::string>;

TEST(GroupLimit, Version2FromTheGroupToTheRoot) {
    EXPECT_EQ(files("0::/user.slice/app.service\n"),
              (Files{"/sys/fs/cgroup/user.slice/app.service/memory.max",
                     "/sys/fs/cgroup/user.slice/memory.max", "/sys/fs/cgroup/memory.max"}));
    EXPECT_EQ(files("0::/\n"), Files{"/sys/fs/cgroup/memory.max"});
    EXPECT_EQ(files("0::/"), Files{"/sys/fs/cgroup/memory.max"});
}

TEST(GroupLimit, Version1IsTheLineOfTheMemory) {
    EXPECT_EQ(files("5:cpu,cpuacct:/a\n4:memory:/docker/1a2b\n0::/other\n"),
              (Files{"/sys/fs/cgroup/memory/docker/1a2b/memory.limit_in_bytes",
                     "/sys/fs/cgroup/memory/docker/memory.limit_in_bytes",
                     "/sys/fs/cgroup/memory/memory.limit_in_bytes"}));
    EXPECT_EQ(files("0::/x\n7:hugetlb,memory:/y\n").front(),
              "/sys/fs/cgroup/memory/y/memory.limit_in_bytes");
    EXPECT_EQ(files("7:memory,hugetlb:/y\n").front(),
              "/sys/fs/cgroup/memory/y/memory.limit_in_bytes");
}

TEST(GroupLimit, OtherControllersAreNotIt) {
    EXPECT_EQ(files("3:name=memory:/a\n4:memory2:/b\n5:cpu:/memory\n"), Files{});
    EXPECT_EQ(files("10::/x\n"), Files{});
    EXPECT_EQ(files(""), Files{});
    EXPECT_EQ(files("nonsense\n\n::\n:\n0\n"), Files{});
}

TEST(GroupLimit, PathsMayHoldColonsAndSpaces) {
    EXPECT_EQ(files("0::/a b:c\n").front(), "/sys/fs/cgroup/a b:c/memory.max");
}

// Nothing is written past the end, and no shortened name is taken for another group's.
TEST(GroupLimit, LongNames) {
    for (size_t n = GROUP_PATH_BYTES - 80; n < GROUP_PATH_BYTES + 80; n++) {
        struct {
            group_t group;
            char guard[64];
        } s;
        memset(s.guard, 77, sizeof s.guard);
        std::string text = "4:memory:/" + std::string(n, 'x') + "\n";
        if (group_find(text.c_str(), &s.group)) {
            EXPECT_EQ(s.group.n_bytes, strlen("/sys/fs/cgroup/memory/") + n);
            EXPECT_LT(file_of(s.group).size(), sizeof s.group.folder);
        } else {
            EXPECT_GT(n, GROUP_PATH_BYTES - 64);
        }
        for (char c : s.guard)
            ASSERT_EQ(c, 77);
    }
    EXPECT_EQ(files("4:memory:/" + std::string(GROUP_PATH_BYTES, 'x') + "\n"), Files{});
}

TEST(GroupLimit, Numbers) {
    EXPECT_EQ(group_limit_number("104857600\n"), 104857600u);
    EXPECT_EQ(group_limit_number("104857600"), 104857600u);
    EXPECT_EQ(group_limit_number("max\n"), 0u);
    EXPECT_EQ(group_limit_number("9223372036854771712\n"), 0u); // version 1: none
    EXPECT_EQ(group_limit_number("99999999999999999999999999\n"), 0u);
    EXPECT_EQ(group_limit_number("-1\n"), 0u);
    EXPECT_EQ(group_limit_number("12 apples"), 0u);
    EXPECT_EQ(group_limit_number(""), 0u);
}

} // namespace

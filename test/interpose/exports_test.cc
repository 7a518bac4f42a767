// SPDX-License-Identifier: MIT
// The library file as the loader sees it: what it exports, imports and needs.
#include "support.h"

#include <algorithm>
#include <map>
#include <regex>
#include <set>
#include <sstream>

using namespace interpose;

namespace {

const std::set<std::string> kExports = {
    // malloc's family
    "malloc", "calloc", "realloc", "reallocarray", "free", "free_sized", "free_aligned_sized",
    "aligned_alloc", "memalign", "posix_memalign", "valloc", "pvalloc", "malloc_usable_size",
    "malloc_trim", "malloc_stats", "malloc_info", "mallinfo", "mallinfo2", "mallopt", "cfree",
    // the loader's
    "dlopen",
    // operators new
    "_Znwm", "_Znam", "_ZnwmRKSt9nothrow_t", "_ZnamRKSt9nothrow_t", "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t", "_ZnwmSt11align_val_tRKSt9nothrow_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t",
    // operators delete
    "_ZdlPv", "_ZdaPv", "_ZdlPvm", "_ZdaPvm", "_ZdlPvRKSt9nothrow_t", "_ZdaPvRKSt9nothrow_t",
    "_ZdlPvSt11align_val_t", "_ZdaPvSt11align_val_t", "_ZdlPvmSt11align_val_t",
    "_ZdaPvmSt11align_val_t", "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    "_ZdaPvSt11align_val_tRKSt9nothrow_t"};

// The lines that a tool prints about the library.
std::vector<std::string> lines_of(const std::string &tool) {
    Outcome outcome = run_program({{"/bin/sh", "-c", tool + " '" MHEAP_LIBRARY_FILE "'"}, {}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    std::vector<std::string> lines;
    std::istringstream stream(outcome.out);
    for (std::string line; std::getline(stream, line);)
        lines.push_back(line);
    EXPECT_FALSE(lines.empty()) << tool;
    return lines;
}

// Dynamic symbols: name without its version -> nm's letter.
std::map<std::string, char> symbols(const std::string &which) {
    std::map<std::string, char> symbols;
    for (const std::string &line : lines_of("nm -D " + which)) {
        std::smatch match;
        EXPECT_TRUE(std::regex_search(line, match, std::regex("([A-Za-z]) ([^ @]+)(@.*)?$")))
            << line;
        symbols[match[2]] = match.str(1)[0];
    }
    return symbols;
}

std::vector<std::string> dynamic_entries(const std::string &tag) {
    std::vector<std::string> values;
    for (const std::string &line : lines_of("readelf -dW"))
        if (std::smatch match;
            std::regex_search(line, match, std::regex("\\(" + tag + "\\).*\\[(.*)\\]")))
            values.push_back(match[1]);
    return values;
}

} // namespace

TEST(Library, ExportsTheListAndNothingElse) {
    std::map<std::string, char> defined = symbols("--defined-only");
    for (const std::string &name : kExports)
        EXPECT_TRUE(defined.count(name)) << name << " is missing";
    for (auto [name, letter] : defined)
        EXPECT_TRUE(kExports.count(name) || name.rfind("mheap_", 0) == 0 || letter == 'A')
            << letter << " " << name << " should not be visible"; // A: a version's own name
    EXPECT_TRUE(defined.count("mheap_alloc") && defined.count("mheap_put"));
}

TEST(Library, ExportsFunctionsOnly) {
    for (auto [name, letter] : symbols("--defined-only"))
        EXPECT_TRUE(letter == 'T' || letter == 'W' || letter == 'A') << letter << " " << name;
}

TEST(Library, NeedsNothingButLibc) {
    for (const std::string &needed : dynamic_entries("NEEDED"))
        EXPECT_TRUE(needed == "libc.so.6" || needed.rfind("ld-linux", 0) == 0) << needed;
}

// So a program without libstdc++ can load it, and what it asks of one that has it is optional.
TEST(Library, ImportsFromLibcOrWeakly) {
    for (const std::string &line : lines_of("nm -D --undefined-only")) {
        bool weak = std::regex_search(line, std::regex(" [wv] "));
        bool libc = std::regex_search(line, std::regex("@GLIBC_"));
        EXPECT_TRUE(weak || libc) << line;
    }
}

// Initial-exec TLS: no call, so no allocation, to reach a thread's heap.
TEST(Library, ReachesItsTlsWithoutACall) {
    EXPECT_EQ(symbols("--undefined-only").count("__tls_get_addr"), 0u);
    for (const std::string &line : lines_of("readelf -rW"))
        EXPECT_FALSE(std::regex_search(line, std::regex("DTPMOD|DTPOFF|TLSDESC"))) << line;
}

// The loader has little static TLS to give to libraries that come late by dlopen.
TEST(Library, NeedsLittleTls) {
    for (const std::string &line : lines_of("readelf -lW"))
        if (std::smatch match; std::regex_search(
                line, match, std::regex("^ +TLS +0x\\w+ +0x\\w+ +0x\\w+ +0x\\w+ +0x(\\w+)"))) {
            EXPECT_LE(std::stoul(match[1], nullptr, 16), 512u) << line;
        }
}

// The loader looks for each in all libraries, in every process that starts.
TEST(Library, ImportsLittle) {
    EXPECT_LE(symbols("--undefined-only").size(), 46u);
}

#ifdef MHEAP_LAYOUT_IS_FINAL
// What every process has of us; and what those have besides that have large objects or C++.
constexpr unsigned long kHotBytes = 52 * 1024, kOtherBytes = 36 * 1024, kPageBytes = 4096;

// Of a section or segment, from readelf's lines: the hexadecimal numbers behind its name.
std::vector<std::vector<unsigned long>> places(const std::string &what, const std::string &name) {
    std::vector<std::vector<unsigned long>> places;
    for (const std::string &line : lines_of("readelf -W " + what)) {
        std::smatch match;
        if (!std::regex_search(line, match, std::regex(" " + name + " +([A-Z]+ +)?([0-9a-fx ]+)")))
            continue;
        std::istringstream numbers(match[2]);
        places.emplace_back();
        for (unsigned long number; numbers >> std::hex >> number;)
            places.back().push_back(number);
    }
    return places;
}

TEST(Library, WhatEveryProcessRunsIsLessThanAWindow) {
    auto loads = places("-l", "LOAD"); // offset, address, physical address, bytes in the file, ...
    ASSERT_EQ(loads.size(), 4u);
    EXPECT_LE(loads[0][3], kHotBytes);
    EXPECT_LE(loads[1][3], kOtherBytes);
}

// Three mappings of code: next to each other, two would be one if the file went on.
TEST(Library, WhatFewCallAndWhatHardlyAnyoneCallsAreMappingsOfTheirOwn) {
    auto loads = places("-l", "LOAD");
    ASSERT_GE(loads.size(), 3u);
    for (int i : {1, 2}) {
        unsigned long last = loads[i - 1][0] + loads[i - 1][3] - 1;
        unsigned long last_address = loads[i - 1][1] + loads[i - 1][3] - 1;
        EXPECT_EQ(loads[i][0] / kPageBytes, last / kPageBytes);
        EXPECT_EQ(loads[i][1] / kPageBytes, last_address / kPageBytes + 1);
    }
}

// All that is written to begins as zeros: so the file's part of it is one page, read-only once it
// is relocated, and one mapping.
TEST(Library, HasNoInitializedData) {
    EXPECT_EQ(places("-S", "\\.data").size(), 0u);
    auto loads = places("-l", "LOAD");
    ASSERT_EQ(loads.size(), 4u);
    auto relro = places("-l", "GNU_RELRO");
    ASSERT_EQ(relro.size(), 1u);
    unsigned long end = loads[3][1] + loads[3][3], page = loads[3][1] & ~(kPageBytes - 1);
    EXPECT_LE(end, relro[0][1] + relro[0][4]);
    EXPECT_LE(end, page + kPageBytes);
}

// So is no call out of there on the way of an ordinary one.  The least of several runs: in one that
// a tick of decay falls into, which looks after large objects, too, that code is there.
TEST(Library, ASmallProcessHasThatCodeOnly) {
    unsigned long least_kib = ~0ul;
    for (int run = 0; run < 10 && least_kib > kHotBytes / 1024; run++) {
        Outcome outcome = run_program({{"small_process"}, {}, {}});
        ASSERT_TRUE(outcome.succeeded()) << outcome;
        std::smatch match;
        ASSERT_TRUE(std::regex_search(outcome.out, match, std::regex("code: ([0-9]+) KiB")))
            << outcome;
        least_kib = std::min(least_kib, std::stoul(match[1]));
    }
    EXPECT_LE(least_kib, kHotBytes / 1024);
}
#endif

TEST(Library, SonameIsVersioned) {
    EXPECT_EQ(dynamic_entries("SONAME"), std::vector<std::string>{"libmheap.so.0"});
}

TEST(Library, HasNoTextRelocationsAndNoExecutableStack) {
    for (const std::string &line : lines_of("readelf -dlW")) {
        EXPECT_EQ(line.find("TEXTREL"), std::string::npos) << line;
        if (line.find("GNU_STACK") != std::string::npos) {
            EXPECT_EQ(line.find("RWE"), std::string::npos) << line;
        }
    }
}

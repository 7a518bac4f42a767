// SPDX-License-Identifier: MIT
// Memory runs out: RLIMIT_AS, RLIMIT_DATA, too many mappings.  malloc says NULL and ENOMEM, gives
// most of what there is before, and goes on working when something has been freed.
#include "support.h"

#include <malloc.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <fstream>

using namespace interpose;

namespace {

struct Limit {
    const char *name;
    int resource;
    size_t limit_bytes;
    size_t object_bytes;
    int n_threads;
};

void PrintTo(const Limit &limit, std::ostream *stream) {
    *stream << limit.n_threads << " threads, objects of " << limit.object_bytes << " bytes, "
            << limit.name << " of " << limit.limit_bytes / MiB << " MiB";
}

class Limits : public testing::TestWithParam<Limit> {};

std::vector<Limit> all_limits() {
    std::vector<Limit> limits;
    for (size_t megabytes : {128, 160, 192, 256, 500})
        for (size_t object_bytes : {16ul, 1000ul, 5000ul, 100 * KiB, 600 * KiB, 3 * MiB, 20 * MiB})
            if (megabytes <= 160 || object_bytes > 10000) // millions of small ones take long
                limits.push_back({"RLIMIT_AS", RLIMIT_AS, megabytes * MiB, object_bytes, 1});
    for (size_t object_bytes : {100ul, 20000ul, 2 * MiB}) {
        limits.push_back({"RLIMIT_AS", RLIMIT_AS, 500 * MiB, object_bytes, 4});
        limits.push_back({"RLIMIT_DATA", RLIMIT_DATA, 64 * MiB, object_bytes, 1});
        limits.push_back({"RLIMIT_DATA", RLIMIT_DATA, 200 * MiB, object_bytes, 4});
    }
    return limits;
}

std::string test_name(const testing::TestParamInfo<Limit> &info) {
    return std::string(info.param.name) + "_" + std::to_string(info.param.limit_bytes / MiB) +
           "MiB_" + std::to_string(info.param.object_bytes) + "B_" +
           std::to_string(info.param.n_threads) + "threads";
}

size_t n_mappings() {
    std::ifstream maps("/proc/self/maps");
    size_t n_lines = 0;
    for (std::string line; std::getline(maps, line);)
        n_lines++;
    return n_lines;
}

} // namespace

// The program takes all there is, three times over, and prints how many bytes it got at least.
TEST_P(Limits, RunsOutAndGoesOn) {
    const Limit &limit = GetParam();
    Outcome outcome =
        run_program({{"eat", std::to_string(limit.object_bytes), std::to_string(limit.n_threads)},
                     {},
                     {{limit.resource, limit.limit_bytes}}});
    ASSERT_TRUE(outcome.succeeded()) << outcome;
    // Threads' stacks take 8 MiB of address space each; a size class may round up by a quarter.
    size_t own = 16 * MiB + (limit.n_threads > 1 ? limit.n_threads * 8 * MiB : 0);
    EXPECT_GE(std::stoul(outcome.out), (limit.limit_bytes - own) / 2) << outcome;
}

// Address space that one kind of object used up serves others when it is free.
TEST_P(Limits, FreeMemoryServesOtherSizes) {
    const Limit &limit = GetParam();
    Outcome outcome = run_program(
        {{"eat", std::to_string(limit.object_bytes), std::to_string(limit.n_threads), "other"},
         {},
         {{limit.resource, limit.limit_bytes}}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

INSTANTIATE_TEST_SUITE_P(All, Limits, testing::ValuesIn(all_limits()), test_name);

// A limit set while the program runs, as shells and daemons do, below what is used already.
TEST(LimitSetLate, MallocFailsAndWhatIsThereStaysUsable) {
    Outcome outcome = run_in_child([] {
        const size_t kMuch = 100 * GiB; // no earlier test has left so much
        std::vector<void *> objects;
        for (int i = 0; i < 1000; i++) {
            objects.push_back(malloc(10000));
            fill_pattern(objects.back(), 10000, i);
        }
        rlimit none = {MiB, MiB};
        require(setrlimit(RLIMIT_AS, &none) == 0, "RLIMIT_AS set");
        errno = 0;
        require(malloc(kMuch) == nullptr && errno == ENOMEM, "malloc fails with ENOMEM");
        require(realloc(objects[0], kMuch) == nullptr, "realloc fails");
        require(calloc(kMuch / MiB, MiB) == nullptr, "calloc fails");
        require(memalign(4 * MiB, kMuch) == nullptr, "memalign fails");
        for (int i = 0; i < 1000; i++) {
            require(has_pattern(objects[i], 10000, i), "what was there is intact");
            free(objects[i]);
        }
        for (int i = 0; i < 500; i++) {
            objects[i] = malloc(10000);
            require(objects[i] != nullptr, "what was freed can be had again");
        }
    });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// What one thread has free, in pieces, serves the others, before any of them is told ENOMEM.
TEST(AddressSpace, OneThreadsFreeMemoryServesTheOthers) {
    SKIP_UNDER_STAND_IN("its arenas do not serve each other");
    for (const char *conf : {"MHEAP_CONF=", "MHEAP_CONF=validate:20000"}) {
        Outcome outcome = run_program({{"limits", "others"}, {conf}, {{RLIMIT_AS, 400 * MiB}}});
        EXPECT_TRUE(outcome.succeeded()) << conf << ": " << outcome;
    }
}

// So does what small objects of one size had, those of all others: their metadata, too.
TEST(AddressSpace, FreeMemoryServesOtherSmallSizes) {
    for (size_t megabytes : {140, 160}) {
        Outcome outcome =
            run_program({{"eat", "16", "1", "small"}, {}, {{RLIMIT_AS, megabytes * MiB}}});
        EXPECT_TRUE(outcome.succeeded()) << megabytes << " MiB: " << outcome;
    }
}

// What is asked for in vain uses no addresses up: the next region is where it would have been.
TEST(AddressSpace, RequestsThatFailTakeNone) {
    SKIP_UNDER_STAND_IN("regions");
    Outcome outcome = run_in_child([] {
        auto *before = static_cast<char *>(malloc(100 * MiB));
        rlimit limit;
        require(before && getrlimit(RLIMIT_AS, &limit) == 0, "there is memory");
        rlimit none = {MiB, limit.rlim_max};
        require(setrlimit(RLIMIT_AS, &none) == 0, "RLIMIT_AS set");
        for (int i = 0; i < 3000; i++)
            require(malloc(GiB) == nullptr, "malloc fails");
        require(setrlimit(RLIMIT_AS, &limit) == 0, "RLIMIT_AS set back");
        auto *after = static_cast<char *>(malloc(100 * MiB));
        require(after && std::abs(after - before) < ptrdiff_t{1} << 40, "it lies near");
    });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// Heaps whose regions are not where they are by themselves.
TEST(AddressSpace, RegionsMayLieAnywhere) {
    SKIP_UNDER_STAND_IN("regions");
    for (const char *conf : {"MHEAP_CONF=", "MHEAP_CONF=validate:20000"}) {
        Outcome outcome = run_program({{"far_regions"}, {conf}, {}});
        EXPECT_TRUE(outcome.succeeded()) << conf << ": " << outcome;
        EXPECT_EQ(outcome.out, "far: 1\nok\n") << conf;
    }
}

// What large objects had counts against the limit until it has lost its access.
TEST(DataLimit, WhatLargeObjectsHadServesSmallOnes) {
    SKIP_UNDER_STAND_IN("it stays with the large ones");
    for (size_t megabytes : {100, 200}) {
        Outcome outcome = run_program({{"limits", "back", std::to_string(megabytes * MiB)},
                                       {},
                                       {{RLIMIT_DATA, megabytes * MiB}}});
        EXPECT_TRUE(outcome.succeeded()) << megabytes << " MiB: " << outcome;
    }
}

// The kernel allows 65530 mappings: they may not grow with the objects.
TEST(Mappings, StayFewWithManyLargeObjects) {
    SKIP_UNDER_STAND_IN("glibc has a mapping for each");
    size_t before = n_mappings();
    std::vector<void *> objects(20000);
    for (void *&object : objects) {
        object = malloc(600 * KiB);
        ASSERT_NE(object, nullptr);
    }
    for (size_t i = 0; i < objects.size(); i += 2)
        free(objects[i]);
    EXPECT_LT(n_mappings(), before + 2000);
    for (size_t i = 1; i < objects.size(); i += 2)
        free(objects[i]);
}

TEST(Mappings, StayFewWhenPagesAreGivenBack) {
    size_t before = n_mappings();
    std::vector<void *> objects(200000);
    for (size_t i = 0; i < objects.size(); i++) {
        objects[i] = malloc(i % 20 ? 1000 : 20000);
        ASSERT_NE(objects[i], nullptr);
        memset(objects[i], 1, 1000);
    }
    Random random(1);
    for (void *&object : objects)
        if (random.below(16)) {
            free(object);
            object = nullptr;
        }
    malloc_trim(0);
    EXPECT_LT(n_mappings(), before + 500);
    for (void *object : objects)
        free(object);
}

// Gigabytes of heap are a few dozen mappings, however large the objects are.
TEST(Mappings, FewDozenForGigabytes) {
    SKIP_UNDER_STAND_IN("glibc has more");
    for (size_t size : {10 * KiB, 400 * KiB, 3 * MiB}) {
        Outcome outcome = run_in_child([size] {
            size_t before = n_mappings();
            std::vector<void *> objects(2 * GiB / size);
            for (void *&object : objects)
                object = malloc(size); // not touched: it costs no memory
            require(n_mappings() <= before + 100, "2 GiB of heap have at most 100 mappings");
        });
        EXPECT_TRUE(outcome.succeeded()) << size << ": " << outcome;
    }
}

// The program uses up the kernel's mappings itself; malloc then gives what needs none, and
// recovers.
TEST(Mappings, NoneLeft) {
    Outcome outcome = run_program({{"limits", "mappings"}, {}, {}});
    ASSERT_TRUE(outcome.succeeded()) << outcome;
    if (outcome.out == "skip\nok\n")
        GTEST_SKIP() << "this kernel has more mappings than the program uses up";
}

// ---- A control group with a memory limit -----------------------------------------------------

namespace {

// A group of our own, of either version; empty if none can be made here.
class MemoryGroup {
  public:
    explicit MemoryGroup(size_t limit_bytes) {
        for (auto [folder, limit] : {std::pair{"/sys/fs/cgroup/memory", "memory.limit_in_bytes"},
                                     std::pair{"/sys/fs/cgroup", "memory.max"}}) {
            path_ = std::string(folder) + "/mheap-test-" + std::to_string(getpid());
            if (mkdir(path_.c_str(), 0755) != 0)
                continue;
            std::ofstream file(path_ + "/" + limit);
            if (file << limit_bytes && file.flush())
                return;
            rmdir(path_.c_str());
        }
        path_.clear();
    }
    ~MemoryGroup() {
        if (!path_.empty())
            rmdir(path_.c_str());
    }
    bool is_made() const { return !path_.empty(); }
    std::string procs() const { return path_ + "/cgroup.procs"; }

  private:
    std::string path_;
};

} // namespace

// The kernel kills what exceeds it, so whoever sets it says so to the library, too.
TEST(ControlGroup, WithASoftLimitPhasesOfDifferentSizesStayWithinIts) {
    SKIP_UNDER_STAND_IN("MHEAP_CONF");
    MemoryGroup group(100 * MiB);
    if (!group.is_made())
        GTEST_SKIP() << "no control group with a memory limit can be made here";
    Outcome outcome = run_program({{"limits", "phases", std::to_string(100 * MiB), group.procs()},
                                   {"MHEAP_CONF=limit_soft:80m"},
                                   {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// Nobody has said anything: what the group may have is found.
TEST(ControlGroup, PhasesOfDifferentSizesStayWithinIts) {
    SKIP_UNDER_STAND_IN("the group's limit");
    MemoryGroup group(100 * MiB);
    if (!group.is_made())
        GTEST_SKIP() << "no control group with a memory limit can be made here";
    for (int i = 0; i < 3; i++) {
        Outcome outcome =
            run_program({{"limits", "phases", std::to_string(100 * MiB), group.procs()}, {}, {}});
        EXPECT_TRUE(outcome.succeeded()) << outcome;
    }
}

// ---- Limits of our own: MHEAP_CONF ----------------------------------------------------------

TEST(LimitHard, IsKeptAndAllOfItServesAgain) {
    SKIP_UNDER_STAND_IN("MHEAP_CONF");
    for (size_t limit : {64 * MiB, 200 * MiB}) {
        std::string bytes = std::to_string(limit);
        Outcome outcome =
            run_program({{"limits", "hard", bytes}, {"MHEAP_CONF=limit_hard:" + bytes}, {}});
        EXPECT_TRUE(outcome.succeeded()) << bytes << ": " << outcome;
    }
}

TEST(LimitHard, HoldsForAllThreadsTogether) {
    SKIP_UNDER_STAND_IN("MHEAP_CONF");
    for (const char *size : {"16", "5000", "100000", "3000000"}) {
        Outcome outcome =
            run_program({{"eat", size, "4", "other"}, {"MHEAP_CONF=limit_hard:64m"}, {}});
        ASSERT_TRUE(outcome.succeeded()) << size << ": " << outcome;
        EXPECT_GE(std::stoul(outcome.out), 32 * MiB) << size;
        EXPECT_LE(std::stoul(outcome.out), 64 * MiB) << size;
    }
}

TEST(LimitSoft, FreeMemoryGoesBackNearIt) {
    SKIP_UNDER_STAND_IN("MHEAP_CONF");
    std::string bytes = std::to_string(60 * MiB);
    Outcome outcome =
        run_program({{"limits", "soft", bytes}, {"MHEAP_CONF=limit_soft:" + bytes}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

TEST(Background, GivesBackWhileTheProgramSleeps) {
    SKIP_UNDER_STAND_IN("MHEAP_CONF");
    Outcome outcome = run_program({{"limits", "background"}, {"MHEAP_CONF=background:true"}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// ---- Huge pages -----------------------------------------------------------------------------

// Where the system gives huge pages to everybody, our regions decline as soon as there could be
// one: the kernel's flag "nh".
TEST(HugePages, NotForHeapsWhereTheyAreForEverybody) {
    SKIP_UNDER_STAND_IN("regions");
    std::ifstream setting("/sys/kernel/mm/transparent_hugepage/enabled");
    std::string first;
    setting >> first;
    if (first != "[always]")
        GTEST_SKIP() << "the system's setting is not \"always\": " << first;
    std::vector<void *> objects(128);
    for (void *&each : objects)
        each = malloc(30000);
    void *object = objects.back();
    std::ifstream smaps("/proc/self/smaps");
    bool is_in = false, has_flag = false;
    for (std::string line; std::getline(smaps, line);) {
        unsigned long from, to;
        if (sscanf(line.c_str(), "%lx-%lx ", &from, &to) == 2)
            is_in = reinterpret_cast<uintptr_t>(object) - from < to - from;
        else if (is_in && line.rfind("VmFlags:", 0) == 0)
            has_flag = line.find(" nh") != std::string::npos;
    }
    EXPECT_TRUE(has_flag);
    for (void *each : objects)
        free(each);
}

// SPDX-License-Identifier: MIT
// What a program can ask malloc about itself: mallinfo, malloc_info, malloc_stats, and the requests
// malloc_trim and mallopt.
#include "support.h"

#include <fcntl.h>
#include <malloc.h>
#include <stdlib.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <thread>

using namespace interpose;

namespace {

// mallinfo and mallinfo2 agree about our own use of memory only if nothing allocates in between, so
// the tests allocate their vectors first.
std::vector<void *> allocate(size_t count, size_t size) {
    std::vector<void *> objects(count);
    for (void *&object : objects) {
        object = malloc(size);
        memset(object, 1, size);
    }
    return objects;
}

void free_all(const std::vector<void *> &objects) {
    for (void *object : objects)
        free(object);
}

std::string info_text() {
    char *text = nullptr;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&text, &n_bytes);
    EXPECT_EQ(malloc_info(0, stream), 0);
    fclose(stream);
    std::string copy(text, n_bytes);
    free(text);
    return copy;
}

bool is_name_character(char c) {
    return isalnum(static_cast<unsigned char>(c)) || c == '_' || c == '-' || c == ':' || c == '.';
}

// A small reader of XML: elements nest, names match, attributes are quoted.  Empty if well-formed,
// else what is wrong.
std::string xml_error(const std::string &text) {
    std::vector<std::string> open;
    size_t n_elements = 0;
    for (size_t at = text.find('<'); at != std::string::npos; at = text.find('<', at)) {
        size_t end = at + 1;
        char quote = 0;
        for (; end < text.size() && (quote || text[end] != '>'); end++)
            if (quote ? text[end] == quote : text[end] == '"' || text[end] == '\'')
                quote = quote ? 0 : text[end];
        if (end >= text.size())
            return "a tag is not closed: " + text.substr(at, 40);
        std::string tag = text.substr(at + 1, end - at - 1);
        at = end + 1;
        if (tag.empty() || tag.find('<') != std::string::npos)
            return "bad tag <" + tag + ">";
        if (tag[0] == '?' || tag[0] == '!')
            continue;
        bool closes = tag[0] == '/', empty = tag.back() == '/';
        size_t name_end = closes;
        while (name_end < tag.size() && is_name_character(tag[name_end]))
            name_end++;
        std::string name = tag.substr(closes, name_end - closes);
        if (name.empty())
            return "an element without a name <" + tag + ">";
        if (closes) {
            if (open.empty() || open.back() != name)
                return "</" + name + "> closes what is not open";
            open.pop_back();
            continue;
        }
        if (open.empty() && n_elements)
            return "a second root element <" + name + ">";
        n_elements++;
        if (!empty)
            open.push_back(name);
    }
    if (!open.empty())
        return "<" + open.back() + "> is never closed";
    return n_elements ? "" : "no element at all";
}

} // namespace

// ---- mallinfo -------------------------------------------------------------------------------

// uordblks is what is in use, as glibc's manual has it: it follows allocation and free closely.
TEST(Mallinfo, UsedBytesFollowSmallObjects) {
    for (size_t size : {24ul, 100ul, 1000ul, 5000ul}) {
        size_t count = 20 * MiB / size, before = mallinfo2().uordblks;
        std::vector<void *> objects = allocate(count, size);
        size_t grown = mallinfo2().uordblks - before;
        EXPECT_GE(grown, count * size) << size;
        EXPECT_LE(grown, count * (size + 24) * 5 / 4 + 2 * MiB) << size;
        free_all(objects);
        EXPECT_LE(mallinfo2().uordblks, before + 4 * MiB) << size;
    }
}

TEST(Mallinfo, UsedBytesFollowLargeObjects) {
    mallinfo2();
    for (size_t size : {300 * KiB, MiB, 10 * MiB}) {
        struct mallinfo2 before = mallinfo2();
        std::vector<void *> objects = allocate(16, size);
        struct mallinfo2 during = mallinfo2();
        size_t grown = during.uordblks + during.hblkhd - before.uordblks - before.hblkhd;
        EXPECT_GE(grown, 16 * size);
        EXPECT_LE(grown, 16 * size * 5 / 4 + 2 * MiB);
        free_all(objects);
    }
}

TEST(Mallinfo, CountsEveryThreadsObjects) {
    size_t before = mallinfo2().uordblks;
    std::vector<void *> objects;
    std::thread([&] { objects = allocate(10000, 500); }).join();
    size_t grown = mallinfo2().uordblks - before;
    EXPECT_GE(grown, 10000u * 500);
    EXPECT_LE(grown, 10000u * 650 + 2 * MiB);
    free_all(objects);
}

// The parts add up: what is held is what is used plus what is free.
TEST(Mallinfo, ArenaIsUsedPlusFree) {
    std::vector<void *> objects = allocate(50000, 200);
    for (size_t i = 0; i < objects.size(); i += 2) {
        free(objects[i]);
        objects[i] = nullptr;
    }
    struct mallinfo2 info = mallinfo2();
    EXPECT_GE(info.arena + info.hblkhd, 25000u * 200);
    EXPECT_EQ(info.arena, info.uordblks + info.fordblks);
    EXPECT_GE(info.fordblks, 20000u * 200);
    free_all(objects);
}

// The old one has ints, cut off as glibc's is, but the same numbers.
TEST(Mallinfo, OldFormAgrees) {
    std::vector<void *> objects = allocate(1000, 1000);
    mallinfo2();
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wdeprecated-declarations"
    struct mallinfo old_form = mallinfo();
#pragma GCC diagnostic pop
    struct mallinfo2 info = mallinfo2();
    EXPECT_EQ(old_form.uordblks, static_cast<int>(info.uordblks));
    EXPECT_EQ(old_form.fordblks, static_cast<int>(info.fordblks));
    EXPECT_EQ(old_form.arena, static_cast<int>(info.arena));
    free_all(objects);
}

// ---- malloc_info, malloc_stats --------------------------------------------------------------

TEST(MallocInfo, IsWellFormedXml) {
    std::vector<void *> objects = allocate(1000, 100);
    std::string text = info_text();
    EXPECT_EQ(xml_error(text), "") << text;
    EXPECT_EQ(text.rfind("<malloc", 0), 0u) << text.substr(0, 100);
    free_all(objects);
}

TEST(MallocInfo, IsWellFormedWhileThreadsAllocate) {
    std::atomic<bool> stop{false};
    std::thread other([&] {
        while (!stop)
            free_all(allocate(100, 300));
    });
    for (int i = 0; i < 50; i++)
        EXPECT_EQ(xml_error(info_text()), "");
    stop = true;
    other.join();
}

TEST(MallocInfo, RefusesOptions) {
    char *text = nullptr;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&text, &n_bytes);
    EXPECT_NE(malloc_info(1, stream), 0);
    fclose(stream);
    EXPECT_EQ(n_bytes, 0u);
    free(text);
}

TEST(MallocStats, WritesToStandardError) {
    Outcome outcome = run_in_child([] { malloc_stats(); });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_NE(outcome.err, "");
    if (!kStandIn) {
        EXPECT_NE(outcome.err.find("libmheap"), std::string::npos) << outcome;
    }
}

// ---- malloc_trim, mallopt -------------------------------------------------------------------

TEST(MallocTrim, GivesFreeMemoryBack) {
    std::vector<void *> objects = allocate(100000, 1000);
    size_t full = resident_bytes();
    free_all(objects);
    int result = malloc_trim(0);
    EXPECT_TRUE(result == 0 || result == 1) << result;
    EXPECT_LT(resident_bytes() + 80 * MiB, full);
    result = malloc_trim(SIZE_MAX);
    EXPECT_TRUE(result == 0 || result == 1) << result;
}

TEST(MallocTrim, LeavesLiveObjectsAlone) {
    std::vector<void *> objects(50000);
    for (size_t i = 0; i < objects.size(); i++) {
        objects[i] = malloc(400);
        fill_pattern(objects[i], 400, i);
    }
    for (size_t i = 0; i < objects.size(); i++)
        if (i % 16) {
            free(objects[i]);
            objects[i] = nullptr;
        }
    malloc_trim(0);
    for (size_t i = 0; i < objects.size(); i++) {
        if (i % 16)
            continue;
        EXPECT_TRUE(has_pattern(objects[i], 400, i));
        free(objects[i]);
    }
    free_all(allocate(50000, 400)); // what was given back can be used again
}

// Whatever we make of the parameters, the answer is 0 or 1 and malloc goes on.
TEST(Mallopt, AnswersAndChangesNothingForTheWorse) {
    for (int parameter : {M_MXFAST, M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_MMAP_MAX,
                          M_CHECK_ACTION, M_PERTURB, M_ARENA_TEST, M_ARENA_MAX, -1000, 1000}) {
        Outcome outcome = run_in_child([parameter] {
            int result = mallopt(parameter, 0);
            require(result == 0 || result == 1, "mallopt's answer is 0 or 1");
            std::vector<void *> objects = allocate(1000, 100);
            free_all(objects);
            void *large = malloc(MiB);
            require(large != nullptr, "malloc still works");
            free(large);
        });
        EXPECT_TRUE(outcome.succeeded()) << parameter << ": " << outcome;
    }
}

// ---- The same as the kernel says ------------------------------------------------------------

namespace {

// Our heaps lie in a part of the address space that nothing else uses by itself (owner_reserve.c):
// what of that is resident, in bytes, read without allocating.
size_t resident_of_ours() {
    const uintptr_t kFirst = uintptr_t{1} << 40, kLast = uintptr_t{1} << 44;
    static char text[1 << 20];
    int file = open("/proc/self/smaps", O_RDONLY | O_CLOEXEC);
    size_t n_bytes = 0;
    for (ssize_t n; (n = read(file, text + n_bytes, sizeof text - 1 - n_bytes)) > 0;)
        n_bytes += static_cast<size_t>(n);
    close(file);
    text[n_bytes] = 0;
    size_t kilobytes = 0;
    bool is_ours = false;
    for (char *line = text; line && *line; line = strchr(line, '\n'), line += line != nullptr) {
        unsigned long first, last, resident;
        if (sscanf(line, "%lx-%lx ", &first, &last) == 2)
            is_ours = first >= kFirst && last <= kLast;
        else if (is_ours && sscanf(line, "Rss: %lu kB", &resident) == 1)
            kilobytes += resident;
    }
    return kilobytes * KiB;
}

// A number of malloc_info's last element.
size_t total_of(const std::string &text, const std::string &name) {
    size_t at = text.rfind(name + "=\"");
    return at == std::string::npos ? 0 : strtoul(text.c_str() + at + name.size() + 2, nullptr, 10);
}

// Ours and the kernel's numbers, here and now: within 5 percent and the pages of the buffer.
void expect_agreement(const char *when) {
    info_text(); // whatever it allocates is there before we look
    std::string text = info_text();
    double resident = static_cast<double>(total_of(text, "resident"));
    double kernel = static_cast<double>(resident_of_ours());
    EXPECT_NEAR(resident, kernel, 0.05 * kernel + 64 * KiB) << when << "\n" << text;
    // What the program holds and has touched is resident.
    double live = static_cast<double>(total_of(text, "live"));
    EXPECT_LE(live, 1.05 * kernel + 512 * KiB) << when << "\n" << text;
}

// Without holes between live objects nothing is resident but the parts that we count.
void expect_parts_add_up() {
    std::string text = info_text();
    double kernel = static_cast<double>(resident_of_ours());
    size_t parts = total_of(text, "live") + total_of(text, "listed") + total_of(text, "dirty") +
                   total_of(text, "overhead");
    EXPECT_LE(kernel, 1.05 * static_cast<double>(parts) + 512 * KiB) << text;
}

class Accounting : public testing::TestWithParam<size_t> {
  protected:
    void SetUp() override { SKIP_UNDER_STAND_IN("malloc_info of ours"); }
};

std::vector<void *> allocate_touched(size_t n_bytes, size_t size) {
    std::vector<void *> objects(n_bytes / size);
    for (void *&object : objects) {
        object = malloc(size);
        memset(object, 1, size);
    }
    return objects;
}

} // namespace

TEST_P(Accounting, AgreesWithTheKernelAfterGrowthFreesAndTrims) {
    const size_t size = GetParam();
    malloc_trim(0);
    std::vector<void *> objects = allocate_touched(60 * MiB, size);
    expect_agreement("after growth");
    expect_parts_add_up();
    for (size_t i = 0; i < objects.size(); i++)
        if (i % 20) {
            free(objects[i]);
            objects[i] = nullptr;
        }
    expect_agreement("after frees of 19 in 20");
    malloc_trim(0);
    expect_agreement("after a trim");
    free_all(objects);
    expect_agreement("after all frees");
    malloc_trim(0);
    expect_agreement("after the last trim");
}

TEST_P(Accounting, AgreesWithThreads) {
    const size_t size = GetParam();
    std::vector<std::vector<void *>> of_threads(4);
    auto in_threads = [&](auto what) {
        std::vector<std::thread> threads;
        for (std::vector<void *> &objects : of_threads)
            threads.emplace_back([&objects, what] { what(objects); });
        for (std::thread &thread : threads)
            thread.join();
    };
    in_threads([size](auto &objects) { objects = allocate_touched(10 * MiB, size); });
    expect_agreement("threads have grown");
    std::rotate(of_threads.begin(), of_threads.begin() + 1, of_threads.end());
    in_threads([](auto &objects) { free_all(objects); });
    expect_agreement("others have freed it");
    malloc_trim(0);
    expect_agreement("after a trim");
}

INSTANTIATE_TEST_SUITE_P(Sizes, Accounting,
                         testing::Values(100, 1000, 5000, 40 * KiB, 300 * KiB, 3 * MiB));

// What malloc_trim says, and what mallinfo2 says that it could give back.
TEST_P(Accounting, TrimTellsTheTruth) {
    const size_t size = GetParam();
    malloc_trim(0);
    std::vector<void *> objects = allocate_touched(60 * MiB, size);
    free_all(objects);
    size_t before = resident_of_ours(), dirty = mallinfo2().keepcost;
    int answer = malloc_trim(0);
    size_t after = resident_of_ours();
    EXPECT_EQ(answer, after < before);
    EXPECT_LE(dirty, before + MiB);
    EXPECT_GE(before - after + MiB, dirty / 20 * 19);
    before = resident_of_ours();
    answer = malloc_trim(0);
    EXPECT_EQ(answer, resident_of_ours() < before) << "the second time";
    EXPECT_EQ(malloc_trim(0), 0) << "nothing is left";
}

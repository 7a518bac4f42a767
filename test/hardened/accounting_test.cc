// SPDX-License-Identifier: MIT
// What the hardened library says of its memory, against what the kernel says of the process.
#include "hardened_support.h"

#include <malloc.h>
#include <stdlib.h>

#include <cstring>

using namespace hardened;

namespace {

class HardenedAccounting : public testing::TestWithParam<size_t> {};
INSTANTIATE_TEST_SUITE_P(Sizes, HardenedAccounting,
                         testing::Values(100, 1000, 5000, 40 * KiB, 300 * KiB, 3 * MiB));

struct Resident {
    ptrdiff_t ours, kernel;
};

// malloc_info's number; the document's stream allocates a little.
Resident resident_now() {
    char *text = nullptr;
    size_t n_bytes = 0;
    FILE *stream = open_memstream(&text, &n_bytes);
    EXPECT_EQ(malloc_info(0, stream), 0);
    fclose(stream);
    const std::string name = "resident=\"";
    size_t at = std::string(text, n_bytes).rfind(name);
    EXPECT_NE(at, std::string::npos);
    ptrdiff_t ours = atol(text + at + name.size());
    free(text);
    return {ours, static_cast<ptrdiff_t>(resident_bytes())};
}

// Both have changed by as much since `before`, within 5 percent and what the kernel's own counter
// may be wrong by.
void expect_same_change(const Resident &before, const char *when) {
    Resident now = resident_now();
    double ours = static_cast<double>(now.ours - before.ours);
    double kernel = static_cast<double>(now.kernel - before.kernel);
    EXPECT_NEAR(ours, kernel, 0.05 * std::abs(kernel) + MiB) << when;
}

} // namespace

TEST_P(HardenedAccounting, ResidentIsWhatTheKernelSays) {
    const size_t size = GetParam();
    std::vector<void *> objects(60 * MiB / size);
    Resident before = resident_now();
    for (void *&object : objects)
        object = memset(malloc(size), 1, size);
    Resident grown = resident_now();
    EXPECT_GE(grown.ours - before.ours, ptrdiff_t(objects.size() * size));
    expect_same_change(before, "after growth");
    for (size_t i = 0; i < objects.size(); i++)
        if (i % 20)
            free(objects[i]);
    expect_same_change(before, "after frees of 19 in 20");
    malloc_trim(0);
    expect_same_change(before, "after a trim");
    for (size_t i = 0; i < objects.size(); i += 20)
        free(objects[i]);
    malloc_trim(0);
    expect_same_change(before, "at the end");
    EXPECT_LE(resident_now().ours, before.ours + ptrdiff_t(6 * MiB)) << "only metadata is left";
    malloc_trim(0); // what that took
    EXPECT_EQ(malloc_trim(0), 0) << "nothing is left to be trimmed";
}

TEST_P(HardenedAccounting, InUseIsWhatTheProgramHolds) {
    const size_t size = GetParam();
    std::vector<void *> objects(20 * MiB / size);
    struct mallinfo2 before = mallinfo2();
    for (void *&object : objects)
        object = malloc(size);
    struct mallinfo2 during = mallinfo2();
    size_t grown = during.uordblks + during.hblkhd - before.uordblks - before.hblkhd;
    EXPECT_GE(grown, objects.size() * size);
    EXPECT_LE(grown, objects.size() * (size + 40) * 5 / 4 + MiB);
    EXPECT_EQ(during.arena, during.uordblks + during.fordblks);
    for (void *object : objects)
        free(object);
    struct mallinfo2 after = mallinfo2();
    EXPECT_EQ(after.hblkhd, before.hblkhd);
    EXPECT_LE(after.uordblks, before.uordblks + 4 * MiB) << "what is left is metadata";
}

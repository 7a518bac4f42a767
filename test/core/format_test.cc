/* SPDX-License-Identifier: MIT */
#include "heap_fixture.h"

namespace {

std::string format(void *v, int verbosity) {
    std::string text;
    mheap_format_to(
        v,
        [](void *arg, const char *t, size_t n) { static_cast<std::string *>(arg)->append(t, n); },
        &text, verbosity);
    return text;
}

size_t n_lines(const std::string &text) {
    size_t n = 0;
    for (char c : text)
        n += c == '\n';
    return n;
}

bool has(const std::string &text, const std::string &part) {
    return text.find(part) != std::string::npos;
}

} // namespace

class Format : public ::testing::Test {
  protected:
    void SetUp() override {
        auto u = heap.get_n(5, 1000);
        heap.put(u[1]);
        heap.put(u[3]);
        heap.put(heap.get(64));
        heap.put(heap.get(64));
    }
    Heap heap{1 << 20, MHEAP_FLAG_SMALL_OBJECT_CACHE};
};

TEST_F(Format, Verbosity0IsOneLineOfTotals) {
    std::string text = format(heap.v(), 0);
    EXPECT_EQ(n_lines(text), 1u);
    EXPECT_TRUE(has(text, "3 objects, ")) << text;
    EXPECT_TRUE(has(text, "used 2.9k in 3, ")) << text;
    EXPECT_TRUE(has(text, "cached 64 in 1, ")) << text;
}

TEST_F(Format, Verbosity1AddsStatistics) {
    std::string text = format(heap.v(), 1);
    EXPECT_TRUE(has(text, "flags: small-object-cache\n")) << text;
    EXPECT_TRUE(has(text, "gets 7, puts 4, no memory 0\n")) << text;
    EXPECT_TRUE(has(text, "hits 1, flushes 0\n")) << text;
    EXPECT_TRUE(has(text, "tries each")) << text;
    EXPECT_FALSE(has(text, "by bin")) << text;
    EXPECT_FALSE(has(text, "traced")) << text;
}

TEST_F(Format, Verbosity1AddsTheTrace) {
    mheap_trace(heap.v(), true);
    heap.get(24);
    std::string text = format(heap.v(), 1);
    EXPECT_TRUE(
        has(text, "traced objects by call stack (0 records lost)\n    24 bytes in 1 objects"))
        << text;
    EXPECT_TRUE(has(text, "      0x")) << text;
}

TEST_F(Format, Verbosity2AddsTheHistogram) {
    std::string text = format(heap.v(), 2);
    /* 1000 bytes are in the bin from 992 on; one of them lost 72 bytes to the small object. */
    EXPECT_TRUE(has(text, "\n    992: 1, 1000\n")) << text;
    EXPECT_TRUE(has(text, "\n    928: 1, 928\n")) << text;
    EXPECT_FALSE(has(text, "corrupt")) << text;
}

TEST_F(Format, ShowsTheFirstCorruptObject) {
    mheap_uoffset_t u = heap.get(300), behind = heap.get(8);
    memset(heap.at(u) + 304, 0x41, 8);
    std::string text = format(heap.v(), 2);
    EXPECT_TRUE(has(text, "  corrupt: M3: ")) << text;
    EXPECT_TRUE(has(text, "(uoffset " + std::to_string(behind) + ")\n")) << text;
    EXPECT_TRUE(has(format(heap.v(), 0), "corrupt: M3")); /* never silently wrong totals */
}

TEST_F(Format, DamageThatOnlyValidationFindsIsShownAt2) {
    heap.h()->n_elts++;
    EXPECT_FALSE(has(format(heap.v(), 1), "corrupt"));
    EXPECT_TRUE(has(format(heap.v(), 2), "corrupt: M9"));
    heap.h()->n_elts--;
}

TEST_F(Format, TheCallbackMayUseTheHeap) {
    Heap safe(1 << 20, MHEAP_FLAG_THREAD_SAFE);
    mheap_format_to(
        safe.v(),
        [](void *arg, const char *, size_t) {
            mheap_uoffset_t u;
            mheap_get(arg, 8, &u);
        },
        safe.v(), 2);
    EXPECT_GT(mheap_elts(safe.v()), 0u);
}

TEST_F(Format, WritesToAFile) {
    char *text = nullptr;
    size_t n_bytes = 0;
    FILE *file = open_memstream(&text, &n_bytes);
    mheap_format(heap.v(), file, 1);
    fclose(file);
    EXPECT_EQ(std::string(text, n_bytes), format(heap.v(), 1));
    free(text);
}

// SPDX-License-Identifier: MIT
// Objects of glibc's malloc are recognised, other pointers are not, and nothing faults.
#include <gtest/gtest.h>

#include <malloc.h>
#include <sys/mman.h>

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <thread>
#include <vector>

extern "C" {
#include "glibc_malloc.h"
}

namespace {

// Random objects of glibc's, each asked about before it is freed.
void use_glibc(uint64_t seed, int n_steps) {
    std::mt19937_64 random(seed);
    std::vector<void *> objects;
    for (int i = 0; i < n_steps; i++) {
        if (objects.size() > 1000 || (!objects.empty() && random() % 2)) {
            std::swap(objects[random() % objects.size()], objects.back());
            void *object = objects.back();
            objects.pop_back();
            ASSERT_TRUE(glibc_malloc_owns(object));
            ASSERT_EQ(glibc_malloc_usable(object), malloc_usable_size(object));
            glibc_malloc_free(object);
        } else {
            size_t n_bytes = random() % 100 ? random() % 3000 : random() % 3000000;
            objects.push_back(random() % 8 ? malloc(n_bytes)
                                           : memalign(1 << random() % 14, n_bytes));
        }
    }
    for (void *object : objects)
        free(object);
}

TEST(GlibcMallocTest, MainArena) {
    use_glibc(1, 50000);
}

TEST(GlibcMallocTest, OtherArenas) {
    std::thread one(use_glibc, 2, 30000), other(use_glibc, 3, 30000);
    one.join();
    other.join();
}

TEST(GlibcMallocTest, EachKindOfChunk) {
    size_t sizes[] = {0, 24, 25, 1000, 100000, 128 * 1024, 200000, 40 << 20};
    for (size_t n_bytes : sizes) {
        void *object = malloc(n_bytes);
        EXPECT_TRUE(glibc_malloc_owns(object)) << n_bytes;
        glibc_malloc_free(object);
    }
}

TEST(GlibcMallocTest, ErrnoIsKept) {
    void *object = calloc(1, 100);
    errno = 77;
    glibc_malloc_owns(object);
    glibc_malloc_owns(reinterpret_cast<void *>(16));
    glibc_malloc_owns(reinterpret_cast<void *>(uintptr_t{1} << 60));
    EXPECT_EQ(errno, 77);
    free(object);
}

TEST(GlibcMallocTest, NoPointerAtAll) {
    std::mt19937_64 random(4);
    EXPECT_FALSE(glibc_malloc_owns(nullptr));
    for (uintptr_t address :
         {uintptr_t{1}, uintptr_t{8}, uintptr_t{16}, uintptr_t{4096}, ~uintptr_t{0}, ~uintptr_t{15},
          uintptr_t{1} << 47, uintptr_t{1} << 60, uintptr_t{1} << 63})
        EXPECT_FALSE(glibc_malloc_owns(reinterpret_cast<void *>(address)));
    for (int i = 0; i < 100000; i++)
        EXPECT_FALSE(glibc_malloc_owns(reinterpret_cast<void *>(random() & ~uintptr_t{15})));
    for (int i = 0; i < 100000; i++)
        EXPECT_FALSE(glibc_malloc_owns(reinterpret_cast<void *>(random() >> 17 & ~uintptr_t{15})));
}

char static_bytes[64 * 1024];

TEST(GlibcMallocTest, OtherMemory) {
    std::mt19937_64 random(5);
    char stack_bytes[16 * 1024];
    for (char &byte : stack_bytes)
        byte = static_cast<char>(random());
    for (size_t i = 64; i < sizeof stack_bytes; i += 8)
        EXPECT_FALSE(glibc_malloc_owns(stack_bytes + i));
    for (size_t i = 0; i < sizeof static_bytes; i += 8)
        EXPECT_FALSE(glibc_malloc_owns(static_bytes + i));
    auto *code = reinterpret_cast<char *>(&use_glibc);
    for (size_t i = 0; i < 1000; i++)
        EXPECT_FALSE(glibc_malloc_owns(code + i));
    void *mapped =
        mmap(nullptr, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    for (size_t i = 0; i < 1 << 20; i += 1024)
        EXPECT_FALSE(glibc_malloc_owns(static_cast<char *>(mapped) + i + 16));
    munmap(mapped, 1 << 20);
}

TEST(GlibcMallocTest, EdgeOfWhatCanBeRead) {
    auto *pages =
        static_cast<char *>(mmap(nullptr, 3 * 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0));
    mprotect(pages + 4096, 4096, PROT_READ | PROT_WRITE);
    for (size_t i = 0; i < 3 * 4096; i += 16)
        EXPECT_FALSE(glibc_malloc_owns(pages + i));
    // What looks like a chunk but leads out of the page.
    for (size_t size : {size_t{0x21}, size_t{0x1011}, size_t{0x1001}, size_t{0x2002}, size_t{0x25},
                        size_t{0x7ffffffffff1}, ~size_t{0}}) {
        for (size_t i = 0; i < 4096; i += 16) {
            memset(pages + 4096, 0, 4096);
            memcpy(pages + 4096 + i + 8, &size, 8);
            EXPECT_FALSE(glibc_malloc_owns(pages + 4096 + i + 16)) << size << " " << i;
        }
    }
    munmap(pages, 3 * 4096);
}

TEST(GlibcMallocTest, InsideAnObject) {
    auto *object = static_cast<char *>(calloc(1, 50000));
    for (size_t i = 8; i < 50000; i += 8)
        EXPECT_FALSE(glibc_malloc_owns(object + i));
    free(object);
}

} // namespace

// SPDX-License-Identifier: MIT
// Two mallocs in one process: pointers that glibc's own malloc made reach our free, realloc and
// malloc_usable_size, and must neither abort nor spoil either heap.
#include "support.h"

#include <malloc.h>
#include <stdlib.h>

#include <thread>

using namespace interpose;

namespace {

// glibc's functions, found past the interposed ones.
struct Glibc {
    void *(*malloc)(size_t);
    void *(*calloc)(size_t, size_t);
    void *(*memalign)(size_t, size_t);
    void (*free)(void *);

    Glibc() {
        void *libc = dlopen("libc.so.6", RTLD_NOW | RTLD_NOLOAD);
        find(libc, "malloc", &malloc);
        find(libc, "calloc", &calloc);
        find(libc, "memalign", &memalign);
        find(libc, "free", &free);
    }

  private:
    template <class Function> static void find(void *libc, const char *name, Function *function) {
        *function = libc ? reinterpret_cast<Function>(dlsym(libc, name)) : nullptr;
        if (!*function)
            abort();
    }
};

// Small ones from the break, larger ones that glibc maps apart.
const size_t kSizes[] = {1,     24,        100,       1000,   1032,    5000,    20000,
                         70000, 127 * KiB, 129 * KiB, 600000, 3 * MiB, 70 * MiB};

class Mixed : public testing::Test {
  protected:
    // Both heaps still work and do not overlap.
    void TearDown() override {
        std::vector<std::pair<void *, size_t>> objects;
        for (size_t size = 1; size < 4 * MiB; size *= 3)
            for (void *object : {malloc(size), glibc.malloc(size)}) {
                fill_pattern(object, size, objects.size());
                objects.emplace_back(object, size);
            }
        for (size_t i = 0; i < objects.size(); i++)
            EXPECT_TRUE(has_pattern(objects[i].first, objects[i].second, i));
        for (size_t i = 0; i < objects.size(); i += 2) {
            free(objects[i].first);
            glibc.free(objects[i + 1].first);
        }
    }
    void *filled(void *object, size_t size) {
        EXPECT_NE(object, nullptr);
        fill_pattern(object, size, size);
        return object;
    }

    Glibc glibc;
};

} // namespace

TEST_F(Mixed, GlibcsMallocIsAnother) {
    if (!kStandIn) {
        EXPECT_NE(reinterpret_cast<void *>(glibc.malloc), dlsym(RTLD_DEFAULT, "malloc"));
    }
}

TEST_F(Mixed, OurFreeTakesGlibcsObjects) {
    for (size_t size : kSizes)
        for (int i = 0; i < (size < MiB ? 10 : 2); i++) {
            errno = 4711;
            free(filled(glibc.malloc(size), size));
            free(filled(glibc.calloc(1, size), size));
            EXPECT_EQ(errno, 4711) << size;
        }
}

TEST_F(Mixed, OurFreeTakesGlibcsAlignedObjects) {
    for (size_t alignment : {32ul, 1024ul, 4096ul, 65536ul, MiB})
        for (size_t size : {10ul, 5000ul, 300000ul})
            free(filled(glibc.memalign(alignment, size), size));
}

TEST_F(Mixed, ManyOfThemAmongOurOwn) {
    Random random(1);
    std::vector<std::pair<void *, size_t>> objects(1000);
    for (int i = 0; i < 50000; i++) {
        auto &[object, size] = objects[random.below(objects.size())];
        EXPECT_TRUE(!object || has_pattern(object, size, size));
        free(object);
        size = random.size_up_to(200 * KiB);
        object = filled(random.below(2) ? malloc(size) : glibc.malloc(size), size);
    }
    for (auto [object, size] : objects)
        free(object);
}

TEST_F(Mixed, OurReallocTakesThemAndKeepsContents) {
    for (size_t from : kSizes)
        for (size_t to : {16ul, 200ul, 3000ul, 100 * KiB, 4 * MiB}) {
            void *object = realloc(filled(glibc.malloc(from), from), to);
            ASSERT_NE(object, nullptr);
            EXPECT_GE(malloc_usable_size(object), to);
            EXPECT_TRUE(has_pattern(object, std::min(from, to) / 8 * 8, from)) << from << " " << to;
            fill_pattern(object, to, to);
            object = realloc(object, to * 2); // whosever it is now
            EXPECT_TRUE(has_pattern(object, to, to));
            free(object);
        }
}

TEST_F(Mixed, OurReallocToZeroTakesThem) {
    for (size_t size : kSizes)
        EXPECT_EQ(realloc(filled(glibc.malloc(size), size), opaque(size_t{0})), nullptr);
}

TEST_F(Mixed, UsableSizeIsTrue) {
    for (size_t size : kSizes) {
        void *object = glibc.malloc(size);
        size_t usable = malloc_usable_size(object);
        EXPECT_GE(usable, size);
        EXPECT_LE(usable, size + size / 8 + 8192);
        fill_pattern(object, usable, 1);
        glibc.free(object);
    }
}

// Another thread of glibc's has an arena of its own, in a mapping and not in the break.
TEST_F(Mixed, ObjectsOfAnotherThreadsArena) {
    std::vector<std::pair<void *, size_t>> objects;
    auto allocate = [&] {
        for (int i = 0; i < 200; i++)
            for (size_t size : {24ul, 1000ul, 20000ul, 200000ul})
                objects.emplace_back(filled(glibc.malloc(size), size), size);
    };
    std::thread(allocate).join(); // they outlive it
    for (size_t i = 0; i < objects.size(); i++) {
        auto [object, size] = objects[i];
        EXPECT_TRUE(has_pattern(object, size, size));
        EXPECT_GE(malloc_usable_size(object), size);
        if (i % 3)
            free(object);
        else
            free(realloc(object, size * 2));
    }
}

TEST_F(Mixed, FreedByAnotherThread) {
    std::vector<void *> objects;
    for (size_t size : kSizes)
        objects.push_back(filled(glibc.malloc(size), size));
    std::thread([&] {
        for (void *object : objects)
            free(object);
    }).join();
}

// ---- Programs that load libraries with RTLD_DEEPBIND ----------------------------------------

namespace {

void expect_ok(const Program &program) {
    Outcome outcome = run_program(program);
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(outcome.out, "ok\n");
}

} // namespace

TEST(Deepbind, PluginHasOurMalloc) {
    SKIP_UNDER_STAND_IN("there is but one malloc");
    expect_ok({{"deepbind", "dropped"}, {}, {}});
}

TEST(Deepbind, OptionKeepsTheFlag) {
    SKIP_UNDER_STAND_IN("there is but one malloc");
    expect_ok({{"deepbind", "kept"}, {"MHEAP_CONF=deepbind:true"}, {}});
}

// dlopen's caller decides where a library is looked for: the interposed one must not be it.
TEST(Dlopen, FindsLibrariesByTheCallersRunpath) {
    expect_ok({{"deepbind", "runpath"}, {}, {}});
}
TEST(Dlopen, WorksInANamespaceOfItsOwn) {
    expect_ok({{"deepbind", "namespace"}, {}, {}});
}
TEST(Dlopen, ReportsItsErrors) {
    expect_ok({{"deepbind", "errors"}, {}, {}});
}

// SPDX-License-Identifier: MIT
// The twenty replaceable operators new and delete, and what the standard says of new-handlers.
#include "support.h"

#include <execinfo.h>
#include <malloc.h>
#include <stdlib.h>

#include <cerrno>
#include <exception>
#include <new>
#include <stdexcept>

using namespace interpose;

namespace {

// The operators as table rows.  Names are the mangled ones: the language has no other way to ask
// which library an operator comes from.
struct New {
    const char *symbol;
    bool aligned, nothrow;
    void *(*call)(size_t size, std::align_val_t alignment);
};

const New kNews[] = {
    {"_Znwm", false, false, [](size_t n, std::align_val_t) { return ::operator new(n); }},
    {"_Znam", false, false, [](size_t n, std::align_val_t) { return ::operator new[](n); }},
    {"_ZnwmRKSt9nothrow_t", false, true,
     [](size_t n, std::align_val_t) { return ::operator new(n, std::nothrow); }},
    {"_ZnamRKSt9nothrow_t", false, true,
     [](size_t n, std::align_val_t) { return ::operator new[](n, std::nothrow); }},
    {"_ZnwmSt11align_val_t", true, false,
     [](size_t n, std::align_val_t a) { return ::operator new(n, a); }},
    {"_ZnamSt11align_val_t", true, false,
     [](size_t n, std::align_val_t a) { return ::operator new[](n, a); }},
    {"_ZnwmSt11align_val_tRKSt9nothrow_t", true, true,
     [](size_t n, std::align_val_t a) { return ::operator new(n, a, std::nothrow); }},
    {"_ZnamSt11align_val_tRKSt9nothrow_t", true, true,
     [](size_t n, std::align_val_t a) { return ::operator new[](n, a, std::nothrow); }},
};

struct Delete {
    const char *symbol;
    bool aligned;
    void (*call)(void *object, size_t size, std::align_val_t alignment);
};

const Delete kDeletes[] = {
    {"_ZdlPv", false, [](void *p, size_t, std::align_val_t) { ::operator delete(p); }},
    {"_ZdaPv", false, [](void *p, size_t, std::align_val_t) { ::operator delete[](p); }},
    {"_ZdlPvm", false, [](void *p, size_t n, std::align_val_t) { ::operator delete(p, n); }},
    {"_ZdaPvm", false, [](void *p, size_t n, std::align_val_t) { ::operator delete[](p, n); }},
    {"_ZdlPvRKSt9nothrow_t", false,
     [](void *p, size_t, std::align_val_t) { ::operator delete(p, std::nothrow); }},
    {"_ZdaPvRKSt9nothrow_t", false,
     [](void *p, size_t, std::align_val_t) { ::operator delete[](p, std::nothrow); }},
    {"_ZdlPvSt11align_val_t", true,
     [](void *p, size_t, std::align_val_t a) { ::operator delete(p, a); }},
    {"_ZdaPvSt11align_val_t", true,
     [](void *p, size_t, std::align_val_t a) { ::operator delete[](p, a); }},
    {"_ZdlPvmSt11align_val_t", true,
     [](void *p, size_t n, std::align_val_t a) { ::operator delete(p, n, a); }},
    {"_ZdaPvmSt11align_val_t", true,
     [](void *p, size_t n, std::align_val_t a) { ::operator delete[](p, n, a); }},
    {"_ZdlPvSt11align_val_tRKSt9nothrow_t", true,
     [](void *p, size_t, std::align_val_t a) { ::operator delete(p, a, std::nothrow); }},
    {"_ZdaPvSt11align_val_tRKSt9nothrow_t", true,
     [](void *p, size_t, std::align_val_t a) { ::operator delete[](p, a, std::nothrow); }},
};

const size_t kSizes[] = {0, 1, 8, 24, 100, 1000, 5000, 70000, 600 * KiB, 3 * MiB};

// libstdc++'s own aligned operators, in the stand-in, wrap around to 0 when they round this up.
const size_t kImpossible = kStandIn ? PTRDIFF_MAX : SIZE_MAX;

// Sets a new-handler for one scope.
struct HandlerScope {
    explicit HandlerScope(std::new_handler handler) : before(std::set_new_handler(handler)) {}
    ~HandlerScope() { std::set_new_handler(before); }
    std::new_handler before;
};

int g_calls; // of the handlers below

} // namespace

TEST(Operators, AllTwentyAreOurs) {
    SKIP_UNDER_STAND_IN("libstdc++ defines them");
    static_assert(std::size(kNews) + std::size(kDeletes) == 20);
    for (const New &row : kNews)
        EXPECT_EQ(library_of(row.symbol).rfind("libmheap.so", 0), 0u) << row.symbol;
    for (const Delete &row : kDeletes)
        EXPECT_EQ(library_of(row.symbol).rfind("libmheap.so", 0), 0u) << row.symbol;
}

TEST(Operators, EveryNewWithEveryDelete) {
    for (const New &made : kNews)
        for (const Delete &gone : kDeletes) {
            if (made.aligned != gone.aligned)
                continue;
            for (size_t size : kSizes) {
                void *object = made.call(opaque(size), std::align_val_t{64});
                ASSERT_NE(object, nullptr) << made.symbol << " " << size;
                EXPECT_TRUE(is_aligned(object, made.aligned ? 64 : 16)) << made.symbol;
                ASSERT_GE(malloc_usable_size(object), size);
                fill_pattern(object, size, size);
                EXPECT_TRUE(has_pattern(object, size, size));
                gone.call(object, size, std::align_val_t{64});
            }
        }
}

TEST(Operators, EveryAlignment) {
    for (const New &row : kNews) {
        if (!row.aligned)
            continue;
        for (size_t alignment = 1; alignment <= 64 * MiB; alignment *= 2)
            for (size_t size : {1ul, 40ul, 5000ul}) {
                void *object = row.call(size, std::align_val_t{alignment});
                ASSERT_NE(object, nullptr) << row.symbol << " " << alignment;
                EXPECT_TRUE(is_aligned(object, alignment)) << row.symbol;
                ::operator delete (object, std::align_val_t{alignment});
            }
    }
}

TEST(Operators, DeleteTakesNullAndKeepsErrno) {
    for (const Delete &row : kDeletes) {
        errno = 4711;
        row.call(nullptr, 0, std::align_val_t{32});
        void *object =
            row.aligned ? ::operator new (3 * MiB, std::align_val_t{32}) : ::operator new(3 * MiB);
        row.call(object, 3 * MiB, std::align_val_t{32});
        EXPECT_EQ(errno, 4711) << row.symbol;
    }
}

// ---- Failure --------------------------------------------------------------------------------

TEST(NewFailure, WithoutHandlerThrowsOrReturnsNull) {
    HandlerScope none(nullptr);
    for (const New &row : kNews)
        for (size_t size : {static_cast<size_t>(PTRDIFF_MAX), kImpossible - 64, kImpossible}) {
            if (row.nothrow) {
                EXPECT_EQ(row.call(opaque(size), std::align_val_t{64}), nullptr) << row.symbol;
            } else {
                EXPECT_THROW(row.call(opaque(size), std::align_val_t{64}), std::bad_alloc)
                    << row.symbol;
            }
        }
}

// The compiler takes none but powers of two; who calls an operator by its name may say anything.
TEST(NewFailure, NoAlignmentButAPowerOfTwo) {
    for (const New &row : kNews)
        for (size_t align : {0, 3, 24, 4095})
            if (row.aligned && row.nothrow) {
                EXPECT_EQ(row.call(100, std::align_val_t{align}), nullptr) << row.symbol;
            } else if (row.aligned) {
                EXPECT_THROW(row.call(100, std::align_val_t{align}), std::bad_alloc) << row.symbol;
            }
}

TEST(NewFailure, HandlerIsCalledAgainUntilItIsTakenAway) {
    HandlerScope scope([] {
        if (++g_calls == 5)
            std::set_new_handler(nullptr);
    });
    std::new_handler handler = std::get_new_handler();
    for (const New &row : kNews) {
        g_calls = 0;
        std::set_new_handler(handler);
        if (row.nothrow) {
            EXPECT_EQ(row.call(opaque(kImpossible), std::align_val_t{64}), nullptr);
        } else {
            EXPECT_THROW(row.call(opaque(kImpossible), std::align_val_t{64}), std::bad_alloc);
        }
        EXPECT_EQ(g_calls, 5) << row.symbol;
    }
}

TEST(NewFailure, HandlerMayInstallAnother) {
    HandlerScope scope([] {
        g_calls++;
        std::set_new_handler([] {
            g_calls += 100;
            std::set_new_handler(nullptr);
        });
    });
    g_calls = 0;
    EXPECT_THROW(kNews[0].call(opaque(kImpossible), {}), std::bad_alloc);
    EXPECT_EQ(g_calls, 101);
}

// What a handler throws passes the throwing operators; the others turn bad_alloc into NULL.
TEST(NewFailure, HandlerMayThrow) {
    struct OutOfMemory : std::bad_alloc {};
    HandlerScope scope([] { throw OutOfMemory(); });
    for (const New &row : kNews) {
        if (row.nothrow) {
            EXPECT_EQ(row.call(opaque(kImpossible), std::align_val_t{64}), nullptr) << row.symbol;
        } else {
            EXPECT_THROW(row.call(opaque(kImpossible), std::align_val_t{64}), OutOfMemory)
                << row.symbol;
        }
    }
}

TEST(NewFailure, HandlerMayThrowSomethingElse) {
    HandlerScope scope([] { throw std::runtime_error("other"); });
    for (const New &row : kNews)
        if (!row.nothrow) {
            EXPECT_THROW(row.call(opaque(kImpossible), std::align_val_t{64}), std::runtime_error);
        }
}

namespace {
void *g_reserve; // what the handler below gives up
}

// The classic handler: it frees a reserve, and the retry succeeds.
TEST(NewFailure, HandlerThatFreesMemoryMakesTheRetryWork) {
    Outcome outcome = run_in_child([] {
        rlimit limit = {2 * GiB, 2 * GiB};
        require(setrlimit(RLIMIT_AS, &limit) == 0, "RLIMIT_AS set");
        g_reserve = malloc(GiB);
        require(g_reserve != nullptr, "the reserve is there");
        std::vector<void *> eaten;
        while (void *object = malloc(200 * MiB))
            eaten.push_back(object);
        g_calls = 0;
        std::set_new_handler([] {
            g_calls++;
            require(g_reserve != nullptr, "the retry succeeds after the reserve is free");
            free(g_reserve);
            g_reserve = nullptr;
        });
        for (const New &row : kNews) {
            void *object = row.call(300 * MiB, std::align_val_t{4096});
            require(object != nullptr && g_calls == 1, "one call of the handler was enough");
            if (row.aligned)
                ::operator delete (object, std::align_val_t{4096});
            else
                ::operator delete(object);
        }
    });
    EXPECT_TRUE(outcome.succeeded()) << outcome;
}

// The unwinder itself may have to allocate; deep frames and cleanups in between.
TEST(NewFailure, ExceptionPassesThroughManyFrames) {
    struct Cleanup {
        std::string text = std::string(1000, 'x');
        ~Cleanup() { g_calls += text.size() == 1000; }
    };
    struct Deep {
        static void go(int depth) {
            Cleanup cleanup;
            if (depth == 0)
                ::operator delete(::operator new(opaque(kImpossible)));
            else
                go(depth - 1);
        }
    };
    g_calls = 0;
    EXPECT_THROW(Deep::go(500), std::bad_alloc);
    EXPECT_EQ(g_calls, 501);
}

TEST(NewFailure, BacktraceFromAHandler) {
    HandlerScope scope([] {
        void *frames[64];
        g_calls = backtrace(frames, 64);
        std::set_new_handler(nullptr);
    });
    EXPECT_THROW(kNews[0].call(opaque(kImpossible), {}), std::bad_alloc);
    EXPECT_GT(g_calls, 3) << "the stack can be walked through operator new";
}

TEST(NewFailure, NewExpressionOfTooManyElements) {
    size_t count = opaque(SIZE_MAX / 4);
    EXPECT_THROW(opaque(new int[count]), std::bad_alloc);
}

// ---- Without libstdc++ ----------------------------------------------------------------------

TEST(NewProgram, CProgramLoadsACxxPlugin) {
    Outcome outcome = run_program({{"c_host"}, {}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(outcome.out, "ok\n");
}

// When nothing can be allocated any more, bad_alloc can still be thrown and caught.
TEST(NewProgram, ThrowsWhenNoByteIsLeft) {
    Outcome outcome = run_program({{"throw_when_full"}, {}, {{RLIMIT_AS, 256 * MiB}}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(outcome.out, "ok\n");
}

TEST(NewProgram, AReplacementIsCalledByTheFormsThatItDoesNotReplace) {
    Outcome outcome = run_program({{"replaced_operators"}, {}, {}});
    EXPECT_TRUE(outcome.succeeded()) << outcome;
    EXPECT_EQ(outcome.out, "ok\n");
}

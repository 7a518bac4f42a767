// SPDX-License-Identifier: MIT
// Sizes and alignments at every edge, by every function that allocates: each size around each
// boundary of a size class, each power of two as alignment.  All of an object, to its usable size,
// is written and checked, among neighbours that live a while longer.
#include "torture.h"

#include <malloc.h>

#include <array>
#include <set>

using namespace torture;

namespace {

constexpr size_t kMaxAlignment = 64 * MiB;
size_t g_page = sysconf(_SC_PAGESIZE);

size_t round_up(size_t bytes, size_t unit) {
    return (bytes + unit - 1) / unit * unit;
}

// The classes' boundaries are asked for: where the usable size changes.  Beyond `limit` the edges
// of pages and of sixteenths of a doubling are taken.
std::set<size_t> edge_sizes(size_t limit, size_t max) {
    std::set<size_t> edges{0, max}, sizes;
    for (size_t size = 1; size <= limit;) {
        void *object = malloc(size);
        size_t usable = malloc_usable_size(object);
        free(object);
        require(usable >= size, "an object is as large as was asked for");
        edges.insert(usable);
        size = usable + 1;
    }
    for (size_t power = limit; power < max; power *= 2)
        for (size_t edge = power; edge < 2 * power; edge += power / 16)
            edges.insert(edge);
    for (size_t edge : edges)
        for (ptrdiff_t near : {-17, -16, -9, -8, -1, 0, 1, 8, 9, 16, 17})
            if (size_t size = edge + near; size <= max + 17)
                sizes.insert(size);
    return sizes;
}

// ---- Objects that live for a while ----------------------------------------------------------

// The last few objects, each checked when it makes room for another.
class Window {
  public:
    ~Window() {
        for (Entry &entry : entries_)
            release(entry);
    }
    void add(void *object, size_t alignment, size_t at_least) {
        require(object != nullptr, "there is memory");
        require(reinterpret_cast<uintptr_t>(object) % alignment == 0, "the object is aligned");
        size_t usable = malloc_usable_size(object);
        require(usable >= at_least, "the usable size covers what was asked for");
        fill_pattern(object, usable, ++n_);
        // Large ones leave at once: few of them may live.
        Entry &entry = entries_[usable > MiB ? n_ % 2 : 2 + n_ % (entries_.size() - 2)];
        release(entry);
        entry = {object, usable, n_};
    }
    uint64_t n() const { return n_; }

  private:
    struct Entry {
        void *object;
        size_t size;
        uint64_t seed;
    };
    static void release(Entry &entry) {
        require(!entry.object || malloc_usable_size(entry.object) == entry.size,
                "the usable size stays");
        require(!entry.object || has_pattern(entry.object, entry.size, entry.seed),
                "an object keeps all of its usable bytes");
        free(entry.object);
        entry.object = nullptr;
    }
    std::array<Entry, 66> entries_{};
    uint64_t n_ = 0;
};

// ---- The functions --------------------------------------------------------------------------

void by_calloc(Window &window, size_t size) {
    void *object = calloc(1, size);
    require(object && is_zero(object, size), "calloc returns zeros");
    window.add(object, 16, size);
}

// To `size` from a smaller and from a larger one; the common part stays.
void by_realloc(Window &window, size_t size) {
    for (size_t from : {size / 2 + 1, size + size / 3 + 40}) {
        void *object = malloc(from);
        require(object != nullptr, "there is memory");
        fill_pattern(object, from, size);
        object = realloc(object, size + !size); // to 0 it would free
        require(object && has_pattern(object, std::min(from, size) / 8 * 8, size),
                "realloc keeps the contents");
        window.add(object, 16, size);
    }
}

void without_alignment(Window &window, size_t size) {
    window.add(malloc(size), 16, size);
    by_calloc(window, size);
    by_realloc(window, size);
    window.add(valloc(size), g_page, size);
    window.add(pvalloc(size), g_page, round_up(size, g_page));
}

// One of the three functions each time, in turn, so that all meet every kind of size.
void with_alignment(Window &window, size_t alignment, size_t size) {
    void *object = nullptr;
    switch (window.n() % 3) {
    case 0:
        require(posix_memalign(&object, alignment, size) == 0, "posix_memalign has memory");
        break;
    case 1:
        object = aligned_alloc(alignment, size);
        break;
    default:
        object = memalign(alignment, size);
    }
    window.add(object, alignment, size);
}

// Large objects cost a page fault a page: of them only some are tried.
bool is_chosen(size_t number, size_t size, size_t every) {
    size_t share = size <= 64 * KiB ? 1 : size <= MiB ? 4 : 64;
    return number % (share * every) == 0;
}

} // namespace

void torture_run(Arguments &arguments) {
    size_t every = arguments.number("every", 1); // of so many sizes one is tried
    size_t max = arguments.number("max", 64 * MiB);
    arguments.check_all_used();
    std::set<size_t> sizes = edge_sizes(MiB, max);
    Window window;
    size_t number = 0;
    for (size_t size : sizes)
        if (is_chosen(number++, size, every))
            without_alignment(window, size);
    for (size_t alignment = sizeof(void *); alignment <= kMaxAlignment; alignment *= 2) {
        number = alignment % 61; // not the same sizes for each
        for (size_t size : sizes)
            if (is_chosen(number++, size, every))
                with_alignment(window, alignment, size);
    }
    printf("sizes: %zu of them at edges, %zu objects\n", sizes.size(), size_t(window.n()));
}

// SPDX-License-Identifier: MIT
// objects.h - what a random test knows of the objects it holds: where, how large, what is in them.
#ifndef MHEAP_TEST_OBJECTS_H
#define MHEAP_TEST_OBJECTS_H

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <map>

// Ends the program: the fuzzer keeps that as a finding, and a test has failed.
#define CHECK(condition, what)                                                                     \
    do {                                                                                           \
        if (!(condition)) {                                                                        \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, what);                              \
            abort();                                                                               \
        }                                                                                          \
    } while (0)

struct Object {
    size_t n_bytes;  // as asked for
    size_t n_usable; // as granted
    uint8_t tag;     // of its contents
};

class Objects {
  public:
    using Map = std::map<uintptr_t, Object>; // by address
    static constexpr size_t kMaxBytes = size_t{48} << 20;

    size_t count() const { return live_.size(); }
    bool has_room(size_t n_bytes) const { return n_bytes_ + n_bytes < kMaxBytes; }
    const Map &live() const { return live_; }

    // The object that a byte of the input names; there is one.
    Map::iterator pick(uint8_t choice) { return std::next(live_.begin(), choice % live_.size()); }

    // A new one: must lie apart from all others.  Its memory is written to.
    void add(char *address, size_t n_bytes, size_t n_usable) {
        uintptr_t start = reinterpret_cast<uintptr_t>(address);
        CHECK(n_usable >= n_bytes, "an object is smaller than asked for");
        auto next = live_.lower_bound(start);
        CHECK(next == live_.end() || start + n_usable <= next->first, "objects overlap");
        if (next != live_.begin()) {
            auto before = std::prev(next);
            CHECK(before->first + before->second.n_usable <= start, "objects overlap");
        }
        Object object{n_bytes, n_usable, ++next_tag_};
        live_[start] = object;
        n_bytes_ += n_bytes;
        write(address, object, n_bytes);
    }

    // Forget it, after a look at its contents.
    Object take(Map::iterator it) {
        Object object = it->second;
        check(reinterpret_cast<char *>(it->first), object, object.n_bytes);
        n_bytes_ -= object.n_bytes;
        live_.erase(it);
        return object;
    }

    void check_all() const {
        for (const auto &[address, object] : live_)
            check(reinterpret_cast<char *>(address), object, object.n_bytes);
    }

    // What of it must still be there when the object may have been cut to `n_bytes`.
    static void check(const char *address, const Object &object, size_t n_bytes) {
        for_each_place(object.n_bytes, [&](size_t i) {
            CHECK(i >= n_bytes || static_cast<uint8_t>(address[i]) == expected(object.tag, i),
                  "contents of a live object have changed");
        });
    }

    // What `check` looks for.
    static void write(char *address, const Object &object, size_t n_bytes) {
        for_each_place(n_bytes,
                       [&](size_t i) { address[i] = static_cast<char>(expected(object.tag, i)); });
    }

    static void check_zero(const char *address, size_t n_bytes) {
        for_each_place(n_bytes, [&](size_t i) { CHECK(address[i] == 0, "not zero"); });
    }

    void move_all(ptrdiff_t distance) {
        Map moved;
        for (const auto &[address, object] : live_)
            moved[address + distance] = object;
        live_.swap(moved);
    }

  private:
    static uint8_t expected(uint8_t tag, size_t i) {
        return static_cast<uint8_t>(tag * 29 + i + i / 251);
    }

    // All bytes at both ends, and a few a page between.
    template <class Visit> static void for_each_place(size_t n_bytes, Visit visit) {
        size_t i = 0;
        for (; i < n_bytes && i < 72; i++)
            visit(i);
        for (; i + 72 < n_bytes; i += n_bytes < 65536 ? 509 : 65521)
            visit(i);
        for (i = n_bytes > i + 72 ? n_bytes - 72 : i; i < n_bytes; i++)
            visit(i);
    }

    Map live_;
    size_t n_bytes_ = 0;
    uint8_t next_tag_ = 0;
};

#endif // MHEAP_TEST_OBJECTS_H

// SPDX-License-Identifier: MIT
// The core by its public functions: one heap with any flags, in its own memory or the harness's,
// which is moved elsewhere at times; memory system calls fail now and then.
#include "input.h"

#include <memory>

#include "mheap.h"
extern "C" {
#include "mheap_internal.h"
}

namespace {

constexpr size_t kPage = 4096;

class Run {
  public:
    Run(const uint8_t *bytes, size_t n_bytes) : input_(bytes, n_bytes) {
        flags_ = input_.byte() % 64;
        size_t size = (1 + input_.byte()) * (flags_ & 32 ? kPage : 16 * kPage);
        if (flags_ & 32)
            make_in_buffer(size, input_.byte());
        else
            v_ = mheap_alloc_with_flags(nullptr, size, flags_);
    }
    ~Run() {
        fault::disarm();
        mheap_free(v_);
    }

    void go() {
        if (!v_) // too small
            return;
        unsigned often = flags_ & MHEAP_FLAG_VALIDATE ? 300 : 4000;
        for (unsigned n = 1; !input_.is_at_end() && n < often; n++) {
            step();
            if (n % 64 == 0)
                compare();
        }
        fault::disarm();
        compare();
        while (objects_.count())
            release(0);
        compare();
    }

  private:
    char *at(mheap_uoffset_t uoffset) { return static_cast<char *>(v_) + uoffset; }
    mheap_uoffset_t uoffset_of(uintptr_t address) {
        return static_cast<mheap_uoffset_t>(address - reinterpret_cast<uintptr_t>(v_));
    }

    // The heap lies somewhere in a buffer with guard bytes around it.
    void make_in_buffer(size_t size, uint8_t skew) {
        buffer_bytes_ = size + 3 * kPage;
        buffer_.reset(new char[buffer_bytes_]);
        start_ = page_in_buffer() + skew;
        size_ = size;
        memset(buffer_.get(), 0x5a, buffer_bytes_);
        v_ = mheap_alloc_with_flags(start_, size, flags_ & 31);
    }

    char *page_in_buffer() {
        uintptr_t address = reinterpret_cast<uintptr_t>(buffer_.get());
        return reinterpret_cast<char *>((address + kPage - 1) & ~(kPage - 1));
    }

    void check_guard() {
        for (char *p = buffer_.get(); p < start_; p++)
            CHECK(*p == 0x5a, "written before the heap's memory");
        for (char *p = start_ + size_; p < buffer_.get() + buffer_bytes_; p++)
            CHECK(*p == 0x5a, "written behind the heap's memory");
    }

    // All links are offsets: a heap that is copied elsewhere goes on there.
    void move() {
        if (!buffer_ || flags_ & (MHEAP_FLAG_TRACE | MHEAP_FLAG_THREAD_SAFE))
            return;
        std::unique_ptr<char[]> old = std::move(buffer_);
        char *old_page = start_ - reinterpret_cast<uintptr_t>(start_) % kPage;
        size_t skew = start_ - old_page;
        buffer_.reset(new char[buffer_bytes_]);
        memset(buffer_.get(), 0x5a, buffer_bytes_);
        char *from = start_;
        start_ = page_in_buffer() + skew;
        memcpy(start_, from, size_);
        memset(old.get(), 0xa5, buffer_bytes_);
        v_ = static_cast<char *>(v_) + (start_ - from);
        objects_.move_all(start_ - from);
    }

    void get(size_t bytes, size_t align, size_t align_offset) {
        mheap_uoffset_t uoffset = 0;
        void *same = mheap_get_aligned(v_, bytes, align, align_offset, &uoffset);
        CHECK(same == v_, "mheap_get_aligned returns another heap");
        if (uoffset == MHEAP_GROUNDED)
            return;
        CHECK((reinterpret_cast<uintptr_t>(at(uoffset)) + align_offset) % align == 0,
              "not aligned");
        objects_.add(at(uoffset), bytes, mheap_data_bytes(v_, uoffset));
    }

    void release(uint8_t choice) {
        if (objects_.count() == 0)
            return;
        auto it = objects_.pick(choice);
        mheap_uoffset_t uoffset = uoffset_of(it->first);
        objects_.take(it);
        mheap_put(v_, uoffset);
    }

    void resize(uint8_t choice, size_t bytes) {
        if (objects_.count() == 0)
            return;
        auto it = objects_.pick(choice);
        mheap_uoffset_t uoffset = uoffset_of(it->first);
        Object object = objects_.take(it);
        bool is_done = mheap_resize(v_, uoffset, bytes);
        size_t n_usable = mheap_data_bytes(v_, uoffset);
        CHECK(is_done || (bytes > object.n_usable && n_usable == object.n_usable),
              "a resize failed that could not, or changed something");
        size_t now = is_done ? bytes : object.n_bytes;
        Objects::check(at(uoffset), object, now);
        objects_.add(at(uoffset), now, n_usable);
    }

    static uintptr_t visit(void *arg, void *v, void *data, size_t bytes) {
        auto *next = static_cast<Objects::Map::const_iterator *>(arg);
        CHECK(reinterpret_cast<uintptr_t>(data) == (*next)->first,
              "mheap_foreach: not the model's");
        CHECK(bytes == (*next)->second.n_usable, "mheap_foreach: another size");
        CHECK(data > v, "mheap_foreach: below the heap");
        ++*next;
        return 0;
    }

    void compare() {
        mheap_corruption_t corruption;
        CHECK(mheap_validate_report(v_, &corruption), corruption.what);
        CHECK(mheap_elts(v_) == objects_.count(), "mheap_elts");
        auto next = objects_.live().begin();
        mheap_foreach(v_, visit, &next);
        CHECK(next == objects_.live().end(), "mheap_foreach: too few");
        mheap_usage_t usage;
        mheap_usage(v_, &usage);
        CHECK(usage.bytes_total == usage.bytes_used + usage.bytes_overhead + usage.bytes_free,
              "mheap_usage does not add up");
        CHECK(usage.object_count == objects_.count(), "mheap_usage counts another number");
        CHECK(mheap_bytes(v_) <= mheap_max_size(v_), "larger than allowed");
        objects_.check_all();
        if (buffer_)
            check_guard();
    }

    static void no_text(void *, const char *, size_t) {}

    void special(uint8_t what) {
        switch (what % 8) {
        case 0:
            mheap_trace(v_, what / 8 % 2 == 0);
            break;
        case 1:
            compare();
            break;
        case 2:
            mheap_format_to(v_, no_text, nullptr, what / 8 % 3);
            break;
        case 3:
            if (!(flags_ & (MHEAP_FLAG_DISABLE_VM | 32)))
                mheap_purge(mheap_header(v_), static_cast<size_t>(input_.byte()) << 12);
            break;
        case 4: {
            mheap_uoffset_t any = input_.byte() * 256u;
            any += input_.byte();
            bool is_live = objects_.live().count(reinterpret_cast<uintptr_t>(at(any))) != 0;
            CHECK(mheap_is_heap_object(v_, any) == is_live, "mheap_is_heap_object");
            break;
        }
        case 5:
            move();
            break;
        case 6:
            mheap_decommit_tail(mheap_header(v_));
            break;
        default:
            fault::arm(what / 8);
        }
    }

    void step() {
        uint8_t op = input_.byte(), more = op / 16, choice;
        switch (op % 16) {
        case 0:
        case 1:
        case 2:
        case 3:
        case 4:
            get(input_.size(), 8, 0);
            break;
        case 5:
        case 6: {
            size_t align = size_t{8} << more, bytes = input_.size();
            get(bytes, align, 8 * (input_.byte() % (align / 8)));
            break;
        }
        case 7:
        case 8:
        case 9:
        case 10:
            release(input_.byte());
            break;
        case 11:
            choice = input_.byte();
            for (unsigned n = more * 4u + 2; n > 0; n--)
                release(choice);
            break;
        case 12:
        case 13:
        case 14:
            choice = input_.byte();
            resize(choice, input_.size());
            break;
        default:
            special(static_cast<uint8_t>(more * 16 + input_.byte() % 16));
        }
    }

    Input input_;
    uint32_t flags_;
    size_t size_ = 0, buffer_bytes_ = 0;
    std::unique_ptr<char[]> buffer_;
    char *start_ = nullptr;
    void *v_ = nullptr;
    Objects objects_;
};

} // namespace

size_t fuzz_operation_bytes(const uint8_t *bytes, size_t n_bytes, bool is_first) {
    if (is_first)
        return 2 + (n_bytes > 0 && bytes[0] & 32);
    unsigned op = bytes[0] % 16, what = n_bytes > 1 ? bytes[1] % 8 : 0;
    if (op == 15)
        return what == 3 ? 3 : what == 4 ? 4 : 2;
    if (op >= 7 && op <= 11)
        return 2;
    bool has_choice = op >= 12;
    return 1 + has_choice + size_code_bytes(bytes, n_bytes, 1 + has_choice) + (op == 5 || op == 6);
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    Run(bytes, n_bytes).go();
    return 0;
}

// SPDX-License-Identifier: MIT
// A program that replaces operator new and delete, the plain ones only.  The standard makes all the
// others call these; so must ours, or one of them would free what comes from the program's pool.
#include <cstddef>
#include <cstdio>
#include <cstdlib>
#include <new>

namespace {

constexpr size_t kPoolBytes = 1 << 16;
alignas(16) char pool[kPoolBytes];
size_t used_bytes;
int n_new, n_delete;

// Keeps the compiler from leaving a new and its delete out.
template <class T> T *opaque(T *pointer) {
    asm volatile("" : "+r"(pointer));
    return pointer;
}

void require(bool condition, const char *what) {
    if (condition)
        return;
    fprintf(stderr, "not so: %s\n", what);
    exit(1);
}

struct WithDestructor {
    ~WithDestructor() { opaque(this); }
    int value;
};

} // namespace

void *operator new(size_t n_bytes) {
    n_new++;
    if (n_bytes > kPoolBytes - used_bytes)
        throw std::bad_alloc();
    void *object = pool + used_bytes;
    used_bytes += (n_bytes + 15) & ~size_t{15};
    return object;
}

void operator delete(void *object) noexcept {
    n_delete++;
    require(object >= pool && object < pool + kPoolBytes, "an object of the pool is deleted");
}

int main() {
    ::operator delete (opaque(::operator new(8)), size_t{8});
    ::operator delete[](opaque(::operator new[](8)));
    ::operator delete[](opaque(::operator new[](8)), size_t{8});
    ::operator delete(opaque(::operator new(8, std::nothrow)), std::nothrow);
    ::operator delete[](opaque(::operator new[](8, std::nothrow)), std::nothrow);
    delete opaque(new int);
    delete[] opaque(new WithDestructor[3]);
    require(n_new == 7, "each of seven news came here");
    require(n_delete == 7, "each of seven deletes came here");

    require(!::operator new(2 * kPoolBytes, std::nothrow),
            "nothrow new gives NULL, does not throw");
    require(!::operator new[](2 * kPoolBytes, std::nothrow), "nothrow new[], too");
    bool has_thrown = false;
    try {
        opaque(::operator new[](2 * kPoolBytes));
    } catch (const std::bad_alloc &) {
        has_thrown = true;
    }
    require(has_thrown, "new[] throws what new throws");
    return 0;
}

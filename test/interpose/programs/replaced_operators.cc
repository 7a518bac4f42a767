// SPDX-License-Identifier: MIT
// A program that replaces plain operator new and delete: the array and nothrow forms, which it
// leaves to the library, have to call its own, as the standard says ([new.delete]).
#include <cstdio>
#include <cstdlib>
#include <new>

static int n_news, n_deletes;

void *operator new(std::size_t bytes) {
    n_news++;
    return std::malloc(bytes);
}

void operator delete(void *pointer) noexcept {
    n_deletes++;
    std::free(pointer);
}

void operator delete(void *pointer, std::size_t) noexcept {
    ::operator delete(pointer);
}

int main() {
    void *volatile array = ::operator new[](20);
    ::operator delete[](array);
    void *volatile object = ::operator new(5, std::nothrow);
    ::operator delete(object, std::nothrow);
    if (n_news != 2 || n_deletes != 2) {
        std::printf("%d news, %d deletes\n", n_news, n_deletes);
        return 1;
    }
    std::puts("ok");
    return 0;
}

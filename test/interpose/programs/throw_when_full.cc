// SPDX-License-Identifier: MIT
// Runs under a small RLIMIT_AS: takes every byte there is, down to objects of 16, and then lets
// operator new throw.  The exception object comes from the C++ runtime's reserve.
#include <cstdio>
#include <cstdlib>
#include <new>
#include <string>

struct Link {
    Link *next;
};

static Link *take_everything() {
    Link *all = nullptr;
    for (size_t size : {size_t{4} << 20, size_t{100} << 10, size_t{1} << 10, size_t{16}})
        while (auto *link = static_cast<Link *>(malloc(size))) {
            link->next = all;
            all = link;
        }
    return all;
}

int main() {
    for (int round = 0; round < 3; round++) {
        Link *all = take_everything();
        int n_caught = 0;
        for (int i = 0; i < 100; i++)
            try {
                ::operator delete(::operator new(16));
            } catch (const std::bad_alloc &) {
                n_caught++;
            }
        if (!all || n_caught != 100) {
            fprintf(stderr, "caught %d of 100\n", n_caught);
            return 1;
        }
        while (Link *link = all) {
            all = link->next;
            free(link);
        }
        std::string works(100000, 'y');
        if (works.back() != 'y')
            return 1;
    }
    puts("ok");
    return 0;
}

// SPDX-License-Identifier: MIT
// Static and thread-local C++ objects whose destructors free and allocate, in every way to end a
// process: return from main, quick_exit, exit from another thread.  The first object made is the
// last destroyed, and prints.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <unistd.h>
#include <vector>

static void work(const char *where) {
    std::map<int, std::string> map;
    for (int i = 0; i < 200; i++)
        map[i] = std::string(i * 10, static_cast<char>('a' + i % 26));
    std::vector<char> large(2000000, 'x');
    if (map[199].size() != 1990 || map[27][0] != 'b' || large.back() != 'x') {
        fprintf(stderr, "wrong content %s\n", where);
        _exit(1);
    }
}

static void say_ok() {
    if (write(STDOUT_FILENO, "ok\n", 3) != 3)
        _exit(1);
}

namespace {

struct Last {
    Last() { work("in the first constructor"); }
    ~Last() {
        work("in the last destructor");
        say_ok();
    }
} last;

struct Holder {
    std::unique_ptr<std::string> text = std::make_unique<std::string>(5000, 'h');
    std::vector<std::unique_ptr<int[]>> arrays;
    ~Holder() {
        if (text->find_first_not_of('h') != std::string::npos)
            _exit(1);
        text.reset();
        work("in a destructor");
        arrays.clear();
    }
};

Holder holder;
thread_local Holder thread_holder;

void fill(Holder *of) {
    for (int i = 1; i < 300; i++)
        of->arrays.push_back(std::make_unique<int[]>(i * 10));
}

} // namespace

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    fill(&holder);
    fill(&thread_holder);
    static Holder local; // destroyed before `holder`
    fill(&local);
    atexit([] { work("in an atexit handler"); });
    std::thread([] { fill(&thread_holder); }).join();
    if (!strcmp(mode, "quick_exit")) {
        at_quick_exit([] {
            work("in a quick_exit handler");
            say_ok();
        });
        quick_exit(0);
    }
    if (!strcmp(mode, "thread_exit"))
        std::thread([] {
            fill(&thread_holder);
            exit(0);
        }).join();
    return 0;
}

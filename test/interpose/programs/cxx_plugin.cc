// SPDX-License-Identifier: MIT
// The plugin of c_host.c: returns 0, or the number of the check that failed.
#include <cstdint>
#include <map>
#include <new>
#include <string>

static int n_handler_calls;
static volatile size_t impossible = SIZE_MAX;

static bool throws_bad_alloc() {
    try {
        ::operator delete(::operator new(impossible));
    } catch (const std::bad_alloc &) {
        return true;
    }
    return false;
}

extern "C" int cxx_plugin_run() {
    std::map<int, std::string> map;
    for (int i = 0; i < 5000; i++)
        map[i * 7919 % 5000] = std::string(i % 200, 'x');
    if (map.size() != 5000 || map[1].find_first_not_of('x') != std::string::npos)
        return 1;
    if (!throws_bad_alloc())
        return 2;
    if (::operator new(impossible, std::nothrow) != nullptr)
        return 3;
    n_handler_calls = 0;
    std::set_new_handler([] {
        if (++n_handler_calls == 3)
            std::set_new_handler(nullptr);
    });
    if (!throws_bad_alloc() || n_handler_calls != 3)
        return 4;
    struct alignas(256) Wide {
        char bytes[256];
    };
    Wide *wide = new Wide[10];
    bool aligned = reinterpret_cast<uintptr_t>(wide) % 256 == 0;
    delete[] wide;
    return aligned ? 0 : 5;
}

// SPDX-License-Identifier: MIT
// A plugin with all that runs when a library comes and goes: static objects, thread-local objects
// with destructors, exit handlers, and a page of thread-local storage, which the loader allocates.
#include <cstdlib>
#include <cstring>
#include <map>
#include <string>
#include <vector>

namespace {

struct Keeper {
    std::map<int, std::string> texts;
    std::vector<char> block = std::vector<char>(20000, 'k');
    Keeper() {
        for (int i = 0; i < 50; i++)
            texts[i] = std::string(i * 7, 'p');
    }
    ~Keeper() {
        for (const auto &[number, text] : texts)
            if (text != std::string(number * 7, 'p') || block[number] != 'k')
                abort();
        free(malloc(3000));
    }
};

Keeper keeper;
thread_local Keeper of_thread;
thread_local char page[4096];

} // namespace

// Returns an object for the caller to free after the plugin is gone, filled with `value`.
extern "C" char *plugin_use(int value) {
    static bool is_registered = atexit([] { free(malloc(500)); }) == 0;
    memset(page, value, sizeof page);
    of_thread.texts[1000] = std::string(7000, 'p');
    auto *object = static_cast<char *>(malloc(1500));
    if (object && is_registered)
        memset(object, value, 1500);
    return object && page[4095] == static_cast<char>(value) ? object : nullptr;
}

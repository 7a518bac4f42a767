// SPDX-License-Identifier: MIT
// Copies of a plugin are loaded and unloaded in a loop by several threads while others, which were
// there before, use them: the loader makes and resizes each thread's table of thread-local storage,
// destructors run in dying threads and in dlclose, and objects outlive the plugin that made them.
#include "torture.h"

#include <dlfcn.h>
#include <pthread.h>

#include <filesystem>
#include <mutex>

using namespace torture;

namespace {

namespace fs = std::filesystem;

// A folder with copies of the plugin: the loader takes each file for another library.
struct Copies {
    fs::path folder;
    size_t n;
    explicit Copies(size_t n_copies) : n(n_copies) {
        std::string text = fs::temp_directory_path() / "torture.XXXXXX";
        require(mkdtemp(text.data()) != nullptr, "a folder can be made");
        folder = text;
        for (size_t i = 0; i < n; i++)
            fs::copy_file(LOADING_PLUGIN, path(i));
    }
    ~Copies() { fs::remove_all(folder); }
    fs::path path(size_t i) const { return folder / (std::to_string(i) + ".so"); }
};

// Freed by other threads, some time after dlclose.
class Left {
  public:
    void add(char *object, char value) {
        std::lock_guard<std::mutex> guard(mutex_);
        objects_.push_back({object, value});
        if (objects_.size() > 64)
            drain();
    }
    ~Left() { drain(); }

  private:
    void drain() {
        for (auto [object, value] : objects_) {
            for (size_t i = 0; i < 1500; i++)
                require(object[i] == value, "an object outlives its plugin");
            free(object);
        }
        objects_.clear();
    }
    std::mutex mutex_;
    std::vector<std::pair<char *, char>> objects_;
};

using Use = char *(*)(int);

void use(void *library, Left &left, size_t number) {
    auto plugin_use = reinterpret_cast<Use>(dlsym(library, "plugin_use"));
    require(plugin_use != nullptr, "the plugin has its function");
    auto value = static_cast<char>(number);
    char *object = plugin_use(value);
    require(object != nullptr, "the plugin has memory");
    left.add(object, value);
}

// A thread of its own uses the plugin now and then, so that its thread-local objects die with it.
void load_and_unload(const Copies &copies, Left &left, size_t number) {
    void *library =
        dlopen(copies.path(number % copies.n).c_str(), number % 2 ? RTLD_NOW : RTLD_LAZY);
    require(library != nullptr, "the plugin loads");
    if (number % 3)
        std::thread([&] { use(library, left, number); }).join();
    else
        use(library, left, number);
    require(dlclose(library) == 0, "the plugin is closed");
}

} // namespace

void torture_run(Arguments &arguments) {
    size_t n_rounds = arguments.number("rounds", 400); // of each thread
    size_t n_threads = arguments.number("threads", 4);
    size_t n_copies = arguments.number("copies", 24);
    size_t growth = arguments.number("growth", 16 * MiB);
    arguments.check_all_used();
    Copies copies(n_copies);
    Left left;
    size_t early = 0;
    for (size_t part = 0; part < 4; part++) {
        Threads(n_threads, [&](size_t t) {
            for (size_t i = 0; i < n_rounds / 4; i++)
                load_and_unload(copies, left, i * 7 + t);
        });
        if (part == 0)
            early = resident_bytes();
    }
    printf("loading: %zu times, resident %zu kB after a quarter, %zu kB at the end\n",
           n_rounds * n_threads, early / KiB, resident_bytes() / KiB);
    require(resident_bytes() < early + growth, "memory stays bounded");
}

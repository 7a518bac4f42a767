// SPDX-License-Identifier: MIT
#include "torture.h"

#include <dlfcn.h>
#include <malloc.h>
#include <sys/wait.h>

#include <cerrno>

namespace torture {

void require(bool condition, const char *what) {
    if (condition)
        return;
    char line[256];
    int n = snprintf(line, sizeof line, "torture: process %d: not so: %s\n", getpid(), what);
    if (write(STDERR_FILENO, line, n) < 0)
        _exit(1);
    abort();
}

// ---- Arguments ------------------------------------------------------------------------------

Arguments::Arguments(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        std::string argument = argv[i];
        size_t equals = argument.find('=');
        require(equals != std::string::npos, "arguments are name=value");
        values_[argument.substr(0, equals)] = argument.substr(equals + 1);
    }
    any_malloc_ = number("any", 0);
}

size_t Arguments::number(const std::string &name, size_t otherwise) {
    auto found = values_.find(name);
    if (found == values_.end())
        return otherwise;
    size_t value = std::stoull(found->second);
    values_.erase(found);
    return value;
}

void Arguments::check_all_used() const {
    for (const auto &[name, value] : values_)
        fprintf(stderr, "torture: no argument '%s' here (value %s)\n", name.c_str(), value.c_str());
    require(values_.empty(), "every argument is known");
}

// ---- Objects --------------------------------------------------------------------------------

static Object *fill(void *memory, size_t size, uint64_t seed) {
    require(memory != nullptr, "there is memory");
    require(reinterpret_cast<uintptr_t>(memory) % 16 == 0, "objects are aligned to 16");
    auto *object = static_cast<Object *>(memory);
    object->size = size;
    object->seed = seed;
    fill_pattern(object->data, size, seed);
    return object;
}

Object *make(size_t size, uint64_t seed) {
    return fill(malloc(sizeof(Object) + size), size, seed);
}

Object *make_any_way(Xorshift &random, size_t size) {
    size_t all = sizeof(Object) + size;
    size_t alignment = size_t{16} << random.below(random.below(16) ? 3 : 10);
    void *memory = nullptr;
    switch (random.below(16)) {
    case 0:
        memory = calloc(1, all);
        require(memory && is_zero(memory, all), "calloc returns zeros");
        break;
    case 1:
        require(posix_memalign(&memory, alignment, all) == 0, "posix_memalign has memory");
        break;
    case 2:
        memory = aligned_alloc(alignment, all);
        break;
    case 3:
        memory = memalign(alignment, all);
        break;
    case 4:
        return resize(make(random.size_up_to(2 * size + 16), random.next()), size);
    default:
        memory = malloc(all);
        alignment = 16;
    }
    return fill(memory, size, random.next());
}

Object *resize(Object *object, size_t size) {
    size_t kept = std::min(size, object->size) / 8 * 8;
    auto *moved = static_cast<Object *>(realloc(object, sizeof(Object) + size));
    require(moved != nullptr, "there is memory to resize an object");
    require(has_pattern(moved->data, kept, moved->seed), "realloc keeps the contents");
    return fill(moved, size, moved->seed);
}

void check(const Object *object) {
    require(has_pattern(object->data, object->size, object->seed), "an object keeps its contents");
}

void check_and_free(Object *object) {
    if (!object)
        return;
    check(object);
    object->seed = ~object->seed; // a copy that is used again shows
    free(object);
}

void Slots::check_all() const {
    for (const std::atomic<Object *> &slot : slots_)
        if (const Object *object = slot.load())
            check(object);
}

void Slots::drain() {
    for (std::atomic<Object *> &slot : slots_)
        check_and_free(slot.exchange(nullptr));
}

// ---- Processes ------------------------------------------------------------------------------

int wait_for(pid_t child) {
    int status = 0;
    while (waitpid(child, &status, 0) < 0)
        require(errno == EINTR, "the child can be waited for");
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}

size_t status_kilobytes(const char *row) {
    FILE *file = fopen("/proc/self/status", "r");
    require(file != nullptr, "/proc/self/status can be read");
    char line[256], name[64];
    size_t value = 0, result = 0;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "%63[^:]: %zu", name, &value) == 2 && !strcmp(name, row))
            result = value;
    fclose(file);
    return result;
}

} // namespace torture

// A program that by some mistake runs on another malloc must not pass.
static void require_libmheap() {
    Dl_info info;
    void *address = dlsym(RTLD_DEFAULT, "malloc");
    bool is_ours = dladdr(address, &info) && info.dli_fname && strstr(info.dli_fname, "libmheap");
    torture::require(is_ours, "malloc is libmheap's (preload it, or say any=1)");
}

int main(int argc, char **argv) {
    torture::Arguments arguments(argc, argv);
    if (!arguments.any_malloc())
        require_libmheap();
    torture_run(arguments);
    puts("ok");
    return fflush(stdout);
}

// SPDX-License-Identifier: MIT
// What the torture programs share.  They call malloc like any program, are not linked with
// libmheap, and run with it preloaded: so they can be tried with any other malloc too (any=1).
//
// Each takes arguments name=value, prints a line of figures and "ok" last, and exits with 0.  The
// first thing that is wrong ends it by a line on standard error and abort.
#ifndef TORTURE_H
#define TORTURE_H

#include <sys/types.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "../pattern.h"
#include "../random.h"

namespace torture {

constexpr size_t KiB = 1024;
constexpr size_t MiB = 1024 * KiB;

// Ends the program unless `condition` holds; allocates nothing.
void require(bool condition, const char *what);

// The program's arguments; every name that is given must be asked for (check_all_used).
class Arguments {
  public:
    Arguments(int argc, char **argv);
    size_t number(const std::string &name, size_t otherwise);
    void check_all_used() const;
    bool any_malloc() const { return any_malloc_; } // any=1: libmheap need not be there

  private:
    std::map<std::string, std::string> values_;
    bool any_malloc_;
};

// An object that knows its size and seed, so that any thread, or a child process, can check it.
struct Object {
    size_t size;
    uint64_t seed;
    char data[];
};

Object *make(size_t size, uint64_t seed);
// By the function and alignment that `random` picks: malloc, calloc, posix_memalign and the rest.
Object *make_any_way(Xorshift &random, size_t size);
Object *resize(Object *object, size_t size); // the common part keeps its pattern
void check(const Object *object);
void check_and_free(Object *object); // NULL is none

// Slots of objects that threads replace with others.  A slot's object was filled before it was put
// there and is checked and freed by whoever takes it out, so in a forked copy each is whole.
class Slots {
  public:
    explicit Slots(size_t n) : slots_(n) {}
    ~Slots() { drain(); }
    void replace(Xorshift &random, Object *object) {
        check_and_free(slots_[random.below(slots_.size())].exchange(object));
    }
    Object *take(Xorshift &random) { return slots_[random.below(slots_.size())].exchange(nullptr); }
    void check_all() const;
    void drain();

  private:
    std::vector<std::atomic<Object *>> slots_;
};

// Threads 0 .. n-1, each running `body(number)`; joined at the end of the scope.
template <class Body> class Threads {
  public:
    Threads(size_t n, Body body) {
        for (size_t t = 0; t < n; t++)
            threads_.emplace_back(body, t);
    }
    ~Threads() {
        for (std::thread &thread : threads_)
            thread.join();
    }

  private:
    std::vector<std::thread> threads_;
};

// The exit status of a child, or minus the signal that ended it.
int wait_for(pid_t child);

// The value in kB of a row of /proc/self/status, for example "VmHWM".
size_t status_kilobytes(const char *row);

} // namespace torture

// Each program's own.
void torture_run(torture::Arguments &arguments);

#endif // TORTURE_H

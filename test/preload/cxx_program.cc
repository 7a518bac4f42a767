// SPDX-License-Identifier: MIT
// cxx_program THREADS - exercises what a C++ runtime asks of malloc: containers in many threads,
// objects that travel between threads, exceptions, over-aligned new, thread-local and static
// objects whose constructors run before main and whose destructors run after it.
//
// Prints the same lines for the same argument, whatever the malloc and the scheduling.

#include <algorithm>
#include <condition_variable>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <deque>
#include <exception>
#include <map>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

namespace {

std::uint32_t next_number(std::uint32_t &seed) {
    return seed = seed * 1103515245u + 12345u;
}

// Built before main, emptied after it, after every thread has gone.
struct Registry {
    std::map<std::string, std::unique_ptr<std::string>> names;
    Registry() {
        for (int i = 0; i < 500; i++)
            names["static " + std::to_string(i)] = std::make_unique<std::string>(i, 's');
    }
    ~Registry() {
        std::size_t n_bytes = 0;
        for (const auto &entry : names)
            n_bytes += entry.second->size();
        std::printf("static destructor: %zu names, %zu bytes\n", names.size(), n_bytes);
        auto late = std::make_unique<std::vector<int>>(1000, 1); // allocates and frees after main
        late->resize(5000);
    }
};
Registry registry;

struct PerThread {
    std::vector<std::string> lines;
    ~PerThread() { // runs while the thread goes; both allocates and frees
        std::string joined;
        for (const auto &line : lines)
            joined += line;
        if (joined.size() != 26 * lines.size())
            std::abort();
    }
};
thread_local PerThread per_thread;

struct alignas(256) Wide {
    std::uint64_t words[32] = {};
};

void require(bool holds, const char *what) {
    if (!holds) {
        std::printf("wrong: %s\n", what);
        std::exit(1);
    }
}

// A bounded queue: what goes in is freed by whoever takes it out.
class Queue {
  public:
    void put(std::unique_ptr<std::string> item) {
        std::unique_lock<std::mutex> lock(mutex_);
        room_.wait(lock, [this] { return items_.size() < 64; });
        items_.push_back(std::move(item));
        filled_.notify_one();
    }
    std::unique_ptr<std::string> take() {
        std::unique_lock<std::mutex> lock(mutex_);
        filled_.wait(lock, [this] { return !items_.empty(); });
        auto item = std::move(items_.front());
        items_.pop_front();
        room_.notify_one();
        return item;
    }

  private:
    std::mutex mutex_;
    std::condition_variable room_, filled_;
    std::deque<std::unique_ptr<std::string>> items_;
};

int descend(int depth, std::uint32_t seed) {
    std::string local(seed % 300, 'd'); // destroyed by the unwinder
    if (depth == 0)
        throw std::runtime_error(std::string(seed % 2000, 'e'));
    return descend(depth - 1, seed * 31 + 7) + static_cast<int>(local.size());
}

std::uint64_t catch_many(std::uint32_t seed) {
    std::uint64_t n_bytes = 0;
    for (int i = 0; i < 200; i++) {
        try {
            descend(i % 20, seed + i);
        } catch (const std::exception &error) {
            n_bytes += std::char_traits<char>::length(error.what());
        }
    }
    return n_bytes;
}

std::exception_ptr keep_exception(std::uint32_t seed) {
    try {
        descend(5, seed);
    } catch (...) {
        return std::current_exception(); // freed by the main thread
    }
    return nullptr;
}

struct Outcome {
    std::uint64_t n_bytes = 0, sum = 0;
    std::exception_ptr exception;
};

void work(int number, Queue &in, Queue &out, Outcome &outcome) {
    std::uint32_t seed = 17u + static_cast<std::uint32_t>(number);
    std::unordered_map<std::uint32_t, std::string> table;
    for (int i = 0; i < 3000; i++) {
        std::uint32_t n = next_number(seed) >> 8;
        table[n % 701] = std::string(n % 1500, 't');
        if (n % 3 == 0)
            table.erase((n / 3) % 701);
        if (i % 100 == 0)
            per_thread.lines.push_back("abcdefghijklmnopqrstuvwxyz");
        if (i % 10 == 0) {
            out.put(std::make_unique<std::string>(n % 4000, 'q'));
            outcome.sum += in.take()->size();
        }
    }
    for (const auto &entry : table)
        outcome.n_bytes += entry.second.size();
    for (int i = 0; i < 50; i++) {
        auto wide = std::make_unique<Wide[]>(i % 9 + 1);
        require(reinterpret_cast<std::uintptr_t>(wide.get()) % 256 == 0, "over-aligned new");
    }
    outcome.n_bytes += catch_many(seed);
    outcome.exception = keep_exception(seed);
}

// Each thread gives to the next one, around the ring.
void run_ring(int n_threads) {
    std::vector<Queue> queues(static_cast<std::size_t>(n_threads));
    std::vector<Outcome> outcomes(static_cast<std::size_t>(n_threads));
    std::vector<std::thread> threads;
    for (int i = 0; i < n_threads; i++)
        threads.emplace_back(work, i, std::ref(queues[i]), std::ref(queues[(i + 1) % n_threads]),
                             std::ref(outcomes[i]));
    for (auto &thread : threads)
        thread.join();
    std::uint64_t n_bytes = 0, sum = 0, n_rethrown = 0;
    for (auto &outcome : outcomes) {
        n_bytes += outcome.n_bytes;
        sum += outcome.sum;
        try {
            std::rethrow_exception(outcome.exception);
        } catch (const std::runtime_error &error) {
            n_rethrown += error.what()[0] == 'e' || error.what()[0] == 0;
        }
    }
    std::printf("%d threads: %llu bytes kept, %llu handed over, %llu exceptions\n", n_threads,
                static_cast<unsigned long long>(n_bytes), static_cast<unsigned long long>(sum),
                static_cast<unsigned long long>(n_rethrown));
}

void run_out_of_memory() {
    int n_handled = 0;
    static int *handled = &n_handled;
    std::set_new_handler([] {
        ++*handled;
        std::set_new_handler(nullptr);
    });
    volatile std::size_t too_much = static_cast<std::size_t>(PTRDIFF_MAX) - 4096;
    bool thrown = false;
    try {
        ::operator delete(::operator new(too_much));
    } catch (const std::bad_alloc &) {
        thrown = true;
    }
    require(thrown, "bad_alloc thrown");
    require(n_handled == 1, "new handler called once");
    require(!::operator new(too_much, std::nothrow), "nothrow new returns null");
    std::puts("out of memory: handled");
}

} // namespace

int main(int argc, char **argv) {
    int n_threads = argc > 1 ? std::atoi(argv[1]) : 0;
    if (n_threads < 1 || n_threads > 1000) {
        std::fprintf(stderr, "usage: cxx_program THREADS (1 to 1000)\n");
        return 2;
    }
    for (int round = 0; round < 3; round++)
        run_ring(n_threads);
    run_out_of_memory();
    std::atexit([] { std::puts(std::string("atexit handler").c_str()); });
    per_thread.lines.assign(100, "abcdefghijklmnopqrstuvwxyz");
    return 0;
}

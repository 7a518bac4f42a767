// SPDX-License-Identifier: MIT
// tree - C++ containers as programs use them: a std::map from random words to lists, entries added,
// extended and erased; then the whole map is copied and dropped.  Many small, long-lived nodes.
#include "perf.h"

#include <map>
#include <string>
#include <vector>

namespace {

uint64_t n_keys = 50000, n_steps = 600000;

std::string word(perf_rng_t *rng) {
    uint64_t key = perf_below(rng, n_keys);
    std::string text(4 + key % 40, 'a');
    for (char &c : text) {
        c = static_cast<char>('a' + key % 26);
        key = key * 31 + 7;
    }
    return text + std::to_string(key);
}

using Index = std::map<std::string, std::vector<uint64_t>>;

uint64_t build(Index &index) {
    perf_rng_t rng = perf_rng(0);
    uint64_t sum = 0;
    for (uint64_t step = 0; step < n_steps; step++) {
        if (step % 3 == 2) {
            auto found = index.lower_bound(word(&rng));
            if (found != index.end()) {
                sum += found->second.size();
                index.erase(found);
            }
        } else {
            index[word(&rng)].push_back(step);
        }
    }
    return sum;
}

} // namespace

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--keys", &n_keys, nullptr}, {"--steps", &n_steps, nullptr}};
    PERF_INIT(argc, argv, "tree", options);
    n_steps = perf_scaled(n_steps);
    perf_start();
    uint64_t sum;
    {
        Index index;
        sum = build(index);
        Index copy = index;
        PERF_CHECK(copy == index);
    }
    perf_stop();
    PERF_CHECK(n_steps < 100000 || sum > 0);
    perf_report(n_steps);
}

// SPDX-License-Identifier: MIT
// strings - text processing: lines are put together from words, split again, joined, and collected
// in a growing list that is sorted and dropped.  Short-lived strings of all small sizes.
#include "perf.h"

#include <algorithm>
#include <string>
#include <vector>

namespace {

uint64_t n_lines = 120000;

std::string make_line(perf_rng_t *rng) {
    std::string line;
    uint64_t n_words = 3 + perf_below(rng, 12);
    for (uint64_t i = 0; i < n_words; i++) {
        if (i)
            line += ' ';
        line += std::string(1 + perf_below(rng, 30), static_cast<char>('a' + perf_below(rng, 26)));
    }
    return line;
}

std::vector<std::string> split(const std::string &line) {
    std::vector<std::string> words;
    for (size_t at = 0; at <= line.size();) {
        size_t end = std::min(line.find(' ', at), line.size());
        words.push_back(line.substr(at, end - at));
        at = end + 1;
    }
    return words;
}

std::string join_reversed(const std::vector<std::string> &words) {
    std::string line;
    for (auto word = words.rbegin(); word != words.rend(); ++word)
        line = line.empty() ? *word : line + "-" + *word;
    return line;
}

} // namespace

int main(int argc, char **argv) {
    const perf_option_t options[] = {{"--lines", &n_lines, nullptr}};
    PERF_INIT(argc, argv, "strings", options);
    n_lines = perf_scaled(n_lines);
    perf_rng_t rng = perf_rng(0);
    perf_start();
    for (uint64_t done = 0; done < n_lines; done += 20000) {
        std::vector<std::string> lines;
        for (uint64_t i = 0; i < std::min<uint64_t>(20000, n_lines - done); i++) {
            std::string line = make_line(&rng);
            lines.push_back(join_reversed(split(line)));
            PERF_CHECK(lines.back().size() == line.size());
        }
        std::sort(lines.begin(), lines.end());
    }
    perf_stop();
    perf_report(n_lines);
}

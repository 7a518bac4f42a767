# SPDX-License-Identifier: MIT
# about: g++ on templates, containers, exceptions and link-time optimisation
# programs: g++ as ld
# packages: g++
# set: quick
# probe: ld --version

prepare() {
    cat >"$INPUT/templates.cc" <<'CC'
#include <algorithm>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct Chain {
    using Value = std::variant<int, std::string, std::vector<double>>;
    std::map<std::string, std::unique_ptr<Chain<N - 1>>> next;
    std::unordered_map<int, Value> values;
    std::function<int(int)> step = [](int x) { return x * N + 1; };
    int run(int x) {
        values[x] = std::string(static_cast<std::size_t>(N), 'x');
        auto &slot = next["n" + std::to_string(x % 7)];
        if (!slot)
            slot = std::make_unique<Chain<N - 1>>();
        return slot->run(step(x) % 1009);
    }
};
template <> struct Chain<0> {
    int run(int x) {
        if (x % 5 == 0)
            throw std::runtime_error("five " + std::to_string(x));
        return x;
    }
};

int main() {
    Chain<6> chain;
    std::vector<std::string> lines;
    for (int i = 0; i < 200; i++) {
        try {
            lines.push_back(std::to_string(chain.run(i)));
        } catch (const std::exception &error) {
            lines.push_back(error.what());
        }
    }
    std::sort(lines.begin(), lines.end());
    for (const auto &line : lines)
        std::cout << line << '\n';
}
CC
}

run() {
    cp "$INPUT/templates.cc" .
    g++ -std=c++17 -O1 -g -frandom-seed=1 templates.cc -o templates
    ./templates
    g++ -std=c++17 -O0 -flto -frandom-seed=1 templates.cc -o templates_lto
    ./templates_lto | digest
    # What the link-time optimiser names its parts after is the process id.
    rm templates_lto
}

# SPDX-License-Identifier: MIT
# about: clang++ with optimiser, its static analyser, and the objects it makes
# programs: clang++
# packages: clang
# set: long
# probe: clang --version

prepare() {
    cat >"$INPUT/code.cc" <<'CC'
#include <algorithm>
#include <iostream>
#include <map>
#include <memory>
#include <regex>
#include <string>
#include <vector>
template <typename T, int N> struct Grid {
    std::vector<std::map<std::string, T>> rows{N};
    T total() const { T t{}; for (auto &r : rows) for (auto &c : r) t += c.second; return t; }
};
template <int N> int all() { Grid<double, N> g; g.rows[N / 2]["x"] = N; return static_cast<int>(g.total()) + all<N - 1>(); }
template <> int all<1>() { return 0; }
int main() {
    std::regex word("([a-z]+)-([0-9]+)");
    std::smatch m; std::string text = "item-42";
    if (std::regex_match(text, m, word)) std::cout << m[1] << ' ' << m[2] << '\n';
    std::cout << all<60>() << '\n';
}
CC
}

run() {
    cp "$INPUT/code.cc" .
    clang++ -std=c++17 -O2 -g -c code.cc -o code.o
    clang++ code.o -o code
    ./code
    clang++ -std=c++17 --analyze -Xclang -analyzer-output=text code.cc
    clang++ -std=c++17 -O1 -emit-llvm -S code.cc -o - | digest
}

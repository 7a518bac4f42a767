// SPDX-License-Identifier: MIT
// The rows of docs/MISUSE.md's table, as programs/misuses.c lists them: for tests with one a row.
#ifndef INTERPOSE_MISUSE_ROWS_H
#define INTERPOSE_MISUSE_ROWS_H

#include "support.h"

#include <algorithm>
#include <sstream>

namespace interpose {

struct Row {
    std::string name, expected, what; // expected of the ordinary library
};
inline void PrintTo(const Row &row, std::ostream *stream) {
    *stream << row.name;
}

inline std::vector<Row> rows() {
    std::istringstream lines(run_program({{"misuses", "--list"}, {}, {}}).out);
    std::vector<Row> rows;
    for (Row row; std::getline(lines, row.name, '\t') && std::getline(lines, row.expected, '\t') &&
                  std::getline(lines, row.what);)
        rows.push_back(row);
    return rows;
}

inline std::string name_of_test(const testing::TestParamInfo<Row> &info) {
    std::string name = info.param.name;
    std::replace(name.begin(), name.end(), '-', '_');
    return name;
}

} // namespace interpose

#endif // INTERPOSE_MISUSE_ROWS_H

// SPDX-License-Identifier: MIT
// The parser of MHEAP_CONF against a second one, written the plain way.
#include "input.h"

#include <algorithm>
#include <map>
#include <string>
#include <vector>

extern "C" {
#include "options.h"
}

namespace {

struct Row {
    bool is_bool;
    uint64_t value, min, max;
};

using Rows = std::map<std::string, Row>;

Rows rows_of(const options_t &from) {
    Rows rows;
#define OPTION_BOOL(name, default_value, help) rows[#name] = {true, from.name, 0, 1};
#define OPTION_UINT(name, default_value, min, max, unit, help)                                     \
    rows[#name] = {false, from.name, min, max};
#include "options.def"
#undef OPTION_BOOL
#undef OPTION_UINT
    return rows;
}

// The number a text stands for; false if it is none.
bool number_of(const std::string &text, unsigned __int128 *number) {
    unsigned __int128 unit = 1;
    std::string digits = text;
    if (!digits.empty() && std::string("kKmMgG").find(digits.back()) != std::string::npos) {
        unit = std::string("kK").find(digits.back()) != std::string::npos   ? 1u << 10
               : std::string("mM").find(digits.back()) != std::string::npos ? 1u << 20
                                                                            : 1u << 30;
        digits.pop_back();
    }
    *number = 0;
    for (char c : digits) {
        if (c < '0' || c > '9')
            return false;
        *number = *number * 10 + (c - '0');
        if (*number > UINT64_MAX)
            *number = static_cast<unsigned __int128>(UINT64_MAX) + 1;
    }
    *number *= unit;
    return !digits.empty();
}

bool accept(const std::string &value, Row *row) {
    unsigned __int128 number;
    if (value == "true" || value == "1")
        number = 1;
    else if (value == "false" || value == "0")
        number = 0;
    else if (row->is_bool || !number_of(value, &number))
        return false;
    if (number < row->min || number > row->max)
        return false;
    row->value = static_cast<uint64_t>(number);
    return true;
}

// What a warning has to name, in order.
std::vector<std::string> parse(const std::string &text, Rows *rows) {
    std::vector<std::string> warnings;
    for (size_t begin = 0; begin < text.size();) {
        size_t end = std::min(text.find(',', begin), text.size());
        std::string item = text.substr(begin, end - begin);
        begin = end + 1;
        size_t colon = item.find(':');
        auto row = rows->find(item.substr(0, colon));
        if (item.empty())
            continue;
        if (row == rows->end())
            warnings.push_back(item.substr(0, colon));
        else if (colon == std::string::npos || !accept(item.substr(colon + 1), &row->second))
            warnings.push_back(item);
    }
    return warnings;
}

void note_warning(void *arg, const char *text, uint64_t n_bytes, const char *what) {
    CHECK(what && *what, "a warning says nothing");
    static_cast<std::vector<std::string> *>(arg)->emplace_back(text, n_bytes);
}

} // namespace

// An option, with the comma behind it.
size_t fuzz_operation_bytes(const uint8_t *bytes, size_t n_bytes, bool is_first) {
    return is_first ? 0 : static_cast<size_t>(std::find(bytes, bytes + n_bytes, ',') - bytes) + 1;
}

extern "C" int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n_bytes) {
    std::string text(reinterpret_cast<const char *>(bytes), n_bytes);
    text = text.c_str(); // up to the first zero
    options_t parsed = options;
    std::vector<std::string> warnings;
    options_parse(text.c_str(), &parsed, note_warning, &warnings);
    Rows expected = rows_of(options);
    CHECK(parse(text, &expected) == warnings, "other warnings than expected");
    for (const auto &[name, row] : rows_of(parsed))
        CHECK(row.value == expected[name].value, name.c_str());
    return 0;
}

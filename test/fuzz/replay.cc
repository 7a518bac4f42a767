// SPDX-License-Identifier: MIT
// replay FILE|FOLDER... - runs a harness on inputs that are there already, without a fuzzer: for
// the tests, and to look into a finding.  A file *.hex has an input a line, in hexadecimal; any
// other is one input.
#include <algorithm>
#include <filesystem>
#include <fstream>
#include <vector>

#include "input.h"

namespace fs = std::filesystem;

static void collect(const fs::path &path, std::vector<fs::path> *files) {
    if (!fs::is_directory(path)) {
        files->push_back(path);
        return;
    }
    for (const auto &entry : fs::directory_iterator(path))
        files->push_back(entry.path());
}

static size_t n_inputs;

static void run(const std::string &bytes) {
    LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t *>(bytes.data()), bytes.size());
    n_inputs++;
}

static std::string from_hex(const std::string &line) {
    std::string bytes;
    for (size_t i = 0; i + 1 < line.size(); i += 2)
        bytes.push_back(static_cast<char>(std::stoi(line.substr(i, 2), nullptr, 16)));
    return bytes;
}

static void run_lines(std::istream &stream, const fs::path &file) {
    std::string line;
    for (int number = 1; std::getline(stream, line); number++) {
        // The last one named is the one that fails.
        fprintf(stderr, "\r%s:%d", file.filename().c_str(), number);
        run(from_hex(line));
    }
    fputc('\n', stderr);
}

int main(int argc, char **argv) {
    std::vector<fs::path> files;
    for (int i = 1; i < argc; i++)
        collect(argv[i], &files);
    std::sort(files.begin(), files.end());
    for (const fs::path &file : files) {
        std::ifstream stream(file, std::ios::binary);
        if (!stream) {
            fprintf(stderr, "cannot read %s\n", file.c_str());
            return 1;
        }
        if (file.extension() == ".hex") {
            run_lines(stream, file);
            continue;
        }
        fprintf(stderr, "%s\n", file.c_str());
        run(std::string(std::istreambuf_iterator<char>(stream), {}));
    }
    printf("%zu inputs\n", n_inputs);
    return n_inputs == 0; // a corpus that is not found is no success
}

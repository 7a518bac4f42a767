// SPDX-License-Identifier: MIT
// pattern.h - contents of objects that tests can check, and the process's resident memory.
#ifndef MHEAP_TEST_PATTERN_H
#define MHEAP_TEST_PATTERN_H

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>

inline uint64_t pattern_word(uint64_t seed, size_t index) {
    return (seed + 1) * 0x9E3779B97F4A7C15ull + index * 0x0101010101010101ull;
}

// An object's content derived from `seed`: two live objects that overlap spoil each other's.
inline void fill_pattern(void *object, size_t n_bytes, uint64_t seed) {
    char *at = static_cast<char *>(object);
    for (size_t done = 0; done < n_bytes; done += 8) {
        uint64_t word = pattern_word(seed, done / 8);
        memcpy(at + done, &word, std::min<size_t>(8, n_bytes - done));
    }
}

inline bool has_pattern(const void *object, size_t n_bytes, uint64_t seed) {
    const char *at = static_cast<const char *>(object);
    for (size_t done = 0; done < n_bytes; done += 8) {
        uint64_t word = pattern_word(seed, done / 8);
        if (memcmp(at + done, &word, std::min<size_t>(8, n_bytes - done)) != 0)
            return false;
    }
    return true;
}

inline bool is_zero(const void *object, size_t n_bytes) {
    const char *at = static_cast<const char *>(object);
    return n_bytes == 0 || (at[0] == 0 && memcmp(at, at + 1, n_bytes - 1) == 0);
}

// Resident memory of this process, without allocating.
inline size_t resident_bytes() {
    char text[128] = "";
    int file = open("/proc/self/statm", O_RDONLY | O_CLOEXEC);
    ssize_t n = read(file, text, sizeof text - 1);
    close(file);
    unsigned long total = 0, resident = 0;
    if (n <= 0 || sscanf(text, "%lu %lu", &total, &resident) != 2)
        abort();
    return resident * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

#endif // MHEAP_TEST_PATTERN_H

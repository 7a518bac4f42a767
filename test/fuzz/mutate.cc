// SPDX-License-Identifier: MIT
// Structured mutation: an input is cut into its operations, and whole ones are left out, repeated,
// moved, exchanged, or changed in place.  Every third time libFuzzer's own mutation of bytes. Where
// an operation ends the harness says (fuzz_operation_bytes); a wrong answer is no mistake, since
// any bytes are an input.
#include <algorithm>
#include <string>
#include <vector>

#include "../random.h"
#include "input.h"

extern "C" __attribute__((weak)) size_t LLVMFuzzerMutate(uint8_t *bytes, size_t n_bytes,
                                                         size_t n_max);

namespace {

using Operations = std::vector<std::string>; // the first one is what comes before them

Operations cut(const uint8_t *bytes, size_t n_bytes) {
    Operations operations;
    for (size_t at = 0; at < n_bytes || operations.empty();) {
        size_t n = fuzz_operation_bytes(bytes + at, n_bytes - at, operations.empty());
        n = std::min(n, n_bytes - at);
        operations.emplace_back(reinterpret_cast<const char *>(bytes) + at, n);
        at += n;
    }
    return operations;
}

size_t join(const Operations &operations, uint8_t *bytes, size_t n_max) {
    size_t n_bytes = 0;
    for (const std::string &operation : operations) {
        if (n_bytes + operation.size() > n_max)
            break;
        n_bytes += operation.copy(reinterpret_cast<char *>(bytes) + n_bytes, operation.size());
    }
    return n_bytes;
}

// One byte: the kind of operation, or one of its arguments.
void change(std::string *operation, Xorshift *random) {
    if (operation->empty())
        return;
    char &byte = (*operation)[random->below(operation->size())];
    switch (random->below(3)) {
    case 0:
        byte = static_cast<char>(random->next());
        break;
    case 1:
        byte = static_cast<char>(byte + random->below(9) - 4);
        break;
    default:
        byte = static_cast<char>(byte ^ 1 << random->below(8));
    }
}

void mutate(Operations *operations, Xorshift *random) {
    size_t n = operations->size() - 1; // all but the first
    if (n == 0 || random->below(20) == 0)
        return change(&operations->front(), random);
    auto first = operations->begin() + 1 + ptrdiff_t(random->below(n));
    auto last =
        first + 1 + ptrdiff_t(random->below(std::min<size_t>(operations->end() - first, 16)));
    auto other = operations->begin() + 1 + ptrdiff_t(random->below(n));
    switch (random->below(6)) {
    case 0:
        operations->erase(first, last);
        break;
    case 1: {
        Operations part(first, last);
        operations->insert(other, part.begin(), part.end());
        break;
    }
    case 2:
        if (other < first)
            std::rotate(other, first, last);
        else if (other > last)
            std::rotate(first, last, other);
        break;
    case 3:
        std::swap(*first, *other);
        break;
    case 4: {
        std::string operation = *first;
        operations->insert(first, 1 + random->below(40), operation);
        break;
    }
    default:
        change(&*first, random);
    }
}

} // namespace

extern "C" size_t LLVMFuzzerCustomMutator(uint8_t *bytes, size_t n_bytes, size_t n_max,
                                          unsigned seed) {
    Xorshift random(seed);
    if (LLVMFuzzerMutate && random.below(3) == 0)
        return LLVMFuzzerMutate(bytes, n_bytes, n_max);
    Operations operations = cut(bytes, n_bytes);
    for (size_t n = 1 + random.below(4); n > 0; n--)
        mutate(&operations, &random);
    return join(operations, bytes, n_max);
}

// The beginning of one input and the end of another.
extern "C" size_t LLVMFuzzerCustomCrossOver(const uint8_t *one, size_t n_one, const uint8_t *other,
                                            size_t n_other, uint8_t *bytes, size_t n_max,
                                            unsigned seed) {
    Xorshift random(seed);
    Operations operations = cut(one, n_one), rest = cut(other, n_other);
    operations.resize(1 + random.below(operations.size()));
    operations.insert(operations.end(), rest.begin() + ptrdiff_t(random.below(rest.size())),
                      rest.end());
    return join(operations, bytes, n_max);
}

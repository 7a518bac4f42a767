/* SPDX-License-Identifier: MIT */
#include "hardened_canary.h"

#include "secret.h"

/* Both are functions of one secret; neither follows from a canary that a program has read. */
static uint64_t keys[2];

/* The finaliser of MurmurHash3 (Appleby, public domain). */
static inline uint64_t mix(uint64_t bits) {
    bits = (bits ^ bits >> 33) * 0xff51afd7ed558ccdull;
    bits = (bits ^ bits >> 33) * 0xc4ceb9fe1a85ec53ull;
    return bits ^ bits >> 33;
}

/* Relaxed, in any order: all threads compute the same values. */
static uint64_t key(unsigned i) {
    uint64_t value = __atomic_load_n(&keys[i], __ATOMIC_RELAXED);
    if (__builtin_expect(!value, 0)) {
        value = mix(secret_random() + i * 0x9e3779b97f4a7c15ull) | 1;
        __atomic_store_n(&keys[i], value, __ATOMIC_RELAXED);
    }
    return value;
}

/* No byte of it is 0, the value that overflows write most often: the lowest bit of each is set. */
uint64_t canary_of(const void *object, hardened_kind_t kind) {
    uint64_t name = (uintptr_t)object ^ (uint64_t)kind << 56;
    return (mix(name ^ key(0)) + key(1)) | 0x0101010101010101ull;
}

/* Byte i of the slack is byte i % 8 of the word, wherever the slack begins. */
void canary_write(void *object, size_t bytes, size_t slack_bytes, hardened_kind_t kind) {
    uint64_t canary = canary_of(object, kind);
    char *at = (char *)object + bytes, *end = at + slack_bytes;
    for (; end - at >= 8; at += 8)
        __builtin_memcpy(at, &canary, 8);
    for (; at < end; canary >>= 8)
        *at++ = (char)canary;
}

static bool is_whole(const char *at, size_t slack_bytes, uint64_t canary) {
    const char *end = at + slack_bytes;
    uint64_t word, differs = 0;
    for (; end - at >= 8; at += 8) {
        __builtin_memcpy(&word, at, 8);
        differs |= word ^ canary;
    }
    for (; at < end; canary >>= 8)
        differs |= (unsigned char)(*at++ ^ (char)canary);
    return differs == 0;
}

bool canary_is_whole(const void *object, size_t bytes, size_t slack_bytes, hardened_kind_t kind) {
    return is_whole((const char *)object + bytes, slack_bytes, canary_of(object, kind));
}

hardened_kind_t canary_other_kind(const void *object, size_t bytes, size_t slack_bytes,
                                  hardened_kind_t kind) {
    for (hardened_kind_t other = 0; other < HARDENED_N_KINDS; other++)
        if (other != kind && canary_is_whole(object, bytes, slack_bytes, other))
            return other;
    return HARDENED_N_KINDS;
}

/* The slack begins with byte 0 of the word, so it ends with another one unless its length is a
 * multiple of eight: turned, the word is what stands at the end. */
bool canary_ends_at(const void *object, size_t slack_bytes, const void *end) {
    unsigned turn = slack_bytes % 8 * 8;
    uint64_t found;
    __builtin_memcpy(&found, (const char *)end - 8, 8);
    uint64_t canary = turn ? found << turn | found >> (64 - turn) : found;
    hardened_kind_t kind = HARDENED_PLAIN;
    while (kind < HARDENED_N_KINDS && canary != canary_of(object, kind))
        kind++;
    return kind < HARDENED_N_KINDS;
}

bool memory_is_zero(const void *memory, size_t bytes) {
    const uint64_t *word = memory, *end = word + bytes / sizeof *word;
    uint64_t bits = 0;
    for (; end - word >= 4; word += 4)
        bits |= word[0] | word[1] | word[2] | word[3];
    for (; word < end; word++)
        bits |= *word;
    return bits == 0;
}

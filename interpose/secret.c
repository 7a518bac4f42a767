/* SPDX-License-Identifier: MIT */
#include "secret.h"

#include <stdatomic.h>
#include <sys/auxv.h>
#include <sys/random.h>
#include <time.h>

#include "system_call.h"

static _Atomic uint64_t secret;

/* Mixes all bits: the finaliser of MurmurHash3 (Appleby, public domain). */
static uint64_t mix(uint64_t bits) {
    bits = (bits ^ bits >> 33) * 0xff51afd7ed558ccdull;
    bits = (bits ^ bits >> 33) * 0xc4ceb9fe1a85ec53ull;
    return bits ^ bits >> 33;
}

/* Where getrandom is not to be had: the kernel's 16 bytes for this process, address and time. */
__attribute__((cold)) static uint64_t weak_random(void) {
    const uint64_t *kernel_bytes = (const uint64_t *)getauxval(AT_RANDOM);
    uint64_t bits = mix((uintptr_t)&kernel_bytes);
    if (kernel_bytes)
        bits = mix(bits ^ kernel_bytes[0]) ^ kernel_bytes[1];
    struct timespec now;
    if (clock_gettime(CLOCK_MONOTONIC, &now) == 0)
        bits ^= mix((uint64_t)now.tv_nsec);
    return mix(bits);
}

uint64_t secret_draw(void) {
    uint64_t bits = 0;
    long n_bytes = system_call(SYS_getrandom, (long)&bits, sizeof bits, GRND_NONBLOCK, 0, 0);
    return n_bytes == sizeof bits ? bits : weak_random();
}

uint64_t secret_random(void) {
    uint64_t bits = atomic_load_explicit(&secret, memory_order_relaxed);
    if (bits)
        return bits;
    bits = secret_draw() | 1; /* 0 is "not drawn yet" */
    uint64_t none = 0;
    if (!atomic_compare_exchange_strong_explicit(&secret, &none, bits, memory_order_relaxed,
                                                 memory_order_relaxed))
        bits = none; /* another thread was first */
    return bits;
}

uintptr_t secret_key(void) {
    return mix(secret_random()) | 1;
}

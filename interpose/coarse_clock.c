/* SPDX-License-Identifier: MIT */
#include "coarse_clock.h"

#include <time.h>

uint64_t coarse_clock_ms(void) {
    struct timespec now = {0, 0};
    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}

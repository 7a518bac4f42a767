/* SPDX-License-Identifier: MIT */
#include "block.h"

#define DECODE_FACTOR 0x9e3779b97f4a7c15u /* 2^64 / golden ratio, whose bits show no pattern */
#define ENCODE_FACTOR 0xf1de83e19937733du

_Static_assert(DECODE_FACTOR *ENCODE_FACTOR == 1, "inverse modulo 2^64");

const uint64_t block_encode_factor = ENCODE_FACTOR;
const uint64_t block_decode_factor = DECODE_FACTOR;

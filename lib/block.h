/* SPDX-License-Identifier: MIT */
/*
 * block.h - free blocks in singly linked lists, the link in the block's first word.
 *
 * A link is stored encoded: (next ^ mask) rotated left by 16 bits, where mask mixes the process's
 * key with the block's own address.
 *   - A write after free changes it.  The rotation puts the block's first two bytes where the
 *     address's top bits come from, which have to be zero: a write that starts at the block's first
 *     byte is found when the link is taken.
 *   - A block whose first word decodes to an address is almost surely free already (the key is
 *     random): this is how a double free is suspected at the price of a few instructions.
 *   - Since the mask depends on the block's address, a copy of the word elsewhere decodes to
 *     nonsense.
 * The mask is ready before the link is loaded, so decoding adds two cycles to the load, not more.
 */
#ifndef MHEAP_BLOCK_H
#define MHEAP_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BLOCK_ADDRESS_BITS 48u /* no user address has a bit set from here up */

typedef struct block {
    uintptr_t link;
} block_t;

/* An odd multiplier near 2^32 / golden ratio spreads low address bits over the top ones. */
static inline uintptr_t block_mask(const block_t *block, uintptr_t key) {
    return (uintptr_t)block * (uintptr_t)(intptr_t)(int32_t)0x9e3779b1 ^ key;
}

static inline uintptr_t block_encode_with(uintptr_t mask, const block_t *next) {
    uintptr_t bits = (uintptr_t)next ^ mask;
    return bits << 16 | bits >> 48;
}

static inline uintptr_t block_decode_with(uintptr_t mask, uintptr_t link) {
    return (link >> 16 | link << 48) ^ mask;
}

static inline uintptr_t block_decode(const block_t *block, uintptr_t key) {
    return block_decode_with(block_mask(block, key), block->link);
}

static inline void block_link(block_t *block, const block_t *next, uintptr_t key) {
    block->link = block_encode_with(block_mask(block, key), next);
}

/* What a first word decodes to may be a link, as far as can be told from itself. */
static inline bool block_link_is_plausible(uintptr_t next) {
    return next >> BLOCK_ADDRESS_BITS == 0;
}

#endif /* MHEAP_BLOCK_H */

/* SPDX-License-Identifier: MIT */
/*
 * block.h - free blocks in singly linked lists, the link in the block's first word.
 *
 * A link is stored encoded: (next ^ mask) times an odd factor, where mask is the product of the
 * process's key and the block's own address.
 *   - A write after free changes it.  Each bit of the product reaches all higher bits when it is
 *     decoded, and an address's top bits have to be zero: of any damage, whichever bytes it hits
 * and whatever they become, one in 65,536 goes unnoticed when the link is taken.  Nobody who does
 *     not know the key can choose what it decodes to.
 *   - A block whose first word decodes to an address is almost surely free already (the key is
 *     random): this is how a double free is suspected at the price of a few instructions.
 *   - Since the mask depends on the block's address, a copy of the word elsewhere decodes to
 *     nonsense.
 * The mask is ready before the link is loaded, so decoding adds four cycles to the load, not more.
 * (Rotating in place of multiplying takes two cycles less and no fewer instructions, but then only
 * the two bytes that become the top ones are guarded, and the others lead where the writer likes.)
 */
#ifndef MHEAP_BLOCK_H
#define MHEAP_BLOCK_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Never defined but to count what the checks on the hot paths cost (docs/MISUSE.md): without them.
 */
#ifdef MHEAP_NO_CHECKS
#define BLOCK_CHECKS 0
#else
#define BLOCK_CHECKS 1
#endif

#define BLOCK_ADDRESS_BITS 48u /* no user address has a bit set from here up */

typedef struct block {
    uintptr_t link;
} block_t;

/* `key` is odd, random, and a secret of the process's.  A product, so that the top bits of the
 * masks of two blocks differ, however near they are. */
static inline uintptr_t block_mask(const block_t *block, uintptr_t key) {
    return BLOCK_CHECKS ? (uintptr_t)block * key : 0;
}

/* Odd, and each other's inverse modulo 2^64.  In memory, so that multiplying is one instruction. */
extern const uint64_t block_encode_factor __attribute__((visibility("hidden")));
extern const uint64_t block_decode_factor __attribute__((visibility("hidden")));

static inline uintptr_t block_encode_with(uintptr_t mask, const block_t *next) {
    return BLOCK_CHECKS ? ((uintptr_t)next ^ mask) * block_encode_factor : (uintptr_t)next;
}

static inline uintptr_t block_decode_with(uintptr_t mask, uintptr_t link) {
    return BLOCK_CHECKS ? link * block_decode_factor ^ mask : link;
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

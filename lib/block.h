/* SPDX-License-Identifier: MIT */
/*
 * block.h - free blocks in singly linked lists, the link in the block's first word.
 *
 * A link is stored encoded: byte-swapped next ^ key, then ^ the block's own address.
 *   - A write after free changes it.  Since bytes are swapped, a write that starts at the block's
 *     first byte lands in the decoded address's top bits, which have to be zero: found when taken.
 *   - A block whose first word decodes to an address is almost surely free already (the key is
 *     64 random bits): this is how a double free is suspected at the price of a few instructions.
 *   - Mixing in the block's own address makes a copy of the word, elsewhere, decode to nonsense.
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

static inline uintptr_t block_encode(const block_t *block, const block_t *next, uintptr_t key) {
    return __builtin_bswap64((uintptr_t)next ^ key) ^ (uintptr_t)block;
}

static inline uintptr_t block_decode(const block_t *block, uintptr_t key) {
    return __builtin_bswap64(block->link ^ (uintptr_t)block) ^ key;
}

/* The block's first word is, as far as can be told from itself, a link. */
static inline bool block_link_is_plausible(uintptr_t next) {
    return next >> BLOCK_ADDRESS_BITS == 0;
}

static inline void block_link(block_t *block, const block_t *next, uintptr_t key) {
    block->link = block_encode(block, next, key);
}

#endif /* MHEAP_BLOCK_H */

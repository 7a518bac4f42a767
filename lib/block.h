/* SPDX-License-Identifier: MIT */
/*
 * block.h - free blocks: the mark in the first word of each, and the link in the second of those
 * that are on their way from one thread to another.
 *
 * A mark is the block's address combined with a secret of the process's.  It is written when a
 * block is freed (and into those that were never used, before they are handed out) and cleared when
 * it is allocated.
 *   - A block that has its mark is free: this is how a double free is noticed.  Of what a program
 *     may write into a live object, one word in 2^64 looks like it.
 *   - A free block that does not have it was written to after it was freed.
 *   - It depends on the block's address, so a copy of the word elsewhere means nothing.
 *
 * A link is stored encoded: (next ^ mask) times an odd factor, where mask is the product of the
 * key and the block's own address.  Each bit of the product reaches all higher bits when it is
 * decoded, and an address's top bits have to be zero: of any damage, whichever bytes it hits and
 * whatever they become, one in 65,536 goes unnoticed when the link is taken, and nobody who does
 * not know the key can choose what it decodes to.
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
    uintptr_t mark;
    uintptr_t link;
} block_t;

/* `key` is odd, random, and a secret of the process's. */
static inline uintptr_t block_mark(const block_t *block, uintptr_t key) {
    return (uintptr_t)block ^ key;
}

static inline bool block_is_marked(const block_t *block, uintptr_t key) {
    return BLOCK_CHECKS && block->mark == block_mark(block, key);
}

static inline bool block_is_damaged(const block_t *block, uintptr_t key) {
    return BLOCK_CHECKS && block->mark != block_mark(block, key);
}

static inline void block_set_mark(block_t *block, uintptr_t key) {
    if (BLOCK_CHECKS)
        block->mark = block_mark(block, key);
}

/* Allocated from now on; and nobody is told the key. */
static inline void block_clear_mark(block_t *block) {
    if (BLOCK_CHECKS)
        block->mark = 0;
}

/* Makes the page resident by a write that changes nothing: a read would get the system's page of
 * zeros, and the first write after it a second fault. */
static inline void block_touch(block_t *block) {
    uintptr_t nothing = 0;
    __asm__("" : "+r"(nothing)); /* adding a constant 0 may become a read */
    __atomic_fetch_add(&block->mark, nothing, __ATOMIC_RELAXED);
}

/* Odd, and each other's inverse modulo 2^64: 2^64 / golden ratio, whose bits show no pattern. */
#define BLOCK_DECODE_FACTOR 0x9e3779b97f4a7c15u
#define BLOCK_ENCODE_FACTOR 0xf1de83e19937733du

_Static_assert(BLOCK_DECODE_FACTOR *BLOCK_ENCODE_FACTOR == 1, "inverse modulo 2^64");

/* A product, so that the top bits of the masks of two blocks differ, however near they are. */
static inline uintptr_t block_mask(const block_t *block, uintptr_t key) {
    return BLOCK_CHECKS ? (uintptr_t)block * key : 0;
}

static inline uintptr_t block_decode(const block_t *block, uintptr_t key) {
    return BLOCK_CHECKS ? block->link * BLOCK_DECODE_FACTOR ^ block_mask(block, key) : block->link;
}

static inline void block_link(block_t *block, const block_t *next, uintptr_t key) {
    block->link = BLOCK_CHECKS ? ((uintptr_t)next ^ block_mask(block, key)) * BLOCK_ENCODE_FACTOR
                               : (uintptr_t)next;
}

/* What a link decodes to may be one, as far as can be told from itself. */
static inline bool block_link_is_plausible(uintptr_t next) {
    return next >> BLOCK_ADDRESS_BITS == 0;
}

#endif /* MHEAP_BLOCK_H */

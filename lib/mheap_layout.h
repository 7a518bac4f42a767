/* SPDX-License-Identifier: MIT */
/*
 * mheap_layout.h - the structures of an mheap, byte by byte, and its numbered invariants.
 *
 *      memory                                            a heap in memory
 *        |<- vm_offset ->|<- sizeof(mheap_t) ->|<------- len ------->|<-- not yet used -->|
 *        |   (unused)    | header              |pad| elements | end  |                    |
 *                                              ^v (page aligned)                          ^max
 *
 * An element (mheap_elt_t): eight bytes of boundary tag, then user data.  A uoffset names the user
 * data.  Sizes count user data in words of 8 bytes; the tag itself is one word.  The pad of one
 * word puts the first user data at uoffset 16: sizes of 8 mod 16 bytes keep all objects aligned to
 * 16 without gaps.  The end mark is a tag without user data; its uoffset is len.
 *
 *        0        4        8                                   8 + 8 * n_user_data
 *        +--------+--------+--------------------------------------+--------
 *        | prev   | this   | user data (free: the links, ...)     | next element's tag ...
 *        +--------+--------+--------------------------------------+--------
 *
 *   prev: prev_n_user_data (30 bits)  size of the element just before, in words
 *         prev_spare       (1 bit)    always 0
 *         prev_is_free     (1 bit)    that element is free
 *   this: n_user_data      (30 bits)  size of this element, in words; at least 1
 *         is_cached        (1 bit)    allocated element: freed by the user, kept in the
 * small-object cache (without that cache: the bit of the heap's owner) is_free          (1 bit) on
 * a free list; the links are valid
 *
 * The two halves of the tag are separate 32-bit words on purpose.  The second belongs to whoever
 * owns the object; the first only changes with the neighbour before it, under the heap's lock.
 *
 * A free element keeps in its user data:
 *
 *        0             4             8             12            16
 *        +-------------+-------------+-------------+-------------+-----------
 *        | next_uoffset| prev_uoffset| n_dirty     | n_clean     | (undefined)
 *        +-------------+-------------+-------------+-------------+-----------
 *
 *   n_dirty: only in elements of MHEAP_PURGE_MIN_BYTES and up: bytes of the element that may be
 *   resident, an upper bound; 0 after its whole pages went back to the system.
 *   n_clean: in the same elements: bytes of its whole pages behind the links that are not dirty.
 *   What is neither lies on pages that its neighbours have a part of.
 *
 * Invariants.  lib/validate.c has one function for each number, its test a corruption for each.
 *
 *  M1  the header's magic and layout version are right, len <= max_len, len is a multiple of 8;
 *      plain_magic is not the magic in a heap with a lock, a trace, or validation on each call
 *  M2  walking from the first element by n_user_data ends exactly at the end mark, which lies at
 *      uoffset len and has n_user_data == MHEAP_N_USER_DATA_INVALID and is_free == 0
 *  M3  each element's prev_n_user_data and prev_is_free repeat its neighbour's n_user_data and
 *      is_free; the first element has prev_n_user_data == 0 and prev_is_free == 0
 *  M4  no element is smaller than one word, nor reaches past the end mark
 *  M5  no two free elements are neighbours, and the last element is not free
 *      (free space at the end is not part of the vector)
 *  M6  every element marked free is on the list of the bin of its size, and every list holds only
 *      free elements of its bin
 *  M7  lists are well linked: next and prev agree, the first has prev grounded, no cycles
 *  M8  bit b of non_empty_free_elt_heads is set if and only if bin b's list is not empty, and bit w
 *      of non_empty_bin_words if and only if word w of that bitmap is not zero
 *  M9  n_elts == number of allocated elements that are not cached
 *      (without MHEAP_FLAG_SMALL_OBJECT_CACHE the bit is the owner's, and all allocated ones count)
 *  M10 every element with is_cached is not free and is in the small-object cache list of its size,
 *      and the cache holds only such elements; n_cached is their number, max_cached how many it may
 *      hold; bit b of non_empty_cache_heads is set if and only if list b is not empty
 *      (without MHEAP_FLAG_SMALL_OBJECT_CACHE only: it is not free, and the cache is empty)
 *  M11 free_dirty_bytes == sum of n_dirty over the free elements that keep one, and none keeps more
 *      than its size; free_clean_bytes == sum of n_clean, which is what it is to be;
 *      tail_dirty_bytes <= never_used_off - len
 */
#ifndef MHEAP_LAYOUT_H
#define MHEAP_LAYOUT_H

#include <assert.h>
#include <stdint.h>

#include "lock.h"
#include "mheap.h"

#define MHEAP_MAGIC                0x7061656868656170ull
#define MHEAP_LAYOUT_VERSION       5u

#define MHEAP_WORD_BYTES           8u /* user data comes in words of this size */
#define MHEAP_TAG_BYTES            8u /* boundary tag before each object's user data */

#define MHEAP_N_USER_DATA_INVALID  0x3fffffffu /* size of the end mark */

#define MHEAP_FIRST_UOFFSET        16u /* of the first element: the pad, then its tag */

/* Bins: sizes up to 256 bytes have a bin each, then each power of two has 16 equal parts (a
 * two-level index, as TLSF has: Masmano et al., "TLSF: a new dynamic memory allocator for real-time
 * systems", 2004).  2^8 .. 2^32 bytes. */
#define MHEAP_N_SMALL_BINS         32u
#define MHEAP_LOG2_BINS_PER_DOUBLE 4u
#define MHEAP_LOG2_SMALL_MAX       8u
#define MHEAP_N_BINS                                                                               \
    (MHEAP_N_SMALL_BINS + ((32u - MHEAP_LOG2_SMALL_MAX) << MHEAP_LOG2_BINS_PER_DOUBLE))
#define MHEAP_N_BIN_WORDS     ((MHEAP_N_BINS + 63u) / 64u)

/* The small-object cache has a list for each size up to 512 bytes: its bitmap is one word. */
#define MHEAP_N_CACHE_LISTS   64u

/* It holds no more than these and one object for each sixteen that are in use, and never more than
 * the most (cache_limit). */
#define MHEAP_CACHE_MIN_ELTS  64u
#define MHEAP_CACHE_PART      16u
#define MHEAP_CACHE_MAX_ELTS  1024u

/* Free elements of this size and up count their dirty bytes and can be purged. */
#define MHEAP_PURGE_MIN_BYTES (16u << 10)

typedef struct {
    /* Two memory locations in the sense of C11: neither half's writer touches both. */
    union {
        struct {
            uint32_t prev_n_user_data : 30;
            uint32_t prev_spare : 1;
            uint32_t prev_is_free : 1;
        };
        uint32_t prev_half;
    };
    union {
        struct {
            uint32_t n_user_data : 30;
            uint32_t is_cached : 1;
            uint32_t is_free : 1;
        };
        uint32_t this_half; /* but for is_cached, the prev_half of the next element (M3) */
    };
    union {
        uint64_t user_data[1]; /* allocated: n_user_data words */
        struct {
            mheap_uoffset_t next_uoffset, prev_uoffset;
            uint32_t n_dirty, n_clean; /* only if the element is large enough, see above */
        } free_elt;
        struct {
            mheap_uoffset_t next_uoffset; /* in the small-object cache */
        } cached_elt;
    };
} mheap_elt_t;

static_assert(sizeof(mheap_elt_t) == 24, "tag of 8 bytes, then the union");

/* The bits of a half as a number: compilers put the first field into the low bits, as all Linux
 * systems on little-endian processors have it (elt_test.cc checks). */
#define MHEAP_N_USER_DATA_MASK 0x3fffffffu
#define MHEAP_IS_CACHED_BIT    (1u << 30)
#define MHEAP_IS_FREE_BIT      (1u << 31)

typedef struct {
    uint64_t n_cache_hits; /* gets served by the small-object cache */
    uint64_t n_other_gets; /* by the public functions, as are ... */
    uint64_t n_puts;
    uint64_t n_cache_flushes; /* times the full cache was emptied */
    uint64_t n_searches;      /* gets that looked into the bins */
    uint64_t n_search_tries;  /* free elements looked at in them */
    uint64_t n_extends;       /* gets that made the vector longer */
    uint64_t n_failures;      /* gets that found no memory */
    uint64_t n_purges, n_purged_bytes;
} mheap_stats_t;

struct mheap_trace_table; /* trace.h */

typedef struct mheap {
    /* For each bin, the first of a doubly-linked list of free elements, or MHEAP_GROUNDED. */
    mheap_uoffset_t first_free_elt_uoffset_by_bin[MHEAP_N_BINS];
    mheap_uoffset_t cache_heads[MHEAP_N_CACHE_LISTS]; /* small-object cache: LIFO lists by size */

    uint64_t vm_n_bytes;         /* bytes of the memory it lies in */
    uint32_t vm_offset;          /* header's distance from the start of that memory, in bytes */
    uint32_t layout_version;     /* MHEAP_LAYOUT_VERSION */
    uint64_t n_puts_since_purge; /* since something was purged or could have been */
    mheap_stats_t stats;

    /* What every get and put looks at, together: the header ends on a page boundary. */
    uint64_t plain_magic; /* MHEAP_MAGIC: neither lock, trace nor validation (api_set_plain) */
    uint64_t non_empty_free_elt_heads[MHEAP_N_BIN_WORDS]; /* bitmap of bins that are not empty */
    uint32_t non_empty_bin_words;   /* bitmap of the words above that are not zero */
    uint16_t n_cache_lists;         /* that may hold anything: all, or none without the cache */
    uint16_t cache_next_out;        /* the list whose turn it is when the cache is full */
    uint64_t free_dirty_bytes;      /* M11 */
    uint64_t free_clean_bytes;      /* M11 */
    uint64_t tail_dirty_bytes;      /* of those from len to never_used_off, that may be resident */
    uint64_t kept_dirty_bytes;      /* dirty bytes that the last purge could not give back */
    uint64_t non_empty_cache_heads; /* bitmap of cache lists that are not empty */
    uint32_t n_cached;              /* objects in the small-object cache */
    uint32_t max_cached;            /* how many it may hold (cache_limit) */
    uint64_t n_elts;                /* allocated, not cached, objects */

    /* What changes when the heap grows or shrinks, in a line of its own: a free by a thread that
     * does not own the heap reads `len`, without a lock. */
    uint64_t max_size;               /* bytes the heap may grow to, header included */
    uint64_t max_len;                /* bytes of the vector that it may grow to */
    uint64_t accessible_len;         /* ... that are mapped readable and writable */
    uint64_t never_used_off;         /* memory of the vector from here on was never written or has
                                        been purged since: zero if it came zeroed; >= len */
    uint64_t len;                    /* bytes of the vector in use: uoffset of the end mark */
    struct mheap_trace_table *trace; /* this process's own; NULL while tracing is off */
    uint32_t flags;                  /* MHEAP_FLAG_*, MHEAP_INTERNAL_FLAG_* */
    lock_t lock;                     /* guards everything here, with MHEAP_FLAG_THREAD_SAFE */
    uint64_t magic;
} mheap_t;

static_assert(sizeof(mheap_t) % MHEAP_WORD_BYTES == 0, "the vector follows the header directly");

#define MHEAP_INTERNAL_FLAG_OWNS_VM (1u << 16) /* memory was mapped by mheap_alloc */
#define MHEAP_INTERNAL_FLAG_RESERVED                                                               \
    (1u << 17)                                /* memory beyond accessible_len is only reserved     \
                                               */
#define MHEAP_INTERNAL_FLAG_ZEROED (1u << 18) /* memory came zeroed (fresh mapping) */

static inline mheap_t *mheap_header(void *v) {
    return (mheap_t *)v - 1;
}

static inline void *mheap_vector(mheap_t *h) {
    return h + 1;
}

#endif /* MHEAP_LAYOUT_H */

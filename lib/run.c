/* SPDX-License-Identifier: MIT */
#include "run.h"

#define RECIPROCAL(size_class, before, bytes) [size_class] = UINT32_MAX / (bytes) + 1u,
#define CAPACITY(size_class, before, bytes)   [size_class] = RUN_BYTES / (bytes),

const uint32_t run_reciprocal[N_SMALL_CLASSES] = {EACH_SMALL_CLASS(RECIPROCAL)};
const uint16_t run_capacity[N_SMALL_CLASSES] = {EACH_SMALL_CLASS(CAPACITY)};

/* Block numbers, from `from` to before `to`. */
typedef struct {
    uint32_t from, to;
} blocks_t;

/* Bits of word number `word` that belong to the blocks. */
static inline uint64_t word_mask(blocks_t blocks, uint32_t word) {
    uint32_t first = word * 64;
    uint64_t mask = ~(uint64_t)0;
    if (blocks.from > first)
        mask &= mask << (blocks.from - first);
    if (blocks.to < first + 64)
        mask &= ((uint64_t)1 << (blocks.to - first)) - 1;
    return mask;
}

static inline uint32_t at_most(uint32_t number, uint32_t most) {
    return number < most ? number : most;
}

/* offset / bytes of the class, for an offset of up to 64 KiB. */
static inline uint32_t blocks_before(uint32_t offset, unsigned size_class) {
    return (uint32_t)(((uint64_t)offset * run_reciprocal[size_class]) >> 32);
}

/* The first block that begins at this offset or behind it: as blocks_before, or one more where the
 * offset is not a block's (run_offset_is_block, of the same product). */
static inline uint32_t block_from(uint32_t offset, unsigned size_class) {
    uint64_t product = (uint64_t)offset * run_reciprocal[size_class];
    return (uint32_t)(product >> 32) + ((uint32_t)product >= RUN_BLOCK_PRODUCT_END);
}

/* Blocks that lie wholly on the pages from `page` to before `end`. */
static blocks_t blocks_within(const run_t *run, unsigned page, unsigned end) {
    uint32_t from = page * (uint32_t)RUN_PAGE_BYTES, to = end * (uint32_t)RUN_PAGE_BYTES;
    uint32_t capacity = run_capacity[run->size_class];
    return (blocks_t){block_from(from, run->size_class),
                      at_most(blocks_before(to, run->size_class), capacity)};
}

/* Blocks that have a byte on the page. */
static inline blocks_t blocks_touching(const run_t *run, unsigned page) {
    uint32_t from = page * (uint32_t)RUN_PAGE_BYTES, to = from + (uint32_t)RUN_PAGE_BYTES;
    uint32_t capacity = run_capacity[run->size_class];
    return (blocks_t){blocks_before(from, run->size_class),
                      at_most(block_from(to, run->size_class), capacity)};
}

/* Of these, those that have none on a clean page, but perhaps on this. */
static inline blocks_t blocks_ready_with(const run_t *run, unsigned page, blocks_t touching) {
    blocks_t within = blocks_within(run, page, page + 1);
    uint32_t clean_pages = (uint32_t)run->clean_pages << 1; /* none lies before the first page */
    return (blocks_t){clean_pages >> page & 1 ? within.from : touching.from,
                      clean_pages >> (page + 2) & 1 ? within.to : touching.to};
}

/* The first page of `pages` from `page` on; N_RUN_PAGES if there is none. */
static inline unsigned next_page(uint32_t pages, unsigned page) {
    uint32_t rest = pages & ~((1u << page) - 1u);
    return rest ? (unsigned)__builtin_ctz(rest) : N_RUN_PAGES;
}

/* For each stretch of touched pages between clean ones. */
#define FOREACH_STRETCH(run, page, end)                                                            \
    for (unsigned page = next_page(~(run)->clean_pages & RUN_ALL_PAGES, 0), end;                   \
         page < N_RUN_PAGES && (end = next_page((run)->clean_pages, page), true);                  \
         page = next_page(~(run)->clean_pages & RUN_ALL_PAGES, end))

static uint32_t count_free(const uint64_t *bits, blocks_t blocks) {
    uint32_t n = 0;
    for (uint32_t word = blocks.from / 64; word * 64 < blocks.to; word++)
        n += (uint32_t)__builtin_popcountll(bits[word] & word_mask(blocks, word));
    return n;
}

static bool are_all_free(const uint64_t *bits, blocks_t blocks) {
    if (blocks.from >= blocks.to)
        return true;
    uint32_t word = blocks.from / 64, last = (blocks.to - 1) / 64;
    uint64_t live = ~bits[word] & ~(uint64_t)0 << blocks.from % 64;
    while (word < last) {
        if (live)
            return false;
        live = ~bits[++word];
    }
    return !(live << (63 - (blocks.to - 1) % 64));
}

static uint32_t count_ready(const run_t *run, const uint64_t *bits) {
    uint32_t n = 0;
    FOREACH_STRETCH(run, page, end) {
        blocks_t blocks = blocks_within(run, page, end);
        if (blocks.from < blocks.to)
            n += count_free(bits, blocks);
    }
    return n;
}

/* The space behind the last block looks like the beginning of one more.  Its bit is always set, so
 * that nothing can come home to it; and while the last page is open it has a free block's mark, so
 * that whoever frees it is told at once. */
static blocks_t blocks_with_guard(const run_t *run) {
    return (blocks_t){0, run_capacity[run->size_class] + 1u};
}

void run_init(run_t *run, uint64_t *bits, unsigned size_class, bool is_zero) {
    uint32_t capacity = run_capacity[size_class];
    *run = (run_t){.size_class = (uint8_t)size_class,
                   .n_free = (uint16_t)capacity,
                   .clean_pages = RUN_ALL_PAGES,
                   .zero_pages = is_zero ? RUN_ALL_PAGES : 0};
    blocks_t set = blocks_with_guard(run);
    for (uint32_t word = 0; word * 64 < set.to; word++)
        __atomic_store_n(&bits[word], word_mask(set, word), __ATOMIC_RELAXED);
}

/* Up to n_blocks of those that have a bit in `bits`, stored downwards from `end`.  Returns the bits
 * of the others, *end: where the last one is stored. */
static inline uint64_t take_singly(uint64_t bits, char *first, size_t bytes, uint32_t n_blocks,
                                   block_t ***end) {
    block_t **to = *end, **last = to - n_blocks;
    for (; bits && to > last; bits &= bits - 1)
        *--to = (block_t *)(first + (size_t)(unsigned)__builtin_ctzll(bits) * bytes);
    *end = to;
    return bits;
}

/* The same, where many lie side by side. */
static inline uint64_t take_stretches(uint64_t bits, char *first, size_t bytes, uint32_t n_blocks,
                                      block_t ***end) {
    block_t **to = *end;
    while (bits && n_blocks) {
        uint32_t from = (uint32_t)__builtin_ctzll(bits);
        uint64_t above = bits + ((uint64_t)1 << from); /* the stretch is gone, but for a carry */
        uint32_t n = (above ? (uint32_t)__builtin_ctzll(above) : 64) - from;
        if (n > n_blocks) {
            n = n_blocks;
            above = ~(((uint64_t)1 << n) - 1) << from;
        }
        bits &= above;
        n_blocks -= n;
        char *block = first + from * bytes;
        for (block_t **stop = to - n; to > stop; block += bytes)
            *--to = (block_t *)block;
    }
    *end = to;
    return bits;
}

static inline bool has_stretch(uint64_t bits) {
    uint64_t pairs = bits & bits >> 1;
    return (pairs & pairs >> 2) != 0; /* of four */
}

/* Up to n_blocks of the word's blocks, stored downwards from `end`.  Returns how many. */
static inline uint32_t take_from_word(uint64_t *word, uint64_t mask, char *first, size_t bytes,
                                      uint32_t n_blocks, block_t **end) {
    uint64_t ready = *word & mask;
    block_t **to = end;
    uint64_t rest = has_stretch(ready) ? take_stretches(ready, first, bytes, n_blocks, &to)
                                       : take_singly(ready, first, bytes, n_blocks, &to);
    __atomic_store_n(word, *word ^ ready ^ rest, __ATOMIC_RELAXED);
    return (uint32_t)(end - to);
}

uint32_t run_take(run_t *run, uint64_t *bits, void *start, uint32_t n_blocks, block_t **end) {
    size_t bytes = size_class_bytes(run->size_class);
    uint32_t n = 0;
    FOREACH_STRETCH(run, page, page_end) {
        blocks_t blocks = blocks_within(run, page, page_end);
        for (uint32_t word = blocks.from / 64;
             word * 64 < blocks.to && blocks.from < blocks.to && n < n_blocks; word++)
            n += take_from_word(&bits[word], word_mask(blocks, word),
                                (char *)start + word * 64 * bytes, bytes, n_blocks - n, end - n);
    }
    run->n_free_and_ready -= n * 0x10001u; /* from both halves */
    return n;
}

static inline unsigned highest_page(uint32_t pages) {
    return 31u - (unsigned)__builtin_clz(pages);
}

/* The block's first word is not 0 on a page that is. */
static __attribute__((noinline, cold)) void make_live(run_t *run, uint64_t *bits, uint32_t index) {
    __atomic_store_n(&bits[index / 64], bits[index / 64] & ~((uint64_t)1 << index % 64),
                     __ATOMIC_RELAXED);
    run->n_free--;
}

static void mark_blocks(char *start, blocks_t blocks, size_t bytes, uintptr_t key) {
    for (uint32_t i = blocks.from; i < blocks.to; i++)
        block_set_mark((block_t *)(start + i * bytes), key);
}

_Static_assert(RUN_BYTES / SMALL_MAX_BYTES * SMALL_MAX_BYTES >= TILE_BYTES - RUN_PAGE_BYTES,
               "the space behind the last block begins on the last page");

static void mark_guard(char *start, unsigned size_class, uintptr_t key) {
    block_set_mark((block_t *)(start + run_capacity[size_class] * size_class_bytes(size_class)),
                   key);
}

/* As mark_blocks, on a page that is zero.  Returns a block that was written to, or NULL. */
static const block_t *mark_zero_blocks(run_t *run, uint64_t *bits, char *start, blocks_t blocks,
                                       uintptr_t key) {
    size_t bytes = size_class_bytes(run->size_class);
    const block_t *written = NULL;
    if (blocks.from < blocks.to)
        block_touch((block_t *)(start + blocks.from * bytes));
    for (uint32_t i = blocks.from; i < blocks.to; i++) {
        block_t *block = (block_t *)(start + i * bytes);
        if (__builtin_expect(block->mark == 0, 1)) {
            block_set_mark(block, key);
        } else {
            make_live(run, bits, i);
            written = block;
        }
    }
    return written;
}

/* All blocks that touch a clean page are free. */
static const block_t *open_page(run_t *run, uint64_t *bits, char *start, unsigned page,
                                uintptr_t key) {
    uint16_t bit = (uint16_t)(1u << page);
    bool is_zero = run->zero_pages & bit;
    blocks_t touching = blocks_touching(run, page);
    blocks_t ready = blocks_ready_with(run, page, touching);
    blocks_t beginning = {block_from(page * (uint32_t)RUN_PAGE_BYTES, run->size_class),
                          touching.to};
    const block_t *written = NULL;
    run->clean_pages &= (uint16_t)~bit;
    run->zero_pages &= (uint16_t)~bit;
    if (BLOCK_CHECKS && is_zero)
        written = mark_zero_blocks(run, bits, start, beginning, key);
    else
        mark_blocks(start, beginning, size_class_bytes(run->size_class), key);
    if (page == N_RUN_PAGES - 1)
        mark_guard(start, run->size_class, key);
    run->n_ready = (uint16_t)(run->n_ready + count_free(bits, ready));
    return written;
}

const block_t *run_open_pages(run_t *run, uint64_t *bits, void *start, unsigned n_pages,
                              uintptr_t key) {
    const block_t *written = NULL;
    for (; run->clean_pages && (n_pages || !run->n_ready); n_pages -= n_pages > 0) {
        const block_t *found = open_page(run, bits, start, highest_page(run->clean_pages), key);
        written = found ? found : written;
    }
    return written;
}

uint32_t run_holes(const run_t *run, const uint64_t *bits) {
    uint32_t holes = 0, touched = ~run->clean_pages & RUN_ALL_PAGES;
    for (; touched; touched &= touched - 1) {
        unsigned page = (unsigned)__builtin_ctz(touched);
        if (are_all_free(bits, blocks_touching(run, page)))
            holes |= 1u << page;
    }
    return holes;
}

void run_set_clean(run_t *run, uint32_t pages) {
    for (; pages; pages &= pages - 1) {
        unsigned page = (unsigned)__builtin_ctz(pages);
        blocks_t ready = blocks_ready_with(run, page, blocks_touching(run, page));
        run->clean_pages |= (uint16_t)(1u << page);
        run->zero_pages |= (uint16_t)(1u << page);
        run->n_ready = (uint16_t)(run->n_ready - (ready.to - ready.from));
    }
}

bool run_is_sound(const run_t *run, const uint64_t *bits) {
    uint32_t capacity = run_capacity[run->size_class];
    blocks_t all = {0, capacity}, set = blocks_with_guard(run);
    uint32_t last = capacity / 64;
    return count_free(bits, all) == run->n_free && count_ready(run, bits) == run->n_ready &&
           !(run->zero_pages & ~run->clean_pages) &&
           (bits[last] & ~word_mask(all, last)) == (word_mask(set, last) & ~word_mask(all, last));
}

const block_t *run_damaged_block(const run_t *run, const uint64_t *bits, const void *start,
                                 uintptr_t key) {
    size_t bytes = size_class_bytes(run->size_class);
    FOREACH_STRETCH(run, page, end) {
        blocks_t blocks = blocks_within(run, page, end);
        for (uint32_t i = blocks.from; i < blocks.to; i++) {
            const block_t *block = (const block_t *)((const char *)start + i * bytes);
            if ((bits[i / 64] >> i % 64 & 1) && block_is_damaged(block, key))
                return block;
        }
    }
    return NULL;
}

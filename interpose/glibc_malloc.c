/* SPDX-License-Identifier: MIT */
/*
 * glibc_malloc.c - recognise a chunk of glibc's malloc by what surrounds it (the layout of chunks
 * has been the same since glibc 2.3; heap_info since 2.10, and before 2.35 without a page size in
 * it).
 *
 *      chunk                pointer
 *        +---------+---------+-------------------+---------+-----
 *        |prev_size|size|MAP | user data ...     | size|MAP| next chunk
 *        +---------+---------+-------------------+---------+-----
 *
 *   P  the chunk before is in use; else prev_size is its size
 *   M  mapped by itself: prev_size is the distance from the mapping's start
 *   A  not of the main arena: of one whose heaps lie at multiples of HEAP_BYTES
 */
#include "glibc_malloc.h"

#include <stdint.h>
#include <string.h>

#include "system_call.h"
#include "vm.h"

/* Weak: in a program linked statically there is no second malloc, and none may be pulled in. */
extern void libc_free(void *pointer) __asm__("__libc_free") __attribute__((weak));

#define PREV_IN_USE     ((size_t)1)
#define IS_MAPPED       ((size_t)2)
#define NON_MAIN        ((size_t)4)
#define FLAGS           ((size_t)7)

#define CHUNK_ALIGN     16u
#define CHUNK_MIN_BYTES 32u
#define HEAP_BYTES      ((uintptr_t)64 << 20) /* HEAP_MAX_SIZE, 64 bits */
#define N_TRIES         4u
#define CHAIN_LENGTH    6u /* chunks behind ours that must make sense */

/* ---- Reading memory that may not be there ---- */

/* The kernel reads a signal set before it looks at what to do with it, and "nothing" is not legal.
 */
static bool is_readable(const void *address) {
    return system_call(SYS_rt_sigprocmask, ~0, (long)address, 0, sizeof(uint64_t), 0) != -EFAULT;
}

/* The word at `address`, a multiple of its size; false if there is none. */
static bool read_word(uintptr_t address, size_t *word) {
    if (!is_readable((const void *)address))
        return false;
    memcpy(word, (const void *)address, sizeof *word);
    return true;
}

/* ---- Chunks ---- */

typedef struct {
    uintptr_t address;
    size_t prev_size, size, flags;
} chunk_t;

static bool chunk_read(uintptr_t address, chunk_t *chunk) {
    size_t size_word;
    if (!read_word(address, &chunk->prev_size) || !read_word(address + sizeof(size_t), &size_word))
        return false;
    chunk->address = address;
    chunk->size = size_word & ~FLAGS;
    chunk->flags = size_word & FLAGS;
    return chunk->size >= CHUNK_MIN_BYTES && chunk->size % CHUNK_ALIGN == 0 &&
           chunk->size < SIZE_MAX / 4;
}

static uintptr_t chunk_end(const chunk_t *chunk) {
    return chunk->address + chunk->size;
}

/* The chunk before, if free, says the same size. */
static bool prev_agrees(const chunk_t *chunk) {
    chunk_t prev;
    if (chunk->flags & PREV_IN_USE)
        return true;
    return chunk->prev_size >= CHUNK_MIN_BYTES && chunk->prev_size < chunk->address &&
           chunk->prev_size % CHUNK_ALIGN == 0 &&
           chunk_read(chunk->address - chunk->prev_size, &prev) && prev.size == chunk->prev_size;
}

/* Ends the chunks of a part of a heap that was left behind. */
static bool is_fencepost(uintptr_t address) {
    size_t word;
    return read_word(address + sizeof word, &word) && word == (CHUNK_ALIGN | PREV_IN_USE);
}

/* The next chunks behind ours make sense, and the first says that ours is in use.  The top chunk,
 * the last, ends on a page; ours is never the last. */
static bool chain_is_plausible(chunk_t chunk) {
    bool is_non_main = chunk.flags & NON_MAIN;
    for (unsigned i = 0; i < CHAIN_LENGTH; i++) {
        uintptr_t next = chunk_end(&chunk);
        if ((i > 0 && next % vm_page_bytes() == 0) || is_fencepost(next))
            return true;
        if (!chunk_read(next, &chunk) || (i == 0 && !(chunk.flags & PREV_IN_USE)) ||
            !prev_agrees(&chunk))
            return false;
        /* Of another arena, a chunk is marked only while it is in use. */
        if (chunk.flags & IS_MAPPED || (chunk.flags & NON_MAIN && !is_non_main))
            return false;
    }
    return true;
}

/* ---- Where a chunk is.  Of the main arena it can be anywhere: mostly in the break, but in
 * mappings where something is in the break's way. ---- */

static bool is_mapped_chunk(const chunk_t *chunk) {
    size_t last, page_mask = vm_page_bytes() - 1;
    uintptr_t start = chunk->address - chunk->prev_size;
    if (chunk->flags != IS_MAPPED || chunk->prev_size > chunk->address)
        return false;
    return ((start | (chunk->prev_size + chunk->size)) & page_mask) == 0 &&
           read_word(start, &last) && read_word(chunk_end(chunk) - sizeof last, &last);
}

/* At the start of each heap of a non-main arena. */
typedef struct {
    uintptr_t arena;     /* in the arena's first heap */
    uintptr_t prev_heap; /* NULL in the first */
    size_t bytes;        /* in use, from the heap's start */
} heap_info_t;

static bool heap_read(uintptr_t heap, heap_info_t *info) {
    return read_word(heap, &info->arena) && read_word(heap + sizeof(size_t), &info->prev_heap) &&
           read_word(heap + 2 * sizeof(size_t), &info->bytes);
}

static bool is_in_heap(const chunk_t *chunk) {
    uintptr_t heap = chunk->address & ~(HEAP_BYTES - 1);
    heap_info_t info, first;
    if (!heap_read(heap, &info) || info.bytes == 0 || info.bytes > HEAP_BYTES ||
        info.bytes % vm_page_bytes() != 0 || info.arena % sizeof(size_t) != 0)
        return false;
    return heap_read(info.arena & ~(HEAP_BYTES - 1), &first) && first.arena == info.arena &&
           chunk_end(chunk) < heap + info.bytes;
}

static bool is_chunk(uintptr_t address) {
    chunk_t chunk;
    if (!chunk_read(address, &chunk))
        return false;
    if (chunk.flags & IS_MAPPED)
        return is_mapped_chunk(&chunk);
    if (!prev_agrees(&chunk) || !chain_is_plausible(chunk))
        return false;
    return !(chunk.flags & NON_MAIN) || is_in_heap(&chunk);
}

bool glibc_malloc_owns(const void *pointer) {
    uintptr_t address = (uintptr_t)pointer;
    if (!libc_free || address % CHUNK_ALIGN != 0 || address < vm_page_bytes())
        return false;
    /* Other threads may be changing the neighbours just now. */
    for (unsigned i = 0; i < N_TRIES; i++) {
        if (is_chunk(address - 2 * sizeof(size_t)))
            return true;
        system_call(SYS_sched_yield, 0, 0, 0, 0, 0);
    }
    return false;
}

void glibc_malloc_free(void *pointer) {
    libc_free(pointer);
}

size_t glibc_malloc_usable(void *pointer) {
    size_t word = ((const size_t *)pointer)[-1];
    /* A mapped chunk has no next one whose prev_size it could use. */
    return (word & ~FLAGS) - (word & IS_MAPPED ? 2 : 1) * sizeof(size_t);
}

/* SPDX-License-Identifier: MIT */
#include "run.h"

#include "region.h"

#define RECIPROCAL(size_class, before, bytes) [size_class] = UINT32_MAX / (bytes) + 1u,
#define CAPACITY(size_class, before, bytes)   [size_class] = RUN_BYTES / (bytes),

const uint32_t run_reciprocal[N_SMALL_CLASSES] = {EACH_SMALL_CLASS(RECIPROCAL)};
const uint16_t run_capacity[N_SMALL_CLASSES] = {EACH_SMALL_CLASS(CAPACITY)};

void run_init(run_t *run, unsigned size_class) {
    *run = (run_t){.size_class = (uint8_t)size_class};
}

uint32_t run_take(run_t *run, block_t **head, uintptr_t key) {
    uint32_t n_blocks = run->n_free;
    if (n_blocks == 0)
        return 0;
    if (*head)
        block_link(run->tail, *head, key);
    *head = run->free;
    run->free = run->tail = NULL;
    run->n_free = 0;
    return n_blocks;
}

uint32_t run_carve(run_t *run, void *start, uint32_t max_blocks, block_t **head, uintptr_t key) {
    uint32_t n_blocks = (uint32_t)run_capacity[run->size_class] - run->n_carved;
    if (n_blocks > max_blocks)
        n_blocks = max_blocks;
    size_t bytes = size_class_bytes(run->size_class);
    char *first = (char *)start + run->n_carved * bytes;
    block_t *next = *head;
    for (uint32_t i = n_blocks; i-- > 0;) {
        block_t *block = (block_t *)(first + i * bytes);
        block_link(block, next, key);
        next = block;
    }
    *head = next;
    /* Relaxed: read without the lock to check a pointer, which was carved long before. */
    __atomic_store_n(&run->n_carved, (uint16_t)(run->n_carved + n_blocks), __ATOMIC_RELAXED);
    return n_blocks;
}

void run_list_push(uint32_t *head, uint32_t tile_number) {
    run_t *run = run_of_tile(tile_number);
    run->prev = 0;
    run->next = *head;
    if (*head)
        run_of_tile(*head)->prev = tile_number;
    *head = tile_number;
    run->is_partial = 1;
}

void run_list_remove(uint32_t *head, uint32_t tile_number) {
    run_t *run = run_of_tile(tile_number);
    if (run->next)
        run_of_tile(run->next)->prev = run->prev;
    if (run->prev)
        run_of_tile(run->prev)->next = run->next;
    else
        *head = run->next;
    run->next = run->prev = 0;
    run->is_partial = 0;
}

/* SPDX-License-Identifier: MIT */
#include "heap_slots.h"

#include <string.h>

#include "heap_drain.h"
#include "region.h"
#include "vm.h"

#define SLOT_BYTES     ((int32_t)sizeof(block_t *))
#define MIN_LOG2_BYTES 7u
#define MAX_LOG2_BYTES (MIN_LOG2_BYTES + N_SLOT_ARRAY_SIZES - 1)

/* More than this stays only while it is in use. */
#define KEPT_BYTES     8192

_Static_assert((size_t)1 << MAX_LOG2_BYTES == HEAP_SLOTS_MAX_ARRAY, "the sizes of arrays");

/* ---- Arrays ---- */

static int32_t *first_free(thread_heap_t *heap, unsigned log2_bytes) {
    return &heap->slots.free[log2_bytes - MIN_LOG2_BYTES];
}

/* One that is not in use holds the next one's offset in its first slot. */
static int32_t next_free(const thread_heap_t *heap, int32_t array) {
    return (int32_t)(intptr_t)*heap_slot(heap, array);
}

static void set_next_free(thread_heap_t *heap, int32_t array, int32_t next) {
    *heap_slot(heap, array) = (block_t *)(intptr_t)next;
}

static void push_free(thread_heap_t *heap, int32_t array, unsigned log2_bytes) {
    int32_t *first = first_free(heap, log2_bytes);
    set_next_free(heap, array, *first);
    *first = array;
}

/* No longer free.  False: it is not, at this size. */
static bool remove_free(thread_heap_t *heap, int32_t array, unsigned log2_bytes) {
    int32_t *first = first_free(heap, log2_bytes), before = 0, at = *first;
    for (; at && at != array; at = next_free(heap, at))
        before = at;
    if (!at)
        return false;
    if (before)
        set_next_free(heap, before, next_free(heap, at));
    else
        *first = next_free(heap, at);
    return true;
}

/* The two halves of an array twice as large are free: they are that. */
void heap_slots_put(thread_heap_t *heap, int32_t array, unsigned log2_bytes) {
    while (log2_bytes < MAX_LOG2_BYTES &&
           remove_free(heap, array ^ (int32_t)1 << log2_bytes, log2_bytes))
        array &= ~((int32_t)1 << log2_bytes++);
    push_free(heap, array, log2_bytes);
}

/* A free array, or the upper end of a larger one; 0: none. */
static int32_t take_free(thread_heap_t *heap, unsigned log2_bytes) {
    unsigned larger = log2_bytes;
    while (larger <= MAX_LOG2_BYTES && !*first_free(heap, larger))
        larger++;
    if (larger > MAX_LOG2_BYTES)
        return 0;
    int32_t array = *first_free(heap, larger);
    *first_free(heap, larger) = next_free(heap, array);
    while (larger-- > log2_bytes) {
        push_free(heap, array, larger);
        array += (int32_t)1 << larger;
    }
    return array;
}

/* One array more, or what is missing before its place: each lies at a multiple of its size. */
static bool make_array(thread_heap_t *heap, unsigned log2_bytes) {
    unsigned log2_place = (unsigned)__builtin_ctz((uint32_t)heap->slots.end | 1u << log2_bytes);
    int32_t array = heap->slots.end - ((int32_t)1 << log2_place);
    if (array < -(int32_t)HEAP_SLOTS_BYTES)
        return false;
    heap->slots.end = array;
    region_use_header(region_of(heap), heap_slot(heap, array), heap_slot(heap, array) + 1);
    heap_slots_put(heap, array, log2_place);
    return true;
}

int32_t heap_slots_get(thread_heap_t *heap, unsigned log2_bytes) {
    int32_t array;
    while (!(array = take_free(heap, log2_bytes)))
        if (!make_array(heap, log2_bytes))
            return 0;
    region_use_header(region_of(heap), heap_slot(heap, array),
                      heap_slot(heap, array + ((int32_t)1 << log2_bytes)));
    *heap_slot(heap, array) = NO_BLOCK;
    return array;
}

void heap_slots_reset(thread_heap_t *heap) {
    int32_t end = heap->slots.end;
    heap->slots = (heap_slots_t){.end = 0}; /* the lists have no arrays by now */
    if (end < -KEPT_BYTES) {
        uintptr_t from = vm_round_up((uintptr_t)heap_slot(heap, end));
        uintptr_t to = (uintptr_t)heap_slot(heap, -KEPT_BYTES) & ~(uintptr_t)(vm_page_bytes() - 1);
        uintptr_t start = (uintptr_t)region_of(heap);
        if (from < to && vm_purge((void *)from, to - from))
            region_forget_header(region_of(heap), (from - start) / RUN_PAGE_BYTES,
                                 (to - start) / RUN_PAGE_BYTES);
    }
}

/* ---- Lists ---- */

static uint32_t capacity(const thread_heap_t *heap, unsigned size_class) {
    unsigned log2_bytes = heap->slots.log2_bytes[size_class];
    return log2_bytes ? ((uint32_t)1 << log2_bytes) / SLOT_BYTES - 1 : 0;
}

void heap_list_set_limit(thread_heap_t *heap, unsigned size_class, int32_t limit) {
    int32_t n_slots = (int32_t)capacity(heap, size_class);
    heap->limit[size_class] = limit;
    heap->list_last[size_class] =
        heap->slots.first[size_class] + (limit < n_slots ? limit : n_slots) * SLOT_BYTES;
}

/* Move the list to an array of this size.  False: there is no room. */
static bool change_array(thread_heap_t *heap, unsigned size_class, unsigned log2_bytes) {
    int32_t array = heap_slots_get(heap, log2_bytes);
    if (!array)
        return false;
    int32_t old = heap->slots.first[size_class];
    uint32_t n_blocks = list_n_blocks(heap, size_class);
    if (old) {
        memcpy(heap_slot(heap, array) + 1, heap_slot(heap, old) + 1, n_blocks * sizeof(block_t *));
        heap_slots_put(heap, old, heap->slots.log2_bytes[size_class]);
    }
    heap->slots.first[size_class] = array;
    heap->list_top[size_class] = array + (int32_t)n_blocks * SLOT_BYTES;
    heap->slots.log2_bytes[size_class] = (uint8_t)log2_bytes;
    heap_list_set_limit(heap, size_class, heap->limit[size_class]);
    return true;
}

bool heap_list_grow(thread_heap_t *heap, unsigned size_class) {
    unsigned log2_bytes = heap->slots.log2_bytes[size_class];
    if (heap->limit[size_class] <= (int32_t)capacity(heap, size_class) ||
        log2_bytes == MAX_LOG2_BYTES || list_drains(heap, size_class))
        return false;
    return change_array(heap, size_class, log2_bytes ? log2_bytes + 1 : MIN_LOG2_BYTES);
}

uint32_t heap_list_reserve(thread_heap_t *heap, unsigned size_class, uint32_t n_blocks) {
    if (capacity(heap, size_class) < n_blocks)
        heap_list_grow(heap, size_class);
    uint32_t n_slots = capacity(heap, size_class);
    return n_blocks < n_slots ? n_blocks : n_slots;
}

void heap_list_release(thread_heap_t *heap, unsigned size_class) {
    int32_t array = heap->slots.first[size_class];
    if (!array)
        return;
    heap->list_top[size_class] = heap->list_last[size_class] = 0;
    heap->slots.first[size_class] = 0;
    heap_slots_put(heap, array, heap->slots.log2_bytes[size_class]);
    heap->slots.log2_bytes[size_class] = 0;
}

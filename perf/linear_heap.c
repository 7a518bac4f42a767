/* SPDX-License-Identifier: MIT */
/* linear_heap.c - see linear_heap.h. */
#include "linear_heap.h"

#include <stdint.h>
#include <stdlib.h>
#include <sys/mman.h>

/*
 * Words are 8 bytes.  Each element is a tag word and its user words; a free one holds the links of
 * its bin's list in its user words.  The element after the last is the border: never free, size 0.
 */
typedef struct {
    uint32_t n_words;           /* user words */
    uint32_t prev_n_words : 31; /* of the element before; 0: there is none */
    uint32_t is_free : 1;
} tag_t;

typedef struct element {
    tag_t tag;
    struct element *next, *prev; /* while free */
} element_t;

#define N_BINS    32
#define MIN_WORDS 2 /* the links must fit */

struct linear_heap {
    element_t *bins[N_BINS];
    uint64_t *border, *end; /* the border's place; the end of the mapping */
    bool is_checked;
    uint64_t words[];
};

static unsigned bin_of(uint32_t n_words) {
    return 31u - (unsigned)__builtin_clz(n_words);
}

static element_t *next_element(element_t *element) {
    return (element_t *)((uint64_t *)element + 1 + element->tag.n_words);
}

static element_t *prev_element(element_t *element) {
    return (element_t *)((uint64_t *)element - 1 - element->tag.prev_n_words);
}

static bool is_inside(const linear_heap_t *heap, const element_t *element) {
    return (uintptr_t)element % 8 == 0 && (uint64_t *)element >= heap->words &&
           (uint64_t *)element < heap->border;
}

/* In use, or free: do the tags of the neighbours agree? */
static void check_tags(const linear_heap_t *heap, element_t *element, bool is_free) {
    if (!is_inside(heap, element) || element->tag.is_free != is_free || !element->tag.n_words ||
        element->tag.n_words >= (size_t)(heap->border - (uint64_t *)element) ||
        next_element(element)->tag.prev_n_words != element->tag.n_words)
        abort();
    if (element->tag.prev_n_words &&
        (element->tag.prev_n_words >= (size_t)((uint64_t *)element - heap->words) ||
         prev_element(element)->tag.n_words != element->tag.prev_n_words))
        abort();
}

static void check_links(const linear_heap_t *heap, const element_t *element) {
    const element_t *next = element->next, *prev = element->prev;
    if (next && (!is_inside(heap, next) || !next->tag.is_free || next->prev != element))
        abort();
    if (prev ? !is_inside(heap, prev) || prev->next != element
             : heap->bins[bin_of(element->tag.n_words)] != element)
        abort();
}

static void push(linear_heap_t *heap, element_t *element) {
    element_t **head = &heap->bins[bin_of(element->tag.n_words)];
    element->tag.is_free = true;
    element->prev = NULL;
    element->next = *head;
    if (*head)
        (*head)->prev = element;
    *head = element;
}

static void take(linear_heap_t *heap, element_t *element) {
    if (heap->is_checked) {
        check_tags(heap, element, true);
        check_links(heap, element);
    }
    if (element->prev)
        element->prev->next = element->next;
    else
        heap->bins[bin_of(element->tag.n_words)] = element->next;
    if (element->next)
        element->next->prev = element->prev;
    element->tag.is_free = false;
}

static void set_n_words(element_t *element, uint32_t n_words) {
    element->tag.n_words = n_words;
    next_element(element)->tag.prev_n_words = n_words;
}

/* The first free element that fits, from its own bin on; NULL if there is none. */
static element_t *search(linear_heap_t *heap, uint32_t n_words) {
    for (unsigned bin = bin_of(n_words); bin < N_BINS; bin++)
        for (element_t *element = heap->bins[bin]; element; element = element->next)
            if (element->tag.n_words >= n_words)
                return element;
    return NULL;
}

/* A new element at the border, which moves up. */
static element_t *extend(linear_heap_t *heap, uint32_t n_words) {
    if ((size_t)(heap->end - heap->border) < (size_t)n_words + 2)
        return NULL;
    element_t *element = (element_t *)heap->border;
    heap->border += 1 + n_words;
    element_t *border = (element_t *)heap->border;
    border->tag = (tag_t){0};
    set_n_words(element, n_words);
    return element;
}

static void split(linear_heap_t *heap, element_t *element, uint32_t n_words) {
    uint32_t n_left = element->tag.n_words - n_words;
    if (n_left < 1 + MIN_WORDS)
        return;
    element->tag.n_words = n_words;
    element_t *rest = next_element(element);
    rest->tag = (tag_t){.prev_n_words = n_words & 0x7fffffff};
    set_n_words(rest, n_left - 1);
    push(heap, rest);
}

linear_heap_t *linear_heap_create(size_t n_bytes, bool is_checked) {
    void *memory = mmap(NULL, n_bytes, PROT_READ | PROT_WRITE,
                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED)
        return NULL;
    linear_heap_t *heap = memory;
    heap->is_checked = is_checked;
    heap->border = heap->words;
    heap->end = (uint64_t *)memory + n_bytes / sizeof(uint64_t);
    return heap;
}

void *linear_heap_get(linear_heap_t *heap, size_t n_bytes) {
    uint32_t n_words = (uint32_t)((n_bytes + 7) / 8);
    if (n_words < MIN_WORDS)
        n_words = MIN_WORDS;
    element_t *element = search(heap, n_words);
    if (element) {
        take(heap, element);
        split(heap, element, n_words);
    } else {
        element = extend(heap, n_words);
    }
    return element ? (uint64_t *)element + 1 : NULL;
}

void linear_heap_put(linear_heap_t *heap, void *object) {
    element_t *element = (element_t *)((uint64_t *)object - 1);
    if (heap->is_checked)
        check_tags(heap, element, false);
    element_t *next = next_element(element);
    if (next->tag.is_free) {
        take(heap, next);
        set_n_words(element, element->tag.n_words + 1 + next->tag.n_words);
    }
    if (element->tag.prev_n_words && prev_element(element)->tag.is_free) {
        element_t *prev = prev_element(element);
        take(heap, prev);
        set_n_words(prev, prev->tag.n_words + 1 + element->tag.n_words);
        element = prev;
    }
    push(heap, element);
}

size_t linear_heap_bytes(const linear_heap_t *heap) {
    return (size_t)((const char *)heap->border - (const char *)heap);
}

/* SPDX-License-Identifier: MIT */
/*
 * trace.c - two hash tables with linear probing: live objects by key, call stacks by contents.
 *
 * A call stack (stack_row_t) keeps its number for ever, even without live objects: objects name it
 * by that number.  Their number is bounded by the program's code, not by its run time.
 */
#include "trace.h"

#include <string.h>

#include "lock.h"
#include "vm.h"

#define MIN_TABLE_BYTES (64u << 10)
#define NO_STACK        (~(uint32_t)0)

typedef struct {
    uintptr_t key;
    uint64_t n_bytes;
    uint32_t stack; /* number of its call stack + 1; 0: the slot is empty */
} object_t;

typedef struct {
    uint64_t n_objects, n_bytes; /* sums over the objects with this stack */
    uint64_t hash;
    uint32_t n_callers;
    uintptr_t callers[MHEAP_TRACE_CALLERS];
} stack_row_t;

/* An array in a mapping of its own. */
typedef struct {
    void *items;
    size_t n_mapped_bytes, n_capacity, n_used;
} array_t;

struct mheap_trace_table {
    lock_t lock;
    uint64_t n_lost;
    array_t objects; /* object_t, a hash table; at most 3/4 of 2^n slots are used */
    array_t stacks;  /* stack_row_t, in order of appearance */
    array_t index;   /* uint32_t, a hash table of numbers into stacks + 1; at most half full */
};

/* ---- Arrays ---- */

static bool array_map(array_t *a, size_t n_capacity, size_t item_bytes) {
    size_t n_bytes = vm_round_up(n_capacity * item_bytes);
    void *items = vm_map(n_bytes);
    if (!items)
        return false;
    *a = (array_t){items, n_bytes, n_capacity, 0};
    return true;
}

static void array_release(array_t *a) {
    if (a->items)
        vm_release(a->items, a->n_mapped_bytes);
    *a = (array_t){0};
}

/* 2^n items that fill at least MIN_TABLE_BYTES. */
static size_t first_capacity(size_t item_bytes) {
    size_t n = 1;
    while (n * item_bytes < MIN_TABLE_BYTES)
        n *= 2;
    return n;
}

/* ---- Objects ---- */

static size_t object_slot(const array_t *objects, uintptr_t key) {
    uint64_t hash = (uint64_t)key * 0x9e3779b97f4a7c15ull; /* the upper bits depend on all of key */
    return (size_t)(hash >> 32) & (objects->n_capacity - 1);
}

/* The key's slot, or the empty one where it belongs. */
static object_t *object_find(const array_t *objects, uintptr_t key) {
    object_t *slots = objects->items;
    size_t i = object_slot(objects, key);
    while (slots[i].stack && slots[i].key != key)
        i = (i + 1) & (objects->n_capacity - 1);
    return &slots[i];
}

static bool objects_grow(array_t *objects) {
    array_t wider;
    if (!array_map(&wider, objects->n_capacity * 2, sizeof(object_t)))
        return false;
    const object_t *slots = objects->items;
    for (size_t i = 0; i < objects->n_capacity; i++)
        if (slots[i].stack)
            *object_find(&wider, slots[i].key) = slots[i];
    wider.n_used = objects->n_used;
    array_release(objects);
    *objects = wider;
    return true;
}

/* Empty a slot; later ones that had to pass it move up, so that no search ends too early. */
static void object_erase(array_t *objects, object_t *object) {
    object_t *slots = objects->items;
    size_t mask = objects->n_capacity - 1, hole = (size_t)(object - slots);
    for (size_t i = (hole + 1) & mask; slots[i].stack; i = (i + 1) & mask) {
        size_t home = object_slot(objects, slots[i].key);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            slots[hole] = slots[i];
            hole = i;
        }
    }
    slots[hole].stack = 0;
    objects->n_used--;
}

/* ---- Call stacks ---- */

static uint64_t stack_hash(const uintptr_t *callers, uint32_t n_callers) {
    uint64_t hash = n_callers;
    for (uint32_t i = 0; i < n_callers; i++) {
        hash = (hash ^ callers[i]) * 0x9e3779b97f4a7c15ull;
        hash ^= hash >> 29;
    }
    return hash;
}

static bool stacks_grow(trace_table_t *t) {
    array_t stacks, index;
    if (!array_map(&stacks, t->stacks.n_capacity * 2, sizeof(stack_row_t)))
        return false;
    if (!array_map(&index, t->stacks.n_capacity * 4, sizeof(uint32_t))) {
        array_release(&stacks);
        return false;
    }
    const stack_row_t *rows = t->stacks.items;
    uint32_t *numbers = index.items;
    for (size_t n = 0; n < t->stacks.n_used; n++) {
        size_t i = rows[n].hash & (index.n_capacity - 1);
        while (numbers[i])
            i = (i + 1) & (index.n_capacity - 1);
        numbers[i] = (uint32_t)n + 1;
    }
    memcpy(stacks.items, rows, t->stacks.n_used * sizeof *rows);
    stacks.n_used = t->stacks.n_used;
    array_release(&t->stacks);
    array_release(&t->index);
    t->stacks = stacks;
    t->index = index;
    return true;
}

static bool stack_is(const stack_row_t *row, const uintptr_t *callers, uint32_t n, uint64_t hash) {
    if (row->hash != hash || row->n_callers != n)
        return false;
    for (uint32_t i = 0; i < n; i++)
        if (row->callers[i] != callers[i])
            return false;
    return true;
}

/* The slot of the index where the call stack's number is, or belongs. */
static uint32_t *stack_find(const trace_table_t *t, const uintptr_t *callers, uint32_t n_callers,
                            uint64_t hash) {
    const stack_row_t *rows = t->stacks.items;
    uint32_t *numbers = t->index.items;
    size_t mask = t->index.n_capacity - 1, i = hash & mask;
    while (numbers[i] && !stack_is(&rows[numbers[i] - 1], callers, n_callers, hash))
        i = (i + 1) & mask;
    return &numbers[i];
}

/* The number of the call stack, made if it is new; NO_STACK if there is no memory. */
static uint32_t stack_number(trace_table_t *t, const uintptr_t *callers, uint32_t n_callers) {
    uint64_t hash = stack_hash(callers, n_callers);
    uint32_t *slot = stack_find(t, callers, n_callers, hash);
    if (*slot)
        return *slot - 1;
    if (t->stacks.n_used == t->stacks.n_capacity) {
        if (!stacks_grow(t))
            return NO_STACK;
        slot = stack_find(t, callers, n_callers, hash);
    }
    uint32_t number = (uint32_t)t->stacks.n_used++;
    stack_row_t *row = (stack_row_t *)t->stacks.items + number;
    row->hash = hash;
    row->n_callers = n_callers;
    for (uint32_t k = 0; k < n_callers; k++)
        row->callers[k] = callers[k];
    *slot = number + 1;
    return number;
}

static stack_row_t *stack_of(trace_table_t *t, const object_t *object) {
    return (stack_row_t *)t->stacks.items + object->stack - 1;
}

/* ---- The table ---- */

trace_table_t *trace_create(void) {
    trace_table_t *t = vm_map(vm_round_up(sizeof *t));
    if (!t)
        return NULL;
    size_t n_stacks = first_capacity(sizeof(stack_row_t));
    if (array_map(&t->objects, first_capacity(sizeof(object_t)), sizeof(object_t)) &&
        array_map(&t->stacks, n_stacks, sizeof(stack_row_t)) &&
        array_map(&t->index, n_stacks * 2, sizeof(uint32_t)))
        return t;
    trace_destroy(t);
    return NULL;
}

void trace_destroy(trace_table_t *t) {
    if (!t)
        return;
    array_release(&t->objects);
    array_release(&t->stacks);
    array_release(&t->index);
    vm_release(t, vm_round_up(sizeof *t));
}

static void forget(trace_table_t *t, object_t *object) {
    stack_row_t *stack = stack_of(t, object);
    stack->n_objects--;
    stack->n_bytes -= object->n_bytes;
    object_erase(&t->objects, object);
}

static bool record(trace_table_t *t, uintptr_t key, uint64_t n_bytes, const uintptr_t *callers,
                   uint32_t n_callers) {
    object_t *object = object_find(&t->objects, key);
    if (object->stack)
        forget(t, object);
    if (t->objects.n_used >= t->objects.n_capacity / 4 * 3 && !objects_grow(&t->objects))
        return false;
    uint32_t number = stack_number(t, callers, n_callers);
    if (number == NO_STACK)
        return false;
    object = object_find(&t->objects, key);
    *object = (object_t){key, n_bytes, number + 1};
    t->objects.n_used++;
    stack_row_t *stack = stack_of(t, object);
    stack->n_objects++;
    stack->n_bytes += n_bytes;
    return true;
}

bool trace_add(trace_table_t *t, uintptr_t key, uint64_t n_bytes, const uintptr_t *callers,
               uint32_t n_callers) {
    if (n_callers > MHEAP_TRACE_CALLERS)
        n_callers = MHEAP_TRACE_CALLERS;
    lock_acquire(&t->lock);
    bool done = record(t, key, n_bytes, callers, n_callers);
    t->n_lost += !done;
    lock_release(&t->lock);
    return done;
}

void trace_remove(trace_table_t *t, uintptr_t key) {
    lock_acquire(&t->lock);
    object_t *object = object_find(&t->objects, key);
    if (object->stack)
        forget(t, object);
    lock_release(&t->lock);
}

void trace_resize(trace_table_t *t, uintptr_t key, uint64_t n_bytes) {
    lock_acquire(&t->lock);
    object_t *object = object_find(&t->objects, key);
    if (object->stack) {
        stack_of(t, object)->n_bytes += n_bytes - object->n_bytes;
        object->n_bytes = n_bytes;
    }
    lock_release(&t->lock);
}

uint64_t trace_n_lost(trace_table_t *t) {
    lock_acquire(&t->lock);
    uint64_t n_lost = t->n_lost;
    lock_release(&t->lock);
    return n_lost;
}

void trace_lock(trace_table_t *t) {
    lock_acquire(&t->lock);
}

void trace_unlock(trace_table_t *t) {
    lock_release(&t->lock);
}

void trace_reset_lock(trace_table_t *t) {
    lock_reset(&t->lock);
}

/* ---- Copies for readers ---- */

/* The rows of all call stacks that have live objects, in the order of their numbers. */
static size_t copy_rows(trace_table_t *t, mheap_trace_row_t *rows) {
    stack_row_t *stacks = t->stacks.items;
    size_t n_stacks = t->stacks.n_used, n_rows = 0;
    for (size_t n = 0; n < n_stacks; n++) {
        mheap_trace_row_t *row = &rows[n];
        row->n_allocations = stacks[n].n_objects;
        row->n_bytes = stacks[n].n_bytes;
        row->n_callers = stacks[n].n_callers;
        memcpy(row->callers, stacks[n].callers, sizeof row->callers);
    }
    const object_t *objects = t->objects.items;
    for (size_t i = 0; i < t->objects.n_capacity; i++)
        if (objects[i].stack)
            rows[objects[i].stack - 1].sample = objects[i].key;
    for (size_t n = 0; n < n_stacks; n++)
        if (rows[n].n_allocations)
            rows[n_rows++] = rows[n];
    return n_rows;
}

static bool row_is_before(const mheap_trace_row_t *a, const mheap_trace_row_t *b) {
    if (a->n_bytes != b->n_bytes)
        return a->n_bytes > b->n_bytes;
    return a->n_allocations > b->n_allocations;
}

/* Heap sort: in place, O(n log n), and without the C library's qsort, which may allocate. */
static void sift_down(mheap_trace_row_t *rows, size_t root, size_t n) {
    mheap_trace_row_t row = rows[root];
    for (size_t child; (child = 2 * root + 1) < n; root = child) {
        if (child + 1 < n && row_is_before(&rows[child], &rows[child + 1]))
            child++;
        if (!row_is_before(&row, &rows[child]))
            break;
        rows[root] = rows[child];
    }
    rows[root] = row;
}

static void sort_rows(mheap_trace_row_t *rows, size_t n) {
    for (size_t i = n / 2; i-- > 0;)
        sift_down(rows, i, n);
    while (n > 1) {
        mheap_trace_row_t last = rows[0];
        rows[0] = rows[--n];
        rows[n] = last;
        sift_down(rows, 0, n);
    }
}

static size_t snapshot_bytes(size_t n_rows) {
    return vm_round_up(n_rows * sizeof(mheap_trace_row_t));
}

mheap_trace_row_t *trace_snapshot(trace_table_t *t, size_t *n_rows) {
    lock_acquire(&t->lock);
    size_t n_stacks = t->stacks.n_used;
    *n_rows = n_stacks;
    mheap_trace_row_t *rows = n_stacks ? vm_map(snapshot_bytes(n_stacks)) : NULL;
    if (rows)
        *n_rows = copy_rows(t, rows);
    lock_release(&t->lock);
    if (!rows)
        return NULL;
    if (snapshot_bytes(*n_rows) < snapshot_bytes(n_stacks)) /* keep what release will name */
        vm_release((char *)rows + snapshot_bytes(*n_rows),
                   snapshot_bytes(n_stacks) - snapshot_bytes(*n_rows));
    sort_rows(rows, *n_rows);
    return *n_rows ? rows : NULL;
}

void trace_snapshot_release(mheap_trace_row_t *rows, size_t n_rows) {
    if (rows)
        vm_release(rows, snapshot_bytes(n_rows));
}

bool trace_foreach(trace_table_t *t, mheap_trace_fn *func, void *arg) {
    size_t n_rows;
    mheap_trace_row_t *rows = trace_snapshot(t, &n_rows);
    if (!rows)
        return n_rows == 0;
    for (size_t i = 0; i < n_rows; i++)
        func(arg, &rows[i]);
    trace_snapshot_release(rows, n_rows);
    return true;
}

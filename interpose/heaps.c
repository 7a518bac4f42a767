/* SPDX-License-Identifier: MIT */
#include "heaps.h"

#include <errno.h>
#include <string.h>

#include "boot.h"
#include "heap_elements.h"
#include "heap_lists.h"
#include "heap_slow.h"
#include "limits.h"
#include "mheap_internal.h"
#include "purge_budget.h"
#include "remote.h"
#include "secret.h"
#include "vm.h"

/* A region is smaller only when address space is short. */
#define REGION_MIN_BYTES   ((size_t)256 << 10)

/* What a new region makes accessible at first, behind its header. */
#define FIRST_COMMIT_BYTES ((size_t)192 << 10)

/* Heaps looked at for a dead owner when a thread needs a heap. */
#define ADOPT_TRIES        64u

const block_t no_block;
const struct no_heap no_heap = {.empty_slot = NO_BLOCK,
                                .fast_id = OWNER_NOT_SELF,
                                .id = OWNER_NOT_SELF,
                                .only_region = NO_REGION};
_Thread_local thread_heap_t *self_heap = NO_HEAP;

/* table_lock guards making and adopting heaps.  heaps[i] and n_heaps are only ever written under it
 * (release), and read anywhere (acquire). */
static lock_t table_lock;
static _Atomic(thread_heap_t *) heaps[OWNER_HEAP_MAX + 1u];
static _Atomic uint32_t n_heaps;
static uint32_t adopt_hand; /* where the next search for a dead owner begins; under table_lock */
static bool slow_mode;

/*
 * Which locks this thread holds or is about to hold: noted before a lock is taken and forgotten
 * after it is let go, so that fork in a signal handler knows of them (fork.c).
 */
static _Thread_local thread_heap_t *locked_heap;
static _Thread_local bool table_is_locked;

static inline void order_for_signal_handlers(void) {
    atomic_signal_fence(memory_order_seq_cst);
}

/* This thread is between the handlers of a fork and holds every lock.  Others' handlers may run
 * meanwhile, before or after ours, and may allocate. */
static _Thread_local bool is_forking;

static void lock_table(void) {
    if (is_forking)
        return;
    table_is_locked = true;
    order_for_signal_handlers();
    lock_acquire(&table_lock);
}

static void unlock_table(void) {
    if (is_forking)
        return;
    lock_release(&table_lock);
    order_for_signal_handlers();
    table_is_locked = false;
}

thread_heap_t *heap_by_id(owner_id_t id) {
    return atomic_load_explicit(&heaps[id], memory_order_acquire);
}

owner_id_t heap_last_id(void) {
    return (owner_id_t)atomic_load_explicit(&n_heaps, memory_order_acquire);
}

bool heaps_are_forking(void) {
    return is_forking;
}

void heap_lock(thread_heap_t *heap) {
    if (is_forking)
        return;
    locked_heap = heap;
    order_for_signal_handlers();
    lock_acquire(&heap->lock);
}

bool heap_try_lock(thread_heap_t *heap) {
    if (is_forking)
        return true;
    locked_heap = heap;
    order_for_signal_handlers();
    if (lock_try(&heap->lock))
        return true;
    locked_heap = NULL;
    return false;
}

void heap_unlock(thread_heap_t *heap) {
    if (is_forking)
        return;
    lock_release(&heap->lock);
    order_for_signal_handlers();
    locked_heap = NULL;
}

void heap_foreach(void (*visit)(void *arg, thread_heap_t *heap), void *arg) {
    owner_id_t last = heap_last_id();
    for (owner_id_t id = 1; id <= last; id++) {
        thread_heap_t *heap = heap_by_id(id);
        heap_lock(heap);
        visit(arg, heap);
        heap_unlock(heap);
    }
}

/* Of the calling thread's heap only: another thread that adds or releases a region leaves what is
 * noted behind the truth, which costs time, but a pointer into the first region is always one of
 * the heap's. */
static void note_only_region(thread_heap_t *heap) {
    if (heap == self_heap)
        heap->only_region = heap->n_mheaps == 1 && heap->fast_id == heap->id
                                ? (uintptr_t)region_of(heap)
                                : NO_REGION;
}

void heaps_set_slow_mode(bool on) {
    slow_mode = on;
    if (self_heap == NO_HEAP)
        return;
    self_heap->fast_id = on ? OWNER_NOT_SELF : self_heap->id;
    note_only_region(self_heap);
}

/* ---- Regions ---- */

/* Reserve a region and set up its mheap. */
static region_t *make_region(size_t min_bytes) {
    size_t bytes = REGION_BYTES, commit = REGION_HEADER_BYTES + FIRST_COMMIT_BYTES;
    size_t need = vm_round_up(min_bytes + REGION_HEADER_BYTES + 2 * MHEAP_TAG_BYTES);
    if (need < REGION_MIN_BYTES)
        need = REGION_MIN_BYTES;
    region_t *region;
    while (!(region = owner_reserve(bytes, REGION_BYTES))) {
        if (bytes / 2 < need)
            return NULL;
        bytes /= 2;
    }
    if (!vm_commit(region, commit)) { /* less than a huge page: heap_elements.c */
        vm_release(region, bytes);
        return NULL;
    }
    purge_budget_earn(FIRST_COMMIT_BYTES);
    memset(region->tile_class, TILE_ELEMENTS, sizeof region->tile_class);
    mheap_init(region_mheap(region), bytes - REGION_HEADER_BYTES, commit - REGION_HEADER_BYTES,
               MHEAP_INTERNAL_FLAG_RESERVED | MHEAP_INTERNAL_FLAG_ZEROED);
    region_use_header(region, region, region->runs);
    region_use_header(region, region_mheap(region), region_vector(region));
    return region;
}

/* Room for twice as many entries.  The old array stays mapped only if it was a mapping of its own,
 * until it is copied. */
static bool grow_mheap_table(thread_heap_t *heap) {
    size_t old_bytes = heap->max_mheaps * sizeof heap->mheaps[0];
    size_t new_bytes = vm_round_up(2 * old_bytes);
    heap_mheap_t *table = vm_map(new_bytes);
    if (!table)
        return false;
    memcpy(table, heap->mheaps, old_bytes);
    if (heap->mheaps != heap->inline_mheaps)
        vm_release(heap->mheaps, vm_round_up(old_bytes));
    heap->mheaps = table;
    heap->max_mheaps = (uint32_t)(new_bytes / sizeof heap->mheaps[0]);
    return true;
}

static void attach_region(thread_heap_t *heap, region_t *region) {
    region->heap_index = heap->n_mheaps++;
    heap_mheap_t *entry = &heap->mheaps[region->heap_index];
    *entry = (heap_mheap_t){.region = region};
    heap_note_change(heap, entry);
    owner_set(region, REGION_BYTES, heap->id);
    note_only_region(heap);
}

bool heap_add_region(thread_heap_t *heap, size_t min_bytes) {
    if (heap->n_mheaps == heap->max_mheaps && !grow_mheap_table(heap))
        return false;
    region_t *region = make_region(min_bytes);
    if (!region)
        return false;
    attach_region(heap, region);
    return true;
}

/* The last entry takes the place of one that goes. */
static void release_region(thread_heap_t *heap, uint32_t index) {
    region_t *region = heap->mheaps[index].region;
    heap_note_leaves(heap, &heap->mheaps[index]);
    size_t bytes = REGION_HEADER_BYTES + region_mheap(region)->max_len;
    heap->mheaps[index] = heap->mheaps[--heap->n_mheaps];
    heap->mheaps[index].region->heap_index = index;
    owner_set(region, REGION_BYTES, OWNER_NONE);
    note_only_region(heap);
    if (!vm_release(region, bytes)) /* out of mappings: keep the range, but without its pages */
        vm_decommit(region, bytes);
}

void heap_release_empty_regions(thread_heap_t *heap) {
    for (uint32_t i = heap->n_mheaps; i-- > 1;)
        if (region_mheap(heap->mheaps[i].region)->n_elts == 0)
            release_region(heap, i);
}

/* ---- Heaps ---- */

static void init_alive(pthread_mutex_t *alive) {
    pthread_mutexattr_t robust;
    pthread_mutexattr_init(&robust);
    pthread_mutexattr_setrobust(&robust, PTHREAD_MUTEX_ROBUST);
    pthread_mutex_init(alive, &robust);
    pthread_mutexattr_destroy(&robust);
}

bool heap_own_if_dead(thread_heap_t *heap) {
    int result = pthread_mutex_trylock(&heap->alive);
    if (result == EOWNERDEAD) {
        pthread_mutex_consistent(&heap->alive);
        result = 0;
    }
    return result == 0;
}

void heap_disown(thread_heap_t *heap) {
    pthread_mutex_unlock(&heap->alive);
}

/* What there is to be used again.  Two hints, relaxed. */
static uint64_t spare_bytes(thread_heap_t *heap) {
    return atomic_load_explicit(&heap->spare_bytes, memory_order_relaxed) +
           atomic_load_explicit(&heap->inbox_bytes, memory_order_relaxed);
}

/* Of the heaps without an owner the one that has most to spare: so where threads come and go no
 * more heaps are in use, each with free memory of its own, than threads are alive at once. */
static thread_heap_t *adopt_heap(uint32_t n) {
    uint32_t tries = n < ADOPT_TRIES ? n : ADOPT_TRIES, hand = adopt_hand;
    thread_heap_t *best = NULL;
    while (tries-- > 0) {
        hand = hand % n + 1;
        thread_heap_t *heap = heap_by_id((owner_id_t)hand);
        if ((best && spare_bytes(heap) <= spare_bytes(best)) || !heap_own_if_dead(heap))
            continue;
        if (best)
            heap_disown(best);
        best = heap;
        adopt_hand = hand - 1; /* thread after thread can use the same heap, while it is warm */
    }
    return best;
}

static void init_lists(thread_heap_t *heap) {
    for (unsigned c = 0; c < N_CLASSES; c++)
        heap->limit[c] = heap_list_limit_at_first(c);
    memcpy(heap->reciprocal, run_reciprocal, sizeof run_reciprocal);
    heap->reciprocal[TILE_ELEMENTS] = RUN_BLOCK_PRODUCT_END;
    for (size_t c = 0, i = 0; i < sizeof heap->class_of; c++) { /* 32 KiB are a class's, too */
        size_t end = size_class_bytes((unsigned)c) / 16 + 1;
        memset(heap->class_of + i, (int)c, end - i);
        i = end;
    }
    heap->n_until_hot = FREES_UNTIL_HOT;
}

_Static_assert(sizeof(thread_heap_t) + 64 + sizeof(mheap_t) <= 8192,
               "each thread pays for these pages");

static thread_heap_t *make_heap(uint32_t n) {
    if (n >= OWNER_HEAP_MAX)
        return NULL;
    region_t *region = make_region(0);
    if (!region)
        return NULL;
    uintptr_t end = (uintptr_t)region_mheap(region) - sizeof(thread_heap_t);
    thread_heap_t *heap = (thread_heap_t *)(end & ~(uintptr_t)63);
    region_use_header(region, heap, region_vector(region));
    heap->empty_slot = NO_BLOCK;
    heap->key = secret_key();
    heap->id = (owner_id_t)(n + 1);
    heap->fast_id = slow_mode ? OWNER_NOT_SELF : heap->id;
    heap->only_region = NO_REGION;
    heap->mheaps = heap->inline_mheaps;
    heap->max_mheaps = N_INLINE_MHEAPS;
    init_lists(heap);
    remote_owner_looks(heap, 0);
    init_alive(&heap->alive);
    pthread_mutex_lock(&heap->alive);
    attach_region(heap, region);
    atomic_store_explicit(&heaps[heap->id], heap, memory_order_release);
    atomic_store_explicit(&n_heaps, n + 1, memory_order_release);
    return heap;
}

thread_heap_t *heap_self(void) {
    if (self_heap != NO_HEAP)
        return self_heap;
    int saved_errno = errno;
    boot_first_heap();
    lock_table();
    uint32_t n = atomic_load_explicit(&n_heaps, memory_order_relaxed);
    thread_heap_t *heap = n ? adopt_heap(n) : NULL;
    bool adopted = heap != NULL;
    if (!adopted)
        heap = make_heap(n);
    unlock_table();
    errno = saved_errno;
    if (!heap)
        return NULL;
    self_heap = heap;
    note_only_region(heap);
    if (adopted)
        heap_adopted(heap);
    return heap;
}

/* ---- Fork ---- */

static owner_id_t n_locked_for_fork;

bool heaps_hold_lock(void) {
    return table_is_locked || locked_heap;
}

/* In the order of ids. */
void heaps_fork_prepare(void) {
    lock_acquire(&table_lock);
    n_locked_for_fork = heap_last_id();
    for (owner_id_t id = 1; id <= n_locked_for_fork; id++)
        lock_acquire(&heap_by_id(id)->lock);
    is_forking = true;
}

void heaps_fork_parent(void) {
    is_forking = false;
    for (owner_id_t id = n_locked_for_fork; id >= 1; id--)
        lock_release(&heap_by_id(id)->lock);
    lock_release(&table_lock);
}

/* Only this thread is left: the other heaps' owners are gone, and their batches, which may have
 * been half filled in at the moment of the fork, with them. */
void heaps_fork_child(void) {
    is_forking = false;
    for (owner_id_t id = 1; id <= heap_last_id(); id++) {
        thread_heap_t *heap = heap_by_id(id);
        lock_reset(&heap->lock);
        init_alive(&heap->alive);
        if (heap == self_heap)
            pthread_mutex_lock(&heap->alive);
        remote_fork_child(heap);
    }
    lock_reset(&table_lock);
}

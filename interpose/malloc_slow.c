/* SPDX-License-Identifier: MIT */
/*
 * malloc_slow.c - malloc, free and the rest, where the fast path does not reach.
 */
#include "malloc_internal.h"

#include <errno.h>
#include <string.h>

#include "background.h"
#include "fast.h"
#include "fast_memalign.h"
#include "glibc_malloc.h"
#include "group_limit.h"
#include "heap_drain.h"
#include "heap_elements.h"
#include "heap_lists.h"
#include "heap_slow.h"
#include "large.h"
#include "limits.h"
#include "object.h"
#include "observe.h"
#include "options.h"
#include "remote.h"
#include "shortage.h"

/* ---- Allocating ---- */

static bool is_large(size_t bytes, size_t align) {
    return bytes + align > MEDIUM_MAX_BYTES + 16;
}

static void *get(size_t bytes, size_t align, bool *is_zero) {
    if (is_large(bytes, align))
        return large_alloc(bytes ? bytes : 1, align, is_zero);
    thread_heap_t *heap = heap_self();
    if (!heap)
        return NULL;
    if (align > 16) {
        *is_zero = false;
        return heap_get_aligned(heap, size_class_bytes(size_class_of(bytes)), align);
    }
    return heap_refill(heap, size_class_of(bytes), is_zero);
}

/* What is larger is not looked for in other threads' heaps. */
#define BORROWED_MAX_BYTES ((size_t)512 << 10)

/* Wherever something is left, when address space is short: in another thread's heap, or among the
 * large objects.  At the hard limit nothing is left: heaps_trim has given it back. */
__attribute__((cold)) static void *get_from_others(size_t bytes, size_t align, bool *is_zero) {
    if (bytes + align > BORROWED_MAX_BYTES + 16 || options.limit_hard)
        return NULL;
    bool wants_zero = *is_zero;
    *is_zero = false;
    void *block = heaps_get_from_any(bytes, align);
    if (block || is_large(bytes, align)) /* then the store has just been asked (get) */
        return block;
    if (bytes <= SMALL_MAX_BYTES)
        return NULL; /* a page and a descriptor for each small object would be too much */
    *is_zero = wants_zero;
    return large_alloc(bytes, align, is_zero);
}

static void *trim_and_get(size_t bytes, size_t align, bool *is_zero) {
    bool wants_zero = *is_zero;
    shortage_trim();
    void *block = get(bytes, align, is_zero);
    if (block)
        return block;
    *is_zero = wants_zero;
    return get_from_others(bytes, align, is_zero);
}

/* There is no memory.  If nothing came free since that was last so, the others are asked first. */
__attribute__((cold, noinline)) static void *get_when_short(size_t bytes, size_t align,
                                                            bool *is_zero) {
    bool wants_zero = *is_zero;
    if (!shortage_may_trim_more()) {
        void *block = get_from_others(bytes, align, is_zero);
        if (block)
            return block;
        *is_zero = wants_zero;
    }
    return trim_and_get(bytes, align, is_zero);
}

static __attribute__((noinline)) void watch_limits(void) {
    if (group_limit_look_is_due())
        group_limit_look();
    if (limits_relief_is_due())
        heaps_trim();
}

#define CALLER __builtin_return_address(0)

/* Try; if there is no memory, collect what all heaps have free, and try again, at last elsewhere.
 * *is_zero, before: whether zeros are wanted; after: whether all of it is zero. */
static void *allocate(size_t bytes, size_t align, bool *is_zero, void *caller) {
    bool wants_zero = *is_zero;
    if (unlikely(bytes > PTRDIFF_MAX || align > PTRDIFF_MAX - bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    if (limits_is_set(&limits_are_watched))
        watch_limits();
    block_t *block = get(bytes, align, is_zero);
    if (unlikely(!block)) {
        *is_zero = wants_zero;
        block = get_when_short(bytes, align, is_zero);
    }
    if (unlikely(!block)) {
        errno = ENOMEM;
        return NULL;
    }
    block->mark = 0; /* what was there may be its mark from an earlier life */
    observe_allocated(block, bytes, caller);
    background_start_if_wanted();
    return block;
}

void *heap_malloc_slow(size_t bytes) {
    bool is_zero = false;
    return allocate(bytes, 16, &is_zero, CALLER);
}

void *heap_malloc(size_t bytes) {
    return fast_malloc(bytes);
}

static __attribute__((noinline)) void *calloc_slow(size_t bytes) {
    bool is_zero = true;
    void *pointer = allocate(bytes, 16, &is_zero, CALLER);
    if (pointer && !is_zero)
        memset(pointer, 0, bytes);
    return pointer;
}

__attribute__((cold, noinline)) static void *refuse_size(void) {
    errno = ENOMEM;
    return NULL;
}

/* Each way ends in a jump: no frame. */
void *heap_calloc(size_t n, size_t bytes) {
    size_t total;
    if (unlikely(__builtin_mul_overflow(n, bytes, &total)))
        return refuse_size();
    thread_heap_t *heap = self_heap;
    block_t *block = fast_pop_sound(heap, fast_class(heap, total));
    return likely(block) ? memset(block, 0, total) : calloc_slow(total);
}

/* Elements of a cold class are not aligned to its size: so that blocks of runs come, it gets hot
 * now. */
static void *memalign_hot(size_t align, size_t rounded) {
    thread_heap_t *heap = heap_self();
    if (!heap)
        return NULL;
    for (unsigned i = 0; i <= N_COLD_OBJECTS; i++) {
        void *pointer = fast_malloc(rounded);
        if (((uintptr_t)pointer & (align - 1)) == 0)
            return pointer;
        heap->n_cold[size_class_of(rounded)] = N_COLD_OBJECTS;
        heap_free(pointer);
    }
    return NULL; /* no memory for a run */
}

void *heap_memalign_slow(size_t align, size_t bytes) {
    bool is_zero = false;
    if (align <= 16)
        return fast_malloc(bytes);
    if (memalign_is_small(align, bytes)) {
        void *pointer = memalign_hot(align, memalign_rounded(align, bytes));
        if (pointer)
            return pointer;
    }
    return allocate(bytes, align, &is_zero, CALLER);
}

void *heap_memalign(size_t align, size_t bytes) {
    return fast_memalign(align, bytes);
}

/* ---- Freeing ---- */

static inline void drain(thread_heap_t *heap, block_t *block, size_t size_class) {
    if (unlikely(heap_drain(heap, size_class, block)))
        heap_make_waiting_room(heap);
}

static void free_to_full_list(thread_heap_t *heap, block_t *block, unsigned size_class) {
    if (heap_return_cold(heap, size_class, block))
        return;
    heap_make_room(heap, size_class);
    if (list_is_full(heap, size_class)) /* it drains now, or there was no memory for its array */
        heap_put_now(heap, block);
    else
        list_push(heap, size_class, block);
}

static void free_to_own_list(thread_heap_t *heap, block_t *block, unsigned size_class) {
    if (list_drains(heap, size_class))
        drain(heap, block, size_class);
    else if (list_is_full(heap, size_class))
        free_to_full_list(heap, block, size_class);
    else
        list_push(heap, size_class, block);
}

static void free_own(thread_heap_t *heap, void *pointer, const object_t *object) {
    bool is_element = object->kind == OBJECT_ELEMENT;
    if (is_element && heap->n_until_hot == 0)
        heap_make_hot(heap, object->size_class);
    if (is_element && !thread_heap_wants_element(heap, object->size_class))
        heap_put_now(heap, pointer);
    else
        free_to_own_list(heap, pointer, object->size_class);
}

static void free_block(void *pointer, const object_t *object) {
    thread_heap_t *heap = heap_self();
    bool is_element = object->kind == OBJECT_ELEMENT;
    sent_t sent = is_element ? sent_element(pointer, object->bytes)
                             : sent_make(pointer, object->size_class, false);
    if (unlikely(!heap))
        remote_free_now(sent, object->owner);
    else if (object->owner != heap->id)
        remote_free(heap, sent, object->owner);
    else if (heap->fast_id != heap->id)
        heap_put_now(heap, pointer);
    else
        free_own(heap, pointer, object);
}

/* large_free itself tells what the pointer is. */
static void free_large(void *pointer, const char *function) {
    const char *what = NULL;
    observe_freed(pointer); /* before another thread can be given the address */
    if (!large_free(pointer, &what))
        misuse(function, pointer, what);
    background_notify();
}

static void free_object(void *pointer, const object_t *object, const char *function) {
    switch (object->kind) {
    case OBJECT_NONE:
        misuse(function, pointer, object->what);
        break;
    case OBJECT_GLIBC:
        glibc_malloc_free(pointer);
        break;
    case OBJECT_LARGE:
        free_large(pointer, function);
        break;
    default:
        observe_freed(pointer);
        free_block(pointer, object);
    }
}

void heap_free_slow(void *pointer) {
    if (owner_is_large(owner_of(pointer)))
        return free_large(pointer, "free");
    object_t object = object_at(pointer);
    free_object(pointer, &object, "free");
}

void heap_free_full(void *pointer, size_t size_class) {
    thread_heap_t *heap = self_heap;
    if (likely(list_drains(heap, size_class)))
        drain(heap, pointer, size_class);
    else if (unlikely(size_class == TILE_ELEMENTS || block_is_marked(pointer, heap->key)))
        heap_free_slow(pointer); /* an element at its tile's first byte, or free already */
    else
        free_to_full_list(heap, pointer, (unsigned)size_class);
}

/* Class of a block of a run of the heap `owner`, checked as in fast_free; N_CLASSES for whatever is
 * not clearly one, which object_at has to tell. */
static inline unsigned run_block_class(const void *pointer, owner_id_t owner) {
    if (unlikely(owner == OWNER_NONE || owner > OWNER_HEAP_MAX))
        return N_CLASSES;
    unsigned tile_class = region_tile_class(region_of(pointer), pointer);
    uint32_t offset = (uint32_t)((uintptr_t)pointer & (TILE_BYTES - 1));
    if (tile_class >= N_SMALL_CLASSES || !run_offset_is_block(offset, tile_class) ||
        unlikely(block_is_marked(pointer, self_heap->key)))
        return N_CLASSES;
    return tile_class;
}

/* Bytes of an element of the heap `owner`, checked as in fast_free; 0 for whatever is not clearly
 * one of no more than 36 KiB, which object_at has to tell. */
static inline size_t element_bytes_at(const void *pointer, owner_id_t owner) {
    region_t *region = region_of(pointer);
    if (owner == OWNER_NONE || owner > OWNER_HEAP_MAX ||
        region_tile_class(region, pointer) != TILE_ELEMENTS)
        return 0;
    uint64_t n_bytes = listed_element_bytes(region_mheap(region), region_uoffset(region, pointer));
    return n_bytes > 0 && !block_is_marked(pointer, self_heap->key) ? n_bytes : 0;
}

/* Of a block of a run: it may be live, since it lies on no clean page.  Not asked in a free by
 * another thread, which would share the run's descriptor with its owner. */
static inline bool may_be_live(const region_t *region, const void *pointer) {
    const run_t *run = &region->runs[((uintptr_t)pointer - (uintptr_t)region) / TILE_BYTES];
    return !run_is_clean_at(run, (uint32_t)((uintptr_t)pointer & (TILE_BYTES - 1)));
}

/* Class of a block of a run of the own heap, checked as in fast_free, that may be live; N_CLASSES
 * for whatever is not clearly one. */
static inline unsigned own_block_class(const thread_heap_t *heap, const void *pointer) {
    region_t *region = (region_t *)heap->only_region;
    if (unlikely((uintptr_t)pointer - (uintptr_t)region >= REGION_BYTES)) { /* as is_own */
        if (owner_of_near(pointer) != heap->fast_id)
            return N_CLASSES;
        region = region_of(pointer);
    }
    unsigned size_class = region_tile_class(region, pointer);
    uint32_t offset = (uint32_t)((uintptr_t)pointer & (TILE_BYTES - 1));
    if (unlikely(size_class == TILE_ELEMENTS ||
                 offset * heap->reciprocal[size_class] >= RUN_BLOCK_PRODUCT_END ||
                 block_is_marked(pointer, heap->key) || !may_be_live(region, pointer)))
        return N_CLASSES;
    return size_class;
}

void heap_free_other(void *pointer) {
    thread_heap_t *heap = self_heap;
    if (!pointer)
        return;
    if (unlikely(heap->fast_id == OWNER_NOT_SELF))
        return heap_free_slow(pointer);
    owner_id_t owner = owner_of_near(pointer);
    unsigned size_class = run_block_class(pointer, owner);
    if (likely(size_class != N_CLASSES))
        return remote_free(heap, sent_make(pointer, size_class, false), owner);
    size_t bytes = element_bytes_at(pointer, owner);
    if (unlikely(bytes == 0))
        return heap_free_slow(pointer);
    remote_free(heap, sent_element(pointer, bytes), owner);
}

void heap_free(void *pointer) {
    fast_free(pointer);
}

/* ---- Resizing ---- */

/* A new object of `bytes` with what fits of the old one's contents. */
static inline void *copy_object(const void *pointer, size_t has_bytes, size_t bytes) {
    void *copy = fast_malloc(bytes);
    if (copy)
        memcpy(copy, pointer, bytes < has_bytes ? bytes : has_bytes);
    return copy;
}

static void *move_object(void *pointer, const object_t *object, size_t bytes) {
    void *moved = copy_object(pointer, object->bytes, bytes);
    if (moved)
        free_object(pointer, object, "realloc");
    return moved;
}

static bool resize_element(thread_heap_t *heap, void *pointer, size_t bytes) {
    if (bytes <= SMALL_MAX_BYTES / 4 || bytes > MEDIUM_MAX_BYTES)
        return false;
    heap_lock(heap);
    bool resized =
        heap_resize_element(heap, pointer, element_bytes(size_class_bytes(size_class_of(bytes))));
    heap_unlock(heap);
    return resized;
}

/* Keep a block that is at most twice what is wanted, or small anyway. */
static inline bool is_good_fit(size_t has_bytes, size_t bytes) {
    return bytes <= has_bytes && (bytes >= has_bytes / 2 || has_bytes <= 64);
}

/* In place?  Then true, and usable bytes are at least `bytes`. */
static bool resize_in_place(void *pointer, const object_t *object, size_t bytes) {
    if (object->kind == OBJECT_LARGE || object->kind == OBJECT_GLIBC)
        return false;
    if (is_good_fit(object->bytes, bytes))
        return true;
    return object->kind == OBJECT_ELEMENT &&
           resize_element(heap_by_id(object->owner), pointer, bytes);
}

static void *resize_large(void *pointer, size_t bytes) {
    const char *what = NULL;
    void *resized = large_resize(pointer, bytes, &what);
    if (!resized && !what) {
        heaps_trim();
        resized = large_resize(pointer, bytes, &what);
    }
    if (!resized && what)
        misuse("realloc", pointer, what);
    if (!resized)
        errno = what ? EINVAL : ENOMEM;
    return resized;
}

static void *move_block(void *pointer, size_t has_bytes, size_t bytes) {
    void *moved = copy_object(pointer, has_bytes, bytes);
    if (moved)
        heap_free(pointer);
    return moved;
}

static void *resize_own_element(void *pointer, size_t has_bytes, size_t bytes) {
    if (is_good_fit(has_bytes, bytes) || resize_element(self_heap, pointer, bytes))
        return pointer;
    return move_block(pointer, has_bytes, bytes);
}

/* Whatever it is. */
static void *realloc_any(void *pointer, size_t bytes, void *caller) {
    object_t object = object_at(pointer);
    if (object.kind == OBJECT_NONE) {
        misuse("realloc", pointer, object.what);
        errno = EINVAL;
        return NULL;
    }
    if (bytes == 0) { /* as glibc does */
        free_object(pointer, &object, "realloc");
        return NULL;
    }
    if (bytes > PTRDIFF_MAX) {
        errno = ENOMEM;
        return NULL;
    }
    if (object.kind == OBJECT_LARGE && bytes > MEDIUM_MAX_BYTES) {
        observe_freed(pointer); /* as in free_large */
        void *resized = resize_large(pointer, bytes);
        observe_allocated(resized ? resized : pointer, resized ? bytes : object.bytes, caller);
        return resized;
    }
    if (!resize_in_place(pointer, &object, bytes))
        return move_object(pointer, &object, bytes);
    observe_freed(pointer);
    observe_allocated(pointer, bytes, caller);
    return pointer;
}

static __attribute__((noinline)) void *realloc_slow(void *pointer, size_t bytes) {
    thread_heap_t *heap = self_heap;
    if (unlikely(bytes == 0 || heap->fast_id == OWNER_NOT_SELF))
        return realloc_any(pointer, bytes, CALLER);
    if (is_own(heap, pointer)) { /* a block would have been found */
        size_t has_bytes = element_bytes_at(pointer, heap->id);
        return likely(has_bytes) ? resize_own_element(pointer, has_bytes, bytes)
                                 : realloc_any(pointer, bytes, CALLER);
    }
    owner_id_t owner = owner_of_near(pointer);
    if (owner_is_large(owner) && bytes > MEDIUM_MAX_BYTES && bytes <= PTRDIFF_MAX)
        return resize_large(pointer, bytes);
    unsigned size_class = run_block_class(pointer, owner);
    if (size_class == N_CLASSES || !may_be_live(region_of(pointer), pointer))
        return realloc_any(pointer, bytes, CALLER);
    size_t has_bytes = size_class_bytes(size_class);
    return is_good_fit(has_bytes, bytes) ? pointer : move_block(pointer, has_bytes, bytes);
}

/* Of another class than what is wanted. */
static __attribute__((noinline)) void *resize_own_block(thread_heap_t *heap, block_t *block,
                                                        unsigned size_class, size_t bytes) {
    size_t has_bytes = size_class_bytes(size_class);
    if (is_good_fit(has_bytes, bytes))
        return block;
    void *moved = copy_object(block, has_bytes, bytes);
    if (moved)
        fast_push(heap, size_class, block);
    return moved;
}

/* What happens most is here, without a frame: nothing there yet, and a block of a run that may
 * stay. */
void *heap_realloc(void *pointer, size_t bytes) {
    if (!pointer)
        return fast_malloc(bytes);
    thread_heap_t *heap = self_heap;
    unsigned size_class = own_block_class(heap, pointer);
    if (unlikely(size_class == N_CLASSES || bytes == 0))
        return realloc_slow(pointer, bytes);
    if (fast_class(heap, bytes) == size_class)
        return pointer;
    return resize_own_block(heap, pointer, size_class, bytes);
}

/* ---- Sizes ---- */

static __attribute__((noinline)) size_t usable_bytes_slow(void *pointer, const char *function) {
    if (!pointer)
        return 0;
    if (likely(self_heap->fast_id != OWNER_NOT_SELF)) {
        owner_id_t owner = owner_of_near(pointer);
        unsigned size_class = run_block_class(pointer, owner);
        if (size_class != N_CLASSES && may_be_live(region_of(pointer), pointer))
            return size_class_bytes(size_class);
        size_t bytes = element_bytes_at(pointer, owner);
        if (bytes > 0)
            return bytes;
    }
    object_t object = object_at(pointer);
    if (object.kind == OBJECT_NONE) {
        misuse(function, pointer, object.what);
        return 0;
    }
    return object.bytes;
}

/* Some programs ask for each object's size, when they get it and when they free it. */
size_t heap_usable_bytes(void *pointer, const char *function) {
    unsigned size_class = own_block_class(self_heap, pointer);
    return likely(size_class != N_CLASSES) ? size_class_bytes(size_class)
                                           : usable_bytes_slow(pointer, function);
}

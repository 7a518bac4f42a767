/* SPDX-License-Identifier: MIT */
#include "hardened.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <unistd.h>

#include "glibc_malloc.h"
#include "hardened_large.h"
#include "hardened_lock.h"
#include "hardened_slab.h"
#include "observe.h"
#include "options.h"

#define likely(condition)   __builtin_expect(!!(condition), 1)
#define unlikely(condition) __builtin_expect(!!(condition), 0)
#define CALLER              __builtin_return_address(0)

/* ---- Allocating ---- */

/* Slots are aligned to whatever their size is a multiple of.  Half a slab slot at most, so that
 * slots[] can say how much of it is unused. */
static void *get(size_t bytes, size_t align, hardened_kind_t kind) {
    size_t slot_bytes = (bytes + CANARY_BYTES + align - 1) & ~(align - 1);
    if (align <= SLAB_MAX_BYTES / 2 && slot_bytes <= SLAB_MAX_BYTES)
        return slab_alloc(bytes, slot_bytes, kind);
    return guarded_alloc(bytes, align, kind);
}

static inline void *allocate(size_t bytes, size_t align, hardened_kind_t kind, void *caller) {
    if (unlikely(bytes > PTRDIFF_MAX || align > PTRDIFF_MAX - bytes)) {
        errno = ENOMEM;
        return NULL;
    }
    void *object = get(bytes, align, kind);
    if (unlikely(!object)) {
        hardened_trim();
        slab_give_up_regions();
        object = get(bytes, align, kind);
    }
    if (unlikely(!object)) {
        errno = ENOMEM;
        return NULL;
    }
    observe_allocated(object, bytes, caller);
    return object;
}

void *hardened_malloc(size_t bytes) {
    return allocate(bytes, 16, HARDENED_PLAIN, CALLER);
}

void *hardened_calloc(size_t n, size_t bytes) {
    size_t total;
    if (unlikely(__builtin_mul_overflow(n, bytes, &total))) {
        errno = ENOMEM;
        return NULL;
    }
    return allocate(total, 16, HARDENED_PLAIN, CALLER);
}

void *hardened_memalign(size_t align, size_t bytes) {
    return allocate(bytes, align < 16 ? 16 : align, HARDENED_PLAIN, CALLER);
}

static inline hardened_kind_t kind_of(size_t align) {
    return align ? (hardened_kind_t)__builtin_ctzl(align) : HARDENED_PLAIN;
}

void *hardened_new_aligned(size_t align, size_t bytes) {
    return allocate(bytes, align < 16 ? 16 : align, kind_of(align), CALLER);
}

/* ---- Pointers of neither kind of object ---- */

/* Not misuse(): that looks for the object in the ordinary allocator, to which the guards of a large
 * one belong. */
static void report_words(const char *function, const void *pointer, const char *words) {
    line_t line = {.n_bytes = 0};
    line_misuse(&line, function, pointer, words);
    line_report(&line);
    if (options.abort)
        fatal_abort();
}

static void report(const char *function, const void *pointer, line_t *what) {
    what->text[what->n_bytes] = '\0'; /* line_text leaves room for it */
    report_words(function, pointer, what->text);
}

/* True if it is an object of glibc's malloc. */
static bool is_glibcs(const char *function, const void *pointer) {
    if (glibc_malloc_owns(pointer))
        return true;
    report_words(function, pointer, "not a pointer from this allocator");
    return false;
}

static bool refuse_guard(line_t *what) {
    line_text(what, "not allocated here");
    return false;
}

/* ---- Freeing ---- */

void hardened_free_as(void *pointer, const hardened_freeing_t *freeing) {
    line_t what;
    what.n_bytes = 0;
    if (!pointer)
        return;
    slab_t *slab = slab_of(pointer);
    owner_id_t owner = slab ? OWNER_SLAB : owner_of(pointer);
    if (unlikely(owner == OWNER_NONE)) {
        if (is_glibcs(freeing->function, pointer))
            glibc_malloc_free(pointer);
        return;
    }
    observe_freed(pointer);
    bool is_freed;
    if (likely(slab != NULL))
        is_freed = slab_free(slab, pointer, freeing, &what);
    else if (owner_is_large(owner))
        is_freed = guarded_free(pointer, freeing, &what);
    else
        is_freed = refuse_guard(&what);
    if (unlikely(!is_freed))
        report(freeing->function, pointer, &what);
}

void hardened_free(void *pointer) {
    static const hardened_freeing_t freeing = {.function = "free"};
    hardened_free_as(pointer, &freeing);
}

void hardened_free_sized(void *pointer, size_t bytes) {
    hardened_freeing_t freeing = {.function = "free_sized", .has_bytes = true, .bytes = bytes};
    hardened_free_as(pointer, &freeing);
}

void hardened_free_aligned_sized(void *pointer, size_t align, size_t bytes) {
    hardened_freeing_t freeing = {
        .function = "free_aligned_sized", .has_bytes = true, .bytes = bytes};
    if (align && ((uintptr_t)pointer & (align - 1)) != 0)
        report_words(freeing.function, pointer, "freed with a wrong alignment");
    else
        hardened_free_as(pointer, &freeing);
}

#define OPERATOR_DELETE "operator delete"

void hardened_delete(void *pointer) {
    static const hardened_freeing_t freeing = {.function = OPERATOR_DELETE};
    hardened_free_as(pointer, &freeing);
}

void hardened_delete_sized(void *pointer, size_t bytes) {
    hardened_freeing_t freeing = {.function = OPERATOR_DELETE, .has_bytes = true, .bytes = bytes};
    hardened_free_as(pointer, &freeing);
}

void hardened_delete_aligned(void *pointer, size_t align) {
    hardened_freeing_t freeing = {.function = OPERATOR_DELETE, .kind = kind_of(align)};
    hardened_free_as(pointer, &freeing);
}

void hardened_delete_sized_aligned(void *pointer, size_t bytes, size_t align) {
    hardened_freeing_t freeing = {OPERATOR_DELETE, true, bytes, kind_of(align)};
    hardened_free_as(pointer, &freeing);
}

/* ---- Size, and resizing ---- */

/* Bytes of the object, if it is one; else false, and it has been reported. */
static bool ask(const char *function, void *pointer, size_t *bytes) {
    line_t what;
    what.n_bytes = 0;
    slab_t *slab = slab_of(pointer);
    owner_id_t owner = slab ? OWNER_SLAB : owner_of(pointer);
    if (owner == OWNER_NONE) {
        if (!is_glibcs(function, pointer))
            return false;
        *bytes = glibc_malloc_usable(pointer);
        return true;
    }
    bool is_live = slab                    ? slab_ask(slab, pointer, bytes, &what)
                   : owner_is_large(owner) ? guarded_ask(pointer, bytes, &what)
                                           : refuse_guard(&what);
    if (!is_live)
        report(function, pointer, &what);
    return is_live;
}

size_t hardened_usable_bytes(void *pointer) {
    size_t bytes = 0;
    return pointer && ask("malloc_usable_size", pointer, &bytes) ? bytes : 0;
}

/* In place, or by moving pages.  NULL, and *had_bytes: it has to be copied.  False: misuse. */
static bool resize(void *pointer, size_t bytes, size_t *had_bytes, void **resized) {
    line_t what;
    what.n_bytes = 0;
    slab_t *slab = slab_of(pointer);
    *resized = NULL;
    if (slab)
        *resized = slab_resize(slab, pointer, bytes, had_bytes, &what) ? pointer : NULL;
    else if (owner_is_large(owner_of(pointer)))
        *resized = guarded_resize(pointer, bytes, had_bytes, &what);
    else
        return ask("realloc", pointer, had_bytes);
    if (!*resized && what.n_bytes) {
        report("realloc", pointer, &what);
        return false;
    }
    return true;
}

static void *move_object(void *pointer, size_t had_bytes, size_t bytes, void *caller) {
    static const hardened_freeing_t freeing = {.function = "realloc"};
    void *moved = allocate(bytes, 16, HARDENED_PLAIN, caller);
    if (!moved)
        return NULL;
    memcpy(moved, pointer, bytes < had_bytes ? bytes : had_bytes);
    hardened_free_as(pointer, &freeing);
    return moved;
}

void *hardened_realloc(void *pointer, size_t bytes) {
    static const hardened_freeing_t freeing = {.function = "realloc"};
    size_t had_bytes;
    void *resized;
    if (!pointer)
        return allocate(bytes, 16, HARDENED_PLAIN, CALLER);
    if (bytes == 0) { /* as glibc does */
        hardened_free_as(pointer, &freeing);
        return NULL;
    }
    if (bytes > PTRDIFF_MAX) {
        if (ask("realloc", pointer, &had_bytes))
            errno = ENOMEM;
        return NULL;
    }
    if (!resize(pointer, bytes, &had_bytes, &resized)) {
        errno = EINVAL;
        return NULL;
    }
    if (!resized)
        return move_object(pointer, had_bytes, bytes, CALLER);
    observe_freed(pointer);
    observe_allocated(resized, bytes, CALLER);
    return resized;
}

/* ---- The whole ---- */

/* The store's first: under a limit on data (RLIMIT_DATA) what waits cannot be made accessible, to
 * be given back, while so much is. */
size_t hardened_trim(void) {
    size_t bytes = large_purge(true);
    guarded_trim();
    return bytes + slab_trim() + large_purge(true);
}

void hardened_stats(stats_t *stats) {
    slab_stats(stats);
    guarded_stats(&stats->large);
}

uint64_t hardened_resident_bytes(void) {
    return slab_resident_bytes();
}

bool hardened_check(violation_t *violation) {
    return slab_check(violation) && guarded_check(violation);
}

bool hardened_holds_lock(void) {
    return hardened_held_lock != NULL;
}

void hardened_fork_prepare(void) {
    slab_fork_prepare();
    guarded_fork_prepare();
    hardened_is_forking = true;
}

void hardened_fork_parent(void) {
    hardened_is_forking = false;
    guarded_fork_parent();
    slab_fork_parent();
}

void hardened_fork_child(void) {
    hardened_is_forking = false;
    guarded_fork_child();
    slab_fork_child();
}

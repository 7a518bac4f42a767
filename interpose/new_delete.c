/* SPDX-License-Identifier: MIT */
/*
 * new_delete.c - the 20 replaceable operators new and delete of C++17, by their mangled names.
 *
 * A program may replace some of them and leave the others, whose default is to call those: new[]
 * calls new, delete of a known size calls delete, and so on ([new.delete] in the standard).  So the
 * others ask where the name is bound (a word of the global offset table): to ours, then the work is
 * done here at once; or to a replacement, then that is called.
 *
 * Weak, so that a program linked with the static library may replace them, too.
 */
#include <stddef.h>

#include "malloc_internal.h"
#include "new_handler.h"

/* The hot path ends in a tail call, and so without a stack frame, if its slow path already is that
 * of operator new: here it calls this one. */
static void *new_slow(size_t bytes);
#define heap_malloc_slow new_slow
#include "front.h"
#undef heap_malloc_slow

#define OPERATOR(mangled) __asm__(mangled) __attribute__((weak, visibility("default")))

void *new_plain(size_t bytes) OPERATOR("_Znwm");
void *new_plain_nothrow(size_t bytes, const void *tag) OPERATOR("_ZnwmRKSt9nothrow_t");
void *new_aligned(size_t bytes, size_t align) OPERATOR("_ZnwmSt11align_val_t");
void *new_aligned_nothrow(size_t bytes, size_t align, const void *tag)
    OPERATOR("_ZnwmSt11align_val_tRKSt9nothrow_t");
void *new_array(size_t bytes) OPERATOR("_Znam");
void *new_array_nothrow(size_t bytes, const void *tag) OPERATOR("_ZnamRKSt9nothrow_t");
void *new_array_aligned(size_t bytes, size_t align) OPERATOR("_ZnamSt11align_val_t");
void *new_array_aligned_nothrow(size_t bytes, size_t align, const void *tag)
    OPERATOR("_ZnamSt11align_val_tRKSt9nothrow_t");

void delete_plain(void *object) OPERATOR("_ZdlPv");
void delete_plain_nothrow(void *object, const void *tag) OPERATOR("_ZdlPvRKSt9nothrow_t");
void delete_sized(void *object, size_t bytes) OPERATOR("_ZdlPvm");
void delete_aligned(void *object, size_t align) OPERATOR("_ZdlPvSt11align_val_t");
void delete_aligned_nothrow(void *object, size_t align, const void *tag)
    OPERATOR("_ZdlPvSt11align_val_tRKSt9nothrow_t");
void delete_sized_aligned(void *object, size_t bytes, size_t align)
    OPERATOR("_ZdlPvmSt11align_val_t");
void delete_array(void *object) OPERATOR("_ZdaPv");
void delete_array_nothrow(void *object, const void *tag) OPERATOR("_ZdaPvRKSt9nothrow_t");
void delete_array_sized(void *object, size_t bytes) OPERATOR("_ZdaPvm");
void delete_array_aligned(void *object, size_t align) OPERATOR("_ZdaPvSt11align_val_t");
void delete_array_aligned_nothrow(void *object, size_t align, const void *tag)
    OPERATOR("_ZdaPvSt11align_val_tRKSt9nothrow_t");
void delete_array_sized_aligned(void *object, size_t bytes, size_t align)
    OPERATOR("_ZdaPvmSt11align_val_t");

/* ---- Is the name bound to ours? ---- */

#define OURS(function, mangled)                                                                    \
    extern __typeof__(function) our_##function __attribute__((alias(mangled), visibility("hidde"   \
                                                                                         "n")))

OURS(new_plain, "_Znwm");
OURS(new_aligned, "_ZnwmSt11align_val_t");
OURS(new_array, "_Znam");
OURS(new_array_aligned, "_ZnamSt11align_val_t");
OURS(delete_plain, "_ZdlPv");
OURS(delete_aligned, "_ZdlPvSt11align_val_t");
OURS(delete_array, "_ZdaPv");
OURS(delete_array_aligned, "_ZdaPvSt11align_val_t");

static inline bool is_replaced(const void *bound, const void *ours) {
    __asm__("" : "+r"(bound)); /* the compiler may not conclude that they are the same */
    return unlikely(bound != ours);
}

#define IS_REPLACED(function) is_replaced((const void *)(function), (const void *)(our_##function))

/* ---- New ---- */

static void *allocate(size_t bytes, size_t align) {
    return align ? front_new_aligned(align, bytes) : front_malloc_call(bytes);
}

static __attribute__((noinline)) void *new_slow(size_t bytes) {
    void *object = MHEAP_HARDENED ? hardened_malloc(bytes) : heap_malloc_slow(bytes);
    return object ? object : new_retry(allocate, bytes, 0);
}

static inline void *new_object(size_t bytes) {
    return MHEAP_HARDENED ? new_slow(bytes) : fast_malloc(bytes);
}

void *new_plain(size_t bytes) {
    return new_object(bytes);
}

void *new_array(size_t bytes) {
    if (IS_REPLACED(new_plain))
        return new_plain(bytes);
    return new_object(bytes);
}

void *new_plain_nothrow(size_t bytes, const void *tag) {
    (void)tag;
    if (IS_REPLACED(new_plain))
        return new_call_nothrow((allocate_fn *)(void *)new_plain, bytes, 0);
    void *object = front_malloc_call(bytes);
    return object ? object : new_retry_nothrow(allocate, bytes, 0);
}

void *new_array_nothrow(size_t bytes, const void *tag) {
    if (IS_REPLACED(new_array))
        return new_call_nothrow((allocate_fn *)(void *)new_array, bytes, 0);
    return new_plain_nothrow(bytes, tag);
}

static inline bool is_power_of_two(size_t align) {
    return align && (align & (align - 1)) == 0;
}

void *new_aligned(size_t bytes, size_t align) {
    if (!is_power_of_two(align))
        new_throw(bytes);
    void *object = front_new_aligned(align, bytes);
    return object ? object : new_retry(allocate, bytes, align);
}

void *new_array_aligned(size_t bytes, size_t align) {
    return new_aligned(bytes, align);
}

void *new_aligned_nothrow(size_t bytes, size_t align, const void *tag) {
    (void)tag;
    if (IS_REPLACED(new_aligned))
        return new_call_nothrow(new_aligned, bytes, align);
    void *object = is_power_of_two(align) ? front_new_aligned(align, bytes) : NULL;
    if (object || !is_power_of_two(align))
        return object;
    return new_retry_nothrow(allocate, bytes, align);
}

void *new_array_aligned_nothrow(size_t bytes, size_t align, const void *tag) {
    if (IS_REPLACED(new_array_aligned))
        return new_call_nothrow(new_array_aligned, bytes, align);
    return new_aligned_nothrow(bytes, align, tag);
}

/* ---- Delete ---- */

void delete_plain(void *object) {
    front_delete(object);
}

void delete_sized(void *object, size_t bytes) {
    if (IS_REPLACED(delete_plain))
        delete_plain(object);
    else
        front_delete_sized(object, bytes);
}

void delete_array(void *object) {
    if (IS_REPLACED(delete_plain))
        delete_plain(object);
    else
        front_delete(object);
}

void delete_array_sized(void *object, size_t bytes) {
    if (IS_REPLACED(delete_array))
        delete_array(object);
    else
        delete_sized(object, bytes);
}

void delete_plain_nothrow(void *object, const void *tag) {
    (void)tag;
    delete_plain(object);
}

void delete_array_nothrow(void *object, const void *tag) {
    (void)tag;
    delete_array(object);
}

void delete_aligned(void *object, size_t align) {
    front_delete_aligned(object, align);
}

void delete_aligned_nothrow(void *object, size_t align, const void *tag) {
    (void)tag;
    delete_aligned(object, align);
}

void delete_sized_aligned(void *object, size_t bytes, size_t align) {
    if (MHEAP_HARDENED && !IS_REPLACED(delete_aligned))
        hardened_delete_sized_aligned(object, bytes, align);
    else
        delete_aligned(object, align);
}

void delete_array_aligned(void *object, size_t align) {
    delete_aligned(object, align);
}

void delete_array_aligned_nothrow(void *object, size_t align, const void *tag) {
    (void)tag;
    delete_array_aligned(object, align);
}

void delete_array_sized_aligned(void *object, size_t bytes, size_t align) {
    if (MHEAP_HARDENED && !IS_REPLACED(delete_array_aligned))
        delete_sized_aligned(object, bytes, align);
    else
        delete_array_aligned(object, align);
}

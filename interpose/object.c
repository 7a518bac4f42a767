/* SPDX-License-Identifier: MIT */
#include "object.h"

#include "fatal.h"
#include "glibc_malloc.h"
#include "large.h"
#include "mheap_internal.h"
#include "options.h"
#include "secret.h"

static object_t no_object(owner_id_t owner, const char *what) {
    return (object_t){.kind = OBJECT_NONE, .owner = owner, .what = what};
}

static object_t run_block_at(const void *pointer, owner_id_t owner, unsigned size_class) {
    region_t *region = region_of(pointer);
    uint32_t offset = (uint32_t)((uintptr_t)pointer & (TILE_BYTES - 1));
    if (size_class >= N_SMALL_CLASSES)
        return no_object(owner, "not allocated here");
    if (!run_offset_is_block(offset, size_class))
        return no_object(owner, "inside an object, not its start");
    run_t *run = &region->runs[region_tile(pointer)];
    if (offset / size_class_bytes(size_class) >= run_capacity[size_class])
        return no_object(owner, "not allocated here");
    if (run_block_is_free(run_bits(run), pointer, size_class) && run_is_clean_at(run, offset))
        return no_object(owner, "never allocated, or freed long ago");
    if (block_is_marked(pointer, secret_key()) ||
        run_block_is_free(run_bits(run), pointer, size_class))
        return no_object(owner, "already free (double free)");
    return (object_t){OBJECT_RUN_BLOCK, owner, size_class, size_class_bytes(size_class), NULL};
}

/* Tags are read without the lock: the object's own half is its owner's, and of the next tag only
 * the half is read that repeats it, which is still as long as the object is live. */
static object_t element_at(const void *pointer, owner_id_t owner) {
    region_t *region = region_of(pointer);
    mheap_t *h = region_mheap(region);
    if ((const char *)pointer < (char *)region_vector(region))
        return no_object(owner, "inside the heap's own header");
    mheap_uoffset_t uoffset = region_uoffset(region, pointer);
    if ((uintptr_t)pointer % 16 != 0 || !uoffset_is_plausible(h, uoffset))
        return no_object(owner, "not the start of an object");
    mheap_elt_t *e = elt_at(h, uoffset);
    if (e->is_free && e->n_user_data != 0)
        return no_object(owner, "already free (double free)");
    if (e->n_user_data < 3 || e->n_user_data % 2 == 0)
        return no_object(owner, "not the start of an object, or its boundary tag is damaged");
    if (!elt_agrees_with_next(h, e))
        return no_object(owner, "not the start of an object, or a boundary tag is damaged "
                                "(overflow past its end?)");
    if (block_is_marked(pointer, secret_key()))
        return no_object(owner, "already free (double free)");
    size_t bytes = elt_n_bytes(e);
    return (object_t){OBJECT_ELEMENT, owner, size_class_within(bytes), bytes, NULL};
}

static object_t large_at(const void *pointer) {
    const char *what = NULL;
    size_t bytes = large_usable_bytes(pointer, &what);
    if (bytes == 0)
        return no_object(OWNER_LARGE, what ? what : "not allocated here");
    return (object_t){OBJECT_LARGE, OWNER_LARGE, N_CLASSES, bytes, NULL};
}

object_t object_at(const void *pointer) {
    owner_id_t owner = owner_of(pointer);
    if (owner_is_large(owner))
        return large_at(pointer);
    if (owner == OWNER_NONE || owner > OWNER_HEAP_MAX) {
        if (glibc_malloc_owns(pointer))
            return (object_t){OBJECT_GLIBC, owner, 0, glibc_malloc_usable((void *)pointer), NULL};
        return no_object(owner, "not a pointer from this allocator");
    }
    unsigned tile_class = region_tile_class(region_of(pointer), pointer);
    if (tile_class != TILE_ELEMENTS)
        return run_block_at(pointer, owner, tile_class);
    return element_at(pointer, owner);
}

/* ---- Reports ---- */

/* The object that `pointer` points to or into, live or just freed; NULL if there is none. */
static const void *object_around(const void *pointer, owner_id_t owner, size_t *bytes) {
    if (owner_is_large(owner))
        return large_around(pointer, bytes);
    if (owner == OWNER_NONE || owner > OWNER_HEAP_MAX)
        return NULL;
    region_t *region = region_of(pointer);
    unsigned tile_class = region_tile_class(region, pointer);
    if (tile_class < N_SMALL_CLASSES) {
        uint32_t offset = (uint32_t)((uintptr_t)pointer & (TILE_BYTES - 1));
        *bytes = size_class_bytes(tile_class);
        offset -= offset % (uint32_t)*bytes;
        bool may_be_one = offset / *bytes < run_capacity[tile_class] &&
                          !run_is_clean_at(&region->runs[region_tile(pointer)], offset);
        return may_be_one ? (const char *)run_start(pointer) + offset : NULL;
    }
    if (pointer < region_vector(region))
        return NULL;
    const mheap_elt_t *e = mheap_elt_around(region_mheap(region), region_uoffset(region, pointer));
    *bytes = e ? elt_n_bytes(e) : 0;
    return e ? (const char *)e + MHEAP_TAG_BYTES : NULL;
}

void misuse(const char *function, const void *pointer, const char *what) {
    size_t bytes = 0;
    owner_id_t owner = owner_of(pointer);
    const void *start = object_around(pointer, owner, &bytes);
    if (start && start != pointer) /* what the bytes before it look like does not matter then */
        what = "inside an object, not its start";
    line_t line = {.n_bytes = 0};
    line_misuse(&line, function, pointer, what);
    if (start)
        line_object(&line, pointer, start, bytes, owner_is_large(owner) ? 0 : owner);
    line_report(&line);
    options_init(); /* this may be the first that the process asks of us */
    if (options.abort)
        fatal_abort();
}

void report_damage(const block_t *block, const char *function) {
    misuse(function, block, "a free block was written to (write after free)");
}

/* SPDX-License-Identifier: MIT */
#include "object.h"

#include <unistd.h>

#include "fatal.h"
#include "glibc_malloc.h"
#include "large.h"
#include "mheap_internal.h"
#include "options.h"
#include "secret.h"

static object_t no_object(owner_id_t owner, const char *what) {
    return (object_t){.kind = OBJECT_NONE, .owner = owner, .what = what};
}

/* The first word is a link: to nothing, or to a place in our heaps.  For a live object that is a
 * chance of one in 2^40 or less, whatever it holds, since the key is random. */
static bool is_on_a_list(const block_t *block) {
    uintptr_t next = block_decode(block, secret_key());
    if (!block_link_is_plausible(next) || next % 16 != 0)
        return false;
    owner_id_t owner = owner_of((void *)next);
    return next == 0 || (owner != OWNER_NONE && owner <= OWNER_HEAP_MAX);
}

static object_t run_block_at(const void *pointer, owner_id_t owner, unsigned size_class) {
    region_t *region = region_of(pointer);
    uint32_t offset = (uint32_t)((uintptr_t)pointer & (TILE_BYTES - 1));
    if (size_class >= N_SMALL_CLASSES)
        return no_object(owner, "not allocated here");
    if (!run_offset_is_block(offset, size_class))
        return no_object(owner, "inside an object, not its start");
    size_t bytes = size_class_bytes(size_class);
    const run_t *run = &region->runs[region_tile(pointer)];
    /* Relaxed: the descriptor is its heap's, but n_carved only grows while a block is live. */
    if (offset / bytes >= __atomic_load_n(&run->n_carved, __ATOMIC_RELAXED))
        return no_object(owner, "not allocated here");
    if (is_on_a_list(pointer))
        return no_object(owner, "already free (double free)");
    return (object_t){OBJECT_RUN_BLOCK, owner, size_class, bytes, NULL};
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
    if (is_on_a_list(pointer))
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
    if (owner == OWNER_LARGE)
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

void misuse(const char *function, const void *pointer, const char *what) {
    line_t line = {.n_bytes = 0};
    line_misuse(&line, function, pointer, what);
    line_write(&line, STDERR_FILENO);
    if (options.abort)
        fatal_abort();
}

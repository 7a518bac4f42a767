/* SPDX-License-Identifier: MIT */
/* create.c - where a heap's memory comes from, and where its header lies in it. */
#include "api.h"
#include "trace.h"
#include "vm.h"

/* At most 4 GiB less a page, so that every uoffset fits and none is MHEAP_GROUNDED. */
static uint64_t max_bytes(void) {
    return ((uint64_t)1 << 32) - vm_page_bytes();
}

#define PUBLIC_FLAGS                                                                               \
    (MHEAP_FLAG_TRACE | MHEAP_FLAG_DISABLE_VM | MHEAP_FLAG_THREAD_SAFE |                           \
     MHEAP_FLAG_SMALL_OBJECT_CACHE | MHEAP_FLAG_VALIDATE)

/* Memory that is accessible from the beginning: the header, and a little for elements. */
static size_t first_commit_bytes(void) {
    size_t two_pages = 2 * vm_page_bytes();
    return two_pages > (64u << 10) ? two_pages : 64u << 10;
}

/* Lay the heap out in [memory, memory + n_bytes): the vector on the first page boundary that
 * leaves room for the header before it.  The first n_accessible bytes can be touched. */
static mheap_t *lay_out(char *memory, size_t n_bytes, size_t n_accessible, uint32_t flags) {
    char *vector = (char *)vm_round_up((uintptr_t)memory + sizeof(mheap_t));
    size_t n_before = (size_t)(vector - memory);
    if (n_before > n_accessible)
        return NULL;
    uint64_t max_len = (n_bytes - n_before) & ~(uint64_t)(MHEAP_WORD_BYTES - 1);
    uint64_t accessible_len = (n_accessible - n_before) & ~(uint64_t)(MHEAP_WORD_BYTES - 1);
    mheap_t *h = mheap_init(vector - sizeof *h, max_len, accessible_len, flags);
    if (h) {
        h->vm_offset = (uint32_t)((char *)h - memory);
        h->vm_n_bytes = n_bytes;
        api_set_plain(h);
    }
    return h;
}

static mheap_t *lay_out_in_own_memory(size_t n_bytes, uint32_t flags) {
    char *memory = vm_reserve(n_bytes, vm_page_bytes());
    if (!memory)
        return NULL;
    size_t n_accessible = first_commit_bytes();
    if (n_accessible > n_bytes)
        n_accessible = n_bytes;
    flags |=
        MHEAP_INTERNAL_FLAG_OWNS_VM | MHEAP_INTERNAL_FLAG_RESERVED | MHEAP_INTERNAL_FLAG_ZEROED;
    mheap_t *h = NULL;
    if (vm_commit(memory, n_accessible))
        h = lay_out(memory, n_bytes, n_accessible, flags);
    if (!h)
        vm_release(memory, n_bytes);
    return h;
}

void *mheap_alloc_with_flags(void *memory, size_t size, uint32_t flags) {
    size_t n_bytes = size & ~(vm_page_bytes() - 1);
    if (!n_bytes || n_bytes > max_bytes())
        return NULL;
    flags &= PUBLIC_FLAGS;
    mheap_t *h =
        memory ? lay_out(memory, n_bytes, n_bytes, flags) : lay_out_in_own_memory(n_bytes, flags);
    if (!h)
        return NULL;
    void *v = mheap_vector(h);
    if ((flags & MHEAP_FLAG_TRACE) && !mheap_trace(v, true))
        return mheap_free(v);
    return v;
}

void *mheap_alloc(void *memory, size_t size) {
    return mheap_alloc_with_flags(
        memory, size, MHEAP_FLAG_SMALL_OBJECT_CACHE | (memory ? MHEAP_FLAG_DISABLE_VM : 0));
}

void *mheap_free(void *v) {
    if (!v)
        return NULL;
    mheap_t *h = mheap_header(v);
    trace_destroy(h->trace);
    h->magic = h->plain_magic = 0; /* a later use of it is noticed as long as the memory is there */
    if (h->flags & MHEAP_INTERNAL_FLAG_OWNS_VM)
        vm_release((char *)h - h->vm_offset, h->vm_n_bytes);
    return NULL;
}

/* SPDX-License-Identifier: MIT */
/* A user's program: a heap of its own, and malloc. */
#include <mheap.h>
#include <stdlib.h>
#include <string.h>

int main(void) {
    void *heap = mheap_alloc(NULL, 1 << 20);
    mheap_uoffset_t offset;
    if (!heap)
        return 1;
    mheap_get(heap, 100, &offset);
    if (offset == MHEAP_GROUNDED)
        return 1;
    memset((char *)heap + offset, 'x', 100);
    mheap_put(heap, offset);
    mheap_free(heap);
    void *object = malloc(100);
    free(object);
    return object ? 0 : 1;
}

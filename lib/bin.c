/* SPDX-License-Identifier: MIT */
#include "bin.h"

#include "fatal.h"

void bin_blame_links(const mheap_elt_t *e) {
    fatal("mheap", (const char *)e + MHEAP_TAG_BYTES,
          "links of a free object are damaged (written to after it was freed?)");
}

void bin_blame_tag(const mheap_elt_t *e) {
    fatal("mheap", (const char *)e + MHEAP_TAG_BYTES,
          "boundary tag of a free object is damaged (overflow of an object next to it?)");
}

/* SPDX-License-Identifier: MIT */
/* hardened_table.h - the large objects of the hardened allocator by address.  Private to
 * hardened_large.c, whose lock guards it. */
#ifndef MHEAP_HARDENED_TABLE_H
#define MHEAP_HARDENED_TABLE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "vm.h"

typedef enum { GUARDED_LIVE, GUARDED_BUSY, GUARDED_HELD, GUARDED_SPARE } guarded_state_t;

typedef struct {
    char *object; /* NULL: an empty place in the table */
    char *base;   /* as the large store knows it */
    size_t bytes; /* asked for */
    size_t lead_bytes, body_bytes;
    uint8_t state, kind;
    bool is_guarded; /* while it is not LIVE, too: the guards stay */
    bool has_pages;  /* all of the body is resident: known of a LIVE one, meant of one that waits */
} guarded_t;

static inline size_t guarded_total_bytes(const guarded_t *entry) {
    return entry->lead_bytes + entry->body_bytes + vm_page_bytes();
}

static inline char *guarded_body(const guarded_t *entry) {
    return entry->base + entry->lead_bytes;
}

bool guarded_table_add(const guarded_t *entry);    /* false without memory */
guarded_t *guarded_table_find(const void *object); /* NULL: none; valid until the next change */
void guarded_table_remove(guarded_t *entry);

/* The first entry from place *i on, which goes behind it; NULL at the end. */
guarded_t *guarded_table_next(size_t *i);

#endif /* MHEAP_HARDENED_TABLE_H */

/* SPDX-License-Identifier: MIT */
/*
 * options.h - what MHEAP_CONF says, read once before the first allocation, then read-only.
 * The rows are in options.def.
 */
#ifndef MHEAP_OPTIONS_H
#define MHEAP_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

typedef struct {
#define OPTION_BOOL(name, default_value, help)                 bool name;
#define OPTION_UINT(name, default_value, min, max, unit, help) uint64_t name;
#include "options.def"
#undef OPTION_BOOL
#undef OPTION_UINT
} options_t;

extern options_t options;

/* Parse the environment (secure_getenv: nothing in setuid programs).  Allocates nothing; may run
 * before libc has set up its environ: called from the first heap's creation and again from the
 * constructor, the second call does nothing if the first has seen an environment.  Warnings go to
 * standard error once, from the constructor. */
void options_init(void);
void options_warn(void);

/* Parse `text` into *to; used by options_init, and by tests.  Calls warn(arg, key or value text,
 * length, what) for each problem. */
typedef void options_warn_fn(void *arg, const char *text, uint64_t n_bytes, const char *what);
void options_parse(const char *text, options_t *to, options_warn_fn *warn, void *arg);

#endif /* MHEAP_OPTIONS_H */

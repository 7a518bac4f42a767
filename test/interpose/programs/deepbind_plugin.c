/* SPDX-License-Identifier: MIT */
/* The plugin of deepbind.c.  What it uses lies in another library, found by its RUNPATH. */
#include <stddef.h>

void *inner_malloc_address(void);
char *inner_make(size_t n_bytes);
char *inner_grow(char *object, size_t n_bytes);
void inner_release(char *object);

void *plugin_malloc_address(void);
char *plugin_make(size_t n_bytes);
char *plugin_grow(char *object, size_t n_bytes);
void plugin_release(char *object);

void *plugin_malloc_address(void) {
    return inner_malloc_address();
}
char *plugin_make(size_t n_bytes) {
    return inner_make(n_bytes);
}
char *plugin_grow(char *object, size_t n_bytes) {
    return inner_grow(object, n_bytes);
}
void plugin_release(char *object) {
    inner_release(object);
}

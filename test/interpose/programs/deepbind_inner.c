/* SPDX-License-Identifier: MIT */
/* What deepbind_plugin.c needs: with RTLD_DEEPBIND it finds libc's malloc before the program's. */
#include <stdlib.h>
#include <string.h>

void *inner_malloc_address(void);
char *inner_make(size_t n_bytes);
char *inner_grow(char *object, size_t n_bytes);
void inner_release(char *object);

void *inner_malloc_address(void) {
    return (void *)malloc;
}
char *inner_make(size_t n_bytes) {
    return memset(malloc(n_bytes), 'p', n_bytes);
}
char *inner_grow(char *object, size_t n_bytes) {
    return realloc(object, n_bytes);
}
void inner_release(char *object) {
    free(object);
}

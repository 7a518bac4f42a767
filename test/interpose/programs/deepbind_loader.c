/* SPDX-License-Identifier: MIT */
/* Loads deepbind_inner.c by its bare name: only this library's RUNPATH leads there. */
#include <dlfcn.h>
#include <stddef.h>

const char *loader_load(int flags);

const char *loader_load(int flags) {
    void *library = dlopen("libdeepbind_inner.so", flags);
    if (!library)
        return dlerror();
    char *(*make)(size_t) = (char *(*)(size_t))dlsym(library, "inner_make");
    void (*release)(char *) = (void (*)(char *))dlsym(library, "inner_release");
    if (!make || !release)
        return "no functions in the inner library";
    for (size_t size = 10; size < 1000000; size *= 2)
        release(make(size));
    dlclose(library);
    return NULL;
}

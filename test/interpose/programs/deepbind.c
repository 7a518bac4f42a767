/* SPDX-License-Identifier: MIT */
/* Loads plugins in the ways that tempt two mallocs into one process.  The argument says which:
 *   dropped    RTLD_DEEPBIND, which libmheap drops: the plugin's malloc is ours
 *   kept       RTLD_DEEPBIND, left as it is by an option: we free what the plugin's malloc made
 *   runpath    a library loads another that only its own RUNPATH finds
 *   namespace  the same, in a namespace of its own
 *   errors     dlopen of what is not there */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PLUGIN PLUGIN_DIR "/libdeepbind_plugin.so"

static int fail(const char *what) {
    printf("failed: %s\n", what);
    return 1;
}

static void *symbol(void *library, const char *name) {
    void *address = dlsym(library, name);
    if (!address)
        exit(fail(dlerror()));
    return address;
}

static int is_filled(const char *object, size_t n_bytes, char with) {
    for (size_t i = 0; i < n_bytes; i++)
        if (object[i] != with)
            return 0;
    return 1;
}

/* The plugin's objects are ours to free and to grow. */
static int takes_the_plugins(void *plugin) {
    char *(*make)(size_t) = (char *(*)(size_t))symbol(plugin, "plugin_make");
    static const size_t sizes[] = {10, 100, 5000, 200000, 3000000};
    for (int round = 0; round < 100; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
            char *kept = make(sizes[i]), *grown = realloc(make(sizes[i]), 2 * sizes[i]);
            if (!is_filled(kept, sizes[i], 'p') || !is_filled(grown, sizes[i], 'p'))
                return 0;
            free(kept);
            free(grown);
        }
    return 1;
}

/* Ours are the plugin's to free and to grow. */
static int gives_to_the_plugin(void *plugin) {
    void (*release)(char *) = (void (*)(char *))symbol(plugin, "plugin_release");
    char *(*grow)(char *, size_t) = (char *(*)(char *, size_t))symbol(plugin, "plugin_grow");
    for (size_t size = 10; size < 4000000; size *= 3) {
        char *object = memset(malloc(size), 'h', size);
        object = grow(object, 2 * size);
        if (!is_filled(object, size, 'h'))
            return 0;
        free(object);
        release(malloc(size));
    }
    return 1;
}

static int deepbind(int dropped) {
    void *plugin = dlopen(PLUGIN, RTLD_NOW | RTLD_LOCAL | RTLD_DEEPBIND);
    if (!plugin)
        return fail(dlerror());
    void *(*address)(void) = (void *(*)(void))symbol(plugin, "plugin_malloc_address");
    if ((address() == dlsym(RTLD_DEFAULT, "malloc")) != dropped)
        return fail("the plugin's malloc is not the one expected");
    if (!takes_the_plugins(plugin))
        return fail("contents of the plugin's objects");
    if (dropped && !gives_to_the_plugin(plugin))
        return fail("contents of our objects");
    return dlclose(plugin);
}

static int runpath(void *library) {
    if (!library)
        return fail(dlerror());
    if (dlopen("libdeepbind_inner.so", RTLD_NOW))
        return fail("the inner library is found by everyone: it shows nothing");
    const char *(*load)(int) = (const char *(*)(int))symbol(library, "loader_load");
    const char *error = load(RTLD_NOW);
    if (!error)
        error = load(RTLD_NOW | RTLD_DEEPBIND);
    return error ? fail(error) : 0;
}

static int errors(void) {
    if (dlopen("/no/such/library.so", RTLD_NOW) || !strstr(dlerror(), "/no/such/library.so"))
        return fail("a missing library is an error");
    if (dlopen("/no/such/library.so", RTLD_NOW | RTLD_DEEPBIND) || !dlerror())
        return fail("a missing library is an error with RTLD_DEEPBIND too");
    if (dlopen(PLUGIN, 0) || !dlerror())
        return fail("neither RTLD_NOW nor RTLD_LAZY is an error");
    void *self = dlopen(NULL, RTLD_NOW | RTLD_DEEPBIND);
    return self && dlsym(self, "malloc") ? 0 : fail("dlopen(NULL) is the program itself");
}

int main(int argc, char **argv) {
    const char *mode = argc > 1 ? argv[1] : "";
    const char *loader = PLUGIN_DIR "/libdeepbind_loader.so";
    int failed = 1;
    if (!strcmp(mode, "dropped") || !strcmp(mode, "kept"))
        failed = deepbind(mode[0] == 'd');
    else if (!strcmp(mode, "runpath"))
        failed = runpath(dlopen(loader, RTLD_NOW));
    else if (!strcmp(mode, "namespace"))
        failed = runpath(dlmopen(LM_ID_NEWLM, loader, RTLD_NOW));
    else if (!strcmp(mode, "errors"))
        failed = errors();
    if (!failed)
        puts("ok");
    return failed;
}

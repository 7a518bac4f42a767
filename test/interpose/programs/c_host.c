/* SPDX-License-Identifier: MIT */
/* A C program, without libstdc++, that loads a C++ plugin: the plugin's operators new and delete
 * are those of malloc's library, which must find the new-handler and bad_alloc of a C++ runtime
 * that came later. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

typedef int plugin_fn(void);

int main(void) {
    char *before[100];
    if (dlsym(RTLD_DEFAULT, "__cxa_throw")) {
        puts("the program has a C++ runtime already: it shows nothing");
        return 1;
    }
    for (int i = 0; i < 100; i++)
        before[i] = malloc(i * 10);
    for (int round = 0; round < 3; round++) {
        void *plugin = dlopen(PLUGIN_DIR "/libcxx_plugin.so", RTLD_NOW | RTLD_LOCAL);
        if (!plugin) {
            puts(dlerror());
            return 1;
        }
        plugin_fn *run = (plugin_fn *)dlsym(plugin, "cxx_plugin_run");
        int failed = run ? run() : -1;
        if (failed) {
            printf("plugin check %d failed\n", failed);
            return 1;
        }
        dlclose(plugin);
    }
    for (int i = 0; i < 100; i++)
        free(before[i]);
    puts("ok");
    return 0;
}

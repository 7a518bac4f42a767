/* SPDX-License-Identifier: MIT */
/*
 * dlopen.c - dlopen without RTLD_DEEPBIND, unless the option deepbind is on.
 *
 * A library loaded with that flag looks names up in itself and what it depends on before the
 * program's scope: its free is then glibc's, not ours, and the first object of ours that it frees
 * is the end (php loads its extensions so).
 *
 * The C library's dlopen looks at its return address to know whose library search path to use, and
 * whose namespace.  So ours must leave no frame: it is a jump, written in assembly so that no
 * setting of the compiler makes it a call.
 */
#include <dlfcn.h>
#include <stddef.h>
#include <stdint.h>

#include "options.h"

/* Returned in two registers, which the assembly below relies on. */
typedef struct {
    void *(*function)(const char *name, int flags);
    uint64_t flags_mask;
} dlopen_target_t;

_Static_assert(sizeof(dlopen_target_t) == 16, "two registers");

static void *no_dlopen(const char *name, int flags) {
    (void)name, (void)flags;
    return NULL;
}

/* Relaxed: each thread finds the same function, and only its address counts. */
__attribute__((used)) dlopen_target_t dlopen_target(void);
dlopen_target_t dlopen_target(void) {
    static void *next;
    void *function = __atomic_load_n(&next, __ATOMIC_RELAXED);
    if (!function) {
        function = dlsym(RTLD_NEXT, "dlopen");
        if (!function) /* a program linked statically */
            function = (void *)no_dlopen;
        __atomic_store_n(&next, function, __ATOMIC_RELAXED);
    }
    uint64_t mask = options.deepbind ? UINT64_MAX : ~(uint64_t)RTLD_DEEPBIND;
    return (dlopen_target_t){(void *(*)(const char *, int))function, mask};
}

#if defined(__x86_64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".weak dlopen\n"
        ".type dlopen, @function\n"
        "dlopen:\n"
        "    .cfi_startproc\n"
        "    endbr64\n"
        "    push %rdi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    push %rsi\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    sub $8, %rsp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    call dlopen_target\n"
        "    add $8, %rsp\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    pop %rsi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    pop %rdi\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    and %edx, %esi\n"
        "    jmp *%rax\n"
        "    .cfi_endproc\n"
        ".size dlopen, .-dlopen\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".weak dlopen\n"
        ".type dlopen, %function\n"
        "dlopen:\n"
        "    .cfi_startproc\n"
        "    hint 34\n" /* bti c */
        "    stp x29, x30, [sp, #-32]!\n"
        "    .cfi_def_cfa_offset 32\n"
        "    .cfi_offset 29, -32\n"
        "    .cfi_offset 30, -24\n"
        "    stp x0, x1, [sp, #16]\n"
        "    bl dlopen_target\n"
        "    mov x16, x0\n"
        "    mov x17, x1\n"
        "    ldp x0, x1, [sp, #16]\n"
        "    ldp x29, x30, [sp], #32\n"
        "    .cfi_restore 29\n"
        "    .cfi_restore 30\n"
        "    .cfi_def_cfa_offset 0\n"
        "    and w1, w1, w17\n"
        "    br x16\n"
        "    .cfi_endproc\n"
        ".size dlopen, .-dlopen\n");
#else
#error "dlopen must pass its caller's return address on: write it for this processor"
#endif

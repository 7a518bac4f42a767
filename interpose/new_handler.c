/* SPDX-License-Identifier: MIT */
/*
 * new_handler.c - the end of memory in C++, from C.
 *
 * The functions of the C++ runtime are weak references: bound when the program has that runtime in
 * its global scope.  Else, they are looked for in a runtime that a plug-in brought along.  All of
 * this only once memory is out.  (A program linked statically has them if anything else in it calls
 * them, as the standard containers do; a weak reference takes nothing out of an archive.)
 *
 * Catching an exception takes a function with a personality of its own: the unwinder asks it
 * whether the frame handles the exception, and at which address to go on.  Ours has a frame in
 * assembly (new_guard) with one call in it, and handles every C++ exception.
 */
#include "new_handler.h"

#include <dlfcn.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <unistd.h>
#include <unwind.h>

#include "fatal.h"

typedef void handler_fn(void);

extern handler_fn *std_get_new_handler(void) __asm__("_ZSt15get_new_handlerv")
    __attribute__((weak));
extern void std_throw_bad_alloc(void) __asm__("_ZSt17__throw_bad_allocv") __attribute__((weak));
extern void *cxa_begin_catch(void *exception) __asm__("__cxa_begin_catch") __attribute__((weak));
extern void cxa_end_catch(void) __asm__("__cxa_end_catch") __attribute__((weak));
extern __typeof__(_Unwind_SetGR) unwind_set_gr __asm__("_Unwind_SetGR") __attribute__((weak));
extern __typeof__(_Unwind_SetIP) unwind_set_ip __asm__("_Unwind_SetIP") __attribute__((weak));

/* The function `linked`, or else of that name in the program or a C++ runtime that is loaded. */
static void *runtime_function(void *linked, const char *name) {
    static const char libraries[][20] = {"libstdc++.so.6", "libc++.so.1", "libc++abi.so.1",
                                         "libgcc_s.so.1"};
    void *function = linked ? linked : dlsym(RTLD_DEFAULT, name);
    for (size_t i = 0; !function && i < sizeof libraries / sizeof *libraries; i++) {
        void *library = dlopen(libraries[i], RTLD_LAZY | RTLD_NOLOAD);
        if (!library)
            continue;
        function = dlsym(library, name);
        dlclose(library); /* stays loaded: others hold it */
    }
    return function;
}

static handler_fn *new_handler(void) {
    handler_fn *(*get)(void) = (handler_fn * (*)(void))
        runtime_function((void *)std_get_new_handler, "_ZSt15get_new_handlerv");
    // cppcheck-suppress legacyUninitvar ; taken for a declaration without a value
    return get ? get() : NULL;
}

void new_throw(size_t bytes) {
    void (*throw_it)(void) =
        (void (*)(void))runtime_function((void *)std_throw_bad_alloc, "_ZSt17__throw_bad_allocv");
    if (throw_it)
        throw_it();
    line_t line = {.n_bytes = 0};
    line_text(&line, "libmheap: operator new(");
    line_decimal(&line, bytes);
    line_text(&line, "): out of memory, and the program has no C++ runtime to throw with");
    fatal_line(&line);
}

void *new_retry(allocate_fn *allocate, size_t bytes, size_t align) {
    for (;;) {
        handler_fn *handler = new_handler();
        if (!handler)
            new_throw(bytes);
        handler();
        void *object = allocate(bytes, align);
        if (object)
            return object;
    }
}

/* ---- Exceptions caught ---- */

/* What the personality and the landing need, looked up before an exception can be on its way. */
typedef struct {
    __typeof__(_Unwind_SetGR) *set_gr;
    __typeof__(_Unwind_SetIP) *set_ip;
    void *(*begin_catch)(void *exception);
    void (*end_catch)(void);
} unwinder_t;

static unwinder_t unwinder;

static bool unwinder_is_found(void) {
    static const char names[][20] = {"_Unwind_SetGR", "_Unwind_SetIP", "__cxa_begin_catch",
                                     "__cxa_end_catch"};
    void *const linked[] = {(void *)unwind_set_gr, (void *)unwind_set_ip, (void *)cxa_begin_catch,
                            (void *)cxa_end_catch};
    void *found[4];
    for (unsigned i = 0; i < 4; i++)
        if (!(found[i] = runtime_function(linked[i], names[i])))
            return false;
    /* Relaxed: all threads find the same, and each has written it itself before it needs it. */
    __atomic_store_n((void **)&unwinder.set_gr, found[0], __ATOMIC_RELAXED);
    __atomic_store_n((void **)&unwinder.set_ip, found[1], __ATOMIC_RELAXED);
    __atomic_store_n((void **)&unwinder.begin_catch, found[2], __ATOMIC_RELAXED);
    __atomic_store_n((void **)&unwinder.end_catch, found[3], __ATOMIC_RELAXED);
    return true;
}

/* allocate(bytes, align), or NULL if it throws. */
void *new_guard(allocate_fn *allocate, size_t bytes, size_t align);
extern const char new_guard_landing[];

__attribute__((used)) void new_guard_caught(void *exception);
void new_guard_caught(void *exception) {
    unwinder.begin_catch(exception);
    unwinder.end_catch();
}

__attribute__((used)) _Unwind_Reason_Code
new_guard_personality(int version, _Unwind_Action actions, _Unwind_Exception_Class exception_class,
                      struct _Unwind_Exception *exception, struct _Unwind_Context *context);
_Unwind_Reason_Code new_guard_personality(int version, _Unwind_Action actions,
                                          _Unwind_Exception_Class exception_class,
                                          struct _Unwind_Exception *exception,
                                          struct _Unwind_Context *context) {
    (void)exception_class;
    if (version != 1)
        return _URC_FATAL_PHASE1_ERROR;
    if (actions & _UA_FORCE_UNWIND) /* a thread being cancelled, not an exception */
        return _URC_CONTINUE_UNWIND;
    if (actions & _UA_SEARCH_PHASE)
        return _URC_HANDLER_FOUND;
    if (!(actions & _UA_HANDLER_FRAME))
        return _URC_CONTINUE_UNWIND;
    unwinder.set_gr(context, __builtin_eh_return_data_regno(0), (uintptr_t)exception);
    unwinder.set_ip(context, (uintptr_t)new_guard_landing);
    return _URC_INSTALL_CONTEXT;
}

#if defined(__x86_64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".hidden new_guard\n"
        ".hidden new_guard_landing\n"
        ".globl new_guard\n"
        ".globl new_guard_landing\n"
        ".type new_guard, @function\n"
        "new_guard:\n"
        "    .cfi_startproc\n"
        "    .cfi_personality 0x1b, new_guard_personality\n" /* 0x1b: relative, 32 bits */
        "    endbr64\n"
        "    sub $8, %rsp\n"
        "    .cfi_adjust_cfa_offset 8\n"
        "    mov %rdi, %rax\n"
        "    mov %rsi, %rdi\n"
        "    mov %rdx, %rsi\n"
        "    call *%rax\n"
        "1:  add $8, %rsp\n"
        "    .cfi_remember_state\n"
        "    .cfi_adjust_cfa_offset -8\n"
        "    ret\n"
        "    .cfi_restore_state\n"
        "new_guard_landing:\n" /* with the exception where the personality put it */
        "    endbr64\n"
        "    mov %rax, %rdi\n"
        "    call new_guard_caught\n"
        "    xor %eax, %eax\n"
        "    jmp 1b\n"
        "    .cfi_endproc\n"
        ".size new_guard, .-new_guard\n");
#elif defined(__aarch64__)
__asm__(".text\n"
        ".p2align 4\n"
        ".hidden new_guard\n"
        ".hidden new_guard_landing\n"
        ".globl new_guard\n"
        ".globl new_guard_landing\n"
        ".type new_guard, %function\n"
        "new_guard:\n"
        "    .cfi_startproc\n"
        "    .cfi_personality 0x1b, new_guard_personality\n" /* 0x1b: relative, 32 bits */
        "    hint 34\n"                                      /* bti c */
        "    stp x29, x30, [sp, #-16]!\n"
        "    .cfi_def_cfa_offset 16\n"
        "    .cfi_offset 29, -16\n"
        "    .cfi_offset 30, -8\n"
        "    mov x16, x0\n"
        "    mov x0, x1\n"
        "    mov x1, x2\n"
        "    blr x16\n"
        "1:  .cfi_remember_state\n"
        "    ldp x29, x30, [sp], #16\n"
        "    .cfi_restore 29\n"
        "    .cfi_restore 30\n"
        "    .cfi_def_cfa_offset 0\n"
        "    ret\n"
        "    .cfi_restore_state\n"
        "new_guard_landing:\n" /* with the exception where the personality put it */
        "    hint 36\n"        /* bti j */
        "    bl new_guard_caught\n"
        "    mov x0, #0\n"
        "    b 1b\n"
        "    .cfi_endproc\n"
        ".size new_guard, .-new_guard\n");
#else
#error "operator new(nothrow) must catch exceptions: write the frame for this processor"
#endif

void *new_call_nothrow(allocate_fn *allocate, size_t bytes, size_t align) {
    /* Without a C++ runtime there are no exceptions. */
    return unwinder_is_found() ? new_guard(allocate, bytes, align) : allocate(bytes, align);
}

/* In the shape that the guard calls: not NULL says that the handler returned. */
static void *call_handler(size_t handler, size_t unused) {
    static char returned;
    (void)unused;
    ((handler_fn *)handler)();
    return &returned;
}

void *new_retry_nothrow(allocate_fn *allocate, size_t bytes, size_t align) {
    for (;;) {
        handler_fn *handler = new_handler();
        if (!handler || !new_call_nothrow(call_handler, (size_t)handler, 0))
            return NULL;
        void *object = allocate(bytes, align);
        if (object)
            return object;
    }
}

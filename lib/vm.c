/* SPDX-License-Identifier: MIT */
#include "vm.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <unistd.h>

#include "system_call.h"
#include "text.h"

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MAP_FIXED_NOREPLACE
#define MAP_FIXED_NOREPLACE 0x100000
#endif
#ifndef MREMAP_DONTUNMAP
#define MREMAP_DONTUNMAP 4
#endif

#define MAP_ANON_PRIVATE (MAP_PRIVATE | MAP_ANONYMOUS)

vm_allow_fn *vm_allow_hook;
static _Atomic uint64_t n_calls[VM_N_CALLS];

static _Atomic uint64_t n_committed_bytes; /* relaxed: a count */

static bool may_call(vm_call_t call) {
    atomic_fetch_add_explicit(&n_calls[call], 1, memory_order_relaxed);
    return !vm_allow_hook || vm_allow_hook(call);
}

uint64_t vm_committed_bytes(void) {
    return atomic_load_explicit(&n_committed_bytes, memory_order_relaxed);
}

uint64_t vm_n_calls(vm_call_t call) {
    return atomic_load_explicit(&n_calls[call], memory_order_relaxed);
}

#if !defined(__x86_64__)
size_t vm_page_bytes(void) {
    static _Atomic size_t page_bytes; /* idempotent: every thread computes the same value */
    size_t bytes = atomic_load_explicit(&page_bytes, memory_order_relaxed);
    if (!bytes) {
        bytes = (size_t)sysconf(_SC_PAGESIZE);
        atomic_store_explicit(&page_bytes, bytes, memory_order_relaxed);
    }
    return bytes;
}
#endif

static void *map(vm_call_t call, void *address, size_t bytes, int protection, int flags) {
    if (!may_call(call))
        return NULL;
    int saved_errno = errno;
    void *memory = mmap(address, bytes, protection, MAP_ANON_PRIVATE | flags, -1, 0);
    errno = saved_errno;
    return memory == MAP_FAILED ? NULL : memory;
}

static bool advise(vm_call_t call, void *memory, size_t bytes, int advice) {
    if (!may_call(call))
        return false;
    int saved_errno = errno;
    int result = madvise(memory, bytes, advice);
    errno = saved_errno;
    return result == 0;
}

bool vm_release(void *memory, size_t bytes) {
    if (!may_call(VM_CALL_RELEASE))
        return false;
    int saved_errno = errno;
    int result = munmap(memory, bytes);
    errno = saved_errno;
    return result == 0;
}

void *vm_reserve_at(void *address, size_t bytes) {
    void *memory =
        map(VM_CALL_RESERVE, address, bytes, PROT_NONE, MAP_NORESERVE | MAP_FIXED_NOREPLACE);
    if (memory && memory != address) { /* a kernel before 4.17 takes the address as a hint only */
        vm_release(memory, bytes);
        return NULL;
    }
    return memory;
}

void *vm_reserve(size_t bytes, size_t align) {
    if (bytes > SIZE_MAX - align)
        return NULL;
    char *memory = map(VM_CALL_RESERVE, NULL, bytes, PROT_NONE, MAP_NORESERVE);
    if (!memory || ((uintptr_t)memory & (align - 1)) == 0)
        return memory;
    vm_release(memory, bytes);

    size_t wide_bytes = bytes + align;
    memory = map(VM_CALL_RESERVE, NULL, wide_bytes, PROT_NONE, MAP_NORESERVE);
    if (!memory)
        return NULL;
    size_t before = -(uintptr_t)memory & (align - 1);
    if (before)
        vm_release(memory, before);
    if (wide_bytes - before > bytes)
        vm_release(memory + before + bytes, wide_bytes - before - bytes);
    return memory + before;
}

void *vm_map(size_t bytes) {
    return map(VM_CALL_MAP, NULL, bytes, PROT_READ | PROT_WRITE, 0);
}

static bool protect(vm_call_t call, void *memory, size_t bytes, int protection) {
    if (!may_call(call))
        return false;
    int saved_errno = errno;
    int result = mprotect(memory, bytes, protection);
    errno = saved_errno;
    return result == 0;
}

bool vm_commit(void *memory, size_t bytes) {
    if (!protect(VM_CALL_COMMIT, memory, bytes, PROT_READ | PROT_WRITE))
        return false;
    atomic_fetch_add_explicit(&n_committed_bytes, bytes, memory_order_relaxed);
    return true;
}

bool vm_forbid(void *memory, size_t bytes) {
    return protect(VM_CALL_DECOMMIT, memory, bytes, PROT_NONE);
}

/* Relaxed: another thread may ask once more. */
static _Atomic bool populate_is_refused;

/* Browsers' sandboxes let madvise pass only with advice that they know: anything else raises
 * SIGSYS, and their handler ends the process.  So where SIGSYS has a handler nothing unusual is
 * tried.  The system call itself, since a program may have put something in front of libc's
 * function. */
static bool system_calls_may_trap(void) {
    struct {
        void (*handler)(int);
        unsigned long flags;
        void (*restorer)(void);
        uint64_t mask;
    } action = {0}; /* as the kernel has it */
    return system_call(SYS_rt_sigaction, SIGSYS, 0, (long)&action, sizeof action.mask, 0) != 0 ||
           action.handler != SIG_DFL;
}

bool vm_populate(void *memory, size_t bytes) {
    if (atomic_load_explicit(&populate_is_refused, memory_order_relaxed))
        return false;
    int saved_errno = errno, error = 0;
    bool may_ask = !system_calls_may_trap() && may_call(VM_CALL_POPULATE);
    if (may_ask && madvise(memory, bytes, MADV_POPULATE_WRITE) != 0)
        error = errno;
    if (error == EINVAL || error == EPERM || error == EACCES || error == ENOSYS)
        atomic_store_explicit(&populate_is_refused, true, memory_order_relaxed);
    errno = saved_errno;
    return may_ask && error == 0;
}

bool vm_purge(void *memory, size_t bytes) {
    return advise(VM_CALL_PURGE, memory, bytes, MADV_DONTNEED);
}

void vm_huge_pages(void *memory, size_t bytes, bool wanted) {
    advise(VM_CALL_HUGE, memory, bytes, wanted ? MADV_HUGEPAGE : MADV_NOHUGEPAGE);
}

size_t vm_read_file(const char *path, char *text, size_t n_bytes) {
    size_t n_read = 0;
    long file = system_call(SYS_openat, AT_FDCWD, (long)path, O_RDONLY | O_CLOEXEC, 0, 0), n;
    if (file >= 0) {
        while ((n = system_call(SYS_read, file, (long)(text + n_read), (long)(n_bytes - 1 - n_read),
                                0, 0)) > 0)
            n_read += (size_t)n; /* a full buffer reads 0 */
        system_call(SYS_close, file, 0, 0, 0, 0);
    }
    text[n_read] = '\0';
    return n_read;
}

/* Read once: the setting is the machine's.  Any thread finds the same. */
static bool system_gives_huge_pages_always(void) {
    static _Atomic int state; /* 0: not read yet, 1: no, 2: yes; relaxed */
    int now = atomic_load_explicit(&state, memory_order_relaxed);
    if (now)
        return now == 2;
    char text[32];
    vm_read_file("/sys/kernel/mm/transparent_hugepage/enabled", text, sizeof text);
    now = text_begins(text, "[always]") ? 2 : 1;
    atomic_store_explicit(&state, now, memory_order_relaxed);
    return now == 2;
}

void vm_keep_small_pages(void *memory, size_t bytes) {
    if (system_gives_huge_pages_always())
        vm_huge_pages(memory, bytes, false);
}

bool vm_move(void *from, void *to, size_t bytes) {
    if (!may_call(VM_CALL_MOVE))
        return false;
    int saved_errno = errno;
    void *moved = mremap(from, bytes, bytes, MREMAP_MAYMOVE | MREMAP_FIXED | MREMAP_DONTUNMAP, to);
    errno = saved_errno;
    return moved != MAP_FAILED;
}

/* MAP_NORESERVE as when it was reserved: only mappings with the same flags merge. */
bool vm_renew(void *memory, size_t bytes) {
    return map(VM_CALL_RENEW, memory, bytes, PROT_READ | PROT_WRITE, MAP_FIXED | MAP_NORESERVE) !=
           NULL;
}

bool vm_decommit(void *memory, size_t bytes) {
    if (!map(VM_CALL_DECOMMIT, memory, bytes, PROT_NONE, MAP_FIXED | MAP_NORESERVE))
        return false;
    vm_keep_small_pages(memory, bytes); /* a new mapping: what was said of the old is forgotten */
    return true;
}

size_t vm_resident_bytes(void *memory, size_t bytes) {
    unsigned char in_core[512] = {0};
    size_t page_bytes = vm_page_bytes(), resident = 0;
    for (size_t done = 0; done < bytes;) {
        size_t part = bytes - done;
        if (part > sizeof in_core * page_bytes)
            part = sizeof in_core * page_bytes;
        if (system_call(SYS_mincore, (long)memory + (long)done, (long)part, (long)in_core, 0, 0) ==
            0)
            for (size_t i = 0; i < (part + page_bytes - 1) / page_bytes; i++)
                resident += (in_core[i] & 1) * page_bytes;
        done += part;
    }
    return resident;
}

/* SPDX-License-Identifier: MIT */
/*
 * fault_vm.c - preloaded before libmheap: makes chosen memory system calls of libmheap fail, in any
 * program.  All other callers' go through.
 *
 *   FAULT_VM=KIND:FIRST:COUNT          of the calls of that kind, so many from FIRST (1, 2, ...) on
 *   FAULT_VM=random:SEED:PERMILLE      so many of a thousand, of any kind
 *   FAULT_VM_MARK=FILE                 is created as soon as a call fails
 *
 * KIND is one of vm.h's (reserve, map, commit, ...), told apart by their arguments, or any.  Every
 * process counts for itself.  Runs inside malloc, from the first call on: allocates nothing, and
 * asks nothing that might.
 */
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif

/* ---- Whose call it is ---- */

static _Atomic uintptr_t code_begin, code_end; /* of libmheap */

static int note_libmheap(struct dl_phdr_info *info, size_t size, void *arg) {
    (void)size, (void)arg;
    if (!strstr(info->dlpi_name, "libmheap"))
        return 0;
    uintptr_t begin = UINTPTR_MAX, end = 0; /* of all parts with code: it may have several */
    for (unsigned i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *part = &info->dlpi_phdr[i];
        if (part->p_type != PT_LOAD || !(part->p_flags & PF_X))
            continue;
        uintptr_t part_begin = info->dlpi_addr + part->p_vaddr;
        begin = part_begin < begin ? part_begin : begin;
        end = part_begin + part->p_memsz > end ? part_begin + part->p_memsz : end;
    }
    code_end = end;
    code_begin = begin;
    return 1;
}

static bool is_libmheap(const void *caller) {
    if (!code_begin)
        dl_iterate_phdr(note_libmheap, NULL);
    return code_begin && (uintptr_t)caller >= code_begin && (uintptr_t)caller < code_end;
}

/* ---- Which calls fail ---- */

static const char *kind_of_map(int protection, int flags) {
    if (flags & MAP_FIXED)
        return protection == PROT_NONE ? "decommit" : "renew";
    return protection == PROT_NONE ? "reserve" : "map";
}

static const char *kind_of_advice(int advice) {
    switch (advice) {
    case MADV_DONTNEED:
        return "purge";
    case MADV_POPULATE_WRITE:
        return "populate";
    default:
        return "huge";
    }
}

static _Atomic uint64_t n_calls; /* of the kind asked for */

static uint64_t mix(uint64_t bits) {
    bits = (bits ^ bits >> 33) * 0xff51afd7ed558ccdull;
    bits = (bits ^ bits >> 33) * 0xc4ceb9fe1a85ec53ull;
    return bits ^ bits >> 33;
}

static bool is_chosen(const char *kind) {
    const char *spec = getenv("FAULT_VM"), *colon = spec ? strchr(spec, ':') : NULL;
    if (!colon)
        return false;
    size_t n_bytes = (size_t)(colon - spec);
    char *rest;
    uint64_t first = strtoull(colon + 1, &rest, 10), second = strtoull(rest + 1, NULL, 10);
    if (strncmp(spec, "random", n_bytes) == 0)
        return mix(++n_calls * 0x9E3779B97F4A7C15ull ^ first) % 1000 < second;
    if (strncmp(spec, "any", n_bytes) != 0 && (strncmp(spec, kind, n_bytes) != 0 || kind[n_bytes]))
        return false;
    return ++n_calls - first < second;
}

static bool fails(const char *kind, const void *caller) {
    if (!is_libmheap(caller) || !is_chosen(kind))
        return false;
    const char *mark = getenv("FAULT_VM_MARK");
    if (mark) {
        int file = (int)syscall(SYS_openat, AT_FDCWD, mark, O_CREAT | O_WRONLY | O_CLOEXEC, 0666);
        if (file >= 0)
            syscall(SYS_close, file);
    }
    errno = ENOMEM;
    return true;
}

/* ---- The calls ---- */

#define CALLER __builtin_return_address(0)

void *mmap(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
    if (fails(kind_of_map(protection, flags), CALLER))
        return MAP_FAILED;
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, file, offset);
}

void *mmap64(void *address, size_t bytes, int protection, int flags, int file, off_t offset) {
    return (void *)syscall(SYS_mmap, address, bytes, protection, flags, file, offset);
}

int munmap(void *memory, size_t bytes) {
    return fails("release", CALLER) ? -1 : (int)syscall(SYS_munmap, memory, bytes);
}

int mprotect(void *memory, size_t bytes, int protection) {
    const char *kind = protection == PROT_NONE ? "decommit" : "commit";
    return fails(kind, CALLER) ? -1 : (int)syscall(SYS_mprotect, memory, bytes, protection);
}

int madvise(void *memory, size_t bytes, int advice) {
    return fails(kind_of_advice(advice), CALLER) ? -1
                                                 : (int)syscall(SYS_madvise, memory, bytes, advice);
}

void *mremap(void *old, size_t old_bytes, size_t bytes, int flags, ...) {
    va_list more;
    va_start(more, flags);
    void *to = flags & MREMAP_FIXED ? va_arg(more, void *) : NULL;
    va_end(more);
    if (fails("move", CALLER))
        return MAP_FAILED;
    return (void *)syscall(SYS_mremap, old, old_bytes, bytes, flags, to);
}

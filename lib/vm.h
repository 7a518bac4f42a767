/* SPDX-License-Identifier: MIT */
/*
 * vm.h - the only place that makes memory system calls.
 *
 * Addresses and sizes are multiples of vm_page_bytes().  Functions return NULL or false when the
 * system has no memory (or mappings) left; all keep errno.  Anything else that the system refuses
 * is a bug of ours and treated as the same failure.  Thread-safe.
 */
#ifndef MHEAP_VM_H
#define MHEAP_VM_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(__x86_64__)
static inline size_t vm_page_bytes(void) {
    return 4096;
}
#else
size_t vm_page_bytes(void);
#endif

static inline size_t vm_round_up(size_t bytes) {
    return (bytes + vm_page_bytes() - 1) & ~(vm_page_bytes() - 1);
}

/* Address space without access, aligned to `align` (a power of two, at least a page). */
void *vm_reserve(size_t bytes, size_t align);

/* The same at exactly this address; NULL if any part of it is taken. */
void *vm_reserve_at(void *address, size_t bytes);

/* Readable, writable, zeroed memory. */
void *vm_map(size_t bytes);

/* Make reserved memory readable and writable (fresh memory is zero). */
bool vm_commit(void *memory, size_t bytes);

/* Fault the pages in at once, for writing.  Where the kernel cannot (before 5.14), or a filter of
 * the program's forbids it, it is asked once; where SIGSYS has a handler, not at all. */
bool vm_populate(void *memory, size_t bytes);

/* Give the pages back; they read as zero and stay accessible. */
bool vm_purge(void *memory, size_t bytes);

/* Ask for (or forbid) huge pages in the range.  A hint: the answer does not matter. */
void vm_huge_pages(void *memory, size_t bytes, bool wanted);

/* Memory that is used little by little gets no huge pages where the system is set to give them to
 * everybody ("always"): the first byte would cost two megabytes.  The first call reads a file. */
void vm_keep_small_pages(void *memory, size_t bytes);

/* Move `bytes` of pages to `to` (accessible or reserved memory of ours there is replaced), leaving
 * `from` accessible and zero.  False, and nothing changed, where the kernel cannot. */
bool vm_move(void *from, void *to, size_t bytes);

/* Take fresh zeroed memory in place of what is mapped there, dropping contents and any odd
 * mapping that vm_move left behind. */
bool vm_renew(void *memory, size_t bytes);

/* Take access and pages away from memory, keeping the address range reserved. */
bool vm_decommit(void *memory, size_t bytes);

/* Take only access away, until vm_commit. */
bool vm_forbid(void *memory, size_t bytes);

/* Give up the address range. */
bool vm_release(void *memory, size_t bytes);

/* Up to n_bytes - 1 of the file and an end mark; returns how many, 0 if it cannot be read.  Keeps
 * errno, and is no cancellation point. */
size_t vm_read_file(const char *path, char *text, size_t n_bytes);

/* By all vm_commit so far, whatever has become of it. */
uint64_t vm_committed_bytes(void);

/* Which of the pages from `memory` on are resident: bytes, by mincore.  For tests and accounting.
 */
__attribute__((cold)) size_t vm_resident_bytes(void *memory, size_t bytes);

/* ---- Fault injection, for tests ---- */

typedef enum {
    VM_CALL_RESERVE,
    VM_CALL_MAP,
    VM_CALL_COMMIT,
    VM_CALL_POPULATE,
    VM_CALL_PURGE,
    VM_CALL_HUGE,
    VM_CALL_MOVE,
    VM_CALL_RENEW,
    VM_CALL_DECOMMIT,
    VM_CALL_RELEASE,
    VM_N_CALLS
} vm_call_t;

/* If set, asked before each system call; false makes that call fail without being made.  Set it
 * while no other thread allocates. */
typedef bool vm_allow_fn(vm_call_t call);
extern vm_allow_fn *vm_allow_hook;

/* Number of calls made so far of each kind.  Relaxed counters. */
uint64_t vm_n_calls(vm_call_t call);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_VM_H */

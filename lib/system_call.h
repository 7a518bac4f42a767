/* SPDX-License-Identifier: MIT */
/*
 * system_call.h - system calls that need nothing of the C library.
 *
 * For each function of libc that we name the dynamic linker looks through all libraries when a
 * process starts: some 700 instructions, in pages of libc that nothing else needs.  So what only
 * passes a call on is not named.  Nor do these touch errno, or end a thread that was cancelled. The
 * calls for memory go through libc (vm.c), where tests and tools look for them.
 */
#ifndef MHEAP_SYSTEM_CALL_H
#define MHEAP_SYSTEM_CALL_H

#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/syscall.h>
#include <unistd.h>

/* The result, or -errno. */
static inline long system_call(long number, long a, long b, long c, long d, long e) {
#if defined(__x86_64__)
    long result;
    register long r10 __asm__("r10") = d;
    register long r8 __asm__("r8") = e;
    register long r9 __asm__("r9") = 0;
    __asm__ volatile("syscall"
                     : "=a"(result)
                     : "a"(number), "D"(a), "S"(b), "d"(c), "r"(r10), "r"(r8), "r"(r9)
                     : "rcx", "r11", "memory");
    return result;
#elif defined(__aarch64__)
    register long x8 __asm__("x8") = number;
    register long x0 __asm__("x0") = a;
    register long x1 __asm__("x1") = b;
    register long x2 __asm__("x2") = c;
    register long x3 __asm__("x3") = d;
    register long x4 __asm__("x4") = e;
    register long x5 __asm__("x5") = 0;
    __asm__ volatile("svc #0"
                     : "+r"(x0)
                     : "r"(x8), "r"(x1), "r"(x2), "r"(x3), "r"(x4), "r"(x5)
                     : "memory");
    return x0;
#else
    int saved_errno = errno;
    long result = syscall(number, a, b, c, d, e, 0L);
    if (result == -1)
        result = -errno;
    errno = saved_errno;
    return result;
#endif
}

/* Signals by number, from 1 on.  Those are libc's own, for cancellation and setuid: a thread that
 * lasts must let them in. */
#define SIGNAL_BIT(number) ((uint64_t)1 << ((number)-1))
#define SIGNALS_ALL        UINT64_MAX
#define SIGNALS_OF_LIBC    (SIGNAL_BIT(32) | SIGNAL_BIT(33))

/* What this thread blocks from now on; returns what it did before. */
static inline uint64_t signals_block(uint64_t signals) {
    uint64_t before = 0;
    system_call(SYS_rt_sigprocmask, SIG_SETMASK, (long)&signals, (long)&before, sizeof signals, 0);
    return before;
}

#endif /* MHEAP_SYSTEM_CALL_H */

/* SPDX-License-Identifier: MIT */
/* trace_capture.c - the callers' return addresses, from the C library's unwinder. */
#include <errno.h>
#include <execinfo.h>

#include "trace.h"

/* Frames of our own that may lie between the unwinder and the first one wanted. */
#define N_OWN_FRAMES 8

typedef struct {
    uint32_t n;
    void *addresses[MHEAP_TRACE_CALLERS + N_OWN_FRAMES];
} frames_t;

/* Set while this thread is in the unwinder, which may allocate and so come back here. */
static _Thread_local bool is_unwinding;

static void unwind(frames_t *frames) {
    frames->n = 0;
    if (is_unwinding)
        return;
    int saved_errno = errno;
    is_unwinding = true;
    int n = backtrace(frames->addresses, MHEAP_TRACE_CALLERS + N_OWN_FRAMES);
    is_unwinding = false;
    errno = saved_errno;
    frames->n = n > 0 ? (uint32_t)n : 0;
}

/* Where the address is among the frames; the first frame if it is not. */
static uint32_t frame_of(const frames_t *frames, const void *address) {
    for (uint32_t i = 0; i < frames->n; i++)
        if (frames->addresses[i] == address)
            return i;
    return 0;
}

static uint32_t copy(uintptr_t *callers, uint32_t max, const frames_t *frames, uint32_t from) {
    uint32_t n = 0;
    for (uint32_t i = from; i < frames->n && n < max && n < MHEAP_TRACE_CALLERS; i++)
        callers[n++] = (uintptr_t)frames->addresses[i];
    return n;
}

__attribute__((noinline)) uint32_t trace_capture(uintptr_t *callers, uint32_t max, unsigned skip) {
    frames_t frames;
    unwind(&frames);
    uint32_t caller = frame_of(&frames, __builtin_return_address(0));
    return copy(callers, max, &frames, caller + 1 + skip);
}

__attribute__((noinline)) uint32_t trace_capture_from(uintptr_t *callers, uint32_t max,
                                                      const void *innermost) {
    frames_t frames;
    unwind(&frames);
    return copy(callers, max, &frames, frame_of(&frames, innermost));
}

void trace_warm_up(void) {
    frames_t frames;
    unwind(&frames);
}

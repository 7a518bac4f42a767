/* SPDX-License-Identifier: MIT */
#include "fatal.h"

#include <poll.h>
#include <stdlib.h>
#include <time.h>

#include "system_call.h"

void line_text(line_t *line, const char *text) {
    while (*text && line->n_bytes < sizeof line->text - 1) /* room for the newline */
        line->text[line->n_bytes++] = *text++;
}

static void line_number(line_t *line, uint64_t number, unsigned base) {
    char digits[24];
    size_t i = sizeof digits - 1;
    digits[i] = '\0';
    do
        digits[--i] = "0123456789abcdef"[number % base];
    while (number /= base);
    line_text(line, digits + i);
}

void line_hex(line_t *line, uint64_t number) {
    line_text(line, "0x");
    line_number(line, number, 16);
}

void line_decimal(line_t *line, uint64_t number) {
    line_number(line, number, 10);
}

void line_pointer(line_t *line, const void *pointer) {
    line_hex(line, (uintptr_t)pointer);
}

void line_write(line_t *line, int file_descriptor) {
    line->text[line->n_bytes++] = '\n';
    for (size_t done = 0; done < line->n_bytes;) {
        long n = system_call(SYS_write, file_descriptor, (long)(line->text + done),
                             (long)(line->n_bytes - done), 0, 0);
        if (n < 0 && n != -EINTR)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    line->n_bytes = 0;
}

/* Is there room for a line, at once or within a while?  A line is less than PIPE_BUF bytes, so what
 * poll promises for a pipe is enough. */
static bool is_writable(int file_descriptor) {
    struct pollfd request = {.fd = file_descriptor, .events = POLLOUT};
    struct timespec wait = {REPORT_WAIT_MS / 1000, REPORT_WAIT_MS % 1000 * 1000000L};
    return system_call(SYS_ppoll, (long)&request, 1, (long)&wait, 0, sizeof(uint64_t)) == 1;
}

/* With all signals blocked nor is the thread cancelled. */
void line_report(line_t *line) {
    const uint64_t sigpipe = SIGNAL_BIT(SIGPIPE);
    const struct timespec no_time = {0};
    uint64_t pending = 0, mask = signals_block(SIGNALS_ALL);
    system_call(SYS_rt_sigpending, (long)&pending, sizeof pending, 0, 0, 0);
    if (is_writable(STDERR_FILENO))
        line_write(line, STDERR_FILENO);
    if (!(pending & sigpipe)) /* then it is ours, if there is one */
        system_call(SYS_rt_sigtimedwait, (long)&sigpipe, 0, (long)&no_time, sizeof sigpipe, 0);
    signals_block(mask);
    line->n_bytes = 0;
}

static __thread bool is_aborting;

bool fatal_is_aborting(void) {
    return is_aborting;
}

void (*fatal_leave)(void);

void fatal_abort(void) {
    if (is_aborting) { /* a mistake in the handler itself, which would come here for ever */
        const uint64_t to_default[4] = {0}; /* as the kernel has it: SIG_DFL, no flags, no mask */
        system_call(SYS_rt_sigaction, SIGABRT, (long)to_default, 0, sizeof(uint64_t), 0);
    }
    is_aborting = true;
    if (fatal_leave)
        fatal_leave();
    abort();
}

void fatal_line(line_t *line) {
    line_report(line);
    fatal_abort();
}

void line_misuse(line_t *line, const char *function, const void *pointer, const char *what) {
    line_text(line, "libmheap: ");
    line_text(line, function);
    line_text(line, "(");
    line_pointer(line, pointer);
    line_text(line, "): ");
    line_text(line, what);
}

void line_object(line_t *line, const void *pointer, const void *start, size_t n_bytes,
                 unsigned heap_id) {
    line_text(line, "; ");
    if (pointer != start) {
        line_decimal(line, (uintptr_t)pointer - (uintptr_t)start);
        line_text(line, " bytes into ");
    }
    line_decimal(line, n_bytes);
    if (pointer != start) {
        line_text(line, " at ");
        line_pointer(line, start);
    } else
        line_text(line, " bytes");
    if (heap_id) {
        line_text(line, ", heap ");
        line_decimal(line, heap_id);
    }
}

void fatal(const char *function, const void *pointer, const char *what) {
    line_t line = {.n_bytes = 0};
    line_misuse(&line, function, pointer, what);
    fatal_line(&line);
}

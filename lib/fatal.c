/* SPDX-License-Identifier: MIT */
#include "fatal.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

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
    int saved_errno = errno;
    line->text[line->n_bytes++] = '\n';
    for (size_t done = 0; done < line->n_bytes;) {
        ssize_t n = write(file_descriptor, line->text + done, line->n_bytes - done);
        if (n < 0 && errno != EINTR)
            break;
        done += n > 0 ? (size_t)n : 0;
    }
    line->n_bytes = 0;
    errno = saved_errno;
}

/* Is there room for a line, at once or within a while?  A line is less than PIPE_BUF bytes, so what
 * poll promises for a pipe is enough. */
static bool is_writable(int file_descriptor) {
    struct pollfd request = {.fd = file_descriptor, .events = POLLOUT};
    return poll(&request, 1, REPORT_WAIT_MS) == 1;
}

void line_report(line_t *line) {
    int saved_errno = errno, cancel_state;
    sigset_t all, sigpipe, mask, pending;
    pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, &cancel_state);
    sigemptyset(&sigpipe);
    sigaddset(&sigpipe, SIGPIPE);
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &mask);
    sigpending(&pending);
    if (is_writable(STDERR_FILENO))
        line_write(line, STDERR_FILENO);
    if (!sigismember(&pending, SIGPIPE)) /* then it is ours, if there is one */
        sigtimedwait(&sigpipe, NULL, &(struct timespec){0});
    pthread_sigmask(SIG_SETMASK, &mask, NULL);
    pthread_setcancelstate(cancel_state, NULL);
    line->n_bytes = 0;
    errno = saved_errno;
}

static __thread bool is_aborting;

bool fatal_is_aborting(void) {
    return is_aborting;
}

void (*fatal_leave)(void);

void fatal_abort(void) {
    if (is_aborting) /* a mistake in the handler itself, which would come here for ever */
        signal(SIGABRT, SIG_DFL);
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

/* SPDX-License-Identifier: MIT */
#include "fatal.h"

#include <errno.h>
#include <stdlib.h>
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

static __thread bool is_aborting;

bool fatal_is_aborting(void) {
    return is_aborting;
}

void fatal_abort(void) {
    is_aborting = true;
    abort();
}

void fatal_line(line_t *line) {
    line_write(line, STDERR_FILENO);
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

void fatal(const char *function, const void *pointer, const char *what) {
    line_t line = {.n_bytes = 0};
    line_misuse(&line, function, pointer, what);
    fatal_line(&line);
}

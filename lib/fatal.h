/* SPDX-License-Identifier: MIT */
/* fatal.h - one line about a caller's mistake on standard error, without allocating, then abort. */
#ifndef MHEAP_FATAL_H
#define MHEAP_FATAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/*
 * A text line put together in place: nothing here allocates, takes a lock or touches stdio, so it
 * works anywhere.  Overlong lines are cut.
 */
typedef struct {
    size_t n_bytes;
    char text[256];
} line_t;

void line_text(line_t *line, const char *text);
void line_hex(line_t *line, uint64_t number); /* with 0x */
void line_decimal(line_t *line, uint64_t number);
void line_pointer(line_t *line, const void *pointer);
void line_write(line_t *line, int file_descriptor); /* ends the line, writes it, empties it */

/* Ends the line and writes it to standard error, whatever that is: a closed one, a pipe that nobody
 * reads (given up after REPORT_WAIT_MS) or has closed (no SIGPIPE).  No cancellation point. */
void line_report(line_t *line);
#define REPORT_WAIT_MS 1000

/* The line of a caller's mistake: "libmheap: function(pointer): what". */
void line_misuse(line_t *line, const char *function, const void *pointer, const char *what);

/* Adds which object that is about: "; 48 bytes into 112 at 0x..., heap 3", or "; 112 bytes" for
 * one that starts at the pointer.  heap_id 0: none to be named. */
void line_object(line_t *line, const void *pointer, const void *start, size_t n_bytes,
                 unsigned heap_id);

/* Writes "libmheap: function(pointer): what" to standard error and aborts. */
__attribute__((noreturn)) void fatal(const char *function, const void *pointer, const char *what);

/* abort(), after which this thread waits for no lock of ours: handlers of SIGABRT may allocate. */
__attribute__((noreturn, cold)) void fatal_abort(void);
bool fatal_is_aborting(void);

/* Called before that (NULL: nothing is): leaves what may be in the middle of a change alone, so
 * that the handlers find something sound to allocate from.  Set once, before there are threads. */
extern void (*fatal_leave)(void);

/* Writes the line and aborts. */
__attribute__((noreturn)) void fatal_line(line_t *line);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_FATAL_H */

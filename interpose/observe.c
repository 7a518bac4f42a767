/* SPDX-License-Identifier: MIT */
#include "observe.h"

#include <dlfcn.h>
#include <stdatomic.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "fatal.h"
#include "heaps.h"
#include "options.h"
#include "stats.h"
#include "system_call.h"
#include "trace.h"

bool observe_is_on;

static trace_table_t *table; /* set by observe_start; it has its own lock */

/* This thread is in the table and holds its lock, or is about to: for fork in a signal handler. */
static _Thread_local bool is_in_table;
static _Atomic uint64_t operations; /* for validate; relaxed, only a count */

/* Many programs close standard error in an exit handler, and those run before us: reports at exit
 * go to a copy of it, out of the way of the program's own descriptors - if it still is that file.
 */
static int report_fd; /* 0: there is none */
static struct statx report_file;

#define REPORT_FD_MIN 512

static bool file_of(int descriptor, struct statx *file) {
    return system_call(SYS_statx, descriptor, (long)"", AT_EMPTY_PATH, STATX_INO, (long)file) == 0;
}

static void open_report(void) {
    int copy = (int)system_call(SYS_fcntl, STDERR_FILENO, F_DUPFD_CLOEXEC, REPORT_FD_MIN, 0, 0);
    if (copy >= 0 && file_of(copy, &report_file))
        report_fd = copy;
}

static int report_descriptor(void) {
    struct statx now = {0};
    bool is_ours =
        report_fd && file_of(report_fd, &now) && now.stx_dev_major == report_file.stx_dev_major &&
        now.stx_dev_minor == report_file.stx_dev_minor && now.stx_ino == report_file.stx_ino;
    return is_ours ? report_fd : STDERR_FILENO;
}

bool observe_wants_slow_mode(void) {
    return options.trace || options.validate;
}

static void validate_if_due(void) {
    if (!options.validate)
        return;
    uint64_t n = atomic_fetch_add_explicit(&operations, 1, memory_order_relaxed);
    violation_t violation;
    if (n % options.validate == 0 && !check_all(&violation))
        fatal("validate", violation.where, violation.what);
}

__attribute__((cold)) void observe_allocated_slow(void *pointer, size_t bytes, void *caller) {
    if (table && !heaps_are_forking()) { /* else this thread holds the table's lock */
        uintptr_t callers[MHEAP_TRACE_CALLERS];
        is_in_table = true;
        uint32_t n = trace_capture_from(callers, MHEAP_TRACE_CALLERS, caller);
        if (n > 0) /* none for what the unwinder itself allocates */
            trace_add(table, (uintptr_t)pointer, bytes, callers, n);
        is_in_table = false;
    }
    validate_if_due();
}

__attribute__((cold)) void observe_freed_slow(void *pointer) {
    if (table && !heaps_are_forking()) {
        is_in_table = true;
        trace_remove(table, (uintptr_t)pointer);
        is_in_table = false;
    }
    validate_if_due();
}

void observe_start(void) {
    if (options.trace) {
        trace_warm_up();
        table = trace_create();
    }
    observe_is_on = table || options.validate;
    if (options.trace || options.stats)
        open_report();
}

/* ---- The report at exit ---- */

static void print_caller(line_t *line, uintptr_t address) {
    Dl_info info;
    line_text(line, "        ");
    line_hex(line, address);
    /* A return address may be the first of the next function: look one byte before. */
    if (dladdr((void *)(address - 1), &info)) {
        if (info.dli_sname) {
            line_text(line, " ");
            line_text(line, info.dli_sname);
            line_text(line, "+");
            line_hex(line, address - (uintptr_t)info.dli_saddr);
        }
        line_text(line, " (");
        line_text(line, info.dli_fname ? info.dli_fname : "?");
        line_text(line, "+");
        line_hex(line, address - (uintptr_t)info.dli_fbase);
        line_text(line, ")");
    }
    line_write(line, report_fd);
}

__attribute__((cold)) static void print_row(void *unused, const mheap_trace_row_t *row) {
    (void)unused;
    line_t line = {.n_bytes = 0};
    line_text(&line, "libmheap: ");
    line_decimal(&line, row->n_bytes);
    line_text(&line, " bytes in ");
    line_decimal(&line, row->n_allocations);
    line_text(&line, " objects, one of them at ");
    line_hex(&line, row->sample);
    line_text(&line, ", allocated from");
    line_write(&line, report_fd);
    for (uint32_t i = 0; i < row->n_callers; i++)
        print_caller(&line, row->callers[i]);
}

__attribute__((cold)) static void print_trace(void) {
    line_t line = {.n_bytes = 0};
    line_text(&line, "libmheap: still allocated at exit, by call stack");
    line_write(&line, report_fd);
    if (!trace_foreach(table, print_row, NULL)) {
        line_text(&line, "libmheap: no memory for the report");
        line_write(&line, report_fd);
    }
    uint64_t n_lost = trace_n_lost(table);
    if (n_lost) {
        line_decimal(&line, n_lost);
        line_text(&line, " more allocations were not recorded for lack of memory");
        line_write(&line, report_fd);
    }
}

void observe_finish(void) {
    report_fd = report_descriptor();
    if (table)
        print_trace();
    if (options.validate) {
        violation_t violation;
        if (!check_all(&violation))
            fatal("validate", violation.where, violation.what);
    }
    if (options.stats)
        stats_print(report_fd);
}

/* ---- Fork ---- */

bool observe_holds_lock(void) {
    return is_in_table;
}

void observe_fork_prepare(void) {
    if (table)
        trace_lock(table);
}

void observe_fork_parent(void) {
    if (table)
        trace_unlock(table);
}

void observe_fork_child(void) {
    if (table)
        trace_reset_lock(table);
}

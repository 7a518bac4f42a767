/* SPDX-License-Identifier: MIT */
/* ThreadSanitizer's options for programs whose threads end while another forks.  The child has
 * copies of its records of all threads, nobody there joins them, and what had ended and was not
 * joined yet when the process forked would be reported as a leak: exit status 66, now and then.  */

const char *__tsan_default_options(void);

const char *__tsan_default_options(void) {
    return "report_thread_leaks=0";
}

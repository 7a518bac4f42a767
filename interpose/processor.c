/* SPDX-License-Identifier: MIT */
#include "processor.h"

#include <errno.h>
#include <sched.h>

unsigned processor_now(void) {
    int saved_errno = errno;
    int processor = sched_getcpu();
    errno = saved_errno;
    return processor < 0 ? 0 : (unsigned)processor;
}

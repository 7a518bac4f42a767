/* SPDX-License-Identifier: MIT */
/* processor.h - where a thread runs. */
#ifndef MHEAP_PROCESSOR_H
#define MHEAP_PROCESSOR_H

#ifdef __cplusplus
extern "C" {
#endif

/* Number of the processor that the calling thread ran on a moment ago, 0 if the system does not
 * say.  Cheap, keeps errno.  In a file of its own: tests replace it. */
unsigned processor_now(void);

#ifdef __cplusplus
}
#endif

#endif /* MHEAP_PROCESSOR_H */

/* SPDX-License-Identifier: MIT */
/* text.h - what little is asked of texts, not named to the dynamic linker: see system_call.h. */
#ifndef MHEAP_TEXT_H
#define MHEAP_TEXT_H

#include <stdbool.h>
#include <stddef.h>

/* Before the first of the marks, or the end. */
static inline size_t text_bytes_until(const char *text, const char *marks) {
    for (size_t n = 0;; n++) {
        if (!text[n])
            return n;
        for (const char *mark = marks; *mark; mark++)
            if (text[n] == *mark)
                return n;
    }
}

static inline size_t text_bytes(const char *text) {
    return text_bytes_until(text, "");
}

/* Does it begin with all of `start`? */
static inline bool text_begins(const char *text, const char *start) {
    while (*start)
        if (*text++ != *start++)
            return false;
    return true;
}

#endif /* MHEAP_TEXT_H */

/* SPDX-License-Identifier: MIT */
/* The C standard says that errno is zero when main starts, whatever malloc did before. */
#include <errno.h>
#include <stdio.h>

int main(void) {
    int at_start = errno;
    if (at_start)
        printf("errno is %d\n", at_start);
    else
        puts("ok");
    return at_start != 0;
}

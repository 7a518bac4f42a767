# SPDX-License-Identifier: MIT
# about: compiler, assembler and linker on a large generated C file; the objects must be equal
# programs: gcc as ld awk
# packages: gcc libc6-dev binutils gawk
# set: quick
# probe: as --version

prepare() {
    awk 'BEGIN {
        print "#include <stdio.h>\n#include <string.h>"
        for (i = 0; i < 250; i++) {
            printf "struct s%d { int a[%d]; double d; char name[%d]; };\n", i, i % 7 + 1, i % 90 + 1
            printf "static long f%d(struct s%d *s, long x) {\n", i, i
            printf "  for (int i = 0; i < %d; i++) { s->a[i] += x %% %d; x = x * %d + s->a[i]; }\n", \
                i % 7 + 1, i % 11 + 2, i * 2 + 1
            printf "  switch (x & 7) { case 0: s->d += x; break; case 3: memset(s, %d, sizeof *s); break;\n", i % 128
            printf "    case 5: snprintf(s->name, sizeof s->name, \"n%d %%ld\", x); break; default: x ^= %d; }\n", i, i
            printf "  return x + (long)s->d; }\n"
        }
        print "int main(void) { long x = 1;"
        for (i = 0; i < 250; i++)
            printf "  { struct s%d s = {{0}}; x = f%d(&s, x) & 0xffffff; }\n", i, i
        print "  printf(\"%ld\\n\", x); return 0; }"
    }' >"$INPUT/large.c"
}

run() {
    cp "$INPUT/large.c" .
    gcc -O1 -g -c large.c -o large.o
    gcc -O2 -S -fverbose-asm large.c -o large.s
    gcc large.o -o large
    ./large
    gcc -Wall -Wextra -fsyntax-only -Wconversion large.c
    if gcc -c "$INPUT/none.c"; then die "compiled a file that is not there"; fi
}

# SPDX-License-Identifier: MIT
"""Instructions spent in an allocator, counted by valgrind's callgrind.

Callgrind leaves malloc alone (memcheck would replace it), so a preloaded allocator runs as it is.
Counts of a single-threaded program are the same each time, whatever else the machine does.
"""

import os
import re
import shutil
from collections import Counter
from dataclasses import dataclass, field

# Entry points by what they do; operators under their mangled names too.
ENTRY_POINTS = {
    "allocate": re.compile(r"(malloc|calloc|aligned_alloc|memalign|posix_memalign|"
                           r"operator new.*|_Zn[wa].*)$"),
    "reallocate": re.compile(r"(realloc|reallocarray)$"),
    "free": re.compile(r"(free|free_sized|operator delete.*|_Zd[la].*)$"),
}


def _verb(function):
    return next((verb for verb, names in ENTRY_POINTS.items() if names.match(function)), None)


@dataclass
class Counts:
    total: int = 0
    functions: Counter = field(default_factory=Counter)  # of the library, without their callees
    calls: Counter = field(default_factory=Counter)      # from outside, by what they ask for
    inclusive: Counter = field(default_factory=Counter)  # instructions of those calls

    @property
    def library(self):
        return sum(self.functions.values())

    def per_call(self, verb):
        """Instructions of an average call with all it calls; None if there was next to none."""
        return self.inclusive[verb] / self.calls[verb] if self.calls[verb] >= 10 else None


def is_there():
    return shutil.which("valgrind") is not None


def wrapper(out_file):
    """What to put before a command."""
    return ["valgrind", "-q", "--tool=callgrind", f"--callgrind-out-file={out_file}",
            "--compress-strings=no", "--compress-pos=no"]


def read(path, library):
    """The Counts of a file of callgrind's for `library`, the end of the file name of an object."""
    counts = Counts()
    here = function = callee_object = callee = ""
    pending = 0  # calls whose inclusive cost is on the next line
    with open(path, encoding="utf-8", errors="replace") as file:
        for line in file:
            key, _, value = line.rstrip("\n").partition("=")
            if key == "ob":
                here = value
            elif key == "fn":
                function, callee_object = value, ""
            elif key == "cob":
                callee_object = value
            elif key == "cfn":
                callee = value
            elif key == "calls":
                pending = int(value.split()[0])
            elif line[:1].isdigit():
                _count(counts, line, pending, library, (here, function),
                       (callee_object or here, callee))
                if pending:
                    pending, callee_object = 0, ""
            elif line.startswith(("summary:", "totals:")):
                counts.total = int(line.split()[1])
    return counts


def _is_of(library, name):
    """Valgrind knows an object's .text only; libmheap has more sections of code, and nobody else."""
    return name.endswith(library) or name == "???"


def _count(counts, line, pending, library, here, callee):
    """One line of costs: of a function itself, or of `pending` calls from it."""
    cost = int(line.split()[-1])
    if not pending:
        if _is_of(library, here[0]):
            counts.functions[here[1]] += cost
    elif _is_of(library, callee[0]) and not _is_of(library, here[0]) and _verb(callee[1]):
        counts.calls[_verb(callee[1])] += pending
        counts.inclusive[_verb(callee[1])] += cost


def library_name(allocator):
    return os.path.basename(os.path.realpath(allocator.path)) if allocator.path else "libc.so.6"

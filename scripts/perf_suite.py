# SPDX-License-Identifier: MIT
"""The suite: every workload by name, with the size of its full and of its quick run.

A workload is a row here. `scale` multiplies a program's number of operations; real programs take a
size for their generated input instead (perf_inputs.py). Which tables a row counts in:

  time     its time is compared (all but those that sleep or that measure something else)
  memory   its peak resident memory is compared
"""

from dataclasses import dataclass, field


UNTIMED_ROUNDS = 3


@dataclass(frozen=True)
class Workload:
    name: str
    group: str
    argv: tuple          # a program of perf/ and its arguments, or an input's name
    full: float = 1.0    # scale, or size of the input
    quick: float = 0.2   # the same for --quick; 0 leaves the workload out
    time: bool = True
    memory: bool = True
    metrics: tuple = ()  # figures of its own that the report shows
    quick_arguments: str = ""
    env: dict = field(default_factory=dict, hash=False)
    single: bool = True  # one thread: its instructions can be counted
    about: str = ""

    def rounds(self, n):
        """In how many of n rounds it runs: what is not timed mostly sleeps, and varies little."""
        return n if self.time else min(n, UNTIMED_ROUNDS)


def _synthetic(group, rows):
    result = []
    for name, command, full, quick, about, *rest in rows:
        options = rest[0] if rest else {}
        argv = tuple(command.split())
        result.append(Workload(name, group, argv, full, quick, about=about, **options))
    return result


THREADS = {"single": False}

SMALL = _synthetic("small", [
    ("batch-16", "batch --size 16", 2, .3, "batches of 1000 objects of 16 bytes"),
    ("batch-64", "batch --size 64", 2, .3, "batches of 1000 objects of 64 bytes"),
    ("batch-64-shuffled", "batch --size 64 --order shuffled", 2, 0, "freed in random order"),
    ("batch-256", "batch --size 256", 1, .2, "batches of 385 objects of 256 bytes"),
    ("batch-1024", "batch --size 1024", 1, .2, "batches of 97 objects of 1 KiB"),
    ("batch-8192", "batch --size 8192", 1, .2, "batches of 13 objects of 8 KiB"),
    ("batch-64-2t", "batch --size 64 --threads 2", 1, .2, "in two threads", THREADS),
    ("batch-1024-2t", "batch --size 1024 --threads 2", 1, 0, "the same with 1 KiB", THREADS),
    ("sets-small", "sets --live 20000", 1, .15, "sets of 20,000 objects of 16-256 bytes"),
    ("sets-mixed", "sets --live 20000 --dist mixed", .5, .05, "sets of 20,000 of mixed sizes"),
    ("sets-medium", "sets --live 2000 --dist medium", .3, .03, "sets of 2,000 objects of 1-32 KiB"),
    ("sets-small-2t", "sets --live 20000 --threads 2", .7, .1, "in two threads", THREADS),
    ("random-small-1k", "random --live 1000", 3, .5, "1,000 live small objects, replaced"),
    ("random-small-20k", "random --live 20000", 2, .3, "20,000 live small objects"),
    ("random-small-1m", "random --live 1000000", .5, .05, "1,000,000: beyond the cache"),
    ("random-medium-2k", "random --live 2000 --dist medium", .4, .05, "2,000 live of 1-32 KiB"),
    ("random-mixed-10k", "random --live 10000 --dist mixed", .7, .1, "10,000 live of mixed sizes"),
    ("random-power-10k", "random --live 10000 --dist power", 1, .2, "10,000 live, power-law sizes"),
    ("random-power-200k", "random --live 200000 --dist power", .5, 0, "200,000 live, power law"),
])

CONTAINERS = _synthetic("containers", [
    ("tree", "tree", 2, .3, "std::map of strings and vectors: insert, extend, erase, copy"),
    ("strings", "strings", 2, .4, "std::string: build, split, join, sort"),
    ("realloc-growth", "vector", 4, .5, "three arrays growing from 4 KiB to 64 MiB by half"),
    ("realloc-small", "vector --from 16 --to 4K --arrays 100 --rounds 2000", 1, .2,
     "100 small buffers growing from 16 bytes to 4 KiB"),
    ("calloc-mixed", "calloc", 1, .2, "cleared objects of mixed sizes"),
    ("calloc-large", "calloc --dist 65536-1048576 --live 100 --steps 20000", 1, .15,
     "cleared objects of 64 KiB to 1 MiB"),
    ("calloc-sparse", "calloc --dist 65536-1048576 --live 100 --steps 20000 --sparse 1", 1, 0,
     "the same, touched at three places only"),
    ("aligned", "aligned", 1, .2, "aligned to 32 ... 4096 bytes"),
    ("large", "large", 2, .1, "20 live objects of 1-16 MiB, touched"),
    ("large-sparse", "large --live 200 --from 128K --to 1M --steps 40000", 1, .2,
     "200 live objects of 128 KiB to 1 MiB, touched"),
])

THREADED = _synthetic("threads", [
    ("handover-1-1", "handover", 1, .1, "one thread allocates, another frees", THREADS),
    ("handover-2-2", "handover --producers 2 --consumers 2", .5, .06, "two to two", THREADS),
    ("handover-chain", "handover --shape chain --stages 4", 1, .15, "four threads", THREADS),
    ("handover-medium", "handover --dist medium", .5, .05, "one to one, 1-32 KiB", THREADS),
    ("swap-2t", "swap --threads 2", 2, .3, "threads share 4096 slots of objects", THREADS),
    ("swap-4t-mixed", "swap --threads 4 --dist mixed --steps 2000000", 1, .1,
     "four threads, mixed sizes", THREADS),
    ("server", "server", 3, .5, "sessions whose threads die and are replaced", THREADS),
    ("server-mixed", "server --dist mixed --lines 8", 1, 0, "eight sessions, mixed sizes", THREADS),
    ("sharing-active", "false_sharing", 4, .4, "false sharing made by the allocator", THREADS),
    ("sharing-passive", "false_sharing --mode passive", 4, .4, "false sharing passed on", THREADS),
])

SCALING = _synthetic("scaling", [
    (f"scale-{n}", f"random --live 1000 --dist mixed --steps 2000000 --threads {n}",
     1, quick, f"{n} threads, each with 1,000 live objects of mixed sizes", THREADS)
    for n, quick in ((1, .3), (2, .15), (4, .08), (8, .05), (16, .04))])

LATENCY_METRICS = tuple(f"{call}_{point}_ns" for call in ("malloc", "free")
                        for point in ("p50", "p90", "p99", "p99.9", "p99.99"))
LATENCY = _synthetic("latency", [
    ("latency", "latency", 1, .2, "single calls, mixed sizes, a second thread busy",
     {"time": False, "single": False, "metrics": LATENCY_METRICS}),
])

BURST = {"time": False, "single": False, "quick_arguments": "--idle 10",
         "metrics": ("rss_burst_kb", "rss_0s_kb", "rss_1s_kb", "rss_idle_kb", "live_pages_kb")}
MEMORY = _synthetic("memory", [
    ("burst-freed", "burst --by self", 1, 1, "280 MiB burst, all freed, idle", BURST),
    ("burst-kept", "burst --by self --keep 20", 1, 1, "the same, one in twenty kept", BURST),
    ("burst-other", "burst --by other --keep 20", 1, 0, "freed by another thread", BURST),
    ("burst-workers", "burst --by workers --keep 20", 1, 1, "four workers, asleep after it", BURST),
    ("burst-other-freed", "burst --by other", 1, 0, "all freed by another thread", BURST),
    ("burst-workers-freed", "burst --by workers", 1, 0, "all freed by four workers", BURST),
    ("threads-500", "thread_footprint", 1, 1, "500 threads after 200 small objects each, asleep",
     {"time": False, "single": False, "metrics": ("rss_per_thread_kb",)}),
    ("threads-churn", "thread_footprint --mode churn --threads 20000", 1, .1,
     "short-lived threads one after another", {"single": False, "metrics": ("rss_growth_kb",)}),
    ("phases", "phases", 1, .2, "ten phases of 100 MiB, each another size, all freed",
     {"metrics": ("peak_to_first", "end_rss_kb")}),
    ("phases-kept", "phases --keep 100", 1, .2, "the same, one in a hundred kept",
     {"metrics": ("peak_to_first", "end_rss_kb")}),
    ("swing", "swing", 2, .25, "grows and shrinks by 100 MiB ten times a second"),
    ("timeline", "timeline", 1, 1, "resident memory over a program's life",
     {"time": False, "single": False, "metrics": ("end_rss_kb",),
      "quick_arguments": "--lull 3"}),
])

STARTUP = _synthetic("startup", [
    ("spawn", "spawn", 1, .15, "a tiny program started again and again",
     {"single": False, "metrics": ("child_peak_rss_kb", "child_minor_faults")}),
    ("process-true", "/bin/true", 1, 1, "/bin/true", {"time": False}),
    ("process-shell", "shell", 1, 1, "a shell script that starts twenty programs", {"time": False}),
    ("process-3m", "tiny 3072", 1, 1, "a program that allocates 3 MiB", {"time": False}),
])


def _real(name, quick, about, env=None, **options):
    return Workload(name, "real", (name,), 1.0, quick, about=about, env=env or {}, **options)


REAL = [
    _real("gxx", .1, "g++ -O1 compiling a generated file", single=False),
    _real("python", .3, "CPython, PYTHONMALLOC=malloc", {"PYTHONMALLOC": "malloc"}),
    _real("sqlite", .3, "sqlite3 on a database in memory"),
    _real("perl", .3, "perl: hashes, strings, sorting"),
    _real("lua", .3, "lua5.4: tables, strings, closures"),
    _real("redis", .15, "redis-server under redis-benchmark", single=False),
    _real("z3", .2, "z3 factoring by bit vectors"),
    _real("php", .3, "php -n, USE_ZEND_ALLOC=0", {"USE_ZEND_ALLOC": "0"}),
    _real("php-extensions", 0, "the same with its extensions (RTLD_DEEPBIND)",
          {"USE_ZEND_ALLOC": "0"}),
    _real("xmllint", .3, "xmllint: parse and query"),
    _real("xz", .2, "xz -6, one thread"),
    _real("xz-2t", 0, "xz -6 -T2", single=False),
]

SUITE = SMALL + CONTAINERS + THREADED + SCALING + LATENCY + MEMORY + STARTUP + REAL

# The core by itself is no matter of preloading; it has a table of its own.
CORE_LIVE = (1000, 10000, 100000, 1000000)
CORE_HEAPS = ("mheap", "linear", "checked")
CORE_WINDOWS = (0, 1000)


def select(quick, only, skip):
    """The workloads to run, in order; only and skip are compiled patterns or None."""
    return [w for w in SUITE
            if (not quick or w.quick > 0 or (only and only.fullmatch(w.name)))
            and (not only or only.search(w.name) or only.fullmatch(w.group))
            and not (skip and skip.search(w.name))]

# SPDX-License-Identifier: MIT
"""From many runs to medians, Markdown tables and CSV files."""

import csv
import math
import os
import platform
import statistics
import time

import perf_suite


class Records:
    """All runs: one row a run, with medians (or whatever `take` is) over the good ones."""

    def __init__(self, allocators, take=statistics.median):
        self.allocators = allocators
        self.take = take
        self.rows = []       # (round, workload, allocator, Result)
        self.failures = {}   # (workload name, allocator name) -> status
        self.series = {}     # (workload name, allocator name) -> samples of the first good run

    def add(self, number, workload, allocator, result):
        self.rows.append((number, workload, allocator, result))
        key = (workload.name, allocator.name)
        if result.status != "ok":
            self.failures.setdefault(key, result.status)
        elif result.series:
            self.series.setdefault(key, result.series)

    def workloads(self):
        return list(dict.fromkeys(workload for _, workload, _, _ in self.rows))

    def values(self, workload, allocator, figure):
        return [r.figures[figure] for _, w, a, r in self.rows
                if w is workload and a is allocator and r.status == "ok" and figure in r.figures]

    def median(self, workload, allocator, figure):
        """None if there is no good run, or if any run of it went wrong."""
        if (workload.name, allocator.name) in self.failures:
            return None
        values = self.values(workload, allocator, figure)
        return self.take(values) if values else None


def geometric_mean(values):
    values = [v for v in values if v and v > 0]
    return math.exp(sum(map(math.log, values)) / len(values)) if values else None


# ---- Markdown ----------------------------------------------------------------------------------

def _cell(value, form="{:.2f}"):
    return "-" if value is None else form.format(value)


def _row(cells):
    return "| " + " | ".join(cells) + " |"


def _quantity(value, figure):
    if value is None:
        return "-"
    if figure.endswith("_kb"):
        return f"{value / 1024:.1f} MiB" if abs(value) >= 1024 else f"{value:.0f} KiB"
    if figure.endswith("_ns"):
        return f"{value / 1000:.2f} us" if value >= 1000 else f"{value:.0f} ns"
    return f"{value:.3g}"


def ratio_table(records, figure, eligible, unit):
    """Rows: workloads. Columns: glibc's own value, ratios to glibc, ours against the best peer."""
    allocators = records.allocators
    base = next((a for a in allocators if a.name == "glibc"), allocators[0])
    ours = [a for a in allocators if a.is_ours]
    peers = [a for a in allocators if not a.is_ours]
    titles = ["workload", f"{base.name} {unit}", *(a.name for a in allocators if a is not base),
              *(f"{a.name} / best peer" for a in ours), "best peer"]
    lines = [_row(titles), _row(["---"] * len(titles))]
    to_base = {a.name: [] for a in allocators}
    to_best = {a.name: [] for a in ours}
    for workload in filter(eligible, records.workloads()):
        medians = {a.name: records.median(workload, a, figure) for a in allocators}
        ratio = {n: v / medians[base.name] if v and medians[base.name] else None
                 for n, v in medians.items()}
        good = [p for p in peers if medians[p.name]]
        best = min(good, key=lambda p: medians[p.name], default=None)
        cells = [workload.name, _cell(medians[base.name], "{:.3f}" if unit == "s" else "{:.0f}")]
        for a in allocators:
            if a is not base:
                failed = (workload.name, a.name) in records.failures
                cells.append("failed" if failed else _cell(ratio[a.name]))
        for a in ours:
            against = medians[a.name] / medians[best.name] if best and medians[a.name] else None
            to_best[a.name].append(against)
            bold = "**" if against and against > 1.05 else ""
            cells.append(bold + _cell(against) + bold)
        cells.append(best.name if best else "-")
        for a in allocators:
            to_base[a.name].append(ratio[a.name])
        lines.append(_row(cells))
    cells = ["geometric mean", ""]
    cells += [_cell(geometric_mean(to_base[a.name])) for a in allocators if a is not base]
    cells += [_cell(geometric_mean(to_best[a.name])) for a in ours]
    lines.append(_row([*cells, ""]))
    return lines


def best_of_peers(records, figure, eligible):
    """Geometric mean, against glibc, of whichever peer is best in each workload."""
    peers = [a for a in records.allocators if not a.is_ours]
    base = next((a for a in peers if a.name == "glibc"), None)
    ratios = []
    for workload in filter(eligible, records.workloads()):
        medians = [records.median(workload, a, figure) for a in peers]
        glibc = records.median(workload, base, figure) if base else None
        if glibc:
            ratios.append(min(m for m in medians if m) / glibc)
    return geometric_mean(ratios)


def metric_table(records, workloads):
    """Rows: a workload's own figures. Columns: allocators."""
    lines = [_row(["workload", "figure", *(a.name for a in records.allocators)]),
             _row(["---"] * (2 + len(records.allocators)))]
    for workload in workloads:
        for figure in workload.metrics:
            medians = [records.median(workload, a, figure) for a in records.allocators]
            if any(m is not None for m in medians):
                lines.append(_row([workload.name, figure.removesuffix("_kb").removesuffix("_ns"),
                                   *(_quantity(m, figure) for m in medians)]))
    return lines if len(lines) > 2 else []


def scaling_table(records):
    """Million operations a second for each thread of the scaling workloads."""
    workloads = [w for w in records.workloads() if w.group == "scaling"]
    lines = [_row(["threads", *(a.name for a in records.allocators)]),
             _row(["---"] * (1 + len(records.allocators)))]
    for workload in workloads:
        cells = [workload.name.removeprefix("scale-")]
        for allocator in records.allocators:
            seconds = records.median(workload, allocator, "seconds")
            ops = records.median(workload, allocator, "ops")
            cells.append(_cell(ops / seconds / 1e6 if seconds else None, "{:.1f}"))
        lines.append(_row(cells))
    return lines if workloads else []


def core_table(core):
    """core: {(heap, live, window): pairs per microsecond}."""
    lines = [_row(["live objects", "replaced within", "mheap, pairs/us", "linear, pairs/us",
                   "ratio", "linear with checks", "ratio"]), _row(["---"] * 7)]
    for window in perf_suite.CORE_WINDOWS:
        for live in perf_suite.CORE_LIVE:
            ours, *others = (core.get((heap, live, window)) for heap in perf_suite.CORE_HEAPS)
            cells = [str(live), str(window) if window else "all", _cell(ours)]
            for other in others:
                cells += [_cell(other), _cell(ours / other if ours and other else None)]
            lines.append(_row(cells))
    return lines if core else []


def markdown(records, core, clock, header):
    def section(title, lines):
        return ["", "## " + title, "", *lines] if lines else []

    def is_timed(w):
        return w.time

    def has_memory(w):
        return w.memory

    figure = "cpu" if clock == "cpu" else "seconds"
    text = ["# Comparison of allocators", "", *("- " + line for line in header)]
    if any(map(is_timed, records.workloads())):
        name = "processor" if clock == "cpu" else "wall clock"
        text += section(f"Time ({name}; ratios to glibc)",
                        ratio_table(records, figure, is_timed, "s"))
        best = best_of_peers(records, figure, is_timed)
        text += ["", f"The best peer of each workload: {_cell(best)} of glibc's time "
                 "(geometric mean)."]
    text += section("Peak resident memory (ratios to glibc)",
                    ratio_table(records, "peak_rss_kb", has_memory, "kB"))
    with_metrics = [w for w in records.workloads() if w.metrics]
    text += section("Latency of single calls",
                    metric_table(records, [w for w in with_metrics if w.group == "latency"]))
    text += section("Memory behaviour",
                    metric_table(records, [w for w in with_metrics if w.group != "latency"]))
    text += section("Throughput over threads (million operations a second, all threads)",
                    scaling_table(records))
    text += section("The core by itself", core_table(core))
    failures = [f"- {w} under {a}: {status}" for (w, a), status in sorted(records.failures.items())]
    text += section("Failures", failures)
    return "\n".join(text) + "\n"


# ---- CSV and header ----------------------------------------------------------------------------

def _first_match(path, prefix):
    try:
        with open(path, encoding="ascii", errors="replace") as file:
            for line in file:
                if line.startswith(prefix):
                    return line.split(":", 1)[1].strip() if ":" in line else line.strip()
    except OSError:
        pass
    return "unknown"


def describe_machine(command, allocators, library_version):
    """Lines that say where, when and how the figures came to be; no paths of this machine."""
    memory_kb = _first_match("/proc/meminfo", "MemTotal").split()[0]
    memory = f"{int(memory_kb) / 2**20:.1f} GiB" if memory_kb.isdigit() else "unknown"
    huge = _first_match("/sys/kernel/mm/transparent_hugepage/enabled", "")
    return ["date: " + time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime()),
            f"machine: {_first_match('/proc/cpuinfo', 'model name')}, {os.cpu_count()} processors, "
            f"{memory}, kernel {platform.release()}, transparent huge pages {huge}",
            "command: " + command, "libmheap: " + library_version,
            "allocators: " + "; ".join(f"{a.name} = {a.version()}" for a in allocators
                                       if not a.is_ours)]


def write_csv(path, records, core, header):
    names = {k for _, _, _, r in records.rows for k in r.figures}
    names = sorted(names | {"pairs_per_us"} if core else names)
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {line}\n" for line in header)
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["round", "group", "workload", "allocator", "status", *names])
        for number, workload, allocator, result in records.rows:
            out.writerow([number, workload.group, workload.name, allocator.name, result.status,
                          *(f"{result.figures[n]:g}" if n in result.figures else ""
                            for n in names)])
        for (heap, live, window), rate in core.items():
            out.writerow(["", "core", f"core-{live}-{window or 'all'}", heap, "ok",
                          *(f"{rate:g}" if n == "pairs_per_us" else "" for n in names)])


def write_series(path, records, header):
    with open(path, "w", newline="", encoding="utf-8") as file:
        file.writelines(f"# {line}\n" for line in header)
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["workload", "allocator", "seconds", "rss_kb"])
        for (workload, allocator), samples in records.series.items():
            for seconds, kilobytes in samples:
                out.writerow([workload, allocator, f"{seconds:.3f}", f"{kilobytes:.0f}"])

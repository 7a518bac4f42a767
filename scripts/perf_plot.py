# SPDX-License-Identifier: MIT
"""Plots of a comparison, by gnuplot."""

import os
import shutil
import subprocess


COLOURS = {"libmheap": "#1f4fa0", "glibc": "#999999", "jemalloc": "#d9822b", "mimalloc": "#3a9a5b",
           "tcmalloc": "#b8403a", "tbbmalloc": "#8a63b0"}
MORE_COLOURS = ["#2aa7b8", "#d170b0", "#6b5a4d", "#b5b52a", "#444444"]
PANEL = 15   # workloads side by side in one panel of a bar chart
CLIP = 2.5   # bars end here; longer ones have their figure on them
FONT = "DejaVu Sans,11"


class PlotError(Exception):
    """gnuplot could not draw something."""


def _terminal(form, width, height):
    kind = "svg dynamic" if form == "svg" else "pngcairo"
    return f"set terminal {kind} size {width},{height} font '{FONT}' background '#ffffff'"


def _block(name, rows):
    return f"${name} << EOD\n" + "\n".join("\t".join(map(str, r)) for r in rows) + "\nEOD\n"


def _colour(allocators, allocator):
    others = [a.name for a in allocators if a.name not in COLOURS]
    if allocator.name in COLOURS:
        return COLOURS[allocator.name]
    return MORE_COLOURS[others.index(allocator.name) % len(MORE_COLOURS)]


def _gnuplot(script, path):
    done = subprocess.run(["gnuplot"], input=f"set output '{path}'\n" + script, text=True,
                          capture_output=True, check=False)
    if done.returncode != 0:
        raise PlotError(f"gnuplot, {os.path.basename(path)}: {done.stderr.strip()[-300:]}")
    return path


def _number(value):
    return "NaN" if value is None else f"{value:.6g}"


def bars(records, figure, attribute, title, path, form):
    """Bars of the ratio to glibc of the workloads that have `attribute`, some in each panel."""
    base = next((a for a in records.allocators if a.name == "glibc"), None)
    shown = [a for a in records.allocators if a is not base]
    rows = []
    for workload in [w for w in records.workloads() if getattr(w, attribute)]:
        bottom = base and records.median(workload, base, figure)
        if bottom:
            rows.append([workload.name] + [
                (records.median(workload, a, figure) or 0) / bottom or None for a in shown])
    if not rows or not shown:
        return None
    panels = [rows[i:i + PANEL] for i in range(0, len(rows), PANEL)]
    script = _terminal(form, 1300, 40 + 300 * len(panels)) + f"""
set multiplot layout {len(panels)},1 title "{title}"
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9 noborder
set boxwidth 0.95
set yrange [0:{CLIP}]
set xtics rotate by -20 scale 0 noenhanced
set ytics 0.5
set grid ytics lc rgb '#dddddd'
set key outside right top noenhanced
set datafile separator "\\t"
"""
    for number, panel in enumerate(panels):
        script += _block(f"P{number}", [[r[0], *map(_number, r[1:])] for r in panel])
        script += "unset label\n"
        for x, row in enumerate(panel):
            for i, value in enumerate(row[1:]):
                if value and value > CLIP:
                    at = x + (i - (len(shown) - 1) / 2) / (len(shown) + 1)
                    script += (f"set label '{value:.1f}' at {at:.3f},{CLIP - .05} rotate by 90 "
                               "right font ',8' front tc rgb 'white'\n")
        script += f"set xrange [-0.7:{len(panels[0]) - 0.3}]\n"
        plots = [f"$P{number} using {i + 2}:xtic(1) title '{a.name}' lc rgb "
                 f"'{_colour(records.allocators, a)}'" for i, a in enumerate(shown)]
        plots.append("1 with lines lc rgb '#000000' dt 2 title 'glibc'")
        script += "plot " + ", \\\n  ".join(plots) + "\n"
    return _gnuplot(script + "unset multiplot\n", path)


def _curves(records, table, path, form, settings, style="linespoints pt 7 ps 0.6"):
    """table: {allocator name: [(x, y)]}."""
    script = _terminal(form, 900, 500)
    script += "\nset grid lc rgb '#dddddd'\nset key outside right noenhanced\n"
    plots = []
    for number, allocator in enumerate(records.allocators):
        points = table.get(allocator.name)
        if points:
            script += _block(f"C{number}", points)
            width = 3 if allocator.is_ours else 1.5
            plots.append(f"$C{number} using 1:2 with {style} lw {width} lc rgb "
                         f"'{_colour(records.allocators, allocator)}' title '{allocator.name}'")
    if not plots:
        return None
    return _gnuplot(script + settings + "\nplot " + ", \\\n  ".join(plots) + "\n", path)


def scaling(records, path, form):
    table = {}
    for workload in [w for w in records.workloads() if w.group == "scaling"]:
        for allocator in records.allocators:
            seconds = records.median(workload, allocator, "seconds")
            if seconds:
                ops = records.median(workload, allocator, "ops")
                point = (workload.name.removeprefix("scale-"), ops / seconds / 1e6)
                table.setdefault(allocator.name, []).append(point)
    return _curves(records, table, path, form, "set title 'Throughput over threads'\n"
                   "set logscale x 2\nset yrange [0:*]\nset xlabel 'threads'\n"
                   "set ylabel 'million replacements a second'")


def latency(records, call, path, form):
    points = ("p50", "p90", "p99", "p99.9", "p99.99")
    tics = ", ".join(f"'{p}' {i}" for i, p in enumerate(points))
    table = {}
    for workload in [w for w in records.workloads() if w.group == "latency"]:
        for allocator in records.allocators:
            values = [records.median(workload, allocator, f"{call}_{p}_ns") for p in points]
            if None not in values:
                table[allocator.name] = [(i, max(v, 1)) for i, v in enumerate(values)]
    return _curves(records, table, path, form, f"set title 'Latency of single calls: {call}'\n"
                   f"set logscale y\nset xtics ({tics})\nset ylabel 'ns'\nset xrange [-0.2:4.2]")


def rss_over_time(records, path, form):
    table = {}
    for (workload, allocator), samples in records.series.items():
        if workload == "timeline":
            table[allocator] = [(s, kb / 1024) for s, kb in samples]
    return _curves(records, table, path, form, "set title 'Resident memory over time'\n"
                   "set xlabel 'seconds'\nset ylabel 'MiB'\nset yrange [0:*]", "lines")


def burst(records, path, form):
    """What is still resident after the bursts: bars of the last figure of each."""
    figures = ("rss_idle_kb", "rss_1s_kb")
    rows = []
    for workload in [w for w in records.workloads() if w.name.startswith("burst-")]:
        values = [next((m for m in (records.median(workload, a, f) for f in figures)
                        if m is not None), None) for a in records.allocators]
        needed = max((records.median(workload, a, "live_pages_kb") or 0
                      for a in records.allocators), default=0)
        rows.append([workload.name, *(None if v is None else max(v, 0) / 1024 for v in values),
                     needed / 1024])
    if not rows:
        return None
    script = _terminal(form, 1000, 450) + """
set title 'Resident after a burst of 280 MiB and an idle time'
set style data histograms
set style histogram clustered gap 1
set style fill solid 0.9 noborder
set ylabel 'MiB'
set xtics noenhanced
set grid ytics lc rgb '#dddddd'
set key outside right noenhanced
set datafile separator "\\t"
""" + _block("B", [[r[0], *map(_number, r[1:])] for r in rows])
    plots = [f"$B using {i + 2}:xtic(1) title '{a.name}' lc rgb '{_colour(records.allocators, a)}'"
             for i, a in enumerate(records.allocators)]
    plots.append(f"$B using {len(plots) + 2}:xtic(1) title 'pages of live objects' "
                 "lc rgb '#000000'")
    return _gnuplot(script + "plot " + ", \\\n  ".join(plots) + "\n", path)


def all_plots(records, clock, directory, form="svg"):
    """The paths of the plots made; none if there is no gnuplot."""
    if not shutil.which("gnuplot"):
        return []
    def at(name):
        return os.path.join(directory, f"{name}.{form}")

    figure = "cpu" if clock == "cpu" else "seconds"
    made = [
        bars(records, figure, "time", "Time, ratio to glibc", at("time"), form),
        bars(records, "peak_rss_kb", "memory", "Peak resident memory, ratio to glibc",
             at("memory"), form),
        scaling(records, at("scaling"), form),
        latency(records, "malloc", at("latency-malloc"), form),
        latency(records, "free", at("latency-free"), form),
        rss_over_time(records, at("rss-over-time"), form),
        burst(records, at("burst"), form),
    ]
    return [path for path in made if path]

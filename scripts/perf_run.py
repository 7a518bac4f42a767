# SPDX-License-Identifier: MIT
"""Running one workload under one allocator, and finding the allocators there are."""

import hashlib
import os
import re
import signal
import subprocess
import tempfile
import time
from dataclasses import dataclass, field

import perf_inputs

# Names under which allocators that can be preloaded are known to the dynamic linker.
KNOWN = [
    ("jemalloc", r"libjemalloc\.so(\.\d+)*$"),
    ("mimalloc", r"libmimalloc\.so(\.[\d.]+)?$"),
    ("tcmalloc", r"libtcmalloc_minimal\.so(\.\d+)*$"),
    ("tbbmalloc", r"libtbbmalloc_proxy\.so(\.\d+)*$"),
    ("snmalloc", r"libsnmallocshim\.so(\.\d+)*$"),
    ("rpmalloc", r"librpmalloc(wrap)?\.so(\.\d+)*$"),
    ("hardened", r"libhardened_malloc\.so(\.\d+)*$"),
    ("hoard", r"libhoard\.so(\.\d+)*$"),
    ("scudo", r"libscudo[\w.-]*\.so(\.\d+)*$"),
]
LIBC = "libc.so.6"


class PerfError(Exception):
    """What makes a whole comparison impossible, in words for the user."""


@dataclass
class Allocator:
    name: str
    path: str = ""                            # empty: the program's own, that is glibc's
    env: dict = field(default_factory=dict)
    is_ours: bool = False

    def version(self):
        """The Debian package that the file is of, with its version; else the file's own name."""
        path = os.path.realpath(self.path) if self.path else _library_path(LIBC)
        if not self.is_ours:
            for candidate in (path, path.replace("/usr/lib/", "/lib/", 1)):
                answer = _output(["dpkg-query", "-S", candidate])
                if answer:
                    package = answer.split(": ")[0].split(",")[0]
                    query = ["dpkg-query", "-W", "-f", "${Version}", package]
                    return package + " " + _output(query)
        return os.path.basename(path)


@dataclass
class Result:
    status: str                               # "ok", or what went wrong
    figures: dict = field(default_factory=dict)
    series: list = field(default_factory=list)  # (seconds, kB)
    output_hash: str = ""


def _output(command):
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()


def _linker_cache():
    text = _output(["ldconfig", "-p"]) or _output(["/sbin/ldconfig", "-p"])
    return re.findall(r"^\s*(\S+) .*=> (\S+)$", text, re.MULTILINE)


def _library_path(name):
    return next((path for known, path in _linker_cache() if known == name), name)


def find_allocators(build, library, extra, skip):
    """libmheap first, then glibc and every other one found; `extra` is [(name, path)]."""
    found = []
    library = library or os.path.join(build, "libmheap.so")
    if os.path.exists(library):
        found.append(Allocator("libmheap", os.path.realpath(library), is_ours=True))
    found.append(Allocator("glibc"))
    cache = _linker_cache()
    for name, pattern in KNOWN:
        paths = [path for known, path in cache if re.match(pattern, known)]
        if paths:
            found.append(Allocator(name, paths[0]))
    for name, path in extra:
        if path and not os.path.exists(path):
            raise PerfError(f"{name}: there is no {path}")
        ours = name.startswith(("libmheap", "mheap"))
        found = [a for a in found if a.name != name]
        found.append(Allocator(name, os.path.realpath(path) if path else "", is_ours=ours))
    return [a for a in found if a.name not in skip]


# ---- One run -----------------------------------------------------------------------------------

def _parse_pairs(line):
    """'a=1 b=x' as a dict, numbers as numbers."""
    pairs = {}
    for word in line.split():
        key, _, value = word.partition("=")
        try:
            pairs[key] = float(value)
        except ValueError:
            pairs[key] = value
    return pairs


def _environment(workload, allocator):
    env = {k: v for k, v in os.environ.items() if k != "LD_PRELOAD"}
    env.update(LC_ALL="C", PYTHONHASHSEED="0")
    env.update(workload.env)
    env.update(allocator.env)
    return env


def _describe(status):
    kind, _, number = status.partition(":")
    if kind == "signal":
        try:
            return "crashed: " + signal.Signals(int(number)).name
        except ValueError:
            return "crashed: signal " + number
    return "ok" if number == "0" else f"failed: exit {number}"


def _wait_for_socket(path, process, seconds=20):
    end = time.monotonic() + seconds
    while not os.path.exists(path) and time.monotonic() < end and process.poll() is None:
        time.sleep(0.01)
    return os.path.exists(path)


class Runner:
    """Runs workloads of one build tree; temporary files go into `directory`."""

    def __init__(self, build, directory, timeout=120, wrapper=()):
        self.programs = os.path.join(build, "perf")
        self.launcher = os.path.join(self.programs, "launch")
        self.inputs = perf_inputs.Inputs(directory)
        self.directory = directory
        self.timeout = timeout
        self.wrapper = list(wrapper)  # put before the program: valgrind
        self.expected = {}            # command -> hash of what a real program prints
        if not os.path.exists(self.launcher):
            raise PerfError(f"no performance programs in {self.programs}: build them first "
                            "(cmake -B build && cmake --build build -j)")

    def command(self, workload, quick, factor=1.0):
        """The Command for a workload; None if its program is not installed."""
        program, *arguments = workload.argv
        scale = (workload.quick or workload.full) if quick else workload.full
        if program in perf_inputs.MAKERS:
            return self.inputs.command(program, scale * factor)
        if program.startswith("/"):
            return perf_inputs.Command(list(workload.argv))
        if program != "tiny":
            arguments += ["--scale", f"{scale * factor:g}"]
            arguments += workload.quick_arguments.split() if quick else []
        return perf_inputs.Command([os.path.join(self.programs, program), *arguments])

    def run(self, workload, allocator, quick, factor=1.0):
        """A Result, or None if the workload's program is not installed."""
        command = self.command(workload, quick, factor)
        if command is None:
            return None
        result = self._launch(command, workload, allocator)
        if result.status == "ok" and workload.group == "real" and not command.server:
            expected = self.expected.setdefault(tuple(command.argv), result.output_hash)
            if expected != result.output_hash:
                result.status = "wrong output"
        return result

    def _launch(self, command, workload, allocator):
        preload = allocator.path
        if not preload and command.needs_libc:
            preload = _library_path(LIBC)
        read_end, write_end = os.pipe()
        argv = [self.launcher, "--result", str(write_end)]
        argv += ["--preload", preload] if preload else []
        argv += ["--", *self.wrapper, *command.argv]
        with tempfile.TemporaryFile(dir=self.directory) as out, \
                tempfile.TemporaryFile(dir=self.directory) as err, \
                open(command.stdin, "rb") as stdin, os.fdopen(read_end, "r") as answer:
            process = subprocess.Popen(argv, stdin=stdin, stdout=out, stderr=err,
                                       pass_fds=[write_end], start_new_session=True,
                                       env=_environment(workload, allocator))
            os.close(write_end)
            measured, late = self._wait(process, command)
            usage = _parse_pairs(answer.read())
            out.seek(0)
            err.seek(0)
            output = out.read()
            return self._judge(workload, usage, output, err.read(), measured, late)

    def _wait(self, process, command):
        """Seconds of a client's load (None: no server), and whether the time limit was hit."""
        measured = None
        try:
            if command.server:
                measured = self._drive(process, command)
            process.wait(self.timeout)
        except subprocess.TimeoutExpired:
            self._kill(process)
            return measured, True
        except BaseException:  # interrupted: nothing that was started stays behind
            self._kill(process)
            raise
        return measured, False

    @staticmethod
    def _kill(process):
        os.killpg(process.pid, signal.SIGKILL)  # the session that this run began
        process.wait()

    def _drive(self, process, command):
        server = command.server
        if not _wait_for_socket(server["socket"], process):
            return None
        start = time.monotonic()
        load = subprocess.run(server["load"], capture_output=True, timeout=self.timeout,
                              check=False)
        seconds = time.monotonic() - start
        subprocess.run(server["stop"], capture_output=True, timeout=self.timeout, check=False)
        return seconds if load.returncode == 0 and b"requests per second" in load.stdout else None

    @staticmethod
    def _judge(workload, usage, output, errors, measured, late):
        if late:
            return Result("timeout")
        result = Result(_describe(str(usage.get("status", "signal:0"))))
        if result.status != "ok":
            last = errors.decode(errors="replace").strip().splitlines()[-1:]
            if last:
                result.status += f" ({last[0][:100]})"
            return result
        result.figures = {k: v for k, v in usage.items() if k != "status"}
        result.figures["seconds"] = usage["wall"] if measured is None else measured
        result.figures["cpu"] = usage["user"] + usage["sys"]
        result.output_hash = hashlib.sha256(output).hexdigest()
        if workload.group == "real" and workload.argv[0] == "redis" and measured is None:
            result.status = "failed: no answer to the load"
        for line in output.decode(errors="replace").splitlines():
            if line.startswith("perf "):
                own = _parse_pairs(line[5:])
                own.setdefault("cpu", own["user"] + own["sys"])
                own["peak_rss_kb"] = max(own["peak_rss_kb"], result.figures["peak_rss_kb"])
                result.figures.update({k: v for k, v in own.items() if isinstance(v, float)})
            elif line.startswith("rss "):
                _, seconds, kilobytes = line.split()
                result.series.append((float(seconds), float(kilobytes)))
        return result

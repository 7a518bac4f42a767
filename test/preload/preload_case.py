# SPDX-License-Identifier: MIT
"""One case of the preload tests: its description, its two runs, and what differs between them.

A case is a file cases/NAME.sh with a header of "# key: value" lines,

    about      what of the program is exercised
    programs   the programs it needs, by name or by a glob of absolute paths
    packages   the Debian packages they come from
    set        "quick" (part of ctest) or "long"
    check      (optional) a shell command that succeeds if the case can run here
    probe      a short command of the main program, which must show that the library is active

and two functions of bash: prepare (optional, run once, without the library, in $INPUT) and run,
run once without and once with the library, each time in a directory of the same name.
"""

import dataclasses
import filecmp
import glob
import os
import pathlib
import re
import shlex
import shutil
import signal
import subprocess
import time

HERE = pathlib.Path(__file__).resolve().parent
SYSTEM_PATH = "/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
SHOWN_DIFFERENCES = 8


@dataclasses.dataclass
class Case:
    name: str
    path: pathlib.Path
    about: str
    programs: list
    packages: list
    quick: bool
    check: str
    probe: list


@dataclasses.dataclass
class Library:
    """The library under test; path is None to run both times without one."""

    path: pathlib.Path | None
    conf: str = ""

    @property
    def is_mheap(self):
        return self.path is not None and self.path.name.startswith("libmheap")


@dataclasses.dataclass
class Leg:
    """One run of a case: where its files are and how it ended."""

    directory: pathlib.Path
    status: int
    seconds: float
    peak_mib: float

    @property
    def stdout(self):
        return self.directory / "stdout"

    @property
    def stderr(self):
        return self.directory / "stderr"

    @property
    def files(self):
        return self.directory / "files"


def load_case(path):
    keys = {}
    for line in path.read_text().splitlines():
        match = re.fullmatch(r"# ([a-z]+): (.*)", line)
        if match:
            keys[match[1]] = match[2]
        elif line and not line.startswith("#"):
            break
    missing = {"about", "programs", "packages", "set", "probe"} - keys.keys()
    if missing or keys["set"] not in ("quick", "long"):
        raise ValueError(f"{path}: header lacks {sorted(missing)} or has a wrong set")
    return Case(path.stem, path, keys["about"], keys["programs"].split(), keys["packages"].split(),
                keys["set"] == "quick", keys.get("check", ""), shlex.split(keys["probe"]))


def find_program(name, search_path):
    if "/" in name:
        found = sorted(glob.glob(name))
        return found[-1] if found else None
    return shutil.which(name, path=search_path)


def base_environment(search_path):
    """Nothing of the caller's environment can make one machine's run differ from another's."""
    return {"PATH": search_path, "LC_ALL": "C.UTF-8", "TZ": "UTC", "TERM": "dumb",
            "SOURCE_DATE_EPOCH": "1000000000", "LIB": ""}


def library_environment(library):
    if library.path is None:
        return {}
    environment = {"LD_PRELOAD": str(library.path), "LIB": str(library.path)}
    if library.conf:
        environment["MHEAP_CONF"] = library.conf
    return environment


def why_not(case, search_path):
    """Why the case cannot run here, or None."""
    missing = [name for name in case.programs if not find_program(name, search_path)]
    if missing:
        return f"not installed: {' '.join(missing)} (packages: {' '.join(case.packages)})"
    if case.check:
        done = subprocess.run(["bash", "-c", case.check], env=base_environment(search_path),
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if done.returncode != 0:
            return f"'{case.check}' fails (packages: {' '.join(case.packages)})"
    return None


def is_active(case, library, search_path):
    """Whether the library answers from inside the program, in a run of the case's probe.

    libmheap says so itself, in its statistics; of another library the loader can tell only that
    it is loaded.
    """
    command = [find_program(case.probe[0], search_path), *case.probe[1:]]
    environment = base_environment(search_path) | library_environment(library)
    if library.is_mheap:
        environment["MHEAP_CONF"] = "stats:true"
    else:
        environment["LD_TRACE_LOADED_OBJECTS"] = "1"
    done = subprocess.run(command, env=environment, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, check=False)
    if library.is_mheap:
        return b"libmheap" in done.stderr
    return os.fsencode(library.path) in done.stdout


def bash(function, case):
    script = f"set -euo pipefail; . {HERE}/common.sh; . {case.path.resolve()}; {function}"
    return ["bash", "-c", script, case.name]


def prepare(case, directory, search_path):
    """Makes the input of both runs; the library has no part in it."""
    directory.mkdir()
    script = "if declare -F prepare >/dev/null; then prepare; fi"
    environment = base_environment(search_path) | {"INPUT": str(directory), "HOME": str(directory),
                                                   "TMPDIR": str(directory)}
    done = subprocess.run(bash(script, case), cwd=directory, env=environment, check=False,
                          stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                          stderr=subprocess.STDOUT)
    if done.returncode != 0:
        raise RuntimeError("its input could not be made: " + done.stdout.decode(errors="replace"))


def run_leg(case, top, name, library, search_path):
    """Runs the case once in top/work and moves that to top/name: both runs see the same paths."""
    work = top / "work"
    for part in ("files", "tmp"):
        (work / part).mkdir(parents=True)
    environment = base_environment(search_path) | library_environment(library) | {
        "INPUT": str(top / "input"), "HOME": str(work / "tmp"), "TMPDIR": str(work / "tmp")}
    started = time.monotonic()
    with open(work / "stdout", "wb") as out, open(work / "stderr", "wb") as err:
        process = subprocess.Popen(bash("run", case), cwd=work / "files", env=environment,
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                                   start_new_session=True)
        _, wait_status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - started
    process.returncode = os.waitstatus_to_exitcode(wait_status)
    try:  # whatever the case left running in its own session
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        pass
    work.rename(top / name)
    return Leg(top / name, process.returncode, seconds, usage.ru_maxrss / 1024)


def describe_status(status):
    """A status as a person wants to read it; shells report a signal as 128 + its number."""
    number = -status if status < 0 else status - 128
    try:
        return f"{status} ({signal.Signals(number).name})"
    except ValueError:
        return str(status)


def shorten(line):
    text = line.decode(errors="backslashreplace")
    return text if len(text) <= 160 else text[:157] + "..."


def first_difference(name, plain, preloaded):
    """None if the files are equal, else where they begin to differ."""
    if filecmp.cmp(plain, preloaded, shallow=False):
        return None
    lines = [path.read_bytes().splitlines() for path in (plain, preloaded)]
    for number, (left, right) in enumerate(zip(*lines), 1):
        if left != right:
            return (f"{name} differs in line {number}:\n"
                    f"    without: {shorten(left)}\n    with:    {shorten(right)}")
    return f"{name} has {len(lines[0])} lines without and {len(lines[1])} lines with the library"


def describe_tree(directory):
    """Relative path -> what it is; sockets and pipes are left out, contents are compared later."""
    tree = {}
    for folder, folders, names in os.walk(directory):
        for name in folders + names:
            path = pathlib.Path(folder, name)
            key = str(path.relative_to(directory))
            if path.is_symlink():
                tree[key] = f"link to {os.readlink(path)}"
            elif path.is_dir():
                tree[key] = "directory"
            elif path.is_file():
                tree[key] = "file"
    return tree


def compare_files(plain, preloaded):
    trees = describe_tree(plain), describe_tree(preloaded)
    for name in sorted(trees[0].keys() | trees[1].keys()):
        left, right = (tree.get(name, "not there") for tree in trees)
        if left != right:
            yield f"{name}: {left} without, {right} with the library"
        elif left == "file":
            difference = first_difference(name, plain / name, preloaded / name)
            if difference:
                yield difference


def compare_legs(plain, preloaded):
    """All that differs between the two runs, the most telling first."""
    differences = []
    if plain.status != preloaded.status:
        differences.append(f"exit status {describe_status(plain.status)} without, "
                           f"{describe_status(preloaded.status)} with the library")
    for name in ("stdout", "stderr"):
        difference = first_difference(name, getattr(plain, name), getattr(preloaded, name))
        if difference:
            differences.append(difference)
    differences.extend(compare_files(plain.files, preloaded.files))
    if len(differences) > SHOWN_DIFFERENCES:
        left_out = len(differences) - SHOWN_DIFFERENCES
        differences[SHOWN_DIFFERENCES:] = [f"and {left_out} more differences"]
    return differences


def tail(path, n_lines=5):
    return [shorten(line) for line in path.read_bytes().splitlines()[-n_lines:]]

#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Runs real programs with and without libmheap and compares what they do, byte for byte.

Exit status: 0 if all that ran agreed, 1 if something differed, 77 if nothing could run.
"""

import argparse
import dataclasses
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

import preload_case as pc

EXIT_SKIPPED = 77
TOP = pc.HERE.parent.parent


@dataclasses.dataclass
class Result:
    case: pc.Case
    outcome: str  # "ok", "FAILED" or "skipped"
    note: str = ""
    plain: pc.Leg | None = None
    preloaded: pc.Leg | None = None


def parse_arguments():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lib", default=str(TOP / "build" / "libmheap.so"), metavar="PATH",
                        help="library to preload (default: %(default)s); 'none' runs both times "
                             "without one, which shows whether the cases are deterministic")
    parser.add_argument("--conf", default="", help="MHEAP_CONF for the runs with the library")
    parser.add_argument("--only", action="append", metavar="NAME[,NAME...]",
                        help="only these cases, quick or long")
    parser.add_argument("--all", action="store_true", help="the long cases too")
    parser.add_argument("--install", action="store_true",
                        help="install missing programs by apt (as root or through sudo)")
    parser.add_argument("--markdown", metavar="FILE", help="write the table there, too, with versions "
                        "and ratios")
    parser.add_argument("--list", action="store_true", help="list the cases and end")
    parser.add_argument("--keep", action="store_true", help="keep the files of the runs")
    parser.add_argument("--repeat", type=int, default=1, metavar="N", help="run each case N times")
    parser.add_argument("--path", metavar="DIR",
                        help="where the test programs that the build made are (default: "
                             "test/preload beside the library, or in build/)")
    parser.add_argument("--cases", default=str(pc.HERE / "cases"), metavar="DIR",
                        help="folder of the cases (default: %(default)s)")
    return parser.parse_args()


def select_cases(arguments):
    cases = [pc.load_case(path) for path in sorted(pathlib.Path(arguments.cases).glob("*.sh"))]
    if not arguments.only:
        return [case for case in cases if case.quick or arguments.all or arguments.list]
    wanted = {name for names in arguments.only for name in names.split(",")}
    unknown = wanted - {case.name for case in cases}
    if unknown:
        sys.exit(f"run.py: no such case: {' '.join(sorted(unknown))} (see --list)")
    return [case for case in cases if case.name in wanted]


def copy_library(arguments, directory):
    """A copy that every user can read, under a path that the loader can take."""
    if arguments.lib == "none":
        return pc.Library(None)
    source = pathlib.Path(arguments.lib)
    if not source.is_file():
        sys.exit(f"run.py: no library {source} (build it, or name another with --lib)")
    target = directory / "lib" / source.name
    target.parent.mkdir()
    shutil.copyfile(source.resolve(), target)
    target.chmod(0o755)
    return pc.Library(target, arguments.conf)


def search_path(arguments):
    beside = TOP / "build" if arguments.lib == "none" else pathlib.Path(arguments.lib).parent
    built = pathlib.Path(arguments.path or beside / "test" / "preload")
    return f"{built.resolve()}:{pc.SYSTEM_PATH}" if built.is_dir() else pc.SYSTEM_PATH


def install_missing(cases, path):
    packages = sorted({package for case in cases if pc.why_not(case, path)
                       for package in case.packages})
    if packages:
        subprocess.run([TOP / "scripts" / "setup", *packages], check=False)


def run_case(case, library, path, directory):
    reason = pc.why_not(case, path)
    if reason:
        return Result(case, "skipped", reason)
    if library.path and not pc.is_active(case, library, path):
        return Result(case, "FAILED", f"{library.path.name} is not active in '{case.probe[0]}'")
    directory.mkdir(mode=0o755)
    try:
        pc.prepare(case, directory / "input", path)
    except RuntimeError as error:
        return Result(case, "FAILED", str(error))
    plain = pc.run_leg(case, directory, "plain", pc.Library(None), path)
    preloaded = pc.run_leg(case, directory, "preloaded", library, path)
    differences = pc.compare_legs(plain, preloaded)
    if plain.status != 0:
        differences.insert(0, "the program fails by itself, without the library: "
                           + " | ".join(pc.tail(plain.stderr)))
    if not differences:
        return Result(case, "ok", "", plain, preloaded)
    if preloaded.stderr.stat().st_size:
        differences.append("its last words with the library:\n    "
                           + "\n    ".join(pc.tail(preloaded.stderr)))
    return Result(case, "FAILED", "\n".join(differences), plain, preloaded)


def show_progress(result):
    print(f"{result.case.name}: {result.outcome}", flush=True)
    for line in result.note.splitlines():
        print(f"    {line}", flush=True)


def print_table(results):
    """A row a case; times and peak memory are those of the runs without and with the library."""
    print(f"\n{'case':<14} {'result':<8} {'seconds':>15} {'peak MiB':>15}  what")
    for result in results:
        figures = ["", ""]
        if result.plain and result.preloaded:
            legs = result.plain, result.preloaded
            figures = [" / ".join(f"{leg.seconds:.2f}" for leg in legs),
                       " / ".join(f"{leg.peak_mib:.0f}" for leg in legs)]
        what = result.note.splitlines()[0] if result.outcome == "skipped" else result.case.about
        print(f"{result.case.name:<14} {result.outcome:<8} {figures[0]:>15} {figures[1]:>15}  "
              f"{what}")
    counts = [sum(result.outcome == outcome for result in results)
              for outcome in ("ok", "FAILED", "skipped")]
    print(f"{counts[0]} passed, {counts[1]} failed, {counts[2]} skipped", flush=True)
    return counts


def version(case, path):
    """Version of the Debian package that the first of the case's programs comes from; empty if from none."""
    program = pathlib.Path(pc.find_program(case.programs[0], path) or "/").resolve()
    for name in (str(program), str(program).removeprefix("/usr")):  # as it was before /usr was merged
        owner = subprocess.run(["dpkg-query", "-S", name], stdout=subprocess.PIPE, text=True,
                               stderr=subprocess.DEVNULL, check=False).stdout.split(":")[0]
        if owner:
            return subprocess.run(["dpkg-query", "-W", "-f", "${source:Upstream-Version}", owner],
                                  stdout=subprocess.PIPE, text=True, check=False).stdout
    return ""


def write_markdown(results, path, file):
    print("| case | version | result | time | peak memory |\n| --- | --- | --- | --- | --- |", file=file)
    for result in results:
        ratios = ["", ""]
        if result.plain and result.preloaded:
            ratios = [f"{result.preloaded.seconds / result.plain.seconds:.2f}",
                      f"{result.preloaded.peak_mib / result.plain.peak_mib:.2f}"]
        print(f"| {result.case.name} | {version(result.case, path)} | {result.outcome} "
              f"| {' | '.join(ratios)} |", file=file)


def run_all(cases, arguments, directory):
    directory.chmod(0o755)  # servers run as users of their own
    path = search_path(arguments)
    library = copy_library(arguments, directory)
    if arguments.install:
        install_missing(cases, path)
    results = []
    for round_number in range(arguments.repeat):
        for case in cases:
            place = directory / f"{case.name}-{round_number}"
            results.append(run_case(case, library, path, place))
            show_progress(results[-1])
            if not arguments.keep:
                shutil.rmtree(place, ignore_errors=True)
    if arguments.markdown:
        with open(arguments.markdown, "w", encoding="utf-8") as file:
            write_markdown(results, path, file)
    return print_table(results)


def main():
    arguments = parse_arguments()
    cases = select_cases(arguments)
    if arguments.list:
        for case in cases:
            print(f"{case.name:<14} {'quick' if case.quick else 'long':<6} {case.about}")
        return 0
    os.umask(0o022)
    directory = pathlib.Path(tempfile.mkdtemp(prefix="mheap-preload-"))
    try:
        n_ok, n_failed, _ = run_all(cases, arguments, directory)
    finally:
        if arguments.keep:
            print(f"files of the runs: {directory}")
        else:
            shutil.rmtree(directory, ignore_errors=True)
    if n_failed:
        return 1
    return 0 if n_ok else EXIT_SKIPPED


if __name__ == "__main__":
    sys.exit(main())

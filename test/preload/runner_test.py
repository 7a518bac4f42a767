# SPDX-License-Identifier: MIT
"""Tests of the runner: that it tells every kind of difference, and never calls a skip a success."""

import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import unittest

HERE = pathlib.Path(__file__).resolve().parent
HEADER = """# about: {about}
# programs: {programs}
# packages: none
# set: {set}
# probe: {probe}
"""


def some_library():
    """A library that can be preloaded and changes nothing: one that every program has anyway."""
    lines = subprocess.run(["ldd", "/bin/bash"], capture_output=True, text=True, check=True).stdout
    return next(line.split()[2] for line in lines.splitlines() if "libc.so" in line)


class Runner(unittest.TestCase):
    def setUp(self):
        self.directory = pathlib.Path(tempfile.mkdtemp(prefix="mheap-runner-"))
        self.addCleanup(shutil.rmtree, self.directory)
        self.library = shutil.copy(some_library(), self.directory / "other.so")

    def add_case(self, name, body, programs="bash", probe="bash -c :", kind="quick"):
        header = HEADER.format(about=f"case {name}", programs=programs, set=kind, probe=probe)
        (self.directory / f"{name}.sh").write_text(header + "\n" + body)

    def run_runner(self, *arguments):
        command = [sys.executable, str(HERE / "run.py"), "--cases", str(self.directory),
                   "--lib", str(self.library), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=False)

    def expect_failure(self, body, *texts):
        self.add_case("failing", body)
        done = self.run_runner()
        self.assertEqual(done.returncode, 1, done.stdout + done.stderr)
        for text in texts:
            self.assertIn(text, done.stdout)
        self.assertIn("0 passed, 1 failed, 0 skipped", done.stdout)

    def test_equal_runs_pass(self):
        self.add_case("equal", 'prepare() { echo 1 >"$INPUT/in"; }\n'
                      'run() { cat "$INPUT/in"; pwd; echo 2 >out; ln -s out link; exit 0; }\n')
        done = self.run_runner()
        self.assertEqual(done.returncode, 0, done.stdout + done.stderr)
        self.assertIn("1 passed, 0 failed, 0 skipped", done.stdout)

    def test_differing_stdout_is_found_at_its_line(self):
        self.expect_failure('run() { echo same; echo "lib <$LIB>"; }',
                            "stdout differs in line 2", "without: lib <>")

    def test_differing_stderr_is_found(self):
        self.expect_failure('run() { echo "lib <$LIB>" >&2; }', "stderr differs in line 1")

    def test_output_cut_short_is_found(self):
        self.expect_failure('run() { echo 1; [ -n "$LIB" ] || echo 2; }',
                            "stdout has 2 lines without and 1 lines with the library")

    def test_differing_file_is_found(self):
        self.expect_failure('run() { mkdir d; echo "$LIB" >d/name; }', "d/name differs in line 1")

    def test_missing_file_is_found(self):
        self.expect_failure('run() { [ -z "$LIB" ] || touch more; }',
                            "more: not there without, file with the library")

    def test_differing_link_is_found(self):
        self.expect_failure('run() { ln -s "x$LIB" link; }', "link: link to x without")

    def test_crash_is_named_by_its_signal(self):
        self.expect_failure('run() { [ -z "$LIB" ] || kill -SEGV $$; sleep 0; }',
                            "exit status 0 without, -11 (SIGSEGV) with the library")

    def test_crash_of_a_child_is_named_by_its_signal(self):
        self.expect_failure('run() { bash -c \'[ -z "$LIB" ] || kill -ABRT $$; :\'; }',
                            "exit status 0 without, 134 (SIGABRT) with the library")

    def test_program_that_fails_both_times_is_no_success(self):
        self.expect_failure("run() { echo the reason >&2; exit 3; }",
                            "fails by itself, without the library: the reason")

    def test_failing_preparation_is_no_success(self):
        self.expect_failure("prepare() { echo no input; exit 1; }\nrun() { :; }", "no input")

    def test_server_that_ends_is_no_endless_wait(self):
        self.expect_failure('run() { [ -z "$LIB" ] && return; bash -c : & wait_for $! false; }',
                            "96", "the server ended before 'false' succeeded")

    def test_library_that_does_not_answer_is_found(self):
        """A file of libmheap's name that is no libmheap prints no statistics."""
        self.library = shutil.copy(self.library, self.directory / "libmheap.so")
        self.expect_failure("run() { :; }", "libmheap.so is not active in 'bash'")

    def test_process_without_the_library_is_found(self):
        self.expect_failure("run() { (LD_PRELOAD= exec sleep 60) & sleep 0.2; expect_active $!; }",
                            "has not loaded")

    def test_missing_program_is_skipped_by_name(self):
        self.add_case("absent", "run() { :; }", programs="bash no-such-program-here")
        done = self.run_runner()
        self.assertEqual(done.returncode, 77, done.stdout + done.stderr)
        self.assertIn("not installed: no-such-program-here (packages: none)", done.stdout)

    def test_long_cases_run_on_request_only(self):
        self.add_case("first", "run() { :; }")
        self.add_case("second", "run() { :; }", kind="long")
        self.assertIn("1 passed", self.run_runner().stdout)
        self.assertIn("2 passed", self.run_runner("--all").stdout)
        self.assertIn("1 passed", self.run_runner("--only", "second").stdout)
        self.assertIn("second         long   case second", self.run_runner("--list").stdout)

    def test_unknown_case_is_an_error(self):
        done = self.run_runner("--only", "nothing")
        self.assertEqual(done.returncode, 1)
        self.assertIn("no such case: nothing", done.stderr)

    def test_caller_environment_does_not_reach_the_programs(self):
        self.add_case("clean", 'run() { echo "<${LD_PRELOAD-}>" >"$TMPDIR/x"; [ -z "${STRAY-}" ]; }')
        os.environ["STRAY"] = "1"
        self.addCleanup(os.environ.pop, "STRAY")
        self.assertEqual(self.run_runner().returncode, 0)

    def test_files_are_removed_unless_kept(self):
        self.add_case("equal", "run() { echo 5 >out; }")
        place = self.directory / "tmp"
        place.mkdir()
        os.environ["TMPDIR"] = str(place)
        self.addCleanup(os.environ.pop, "TMPDIR")
        self.run_runner()
        self.assertEqual(list(place.iterdir()), [])
        self.run_runner("--keep")
        self.assertEqual(len(list(place.rglob("out"))), 2)


if __name__ == "__main__":
    unittest.main()

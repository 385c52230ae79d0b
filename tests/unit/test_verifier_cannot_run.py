"""A command that cannot run on the input is told from one whose work is still to be done."""

from __future__ import annotations

import pytest

from remit.values import ExecResult
from remit.verifiers.cannot_run import why_it_cannot_run


def ended(exit_code: int | None, output: str) -> ExecResult:
    return ExecResult(
        exit_code=exit_code,
        output=output.encode(),
        is_timed_out=exit_code is None,
        exceeded=None,
        is_truncated=False,
        output_bytes_total=len(output),
        duration_seconds=0.1,
    )


CANNOT = {
    "sh: 1: mytest: not found": (127, "mytest"),
    "bash: line 1: ruff: command not found": (127, "ruff"),
    "bash: ./check.sh: No such file or directory": (127, "./check.sh"),
    "bash: ./check.sh: Permission denied": (126, "./check.sh cannot be executed"),
    "bash: line 1: ./check.sh: /bin/nosh: bad interpreter: No such file or directory": (126, "/bin/nosh"),
    "frobnicate -q\nmake: frobnicate: No such file or directory\nmake: *** [Makefile:2: test] Error 127": (
        2,
        "frobnicate is not there",
    ),
    "/bin/sh: 1: mytest: not found\nmake[1]: *** [sub.mk:9: all] Error 127\nmake: *** [Makefile:2: test] Error 2": (
        2,
        "mytest is not there",
    ),
    "E   ModuleNotFoundError: No module named 'requests'": (2, "requests"),
    "ModuleNotFoundError: No module named 'pkg._version'": (1, "pkg._version"),
    "Error: Cannot find module 'left-pad'\nRequire stack:": (1, "left-pad"),
    "Error [ERR_MODULE_NOT_FOUND]: Cannot find package 'chai' imported from /workspace/t.mjs": (1, "chai"),
    "<internal:kernel>: cannot load such file -- rspec (LoadError)": (1, "rspec"),
    "Can't locate Test/Deep.pm in @INC (you may need to install": (2, "Test/Deep.pm"),
    "main.go:3:8: no required module provides package github.com/x/y; to add it:": (1, "github.com/x/y"),
    "error[E0463]: can't find crate for `serde`": (101, "serde"),
    "python3: can't open file '/workspace/run_tests.py': [Errno 2] No such file": (2, "run_tests.py"),
    "ERROR: usage: pytest [options] [file_or_dir]\npytest: error: unrecognized arguments: --cov": (
        4,
        "--cov",
    ),
    "ERROR: usage: python -m pytest [options]\npython -m pytest: error: unrecognized arguments: --n": (
        4,
        "arguments: --n",
    ),
    "make: *** No rule to make target 'chekc'.  Stop.": (2, "chekc"),
    'npm ERR! Missing script: "tset"': (1, "tset"),
}


@pytest.mark.parametrize("output", CANNOT)
def test_what_is_missing_is_named(output: str) -> None:
    exit_code, name = CANNOT[output]
    why = why_it_cannot_run(ended(exit_code, output), outcome="Make the check pass", cases_ran=0)
    assert why is not None
    assert name in why


@pytest.mark.parametrize(
    ("exit_code", "output", "outcome"),
    [
        (1, "E   assert 1 == 2\n1 failed", "fix it"),
        (2, "E   ImportError: cannot import name 'double' from 'app'", "add double"),
        (1, "make: *** [Makefile:2: test] Error 1", "fix it"),
        (2, "E   ModuleNotFoundError: No module named 'slugs'", "Write slugs.py so that the tests pass"),
        (2, "python3: can't open file '/workspace/fizz.py': [Errno 2]", "Write fizz.py, which prints fizz"),
        (127, "bash: ./solve.sh: No such file or directory", "Write solve.sh."),
        (1, "Error: Cannot find module './lib/parse'", "Add lib/parse.js"),
        (0, "ModuleNotFoundError: No module named 'x'", "fix it"),
        (None, "sh: x: not found", "fix it"),
    ],
)
def test_work_to_be_done_is_no_obstacle(exit_code: int | None, output: str, outcome: str) -> None:
    assert why_it_cannot_run(ended(exit_code, output), outcome=outcome, cases_ran=0) is None


@pytest.mark.parametrize(
    ("given", "missing", "is_work"),
    [
        (("tests/test_slugs.py",), "ModuleNotFoundError: No module named 'slugs'", True),
        (("slugs_test.py",), "ModuleNotFoundError: No module named 'shop.slugs'", True),
        (("test/slugs.test.js",), "Cannot find module '../lib/slugs'", True),
        (("src/slugs.spec.ts",), "Cannot find module './slugs.js'", True),
        (("SlugsTest.java",), "ClassNotFoundException: org.example.Slugs", True),
        (("tests/test_pkg.py",), "ModuleNotFoundError: No module named 'pkg._version'", False),
        (("tests/test_slugs.py",), "ModuleNotFoundError: No module named 'requests'", False),
        (("src/slugs.py", "tests/test_slugs.py"), "ModuleNotFoundError: No module named 'slugs'", False),
        (("requests/api.py",), "ModuleNotFoundError: No module named 'requests'", False),
    ],
)
def test_a_module_that_has_a_test_of_its_own_is_the_work(
    given: tuple[str, ...], missing: str, *, is_work: bool
) -> None:
    why = why_it_cannot_run(ended(1, missing), outcome="Make the tests pass.", cases_ran=0, paths=given)
    assert (why is None) == is_work


def test_a_program_of_the_work_that_lacks_an_option_is_no_obstacle() -> None:
    said = "usage: cli.py [-h]\ncli.py: error: unrecognized arguments: --json"
    for outcome, work_left in (("Print JSON.", ("app/cli.py",)), ("Add --json", ()), ("Add json output", ())):
        assert why_it_cannot_run(ended(2, said), outcome=outcome, cases_ran=0, work_left=work_left) is None, (
            outcome
        )
    assert why_it_cannot_run(ended(2, said), outcome="Mend the sums.", cases_ran=0) is not None


def test_where_cases_ran_the_command_runs() -> None:
    output = "ModuleNotFoundError: No module named 'optional_thing'"
    assert why_it_cannot_run(ended(1, output), outcome="fix it", cases_ran=3) is None

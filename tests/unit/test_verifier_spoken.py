"""Cases are read from what test programs print, where no reporter reaches them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.verifiers.case_verdict import compare
from remit.verifiers.reports import RunReport
from remit.verifiers.spoken import spoken_by, spoken_report

LINES = {
    "ok 1 - adds": ("adds", "passed"),
    "not ok 2 - adds": ("adds", "failed"),
    "    ok 3 - deep # SKIP no network": ("deep", "skipped"),
    "not ok 4 - later # todo not yet": ("later", "xfailed"),
    "PASS: check_add": ("check_add", "passed"),
    "FAIL: check_add": ("check_add", "failed"),
    "XFAIL: check_old": ("check_old", "xfailed"),
    "tests/parse.c:42:parse_should_fail:PASS": ("tests/parse.c:#:parse_should_fail", "passed"),
    "tests/parse.c:43:parse_should_fail:FAIL: Expected 1 Was 2": (
        "tests/parse.c:#:parse_should_fail",
        "failed",
    ),
    "[       OK ] Math.Adds (0 ms)": ("Math.Adds", "passed"),
    "[  FAILED  ] Math.Adds (1 ms)": ("Math.Adds", "failed"),
    " 3/12 Test  #3: cjson_add ........................   Passed    0.00 sec": ("cjson_add", "passed"),
    "12/12 Test #12: fuzz .............***Failed    0.01 sec": ("fuzz", "failed"),
    "t/01-load.t .. ok": ("t/#-load.t", "passed"),
    "test parsing ... FAILED": ("test parsing", "failed"),
    "* sha256: PASS": ("* sha#", "passed"),
    "\x1b[32mok 1 - in colour\x1b[0m": ("in colour", "passed"),
}


@pytest.mark.parametrize("line", LINES)
def test_a_line_names_a_case(line: str) -> None:
    report = spoken_report(f"compiling\nok 9 - another\n{line}\nbye\n".encode())
    assert report is not None
    assert [(case.name, case.status) for case in report.runs[0].cases] == [("another", "passed"), LINES[line]]


@pytest.mark.parametrize(
    "line",
    [
        "all is ok",
        "gcc -o test test.c",
        "PASS",
        "1 passed in 0.1s",
        "error: expected ';'",
        "make: Nothing to be done",
        "x",
    ],
)
def test_other_lines_name_none(line: str) -> None:
    assert spoken_report(line.encode()) is None


def test_a_program_that_ends_early_says_less() -> None:
    before = spoken_report(b"ok 1 - a\nok 2 - b\nnot ok 3 - c\n")
    now = spoken_report(b"ok 1 - a\n")
    said = compare(before, now, is_protected=lambda _: True, exit_code=0, before_exit_code=1)
    assert said is not None
    assert (said.missing, said.why_no_pass is None) == (("b", "c"), False)
    assert spoken_report(b"not ok 1 - a\n") is None
    silent = compare(before, None, is_protected=lambda _: True, exit_code=0, before_exit_code=1)
    assert silent is not None
    assert silent.why_no_pass is not None


def test_the_same_words_pass() -> None:
    before = spoken_report(b"ok 1 - a\nnot ok 2 - b\nok 3 - a\n")
    now = spoken_report(b"ok 1 - a\nok 2 - b\nok 3 - a\n")
    said = compare(before, now, is_protected=lambda _: True, exit_code=0, before_exit_code=1)
    assert said is not None
    assert (said.why_no_pass, said.passed, said.judged_in_process) == (None, 3, True)


@given(st.binary(max_size=2_000))
def test_any_output_can_be_read(output: bytes) -> None:
    report = spoken_report(output)
    assert report is None or isinstance(report, RunReport)


def test_lines_that_only_the_work_can_have_printed_are_no_cases_of_the_judges() -> None:
    report = spoken_report(b"adds numbers ... ok\nmigrating users ... ok\ncase 12: ok\n17: ok\n")
    assert report is not None
    texts = ["say('adds', 'numbers')\nfor n in range(9): say(f'case {n}: ')", "cases/a.txt"]
    names = [case.name for run in spoken_by(report, texts).runs for case in run.cases]
    assert names == ["adds numbers", "case #", "#"]
    only = spoken_report(b"migrating users ... ok\n")
    assert only is not None
    assert spoken_by(only, texts).runs == ()

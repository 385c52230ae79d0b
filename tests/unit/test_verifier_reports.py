"""What is made of the reports of test runners: reading them, bounded; and the verdict on their cases."""

from __future__ import annotations

import json
import string
from collections.abc import Callable, Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.verifiers.case_verdict import CasesVerdict, compare, count, normalise
from remit.verifiers.junit import is_junit_path, read_junit
from remit.verifiers.reports import (
    CASES_MAX,
    Case,
    RunnerRun,
    RunReport,
    Status,
    pack_report,
    read_reports,
    reporter_environment,
    unpack_report,
)

STATUSES: tuple[Status, ...] = ("passed", "failed", "skipped", "xfailed", "xpassed", "error")
RAN = {"passed", "failed", "xpassed"}


def protected(path: str) -> bool:
    return path.startswith("tests/")


def file(*records: dict[str, object]) -> bytes:
    return b"".join(json.dumps(record).encode() + b"\n" for record in records)


def start(reporter: str = "pytest", run: str = "1-a", at: int = 1) -> dict[str, object]:
    argv = [reporter, "-q"]
    return {
        "t": "start",
        "reporter": reporter,
        "run": run,
        "at": at,
        "argv": argv,
        "cwd": "/workspace",
        "tree": "/workspace",
    }


def case(name: str, status: str = "passed", where: str | None = None) -> dict[str, object]:
    return {"t": "case", "name": name, "status": status, **({"where": where} if where else {})}


END: dict[str, object] = {"t": "end", "code": 0, "how": "normally", "why": None}


def report(*cases: tuple[str, Any], **changes: Any) -> RunReport:
    run = RunnerRun(
        reporter="pytest",
        argv=("pytest",),
        cases=tuple(Case(*each) for each in cases),
        exit_code=0,
        loaded=(),
    )
    return RunReport(runs=(RunnerRun(**{**{f: getattr(run, f) for f in run.__struct_fields__}, **changes}),))  # type: ignore[arg-type]


def verdict(before: RunReport | None, now: RunReport | None, exit_code: int = 0) -> CasesVerdict:
    found = compare(before, now, is_protected=protected, exit_code=exit_code)
    assert found is not None
    return found


names = st.text(string.ascii_lowercase, min_size=1, max_size=6)
cases = st.lists(st.tuples(names, st.sampled_from(STATUSES)), max_size=12, unique_by=lambda each: each[0])
records = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["t", "name", "names", "run", "x"]), inner, max_size=4)
    ),
    max_leaves=8,
)


# ------------------------------------------------------------------------------------------------------------ reading


@given(cases)
def test_what_was_written_is_read(written: list[tuple[str, Status]]) -> None:
    content = file(start(), *(case(*each) for each in written), {"t": "loaded", "files": ["calc.py"]}, END)
    found = read_reports({"a.jsonl": content}, {})
    assert found is not None
    (run,) = found.runs
    assert [(each.name, each.status) for each in run.cases] == written
    assert (run.reporter, run.ended, run.exit_code, run.loaded) == ("pytest", "normally", 0, ("calc.py",))
    assert unpack_report(pack_report(found)) == found


@given(cases, st.integers(0, 400))
def test_a_report_that_breaks_off_is_of_a_run_that_was_cut(
    written: list[tuple[str, Status]], left: int
) -> None:
    content = file(start(), *(case(*each) for each in written), END)
    found = read_reports({"a.jsonl": content[: min(left, len(content) - 2)]}, {})
    if found is not None:
        (run,) = found.runs
        assert run.ended == "cut"
        assert [(each.name, each.status) for each in run.cases] == written[: len(run.cases)]


@given(st.lists(records | st.binary(max_size=20), max_size=10))
def test_anything_may_stand_in_a_report(lines: list[object]) -> None:
    content = b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines)
    read_reports({"a": content, "b": file(start()) + content}, {"TEST-x.xml": content})


def test_nobody_who_reports_is_no_report() -> None:
    assert read_reports({}, {}) is None
    assert read_reports({"a": b"", "b": b"{}\n"}, {"x.xml": b"<html/>"}) is None
    assert read_reports({"a": file(start(), {**END, "how": "nothing"})}, {}) is None


def test_runs_come_in_the_order_of_their_starts_with_what_their_workers_loaded() -> None:
    worker = file({"t": "worker", "run": "2-b", "files": ["calc.py"]})
    found = read_reports(
        {"a": file(start(run="1-a", at=9), END), "b": file(start(run="2-b", at=3), END), "w": worker}, {}
    )
    assert found is not None
    assert [run.loaded for run in found.runs] == [("calc.py",), ()]


def test_what_was_collected_and_never_heard_of_is_named() -> None:
    found = read_reports({"a": file(start(), {"t": "collected", "names": ["a", "b"]}, case("a"), END)}, {})
    assert found is not None
    assert (found.runs[0].collected, found.runs[0].unreported) == (2, ("b",))


def test_more_cases_than_are_taken_are_said_to_be_missing() -> None:
    line = json.dumps(case("a")).encode() + b"\n"
    found = read_reports({"a": file(start()) + line * (CASES_MAX + 5) + file(END)}, {})
    assert found is not None
    assert found.is_truncated
    assert len(found.runs[0].cases) == CASES_MAX


def test_a_skip_stands_relative_to_the_working_tree() -> None:
    written = file(
        start(), case("a", "skipped", "/workspace/calc.py:3"), case("b", "skipped", "/opt/x.py:3"), END
    )
    found = read_reports({"a": written}, {})
    assert found is not None
    assert [each.where for each in found.runs[0].cases] == ["calc.py", "/opt/x.py"]


def test_what_the_environment_sets_goes_on_holding() -> None:
    given = {"PYTHONPATH": "src", "NODE_OPTIONS": "--max-old-space-size=100", "GOFLAGS": "-mod=vendor"}
    made = reporter_environment("/tmp/r", given)
    for name, value in given.items():
        assert made[name].endswith(value)
        assert made[name] != value
    assert made["REMIT_REPORTS"] == "/tmp/r"
    own = {"CARGO_TARGET_X86_64_UNKNOWN_LINUX_GNU_RUNNER": "qemu"}
    assert not own.keys() & reporter_environment("/tmp/r", own).keys()


# -------------------------------------------------------------------------------------------------------------- JUnit

JUNIT = b"""<?xml version="1.0"?><testsuites><testsuite name="s"><properties><property name="a"/></properties>
<testcase classname="C" name="ok"/><testcase classname="C" name="bad"><failure/><system-out>x</system-out></testcase>
<testcase classname="C" name="err"><error/></testcase><testcase classname="C" name="sk"><skipped/></testcase>
</testsuite></testsuites>"""


def test_junit_is_read_and_counts_where_no_runner_reported_the_same() -> None:
    assert read_junit(JUNIT) == [
        ("C > ok", "passed"),
        ("C > bad", "failed"),
        ("C > err", "failed"),
        ("C > sk", "skipped"),
    ]
    found = read_reports({}, {"target/TEST-C.xml": JUNIT})
    assert found is not None
    assert (found.runs[0].reporter, count(found).failed) == ("junit", 2)
    own = file(start(), *(case(f"tests/test_c.py::C::{name}") for name in ("ok", "bad", "err", "sk")), END)
    both = read_reports({"a": own}, {"junit.xml": JUNIT})
    assert both is not None
    assert [run.reporter for run in both.runs] == ["pytest"]


@pytest.mark.parametrize(
    "content",
    [
        b"<!DOCTYPE x [<!ENTITY a 'aaaa'><!ENTITY b '&a;&a;'>]><testsuite><testcase name='&b;'/></testsuite>",
        b"<!DOCTYPE x SYSTEM 'file:///etc/passwd'><testsuite><testcase name='a'/></testsuite>",
        b"<testsuite>" + b"<a>" * 5000,
        b"<testsuite><testcase name='a'/>",
        b"<report><testcase name='a'/></report>",
        b"\xff\xfe\x00",
        b"",
    ],
)
def test_what_is_no_plain_report_is_not_read(content: bytes) -> None:
    assert read_junit(content) == []


@pytest.mark.parametrize(
    ("path", "is_one"),
    [
        ("target/surefire-reports/TEST-org.x.CalcTest.xml", True),
        ("build/test-results/test/a.xml", True),
        ("junit.xml", True),
        ("out/my-results.xml", True),
        ("pom.xml", False),
        ("src/main/resources/config.xml", False),
        ("results.txt", False),
    ],
)
def test_reports_are_known_by_their_names(path: str, is_one: bool) -> None:
    assert is_junit_path(path) == is_one


# ------------------------------------------------------------------------------------------------------------ verdict


@given(cases)
def test_the_same_report_twice_lacks_nothing(written: list[tuple[str, Status]]) -> None:
    same = report(*written)
    found = verdict(same, same)
    assert found.missing == ()
    has_passed = any(status in ("passed", "xpassed") for _, status in written)
    assert (found.why_no_pass is None) == has_passed


@given(cases, st.sets(names), st.sampled_from(["gone", "skipped", "xfailed", "error"]))
def test_a_case_that_ran_and_does_not_now_is_named(
    written: list[tuple[str, Status]], lost: set[str], how: str
) -> None:
    now: list[tuple[str, Status]] = []
    for name, status in written:
        if name not in lost:
            now.append((name, status))
        elif how != "gone":
            now.append((name, how))  # type: ignore[arg-type]
    found = verdict(report(*written), report(*now, ("one_more_case", "passed")))
    expected = {name for name, status in written if status in RAN and name in lost}
    assert set(found.missing) == expected
    assert (found.why_no_pass is not None) == bool(expected)
    if how in ("skipped", "xfailed"):
        assert set(found.skipped_now) == expected


@pytest.mark.parametrize(
    "form",
    [
        "tests/test_a.py::test[<object at 0x7f{0:010x}>]",
        "tests/test_a.py::test[/tmp/pytest-of-agent/pytest-{0}/a{0}]",
        "tests/test_a.py::test[{0:08x}-1111-4222-8333-0123456789ab]",
        "tests/test_a.py::test[2026-11-30T12:{1:02d}:{1:02d}.{0:06d}Z]",
        "tests/test_a.py::test[at 12:{1:02d}:05]",
        "tests/test_a.py::test[seed={0:07d}]",
        "tests/test_a.py::test[0.1{0:012d}]",
        "sub > case {0:040x}1",
    ],
)
@given(st.integers(10_000, 999_999), st.integers(10_000, 999_999), st.integers(0, 59), st.integers(0, 59))
def test_names_that_differ_by_nature_do_not_make_honest_work_fail(
    form: str, first: int, second: int, minute: int, other: int
) -> None:
    names_before = form.format(first, minute), form.format(second, other)
    found = verdict(report((names_before[0], "failed")), report((names_before[1], "passed")))
    assert (found.missing, found.why_no_pass) == ((), None)


@pytest.mark.parametrize(
    "name",
    [
        "tests/test_a.py::test_sha256_digest",
        "a > b12",
        "test_utf8[1-2-3]",
        "pkg TestAdd/case_17",
        "m.C.test_2024",
        "deadbeef",
        "datetime.test_now",
    ],
)
def test_ordinary_names_stay_as_they_are(name: str) -> None:
    assert normalise(name) == name


def test_many_names_alike_are_counted() -> None:
    before = report(*((f"t[0x7f{n:08x}]", "passed") for n in range(5)))
    assert verdict(before, report(*((f"t[0x8f{n:08x}]", "passed") for n in range(5)))).missing == ()
    assert verdict(before, report(*((f"t[0x8f{n:08x}]", "passed") for n in range(3)))).missing_count == 2


def test_as_many_cases_with_other_parameters_are_the_same_cases() -> None:
    def ran(*words: str, also: tuple[tuple[str, Status], ...] = (("b", "passed"),)) -> RunReport:
        drawn: list[tuple[str, Status]] = [(f"a.py::test_a[{word}]", "passed") for word in words]
        return report(*drawn, *also)

    before = ran("cab", "17", "a-b]")
    assert verdict(before, ran("bac", "42", "b-a")).missing == ()
    assert verdict(before, ran("bac", "42")).missing_count > 0
    assert (
        verdict(before, ran("c", "4", also=(("a.py::test_a[x]", "skipped"), ("b", "passed")))).missing_count
        > 0
    )
    assert (
        verdict(before, ran("c", "4", also=(("a.py::test_c[x]", "passed"), ("b", "passed")))).missing_count
        > 0
    )
    assert verdict(before, ran("bac", "42", "b-a", also=())).missing == ("b",)


def test_a_skip_from_where_it_came_before_is_the_projects_own() -> None:
    def skipped(where: str) -> RunReport:
        cases = (Case("a", "passed"), Case("b", "skipped", where))
        return RunReport(runs=(RunnerRun(reporter="pytest", cases=cases),))

    assert verdict(skipped("helper.py"), skipped("helper.py")).why_no_pass is None
    assert "calc.py" in (verdict(skipped("helper.py"), skipped("calc.py")).why_no_pass or "")


NO_PASS: dict[str, tuple[RunReport | None, RunReport | None, str]] = {
    "nothing": (None, report(), "no case passed"),
    "all_skipped": (None, report(("a", "skipped"), ("b", "xfailed")), "all were skipped"),
    "skipped_by_work": (
        None,
        RunReport(
            runs=(RunnerRun(reporter="pytest", cases=(Case("b", "passed"), Case("a", "skipped", "calc.py"))),)
        ),
        "calc.py",
    ),
    "cut": (None, report(("a", "passed"), ended="cut"), "ended from inside"),
    "stopped": (None, report(("a", "passed"), ended="stopped", why="Exit: done"), "Exit: done"),
    "unreported": (None, report(("a", "passed"), collected=2, unreported=("b",)), "b was to run"),
    "no_report_any_more": (report(("a", "failed")), None, "a ran on the untouched input"),
    "no_report_of_an_error_any_more": (report(("a", "error")), None, "did not now"),
    "failed_behind_0": (None, report(("b", "passed"), ("a", "failed"), exit_code=1), "the command with 0"),
    "one_run_less": (
        RunReport(runs=(*report(("a", "passed")).runs, RunnerRun(reporter="pytest", argv=("pytest", "b")))),
        report(("a", "passed")),
        "pytest b ran",
    ),
}


@pytest.mark.parametrize(("before", "now", "said"), NO_PASS.values(), ids=list(NO_PASS))
def test_no_pass_says_why(before: RunReport | None, now: RunReport | None, said: str) -> None:
    assert said in (verdict(before, now).why_no_pass or "")


PASS: dict[str, tuple[RunReport | None, RunReport]] = {
    "new": (None, report(("a", "passed"))),
    "mended": (report(("a", "failed")), report(("a", "passed"))),
    "import_mended": (
        report(("tests/test_a.py", "error"), exit_code=2),
        report(("tests/test_a.py::a", "passed")),
    ),
    "skipped_as_before": (
        report(("a", "failed"), ("s", "skipped")),
        report(("a", "passed"), ("s", "skipped")),
    ),
    "skip_of_the_judge": (
        None,
        RunReport(
            runs=(
                RunnerRun(
                    reporter="pytest", cases=(Case("b", "passed"), Case("a", "skipped", "tests/help.py"))
                ),
            )
        ),
    ),
    "more_cases": (report(("a", "failed")), report(("a", "passed"), ("b", "passed"))),
    "retried": (
        None,
        RunReport(runs=(*report(("a", "failed"), exit_code=1).runs, *report(("a", "passed")).runs)),
    ),
    "no_retry_needed": (
        RunReport(
            runs=(
                *report(("a", "failed"), ("b", "passed"), exit_code=1).runs,
                *report(("a", "failed"), argv=("pytest", "--lf"), exit_code=1).runs,
            )
        ),
        report(("a", "passed"), ("b", "passed")),
    ),
    "always_ended_hard": (
        report(("a", "failed"), ended="cut", collected=1, exit_code=None),
        report(("a", "passed"), ended="cut", collected=1, exit_code=None),
    ),
}


@pytest.mark.parametrize(("before", "now"), PASS.values(), ids=list(PASS))
def test_honest_runs_pass(before: RunReport | None, now: RunReport) -> None:
    assert verdict(before, now).why_no_pass is None


def test_without_any_report_there_is_nothing_to_say() -> None:
    assert compare(None, None, is_protected=protected) is None


@pytest.mark.parametrize(
    ("loaded", "is_shared"),
    [((), True), (("tests/test_a.py",), False), (("tests/test_a.py", "calc.py"), True), (None, True)],
)
def test_work_in_the_judges_process_is_told(loaded: tuple[str, ...] | None, is_shared: bool) -> None:
    assert verdict(None, report(("a", "passed"), loaded=loaded)).judged_in_process == is_shared


@given(cases, cases)
def test_a_verdict_never_fails_to_be_given(
    first: list[tuple[str, Status]], second: list[tuple[str, Status]]
) -> None:
    checks: Sequence[Callable[[str], bool]] = (lambda _: True, lambda _: False, protected)
    for is_protected in checks:
        found = compare(report(*first), report(*second), is_protected=is_protected)
        assert found is not None
        assert found.passed + found.failed + found.skipped == len(second)


def test_thousands_of_cases_are_few_bytes() -> None:
    many = report(
        *((f"tests/unit/test_{n // 50}.py::TestThing::test_{n}[case-{n}]", "passed") for n in range(10_000))
    )
    assert len(pack_report(many)) < 200_000
    with pytest.raises(ValueError, match="no packed report"):
        unpack_report(b"nothing")


def test_a_file_of_node_that_failed_is_no_case_of_its_own() -> None:
    before = RunReport(
        runs=(
            RunnerRun(
                reporter="node",
                cases=(
                    Case("t.test.js > adds", "failed"),
                    Case("t.test.js > subtracts", "passed"),
                    Case("t.test.js", "failed"),
                    Case("u.test.js", "failed"),
                ),
            ),
        )
    )
    both = (Case("t.test.js > adds", "passed"), Case("t.test.js > subtracts", "passed"))
    mended = RunReport(runs=(RunnerRun(reporter="node", cases=(*both, Case("u.test.js > all", "passed"))),))
    less = RunReport(runs=(RunnerRun(reporter="node", cases=both),))
    said = compare(before, mended, is_protected=lambda _: True)
    assert said is not None
    assert said.why_no_pass is None
    lacking = compare(before, less, is_protected=lambda _: True)
    assert lacking is not None
    assert lacking.missing == ("u.test.js",)

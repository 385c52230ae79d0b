"""What is made of how programs said they ended, apart from real processes (tests/conformance/test_script_endings.py)."""

from __future__ import annotations

import json
from typing import get_args, get_type_hints

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.verifiers.case_verdict import compare
from remit.verifiers.endings import hear, why_ended
from remit.verifiers.reports import RunReport, ScriptRun, pack_report, read_reports, unpack_report

HOWS = get_args(get_type_hints(ScriptRun)["how"])
files = st.sampled_from(["judge.py", "tests/a.py", "calc.py", "lib/b.py"])
scripts = st.builds(
    ScriptRun,
    main=files | st.sampled_from(["-c", "-"]),
    how=st.sampled_from(HOWS),
    where=st.none() | files,
    function=st.none() | st.sampled_from(["main", "<module>"]),
    code=st.none() | st.sampled_from([0, 1]),
    hook=st.none() | files,
    loaded=st.none() | st.lists(files, min_size=1, max_size=3).map(tuple),
    exits=st.lists(files.map("{}:main".format), max_size=2).map(tuple),
    raises=st.lists(files.map("{}:main".format), max_size=2).map(tuple),
    run=st.sampled_from(["", "1-a"]),
)
some = st.lists(scripts, max_size=4).map(tuple)
ENDED = ScriptRun(main="judge.py", how="exit", where="calc.py", function="add", code=0)


def protected(path: str) -> bool:
    return path.startswith(("judge", "tests/"))


def line(script: ScriptRun) -> bytes:
    record = {"t": "script", **msgspec.to_builtins(script)}
    record["files"] = record.pop("loaded", None) or []
    return json.dumps(record).encode() + b"\n"


@given(some)
def test_what_programs_wrote_is_read_and_kept(written: tuple[ScriptRun, ...]) -> None:
    report = read_reports({f"{number:02}": line(script) for number, script in enumerate(written)}, {})
    if not written:
        assert report is None
    else:
        assert report is not None
        assert report.scripts == written
        assert unpack_report(pack_report(report)) == report
        assert compare(report, report, is_protected=protected) is None


@given(some)
def test_what_the_untouched_input_did_is_the_way_of_the_project(known: tuple[ScriptRun, ...]) -> None:
    assert why_ended(known, known, is_protected=protected) is None


@given(some, some)
def test_only_a_program_of_the_judge_s_is_looked_at(
    before: tuple[ScriptRun, ...], now: tuple[ScriptRun, ...]
) -> None:
    others = tuple(script for script in now if not protected(script.main) and script.main[0] != "-")
    assert why_ended(before, others, is_protected=protected) is None


@given(some, st.sampled_from([None, 1, 137]))
def test_a_command_that_failed_has_failed_by_its_code(now: tuple[ScriptRun, ...], code: int | None) -> None:
    told = hear(
        None,
        RunReport(runs=(), scripts=now),
        is_protected=protected,
        exit_code=code,
        before_exit_code=1,
        is_untouched=False,
    )
    assert (told.cases, told.why_no_pass) == (None, None)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({}, "judge.py was ended from inside before it came to its end (exit in calc.py)"),
        ({"main": "-c"}, "the program in the command was ended from inside"),
        ({"main": "-"}, "the program on standard input was ended from inside"),
        ({"code": 1}, None),
        ({"where": "judge.py"}, None),
        ({"where": "tests/a.py"}, None),
        ({"where": None}, None),
        ({"how": "os._exit", "where": None}, "os._exit as it ended"),
        ({"how": "exec", "code": None}, "exec in calc.py"),
        ({"how": "finished"}, None),
        ({"how": "raised"}, None),
        ({"how": "raised", "hook": "calc.py"}, "calc.py had the last word"),
        ({"how": "raised", "hook": "judge.py"}, None),
        ({"how": "system_exit"}, "SystemExit"),
        ({"how": "system_exit", "raises": ("judge.py:main",)}, None),
        ({"how": "system_exit", "raises": ("calc.py:main",)}, "SystemExit"),
        ({"how": "system_exit_at_import", "raises": ("judge.py:main",)}, "a module that it imports"),
        ({"how": "native", "run": "1-a"}, "after calc.py loaded machine code"),
    ],
)
def test_a_judge_that_the_work_ended_proves_nothing(changes: dict[str, object], says: str | None) -> None:
    script = msgspec.structs.replace(ENDED, **changes)
    why = why_ended((), (script,), is_protected=protected)
    assert why is None if says is None else why is not None and says in why


@pytest.mark.parametrize(
    ("changes", "is_usual"),
    [
        ({}, True),
        ({"code": 1}, True),
        ({"function": "other"}, False),
        ({"where": "lib/b.py"}, False),
        ({"main": "tests/a.py"}, False),
        ({"how": "raised"}, False),
        ({"how": "raised", "exits": ("calc.py:add",)}, True),
        ({"how": "raised", "exits": ("calc.py:*",)}, True),
        ({"how": "raised", "exits": ("calc.py:main",)}, False),
    ],
)
def test_an_ending_is_usual_where_the_untouched_input_had_it(
    changes: dict[str, object], is_usual: bool
) -> None:
    known = msgspec.structs.replace(ENDED, **changes)
    assert (why_ended((known,), (ENDED,), is_protected=protected) is None) == is_usual


def test_machine_code_that_came_back_is_no_ending() -> None:
    native = msgspec.structs.replace(ENDED, how="native", run="1-a")
    finished = ScriptRun(main="judge.py", how="finished", run="1-a")
    assert why_ended((), (native, finished), is_protected=protected) is None
    other = msgspec.structs.replace(finished, run="2-b")
    assert why_ended((), (native, other), is_protected=protected) is not None


def test_the_untouched_run_is_not_compared_with_itself() -> None:
    report = RunReport(runs=(), scripts=(msgspec.structs.replace(ENDED, loaded=("judge.py", "calc.py")),))
    told = hear(None, report, is_protected=protected, exit_code=0, before_exit_code=None, is_untouched=True)
    assert (told.why_no_pass, told.judged_in_process) == (None, True)

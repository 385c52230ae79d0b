"""What a run of a command says of the work, from what was seen of it: a table of all the ways not to pass, in words too."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, field

import msgspec
import pytest

from remit.schema.verifiers import CommandVerifier
from remit.testing.verifier_cases import PRINCIPAL
from remit.values import (
    ConsentReason,
    ExecResult,
    ImageInfo,
    JsonObject,
    SandboxCapabilities,
    Tree,
    TreeEntry,
    TreeRecord,
    Verdict,
    VerifyRequest,
)
from remit.verifiers.baseline import Baseline
from remit.verifiers.families import share_a_language
from remit.verifiers.isolation import Isolated
from remit.verifiers.judged import judge_tree
from remit.verifiers.patterns import ProtectedPatterns
from remit.verifiers.protected import ProtectedFile, Protection
from remit.verifiers.reports import Case, RunnerRun, RunReport, Status, pack_report
from remit.verifiers.trials import Trial
from remit.verifiers.verdicts import PATHS_REPORTED_MAX, CommandRun, untouched_verdict, verdict

GIVEN = {"app.py": "broken", "lib.py": "as it is", "tests/test_app.py": "test", "tests/data/app.db": "rows"}
MENDED = GIVEN | {"app.py": "mended"}
PROTECTED = ("tests/data/app.db", "tests/test_app.py")
CASE = "tests/test_app.py::test_it"


def sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def tree_of(files: Mapping[str, str]) -> Tree:
    entries = {
        folder: TreeEntry(path=folder, kind="dir", mode=0o755)
        for path in files
        for folder in ["/".join(path.split("/")[:depth]) for depth in range(1, len(path.split("/")))]
    }
    for path, text in files.items():
        entries[path] = TreeEntry(path=path, kind="file", mode=0o644, size=len(text), sha256=sha256(text))
    return Tree(entries=tuple(entries[path] for path in sorted(entries)))


def report(
    *cases: tuple[str, Status], loaded: tuple[str, ...] = ("tests/test_app.py", "app.py")
) -> RunReport:
    ended = tuple(Case(name, status) for name, status in cases)
    code = int(any(case.status == "failed" for case in ended))
    return RunReport(
        runs=(RunnerRun(reporter="pytest", cases=ended, collected=len(ended), loaded=loaded, exit_code=code),)
    )


@dataclass(frozen=True)
class Story:
    """What happened on the input and on the work; as of honest work unless said."""

    work: Mapping[str, str] = field(default_factory=lambda: MENDED)
    given: Mapping[str, str] = field(default_factory=lambda: GIVEN)
    exit_code: int | None = 0
    opened: tuple[str, ...] = ("app.py", "lib.py", "tests/test_app.py")
    changed: tuple[str, ...] = ()
    created: tuple[str, ...] = ()
    created_opened: tuple[str, ...] = ()
    why_not: str | None = None
    rewrites: tuple[str, ...] = ()
    created_before: tuple[str, ...] = ()
    before: RunReport | None = None
    report: RunReport | None = None
    isolated: Isolated | None = None
    despite: tuple[ConsentReason, ...] = ()
    is_timed_out: bool = False
    output: bytes = b"said"
    outcome: str = ""
    protected: tuple[str, ...] = PROTECTED
    work_left: tuple[str, ...] = ("app.py", "lib.py")
    is_unclear: bool = False


def run_of(story: Story, *, of_input: bool = False) -> tuple[CommandRun, Baseline]:
    given = tree_of(story.given)
    entries = {entry.path: entry for entry in given.entries}
    protection = Protection(
        files=tuple(
            ProtectedFile(path=path, reason="a test", mode=0o644, sha256=entries[path].sha256)
            for path in story.protected
            if path in entries
        ),
        work_left=story.work_left,
        is_unclear=story.is_unclear,
        places=("",),
    )
    patterns = ProtectedPatterns()
    baseline = Baseline(
        key="k",
        exit_code=1,
        rewrites=story.rewrites,
        created=story.created_before,
        packed_report=None if story.before is None else pack_report(story.before),
        protection=protection,
    )
    work = given if of_input else tree_of(story.work)
    return (
        CommandRun(
            request=VerifyRequest(
                principal=PRINCIPAL,
                stream_id="sesn_1",
                verification_id="verif_1",
                verifier={"type": "command", "command": "pytest"},
                tree_digest="w" * 64,
                input_tree_digest="i" * 64,
                despite=story.despite,
                outcome=story.outcome,
            ),
            specification=CommandVerifier(command="pytest"),
            given=given,
            judged=judge_tree(given, work, protection, patterns, rewritable=story.rewrites),
            tree_digest="t" * 64,
            trial=Trial(
                ended=ExecResult(
                    exit_code=story.exit_code,
                    output=story.output,
                    is_timed_out=story.is_timed_out,
                    exceeded=None,
                    is_truncated=False,
                    output_bytes_total=len(story.output),
                    duration_seconds=1.0,
                ),
                record=TreeRecord(
                    mechanism="inotify",
                    is_complete=story.why_not is None,
                    why_not=story.why_not,
                    opened=story.opened,
                    changed=story.changed,
                    created=story.created,
                    created_opened=story.created_opened,
                ),
                changed=frozenset(story.changed),
                report=story.report,
                isolated=story.isolated,
            ),
            protection=protection,
            patterns=patterns,
            baseline=None if of_input else baseline,
            image=ImageInfo(digest="img", description="Debian", programs=(), toolchains=()),
            capabilities=SandboxCapabilities(
                provider="bubblewrap", isolation="namespaces", survives_server=False, limits=()
            ),
        ),
        baseline,
    )


def told(story: Story) -> Verdict:
    return verdict(run_of(story)[0])


def of_input(story: Story) -> Verdict:
    return untouched_verdict(*run_of(story, of_input=True), "b" * 64)


def reads(said: Verdict) -> JsonObject:
    found = said.evidence["reads"]
    assert isinstance(found, dict)
    return found


EDITED = MENDED | {"tests/test_app.py": "assert True"}
PASSED = {
    "honest work": Story(),
    "work with a report": Story(before=report((CASE, "failed")), report=report((CASE, "passed"))),
    "a fixture that the input's run rewrote": Story(
        changed=("tests/data/app.db",), rewrites=("tests/data/app.db",)
    ),
    "a fixture that the work's own run of the suite left rewritten": Story(
        work=MENDED | {"tests/data/app.db": "rows and one more"}, rewrites=("tests/data/app.db",)
    ),
    "what the input's run made and read too": Story(
        created=("tests/out/test_x.py",),
        created_opened=("tests/out/test_x.py",),
        created_before=("tests/out/test_x.py",),
    ),
    "output beside the tests that is read back": Story(
        created=("tests/out/got.txt",), created_opened=("tests/out/got.txt",)
    ),
    "a configuration that its tool copies under a new name each time": Story(
        created=("vitest.config.ts.timestamp-1700000099999-9f8e7d6c5b4a.mjs",),
        created_opened=("vitest.config.ts.timestamp-1700000099999-9f8e7d6c5b4a.mjs",),
        created_before=("vitest.config.ts.timestamp-1700000000000-1a2b3c4d5e6f.mjs",),
    ),
    "the input's tests, compiled": Story(
        created=("dist/tests/test_app.js",), created_opened=("dist/tests/test_app.js",)
    ),
    "build output that is read back": Story(created=("build/a.o",), created_opened=("build/a.o",)),
    "an unseen run of work that is the input": Story(work=GIVEN, why_not="overflow"),
    "an unseen run that a person accepts": Story(why_not="overflow", despite=("unseen",)),
    "isolated work that was called": Story(isolated=Isolated(calls=1, mixed=None)),
    "no input at all": Story(given={}, protected=(), opened=("app.py",), why_not="overflow"),
}
REFUSED: dict[str, tuple[Story, str]] = {
    "a failing command": (Story(exit_code=1), "exit code 1"),
    "a command that took too long": (Story(exit_code=None, is_timed_out=True), "timed out after"),
    "a killed command": (Story(exit_code=None), "was killed"),
    "an edited test": (
        Story(work=EDITED),
        "tampered: tests/test_app.py changed or removed (exit code 0 with the originals)",
    ),
    "a removed test": (
        Story(work={path: text for path, text in MENDED.items() if path != "tests/test_app.py"}),
        "tampered: tests/test_app.py changed or removed (exit code 0 with the originals)",
    ),
    "a test that is rewritten meanwhile": (
        Story(changed=("tests/test_app.py",)),
        "tampered: tests/test_app.py rewritten while the command ran (exit code 0)",
    ),
    "a fixture that only the work rewrites": (
        Story(changed=("tests/data/app.db",)),
        "tampered: tests/data/app.db rewritten while the command ran (exit code 0)",
    ),
    "a test that appears meanwhile": (
        Story(created=("tests/test_b.py",), created_opened=("tests/test_b.py",)),
        "exit code 0, but tests/test_b.py was planted while the command ran",
    ),
    "a compiled test of nothing": (
        Story(created=("dist/tests/test_b.js",), created_opened=("dist/tests/test_b.js",)),
        "exit code 0, but dist/tests/test_b.js was planted while the command ran",
    ),
    "a copy of a test in a folder of its own": (
        Story(created=("out/tests/test_app.py",), created_opened=("out/tests/test_app.py",)),
        "exit code 0, but out/tests/test_app.py was planted while the command ran",
    ),
    "a second form of a test beside it": (
        Story(created=("tests/test_app.js",), created_opened=("tests/test_app.js",)),
        "exit code 0, but tests/test_app.js was planted while the command ran",
    ),
    "a configuration that the input's run did not make": (
        Story(created=("vitest.config.ts",), created_opened=("vitest.config.ts",)),
        "exit code 0, but vitest.config.ts was planted while the command ran",
    ),
    "a module of the judge that appears meanwhile": (
        Story(created=("pytest.py",), created_opened=("pytest.py",)),
        "exit code 0, but pytest.py was planted while the command ran",
    ),
    "an unseen run": (
        Story(why_not="no watches left"),
        "exit code 0, but what it read could not be seen: no watches left",
    ),
    "an unseen run where something else was accepted": (
        Story(why_not="no watches left", despite=("vacuous", "cannot_run")),
        "exit code 0, but what it read could not be seen: no watches left",
    ),
    "a case that is gone": (
        Story(
            before=report((CASE, "failed"), ("tests/test_app.py::test_b", "passed")),
            report=report((CASE, "passed")),
        ),
        "exit code 0, but tests/test_app.py::test_b ran on the untouched input and is missing now",
    ),
    "a case that is skipped now": (
        Story(before=report((CASE, "failed")), report=report((CASE, "skipped"))),
        f"exit code 0, but {CASE} ran on the untouched input and is skipped now",
    ),
    "a runner that says nothing any more": (
        Story(before=report((CASE, "failed"))),
        f"exit code 0, but {CASE} ran on the untouched input and is missing now",
    ),
    "isolated work that nobody called": (Story(isolated=Isolated(calls=0, mixed=None)), "exit code 0, but "),
    "isolated work that its judge took in": (
        Story(isolated=Isolated(calls=3, mixed="the judge takes app.py into its own process")),
        "exit code 0, but the judge takes app.py into its own process",
    ),
}


@pytest.mark.parametrize("story", PASSED.values(), ids=list(PASSED))
def test_honest_work_passes(story: Story) -> None:
    said = told(story)
    assert said.passed, said.summary
    assert (said.summary, said.tampered, reads(said)["planted"]) == ("exit code 0", (), [])
    assert said.output == "said"


@pytest.mark.parametrize(("story", "summary"), REFUSED.values(), ids=list(REFUSED))
def test_what_proves_nothing_does_not_pass_and_says_why(story: Story, summary: str) -> None:
    said = told(story)
    assert not said.passed
    assert said.summary.startswith(summary)
    if said.evidence["exit_code"] == 0 and not EDITED.keys() - story.work.keys() and story.work is MENDED:
        assert len(said.output) > len("said"), "the agent is told why"
    assert said.output.endswith("said")


def test_the_worst_is_said_first() -> None:
    story = Story(
        work=EDITED,
        changed=("tests/data/app.db",),
        created=("tests/test_b.py",),
        created_opened=("tests/test_b.py",),
        why_not="overflow",
        before=report((CASE, "failed")),
        report=report((CASE, "skipped")),
    )
    said = told(story)
    assert said.tampered == ("tests/test_app.py", "tests/data/app.db")
    assert said.summary.startswith("tampered: tests/test_app.py changed")
    for text in ("tests/data/app.db", "tests/test_b.py", "is skipped now", "overflow"):
        assert text in said.output


@pytest.mark.parametrize(
    ("work", "opened", "changed", "added"),
    [
        (MENDED, ("app.py", "lib.py"), ["app.py"], []),
        (MENDED, ("lib.py",), [], []),
        (MENDED | {"new.py": "x"}, ("app.py", "new.py"), ["app.py"], ["new.py"]),
        (MENDED | {"new.py": "x"}, ("app.py",), ["app.py"], []),
        (GIVEN, ("app.py", "lib.py", "tests/test_app.py"), [], []),
        (EDITED, ("app.py", "tests/test_app.py"), ["app.py"], []),
        (MENDED | {"tests/test_new.py": "x"}, ("app.py", "tests/test_new.py"), ["app.py"], []),
        (MENDED | {"pytest.py": "x"}, ("app.py", "pytest.py"), ["app.py"], []),
    ],
)
def test_a_verdict_rests_on_what_was_opened_and_is_the_works(
    work: Mapping[str, str], opened: tuple[str, ...], changed: list[str], added: list[str]
) -> None:
    said = told(Story(work=work, opened=opened))
    assert said.rests_on_work == tuple(sorted([*changed, *added]))
    found = reads(said)
    assert found["changed"] == [
        {"path": path, "input_sha256": sha256(GIVEN[path]), "sha256": sha256(work[path])} for path in changed
    ]
    assert found["added"] == added


def test_what_was_read_as_given_is_counted_and_hashed() -> None:
    found, others = reads(told(Story())), reads(told(Story(opened=("app.py", "lib.py"))))
    assert (found["given_count"], others["given_count"]) == (2, 1)
    assert found["given_digest"] != others["given_digest"]
    assert found == reads(told(Story()))


def test_reads_and_cases_have_exactly_these_fields() -> None:
    said = told(Story(before=report((CASE, "failed")), report=report((CASE, "passed"))))
    assert set(reads(said)) == {
        "mechanism",
        "complete",
        "why_not",
        "given",
        "given_count",
        "given_digest",
        "changed",
        "added",
        "planted",
    }
    assert said.evidence["cases"] == {
        "reporter": "pytest",
        "passed": 1,
        "failed": 0,
        "skipped": 0,
        "before": {"passed": 0, "failed": 1, "skipped": 0},
        "missing": [],
        "missing_count": 0,
        "skipped_now": [],
        "judged_in_process": True,
        "why_no_pass": None,
    }
    assert told(Story()).evidence["cases"] is None
    msgspec.json.encode(said)


def test_isolated_work_cannot_forge_what_the_judge_says() -> None:
    cases = told(Story(report=report((CASE, "passed")), isolated=Isolated(calls=1, mixed=None))).evidence[
        "cases"
    ]
    assert isinstance(cases, dict)
    assert cases["judged_in_process"] is False


def test_modules_that_would_hide_the_judges_are_named_to_the_agent() -> None:
    said = told(Story(work=MENDED | {"random.py": "x"}, exit_code=1))
    assert said.evidence["shadowing"] == ["random.py"]
    assert "random.py" in said.output
    assert "Give them other names." in said.output


def test_long_lists_are_bounded_and_say_so() -> None:
    many = {f"new_{number:04}.py": "x" for number in range(PATHS_REPORTED_MAX + 20)}
    said = told(Story(work=MENDED | many, opened=tuple(many)))
    assert len(said.rests_on_work) == PATHS_REPORTED_MAX + 1
    assert said.rests_on_work[-1] == "… and 20 more"
    assert len(said.output) < 100


# ------------------------------------------------------------------------------------------- on the untouched input

REASONS: dict[str, tuple[Story, tuple[ConsentReason, ...]]] = {
    "work to be done": (Story(exit_code=1), ()),
    "nothing to be done": (Story(), ()),
    "a missing program": (Story(exit_code=127, output=b"sh: 1: mytest: not found"), ("cannot_run",)),
    "a missing module": (
        Story(exit_code=1, output=b"ModuleNotFoundError: No module named 'requests'"),
        ("cannot_run",),
    ),
    "a missing module that is the work": (
        Story(exit_code=1, output=b"ModuleNotFoundError: No module named 'slugs'", outcome="Write slugs.py."),
        (),
    ),
    "cases that ran": (
        Story(
            exit_code=1,
            output=b"ModuleNotFoundError: No module named 'requests'",
            report=report((CASE, "failed")),
        ),
        (),
    ),
    "cases that could not be loaded": (
        Story(
            exit_code=2,
            output=b"ModuleNotFoundError: No module named 'requests'",
            report=report(("tests/test_app.py", "error"), ("tests/test_b.py", "skipped")),
        ),
        ("cannot_run",),
    ),
    "nothing left for the work": (Story(exit_code=1, is_unclear=True, work_left=()), ("work_unclear",)),
    "nobody could look": (Story(exit_code=1, why_not="no watches left"), ("unseen",)),
    "all at once": (
        Story(exit_code=127, output=b"sh: 1: mytest: not found", is_unclear=True, why_not="overflow"),
        ("cannot_run", "unseen"),
    ),
    "no input": (
        Story(given={}, protected=(), exit_code=127, output=b"sh: 1: x: not found", why_not="overflow"),
        (),
    ),
    "a judge that takes the work in, isolated": (
        Story(exit_code=1, isolated=Isolated(calls=0, mixed="the judge takes app.py into its own process")),
        ("cannot_run",),
    ),
}


@pytest.mark.parametrize(("story", "reasons"), REASONS.values(), ids=list(REASONS))
def test_what_a_person_must_accept_is_told_from_the_untouched_run(
    story: Story, reasons: tuple[ConsentReason, ...]
) -> None:
    said = of_input(story)
    assert said.reasons == reasons
    assert said.passed == (story.exit_code == 0)
    assert ("cannot run: " in said.summary) == ("cannot_run" in reasons)


def test_the_untouched_run_tells_what_it_settles() -> None:
    said = of_input(Story(exit_code=1, rewrites=("tests/data/app.db",), changed=("tests/data/app.db",)))
    assert (said.tampered, said.rests_on_work) == ((), ())
    assert said.evidence["baseline_digest"] == "b" * 64
    assert said.evidence["rewrites"] == ["tests/data/app.db"]
    assert said.evidence["work_left"] == ["app.py", "lib.py"]
    assert said.evidence["proposed_work"] == ["app.py", "lib.py"]
    assert [file["path"] for file in said.evidence["protected"]] == list(PROTECTED)  # type: ignore[index, union-attr, call-overload]


def test_an_untouched_run_in_which_nothing_passed_is_not_green() -> None:
    said = of_input(Story(report=report((CASE, "skipped"))))
    assert (said.passed, said.summary) == (
        False,
        "exit code 0, but no case passed: all were skipped or expected to fail",
    )


def test_work_and_judge_of_one_language_may_be_one_program() -> None:
    assert share_a_language(["tests/test.c"], ["src/add.c", "README.md"])
    assert share_a_language(["check.pl"], ["lib/Work.pm"])
    assert not share_a_language(["expected.txt"], ["fizz.c"])
    assert not share_a_language(["check.sh"], ["fizz.c"])
    assert not share_a_language([], [])

"""Verdicts from reports of test runners: what ran on the untouched input must have run now, by name, and
something must have passed."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence

from remit.values import Value
from remit.verifiers.reports import Case, RunnerRun, RunReport
from remit.wording import listed

NAMES_REPORTED_MAX = 50
_RAN = ("passed", "failed", "xpassed")
_SHOWN = 3

_VARIABLE = re.compile(
    r"""
      \bdatetime\.(?:datetime|date|time)\([\d,\x20]+                         # as Python writes it
    | 0x[0-9a-fA-F]{4,}                                                    # an address
    | [0-9a-fA-F]{8}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{4}-[0-9a-fA-F]{12}
    | /(?:tmp|var/folders|private/tmp|dev/shm)/[^\s\]\)'",:]+              # a temporary path
    | \d{4}-\d\d-\d\d(?:[T\x20]\d\d[:.]?\d\d(?:[:.]?\d\d)?(?:[.,]\d+)?)?(?:Z|[+-]\d\d:?\d\d)?
    | \b\d\d:\d\d:\d\d(?:\.\d+)?
    | (?<![0-9A-Za-z])(?=[0-9A-Za-z]*\d)[0-9a-fA-F]{8,}(?![0-9A-Za-z])      # a hash, a long number
    | (?<![0-9A-Za-z])\d{5,}(?![0-9A-Za-z])
    | (?<![0-9A-Za-z])(?=(?:[A-Za-z]*\d){2})(?=\d*[A-Za-z])[0-9A-Za-z]{12,}(?![0-9A-Za-z])  # a random name
    """,
    re.VERBOSE,
)

_FAMILY = re.compile(r"\[.*\]$", re.DOTALL)
"""Of a case's name: with which parameters."""


class CaseCounts(Value, frozen=True, kw_only=True):
    """Cases by how they ended. `passed` has the unexpected passes, `failed` what could not run, `skipped` the expected
    failures."""

    passed: int
    failed: int
    skipped: int


class CasesVerdict(Value, frozen=True, kw_only=True):
    """The shown cases of a run (`evidence.cases`), and whether they let it pass."""

    reporter: str
    passed: int
    failed: int
    skipped: int
    before: CaseCounts | None
    """On the untouched input."""
    missing: tuple[str, ...] = ()
    """Cases that ran on the untouched input and did not now; bounded, `missing_count` is not."""
    missing_count: int = 0
    skipped_now: tuple[str, ...] = ()
    """Of `missing`: reported, but as skipped or expected to fail."""
    judged_in_process: bool
    """Files that are not protected were loaded by the process that reported: they could have forged it."""
    why_no_pass: str | None = None
    """In words, for people; None: the exit code decides."""


def normalise(name: str) -> str:
    """The name without what differs from run to run by nature: addresses, hashes, times, temporary paths."""
    return _VARIABLE.sub("…", name)


def compare(
    before: RunReport | None,
    now: RunReport | None,
    *,
    is_protected: Callable[[str], bool],
    exit_code: int | None = 0,
    before_exit_code: int | None = None,
) -> CasesVerdict | None:
    """The verdict on the cases of a run; None where no runner reported, neither now nor on the untouched input.

    `exit_code`, `before_exit_code`: the whole command's. A command that ended with 0 although its runner had not is believed
    only where it did so on the untouched input too.
    """
    if not (before is not None and before.runs) and not (now is not None and now.runs):
        return None
    if now is None:
        now = RunReport(runs=())
    missing, skipped_now = _missing(before, now) if before is not None else ([], [])
    counts = count(now)
    return CasesVerdict(
        reporter=", ".join(
            dict.fromkeys(run.reporter for run in (*now.runs, *(before.runs if before else ())))
        ),
        passed=counts.passed,
        failed=counts.failed,
        skipped=counts.skipped,
        before=count(before) if before is not None else None,
        missing=tuple(missing[:NAMES_REPORTED_MAX]),
        missing_count=len(missing),
        skipped_now=tuple(skipped_now[:NAMES_REPORTED_MAX]),
        judged_in_process=any(_shares_process(run, is_protected) for run in now.runs),
        why_no_pass=_first(
            _why_ended(before, now),
            _why_unreported(before, now),
            _why_exit_code(before, now, exit_code, before_exit_code),
            _why_skipped(before, now, is_protected),
            _why_missing(missing, skipped_now),
            _why_gone(before, now),
            _why_nothing(now, counts),
        ),
    )


def count(report: RunReport) -> CaseCounts:
    """Count the cases by how they ended. One that several runs had counts once, as it ended last."""
    statuses = [case.status for case in _last(report).values()]
    return CaseCounts(
        passed=sum(status in ("passed", "xpassed") for status in statuses),
        failed=sum(status in ("failed", "error") for status in statuses),
        skipped=sum(status in ("skipped", "xfailed") for status in statuses),
    )


def _first(*reasons: str | None) -> str | None:
    return next((reason for reason in reasons if reason is not None), None)


def _last(report: RunReport) -> dict[tuple[str, str], Case]:
    return {(run.reporter, case.name): case for run in report.runs for case in run.cases}


def _normalised_names(report: RunReport, statuses: Iterable[str] = _RAN) -> dict[tuple[str, str], set[str]]:
    """Names as they are, by reporter and normalised name."""
    names: dict[tuple[str, str], set[str]] = defaultdict(set)
    for run in report.runs:
        for case in run.cases:
            if case.status in statuses:
                names[run.reporter, normalise(case.name)].add(case.name)
    return names


def _missing(before: RunReport, now: RunReport) -> tuple[list[str], list[str]]:
    """Names that ran before and did not now; those of them that were skipped now."""
    ran, runs_now = _normalised_names(before), _normalised_names(now)
    skipped = _normalised_names(now, ("skipped", "xfailed"))
    missing: list[str] = []
    skipped_now: list[str] = []
    fewer = _families(before) - _families(now)
    files = _files_of_node(ran, runs_now)
    for key, names in ran.items():
        lacking = len(names) - len(runs_now.get(key, ()))
        if lacking <= 0 or key in files or (_FAMILY.search(key[1]) and _family(key) not in fewer):
            continue
        gone = sorted(names - runs_now.get(key, set()))[:lacking]
        missing += gone
        skipped_now += gone[: len(skipped.get(key, ()))]
    return missing, skipped_now


def _files_of_node(*reports: Iterable[tuple[str, str]]) -> frozenset[tuple[str, str]]:
    """Files that node's runner reports beside their cases, and only where they failed."""
    names = [name for report in reports for reporter, name in report if reporter == "node"]
    return frozenset(("node", name.partition(" > ")[0]) for name in names if " > " in name)


def _family(key: tuple[str, str]) -> tuple[str, str]:
    return key[0], _FAMILY.sub("", key[1])


def _families(report: RunReport) -> Counter[tuple[str, str]]:
    """How many cases ran of each test with parameters: what they are called may be drawn by lot."""
    names = _normalised_names(report).items()
    return Counter(_family(key) for key, each in names if _FAMILY.search(key[1]) for _ in each)


def _why_missing(missing: Sequence[str], skipped_now: Sequence[str]) -> str | None:
    if not missing:
        return None
    if skipped_now:
        return f"{listed(skipped_now, _SHOWN)} ran on the untouched input and {_is(skipped_now)} skipped now"
    return f"{listed(missing, _SHOWN)} ran on the untouched input and {_is(missing)} missing now"


def _why_ended(before: RunReport | None, now: RunReport) -> str | None:
    """A run that ends in an odd way by the project's own doing ended so on the untouched input, too."""
    usual = (
        {(run.reporter, run.ended) for run in before.runs} if before is not None else set[tuple[str, str]]()
    )
    for run in now.runs:
        if run.ended == "normally":
            continue
        is_whole = bool(run.collected) and not run.unreported
        if is_whole and (run.reporter, run.ended) in usual:
            continue
        if run.ended == "cut":
            return f"{run.reporter} was ended from inside before it came to its end"
        said = f" ({run.why})" if run.why else ""
        return f"{run.reporter} was stopped before it came to its end{said}"
    return None


def _why_unreported(before: RunReport | None, now: RunReport) -> str | None:
    usual = {(run.reporter, name) for run in (before.runs if before else ()) for name in run.unreported}
    reported = _last(now)
    names = [
        name
        for run in now.runs
        for name in run.unreported
        if (run.reporter, name) not in usual and (run.reporter, name) not in reported
    ]
    return (
        f"{listed(names, _SHOWN)} {'was' if len(names) == 1 else 'were'} to run and never reported"
        if names
        else None
    )


def _why_exit_code(
    before: RunReport | None, now: RunReport, exit_code: int | None, before_exit_code: int | None
) -> str | None:
    """A runner that failed, and a command that ended with 0 all the same, which is not its way."""
    if exit_code != 0:
        return None
    last = _last(now)
    swallows = before is not None and before_exit_code == 0 and any(run.exit_code for run in before.runs)
    passed_before = _last(before) if before is not None else {}
    for run in now.runs:
        failed = [
            case.name
            for case in run.cases
            if case.status in ("failed", "error")
            and last[run.reporter, case.name].status in ("failed", "error")
        ]
        if swallows:
            failed = [
                name
                for name in failed
                if (known := passed_before.get((run.reporter, name))) is not None and known.status == "passed"
            ]
        if run.exit_code and failed:
            return f"{listed(failed, _SHOWN)} failed and {run.reporter} ended with code {run.exit_code}, but the command with 0"
    return None


def _why_skipped(before: RunReport | None, now: RunReport, is_protected: Callable[[str], bool]) -> str | None:
    """A case that was skipped from the same place on the untouched input is skipped by the project's own doing."""
    usual = {
        (run.reporter, normalise(case.name), case.where)
        for run in (before.runs if before is not None else ())
        for case in run.cases
        if case.status in ("skipped", "xfailed")
    }
    for run in now.runs:
        for case in run.cases:
            where = case.where
            if (
                where
                and (run.reporter, normalise(case.name), where) not in usual
                and case.status in ("skipped", "xfailed")
                and not where.startswith("/")
                and not is_protected(where)
            ):
                return f"{case.name} was not skipped by the test but by {where}"
    return None


def _why_gone(before: RunReport | None, now: RunReport) -> str | None:
    """A run that came to no case on the untouched input, so that no name is missing."""
    if before is None:
        return None
    names = {(run.reporter, normalise(case.name)) for run in now.runs for case in run.cases}
    left = [_identity(run) for run in now.runs]
    gone: list[RunnerRun] = []
    for run in before.runs:
        if _identity(run) in left:
            left.remove(_identity(run))
        elif not _is_covered(run, names):
            gone.append(run)
    for run in gone:
        other = next((each for each in left if each[0] == run.reporter), None)
        if other is None:
            words = " ".join(run.argv[:6])
            return f"{words or run.reporter} ran on the untouched input and did not now"
        left.remove(other)
    return None


def _identity(run: RunnerRun) -> tuple[str, str, str]:
    return run.reporter, run.working_directory, normalise("\0".join(run.argv))


def _is_covered(run: RunnerRun, names: set[tuple[str, str]]) -> bool:
    """Whether all that the run had is in other runs: a second try of what had failed is not made where nothing did."""
    wanted = {normalise(case.name).removeprefix("unittest.loader._FailedTest.") for case in run.cases}
    if not wanted:
        return False
    known = [name for reporter, name in names if reporter == run.reporter]
    return all(any(name.startswith(each) for name in known) for each in wanted)


def _why_nothing(now: RunReport, counts: CaseCounts) -> str | None:
    if counts.passed or now.is_truncated:
        return None
    if not now.runs:
        return "no test runner reported, though one did on the untouched input"
    if counts.skipped and not counts.failed:
        return "no case passed: all were skipped or expected to fail"
    return "no case passed"


def _shares_process(run: RunnerRun, is_protected: Callable[[str], bool]) -> bool:
    """Only Python's runners tell what they loaded; elsewhere work and cases are one program. A run that loaded nothing, not
    even its cases, has not told."""
    if not run.loaded:
        return bool(run.cases)
    return any(not is_protected(file) for file in run.loaded)


def _is(names: Sequence[str]) -> str:
    return "is" if len(names) == 1 else "are"

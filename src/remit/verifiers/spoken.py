"""Cases from what a test program prints, for those that no reporter reaches: TAP, automake, Unity, GoogleTest, CTest, and lines
of the form `name ... ok`. A program that the work ends early says less than it said on the untouched input. Pure.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

import msgspec

from remit.output_text import clean
from remit.verifiers.reports import Case, RunnerRun, RunReport, Status

CASES_MAX = 20_000
REPORTER = "output"
LINE_CHARACTERS_MAX = 400
_FORMS = (
    re.compile(r"\s*(?P<word>(?:not )?ok) \d+(?:\s+-)?\s*(?P<name>.*)"),
    re.compile(r"(?P<word>PASS|FAIL|SKIP|XFAIL|XPASS|ERROR): (?P<name>\S.*)"),
    re.compile(r"(?P<name>[^\s:]+:\d+:\w+):(?P<word>PASS|FAIL|IGNORE)\b.*"),
    re.compile(r"\[\s+(?P<word>OK|FAILED|SKIPPED)\s*\] (?P<name>[\w./:-]+)(?: \(\d+ ms\))?"),
    re.compile(
        r"\s*\d+/\d+ Test\s+#\d+: (?P<name>\S+) \.+\s*(?:\*\*\*)?(?P<word>Passed|Failed|Skipped|Timeout|Exception)\b.*"
    ),
    re.compile(
        r"\s*(?P<name>\S.{0,120}?)\s*(?:\.{2,}|: )\s*(?P<word>ok|OK|Ok|passed|PASSED|PASS|pass|FAILED|FAIL|fail(?:ed)?|skipped|SKIP)\.?"
    ),
)
_DIRECTIVE = re.compile(r"#\s*(?P<word>skip|todo)\b.*", re.IGNORECASE)
_WORD = re.compile(r"[^\W\d_]{3,}")
_NUMBER = re.compile(r"\d+(?:\.\d+)?")
"""Lines of a file, milliseconds, bytes: what people print in passing differs from run to run."""
_STATUSES: dict[str, Status] = {
    "ok": "passed",
    "pass": "passed",
    "passed": "passed",
    "xpass": "xpassed",
    "xfail": "xfailed",
    "skip": "skipped",
    "skipped": "skipped",
    "ignore": "skipped",
    "todo": "xfailed",
}
"""Everything else failed."""


def with_spoken(report: RunReport | None, output: bytes) -> RunReport | None:
    """Return the report with the cases that the output names, where no runner reported any."""
    spoken = spoken_report(output)
    if report is None or spoken is None:
        return spoken or report
    return msgspec.structs.replace(report, runs=spoken.runs, is_truncated=spoken.is_truncated)


def spoken_report(output: bytes) -> RunReport | None:
    """Read the cases that the output names, numbers as `#`; None where it names none that passed. A name that comes again
    is another case."""
    seen: Counter[str] = Counter()
    cases: list[Case] = []
    for line in clean(output).splitlines():
        found = _case(line) if len(line) <= LINE_CHARACTERS_MAX else None
        if found is None:
            continue
        if len(cases) == CASES_MAX:
            break
        name, status = found
        seen[name] += 1
        cases.append(Case(name if seen[name] == 1 else f"{name} ({seen[name]})", status))
    if not any(case.status == "passed" for case in cases):
        return None
    return RunReport(
        runs=(RunnerRun(reporter=REPORTER, cases=tuple(cases)),), is_truncated=len(cases) == CASES_MAX
    )


def spoken_by(report: RunReport, texts: Sequence[str]) -> RunReport:
    """Leave out the spoken cases of which the judge's texts know nothing: lines that the work itself prints are no cases, and
    honest work may print others."""
    known = {word for text in texts for word in _WORD.findall(text)}
    runs = (
        msgspec.structs.replace(
            run, cases=tuple(case for case in run.cases if known.issuperset(_WORD.findall(case.name)))
        )
        if run.reporter == REPORTER
        else run
        for run in report.runs
    )
    return msgspec.structs.replace(
        report, runs=tuple(run for run in runs if run.cases or run.reporter != REPORTER)
    )


def _case(line: str) -> tuple[str, Status] | None:
    found = next((hit for form in _FORMS if (hit := form.fullmatch(line.rstrip())) is not None), None)
    if found is None:
        return None
    word, name = found["word"].lower(), found["name"].strip()
    directive = _DIRECTIVE.search(name)
    if directive is not None:
        word, name = directive["word"].lower(), name[: directive.start()].strip()
    return _NUMBER.sub("#", name or line.strip()), _STATUSES.get(word, "failed")

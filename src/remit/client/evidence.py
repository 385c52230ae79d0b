"""The grounds of a verdict, in sentences. Pure: JSON in, text out; what was not recorded says nothing."""

from __future__ import annotations

from collections.abc import Sequence

from remit.wording import Json, as_list, as_object, count, counted, listed, one_line, printable

PATHS_SHOWN = 6
_IN_PROCESS = "the work ran in the process that judged it"


def verdict_sentences(verdict: Json) -> list[str]:
    """Describe a verdict's grounds: the report, the files that were read, what could not be seen."""
    evidence = as_object(verdict.get("evidence"))
    found = [*cases_sentences(evidence), *given_sentences(evidence)]
    if work := _texts(verdict.get("rests_on_work")):
        found.append(work_sentence(work))
    reads = as_object(evidence.get("reads"))
    if reads.get("complete") is False:
        why_not = one_line(printable(str(reads.get("why_not") or "")))
        found.append(f"not everything that was read could be seen{f': {why_not}' if why_not else ''}")
    if planted := _texts(reads.get("planted")):
        found.append(f"these came into being while it ran and were then read: {listed(planted, PATHS_SHOWN)}")
    return found


def cases_sentences(evidence: Json) -> list[str]:
    """Describe the runner's report; where there could be none, say that the exit code counts."""
    if "cases" not in evidence:
        return []
    cases = as_object(evidence["cases"])
    if not cases:
        found = ["no report could be had: the exit code counts"]
        if evidence.get("judged_in_process") is True:
            found.append(_IN_PROCESS)
        return found
    said = f"{_tally(cases)} ({printable(str(cases.get('reporter') or 'report'))})"
    if before := as_object(cases.get("before")):
        said += f"; before the work {_tally(before)}"
    found = [said]
    if missing := _texts(cases.get("missing")):
        found.append(f"missing, though it ran before the work: {listed(missing, PATHS_SHOWN)}")
    if cases.get("judged_in_process") is True:
        found.append(_IN_PROCESS)
    return found


def given_sentences(evidence: Json) -> list[str]:
    """Describe how many files were read that are as they were given."""
    reads = as_object(evidence.get("reads"))
    number = reads.get("given_count")
    if not isinstance(number, int) or number <= 0:
        return []
    were = "was" if number == 1 else "were"
    names = _texts(reads.get("given"))
    shown = f": {listed(names, PATHS_SHOWN, number)}" if names else ""
    return [f"{counted(number, 'file')} {were} read as you gave {'it' if number == 1 else 'them'}{shown}"]


def work_sentence(paths: Sequence[str]) -> str:
    """Name the files that were read and are the agent's."""
    return f"these were read and are the agent's: {listed(paths, PATHS_SHOWN)}"


def _tally(cases: Json) -> str:
    parts = [f"{count(cases.get(name) or 0)} {name}" for name in ("passed", "failed", "skipped")]
    return ", ".join(part for part in parts if not part.startswith("0 ")) or "nothing ran"


def _texts(values: object) -> list[str]:
    return [printable(str(value)) for value in as_list(values)]

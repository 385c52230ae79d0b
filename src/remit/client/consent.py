"""The questions of a remit before it spends, in words. Pure: JSON of the wire in, text out."""

from __future__ import annotations

from collections.abc import Sequence

from remit.wording import Json, as_list, as_object, one_line, printable, verifier_text

REASONS = {
    "cost": "the work costs money",
    "vacuous": "a verifier passes already, before any work: its pass will prove nothing",
    "cannot_run": "a verifier cannot run here: it fails whatever the work is",
    "work_unclear": "all that the verifiers read of the input is protected, so nothing of it is left for the work; "
    "say what is, in a new one: --work GLOB or --unprotect GLOB",
    "unseen": "not everything that the verifiers read could be seen, so a pass may rest on files that nobody looked at",
    "drafted": "a verifier was proposed by Remit, not given by you",
}
"""What each reason says. `cost` is accepted by consent, the others each by name."""
OUTPUT_LINES_SHOWN = 12


def reasons_beside_cost(remit: Json) -> list[str]:
    """List the reasons that are to be accepted by name before anything is spent."""
    reasons = as_list(as_object(remit.get("consent")).get("reasons"))
    return [str(reason) for reason in reasons if reason != "cost"]


def resume_line(remit_id: object, reasons: Sequence[str]) -> str:
    """Return the command that goes on despite these reasons."""
    return " ".join([f"remit do --resume {remit_id}", *(f"--despite {reason}" for reason in reasons)])


def reason_lines(remit: Json, reasons: Sequence[str]) -> list[str]:
    """Each reason in words, below it the verifiers that it is about and, where one cannot run, what that said."""
    verdicts = [as_object(verdict) for verdict in as_list(remit.get("initial_verdicts"))]
    lines: list[str] = []
    for reason in reasons:
        lines.append(f"{reason}: {REASONS.get(reason, reason)}")
        for verdict in verdicts:
            if not _is_about(verdict, reason):
                continue
            summary = one_line(printable(str(verdict.get("summary") or "")))
            lines.append(f"    {printable(verifier_text(verdict.get('verifier')))}  {summary}".rstrip())
            if reason == "cannot_run":
                lines += [f"      {line}" for line in last_lines(str(verdict.get("output") or ""))]
            if reason == "unseen":
                why_not = as_object(as_object(verdict.get("evidence")).get("reads")).get("why_not")
                lines += [f"      {one_line(printable(str(why_not)))}"] if why_not else []
        if reason == "work_unclear":
            proposed = [printable(str(glob)) for glob in as_list(_forecast(remit).get("proposed_work"))]
            lines += (
                [f"    it could be: {' '.join(f'--work {glob!r}' for glob in proposed)}"] if proposed else []
            )
    return lines


def last_lines(output: str) -> list[str]:
    """The end of an output: that is where programs say what went wrong."""
    lines = printable(output).strip("\n").splitlines()
    return lines[-OUTPUT_LINES_SHOWN:]


def _is_about(verdict: Json, reason: str) -> bool:
    if reason == "vacuous" and verdict.get("passed") is True:
        return True
    return reason in as_list(verdict.get("reasons"))


def _forecast(remit: Json) -> Json:
    return as_object(remit.get("forecast"))

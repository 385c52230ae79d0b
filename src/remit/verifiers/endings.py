"""Ends of programs without a test runner: a judge that the work ended early proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from remit.values import Value
from remit.verifiers.case_verdict import CasesVerdict, compare
from remit.verifiers.reports import RunReport, ScriptRun

_OF_THE_COMMAND = ("-c", "-")
_IMPORT = "system_exit_at_import"


class Told(Value, frozen=True, kw_only=True):
    """The word of all reports of a run for its verdict."""

    cases: CasesVerdict | None = None
    why_no_pass: str | None = None
    """In words, for people; None: the exit code decides."""
    judged_in_process: bool | None = None
    """The work ran in a process that judged it; None: nobody told."""


def hear(
    before: RunReport | None,
    now: RunReport | None,
    *,
    is_protected: Callable[[str], bool],
    exit_code: int | None,
    before_exit_code: int | None,
    is_untouched: bool,
) -> Told:
    """Join what cases and programs say. `is_untouched`: this is the run that later ones are compared with."""
    cases = compare(
        before, now, is_protected=is_protected, exit_code=exit_code, before_exit_code=before_exit_code
    )
    scripts = now.scripts if now is not None else ()
    why = cases.why_no_pass if cases is not None else None
    if why is None and exit_code == 0 and not is_untouched:
        why = why_ended(before.scripts if before is not None else (), scripts, is_protected=is_protected)
    return Told(
        cases=cases,
        why_no_pass=why,
        judged_in_process=_is_in_process(cases, scripts, is_protected=is_protected),
    )


def why_ended(
    before: Sequence[ScriptRun], now: Sequence[ScriptRun], *, is_protected: Callable[[str], bool]
) -> str | None:
    """Say why a 0 is not believed: a program of the judge's was ended by what is not the judge's, not the
    project's way. It is where the untouched input did the same, or has the function that did and names an
    exit."""

    def is_judge(file: str) -> bool:
        return file in _OF_THE_COMMAND or is_protected(file)

    for script in now:
        if not is_judge(script.main):
            continue
        known = [each for each in before if each.main == script.main]
        why = _why(script, now, is_judge)
        if why is not None and not any(_is_usual(script, each, before, is_judge) for each in known):
            return f"{_called(script.main)} was ended from inside before it came to its end{why}"
    return None


def _why(script: ScriptRun, now: Sequence[ScriptRun], is_judge: Callable[[str], bool]) -> str | None:
    """What ended this program of the judge's, if something else did: the end of a sentence."""
    if script.how in ("exit", "os._exit", "exec") and script.code in (0, None):
        if script.where is None:
            return " (os._exit as it ended)" if script.how == "os._exit" else None
        return None if is_judge(script.where) else f" ({script.how} in {script.where})"
    if script.how == "raised" and script.hook is not None and not is_judge(script.hook):
        return f" (it failed, and {script.hook} had the last word)"
    if script.how == _IMPORT:
        return " (SystemExit by a module that it imports)"
    if script.how == "system_exit":
        is_own = any(is_judge(name.rpartition(":")[0]) for name in script.raises)
        return None if is_own else " (SystemExit)"
    if script.how == "native":
        has_ended = any(each.run == script.run and each.how != "native" for each in now)
        return None if has_ended else f" (after {script.where} loaded machine code)"
    return None


def _is_usual(
    script: ScriptRun, known: ScriptRun, before: Sequence[ScriptRun], is_judge: Callable[[str], bool]
) -> bool:
    """Whether the same program ended that way, or could, on the untouched input."""
    if script.how in ("system_exit", _IMPORT):
        return known.how == script.how or any(not is_judge(name.rpartition(":")[0]) for name in known.raises)
    if script.how == "native":
        return known.how == "native" and _why(known, before, is_judge) is not None
    if script.how == "raised":
        return known.hook == script.hook
    if known.how == script.how and known.where == script.where:
        return known.function == script.function
    return not {f"{script.where}:{script.function}", f"{script.where}:*"}.isdisjoint(known.exits)


def _is_in_process(
    cases: CasesVerdict | None, scripts: Sequence[ScriptRun], *, is_protected: Callable[[str], bool]
) -> bool | None:
    told = [
        any(not is_protected(file) for file in script.loaded)
        for script in scripts
        if script.loaded is not None and (script.main in _OF_THE_COMMAND or is_protected(script.main))
    ]
    if cases is not None:
        told.append(cases.judged_in_process)
    return any(told) if told else None


def _called(main: str) -> str:
    return {"-c": "the program in the command", "-": "the program on standard input"}.get(main, main)

"""The two-sided table: honest work that was verified, cheats that were."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from zoo.trial import Result, Trial


@dataclass(frozen=True)
class Count:
    """The figures that matter."""

    projects: int
    skipped: int
    honest: int
    verified: int
    tampered: int
    """Honest changes that were called tampering."""
    undone: int
    """Verified with nothing done."""
    tried: int
    effective: int
    accepted: int
    declared: int
    """Forgeries within the judge's own process, passed with `judged_in_process` said."""


def count(trials: Sequence[Trial]) -> Count:
    """Count a whole run."""
    results = [each for trial in trials for each in trial.results]
    honest = [each for each in results if each.kind == "honest" and each.is_effective]
    cheats = [each for each in results if each.kind == "cheat"]
    effective = [each for each in cheats if each.is_effective]
    return Count(
        projects=sum(trial.skipped is None for trial in trials),
        skipped=sum(trial.skipped is not None for trial in trials),
        honest=len(honest),
        verified=sum(each.is_verified for each in honest),
        tampered=sum(each.is_tampered for each in honest),
        undone=sum(each.is_verified for each in results if each.kind == "nothing"),
        tried=len(cheats),
        effective=len(effective),
        accepted=sum(each.is_verified and not each.is_declared for each in effective),
        declared=sum(each.is_declared for each in effective),
    )


def in_words(trial: Trial) -> str:
    """Return a project's figures in a line."""
    if trial.skipped is not None:
        return f"skipped: {trial.skipped}"
    one = count([trial])
    return (
        f"{one.verified} of {one.honest} honest verified, {one.accepted} of {one.effective} cheats accepted"
    )


def lines(trials: Sequence[Trial]) -> Iterator[str]:
    """Return the table, then what is not as it should be."""
    total = count(trials)
    yield f"projects {total.projects} (skipped {total.skipped})"
    yield f"honest changes verified   {total.verified} of {total.honest}; called tampering {total.tampered}; nothing done, verified {total.undone}"
    yield f"cheats accepted           {total.accepted} of {total.effective} that work unguarded ({total.tried} tried; {total.declared} more pass and are declared judged in process)"
    yield ""
    yield from _by_language(trials)
    yield ""
    yield from _by_class([each for trial in trials for each in trial.results if each.kind == "cheat"])
    yield ""
    yield from _wrong(trials)


def _by_language(trials: Sequence[Trial]) -> Iterator[str]:
    yield f"{'language':<14}{'projects':>9}{'honest':>8}{'verified':>9}{'tampered':>9}{'cheats':>8}{'work':>6}{'accepted':>9}"
    for language in sorted({trial.language for trial in trials}):
        some = [trial for trial in trials if trial.language == language]
        one = count(some)
        yield (
            f"{language:<14}{one.projects:>9}{one.honest:>8}{one.verified:>9}{one.tampered:>9}{one.tried:>8}"
            f"{one.effective:>6}{one.accepted:>9}"
        )


def _by_class(cheats: Sequence[Result]) -> Iterator[str]:
    yield f"{'class of cheat':<38}{'tried':>6}{'work':>6}{'accepted':>9}{'declared':>9}"
    tried = Counter(each.name for each in cheats)
    work = Counter(each.name for each in cheats if each.is_effective)
    accepted = Counter(each.name for each in cheats if each.is_verified and not each.is_declared)
    declared = Counter(each.name for each in cheats if each.is_declared)
    for name in sorted(tried):
        yield f"{name:<38}{tried[name]:>6}{work[name]:>6}{accepted[name]:>9}{declared[name]:>9}"


def _wrong(trials: Sequence[Trial]) -> Iterator[str]:
    for trial in trials:
        if trial.skipped is not None:
            yield f"SKIPPED  {trial.project}: {trial.skipped}"
        for each in trial.results:
            if each.kind == "honest" and not each.is_effective:
                yield f"UNFIT    {each.project}, {each.name}: {_one_line(each.why)}"
            elif each.kind == "honest" and not each.is_verified:
                yield f"REFUSED  {each.project}, {each.name}: {_one_line(each.why)}"
            elif each.kind != "honest" and each.is_verified and not each.is_declared:
                yield f"ACCEPTED {each.project}, {each.name}: {_one_line(each.why)}"


def _one_line(text: str) -> str:
    return " ".join(text.split())[:400]

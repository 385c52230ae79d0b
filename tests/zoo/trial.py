"""One project on trial: honest changes, doing nothing, cheats. Each change is first tried where nothing guards the command."""

from __future__ import annotations

import random
import time
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from anyio import to_thread

from remit.values import Verdict
from zoo.cheats.catalog import cheats_of
from zoo.cheats.scene import Cheat
from zoo.court import Court, is_verified
from zoo.fetch import NotFetched, project_files
from zoo.honest import honest_changes
from zoo.preparation import lacking
from zoo.project import Break, Files, Project, broken

SEEDED_CHEATS, SEEDED_TRIES_MAX = 2, 4
"""A seeded trial looks for so many cheats that work, among so many."""
Kind = Literal["honest", "nothing", "cheat"]


@dataclass(frozen=True)
class Result:
    """What became of one change."""

    project: str
    kind: Kind
    name: str
    is_effective: bool
    """Exit code 0 where nothing guards the command: an honest change that is not so is none, a cheat that is not so is idle."""
    is_verified: bool = False
    is_tampered: bool = False
    is_declared: bool = False
    """Passed as work that its judge imports, and the verdict says `judged_in_process`."""
    why: str = ""
    """The verdict in words, where it is not the one that is wanted."""
    seconds: float = 0.0

    @property
    def is_cheat_that_works(self) -> bool:
        """It passes where nothing guards the command."""
        return self.kind == "cheat" and self.is_effective


@dataclass
class Trial:
    """All results of a project, or why there are none."""

    project: str
    language: str
    results: list[Result] = field(default_factory=list[Result])
    skipped: str | None = None
    seconds: float = 0.0

    def as_json(self) -> dict[str, Any]:
        """Return plain values."""
        return asdict(self)


async def try_project(
    court: Court, project: Project, *, seed: int | None = None, honest: bool = True, cheats: bool = True
) -> Trial:
    """Try everything, or with a seed one honest change, doing nothing and about two cheats."""
    trial = Trial(project.name, project.language)
    started = time.monotonic()
    if missing := lacking(project):
        trial.skipped = f"the machine has no {missing[0]}: python -m zoo --prepare"
        return trial
    try:
        original = await to_thread.run_sync(project_files, project, abandon_on_cancel=True)
    except NotFetched as error:
        trial.skipped = str(error)
        return trial
    session = _Session(court, project)
    one = project.breaks[:1]
    start = broken(original, one)
    changes = list(honest_changes(project, original))
    tricks = cheats_of(project, original, start, one[0])
    if seed is not None:
        chance = random.Random(f"{seed} {project.name}")
        changes, tricks = chance.sample(changes, 1), chance.sample(tricks, min(len(tricks), SEEDED_TRIES_MAX))
    for change in changes if honest else ():
        trial.results.append(await session.honest(change.kind, change.breaks, change.start, change.work))
    trial.results.append(await session.nothing(one, start))
    for trick in tricks if cheats else ():
        if seed is not None and sum(each.is_cheat_that_works for each in trial.results) == SEEDED_CHEATS:
            break
        trial.results.append(await session.cheat(trick, one, start))
    trial.seconds = time.monotonic() - started
    return trial


class _Session:
    """Keeps the verdicts on untouched inputs."""

    def __init__(self, court: Court, project: Project) -> None:
        self._court = court
        self._project = project
        self._baselines: dict[tuple[Break, ...], Verdict] = {}

    async def honest(self, name: str, breaks: tuple[Break, ...], start: Files, work: Files) -> Result:
        """A change that mends."""
        began = time.monotonic()
        baseline, verdict = await self._judged(breaks, start, work)
        if not is_verified(verdict, baseline):
            ended = await self._court.unguarded(work, self._project.verify)
            if ended.exit_code != 0:
                why = f"red unguarded ({ended.exit_code}): {ended.output.strip()[-300:]}"
                return Result(self._project.name, "honest", name, False, why=why)
        is_right = is_verified(verdict, baseline)
        return Result(
            self._project.name,
            "honest",
            name,
            True,
            is_right,
            bool(verdict.tampered),
            why="" if is_right else _words(verdict, baseline),
            seconds=time.monotonic() - began,
        )

    async def nothing(self, breaks: tuple[Break, ...], start: Files) -> Result:
        """No change at all."""
        began = time.monotonic()
        baseline, verdict = await self._judged(breaks, start, start)
        is_wrong = is_verified(verdict, baseline) or bool(verdict.tampered)
        return Result(
            self._project.name,
            "nothing",
            "nothing",
            True,
            is_verified(verdict, baseline),
            bool(verdict.tampered),
            why=_words(verdict, baseline) if is_wrong else "",
            seconds=time.monotonic() - began,
        )

    async def cheat(self, cheat: Cheat, breaks: tuple[Break, ...], start: Files) -> Result:
        """A change that mends nothing."""
        began = time.monotonic()
        if not await self._court.is_green_unguarded(cheat.work, self._project.verify):
            return Result(self._project.name, "cheat", cheat.name, False, seconds=time.monotonic() - began)
        baseline, verdict = await self._judged(breaks, start, cheat.work)
        is_wrong = is_verified(verdict, baseline)
        is_declared = cheat.in_process and is_wrong and verdict.evidence.get("judged_in_process") is True
        return Result(
            self._project.name,
            "cheat",
            cheat.name,
            True,
            is_wrong,
            bool(verdict.tampered),
            is_declared,
            why=_words(verdict, baseline) if is_wrong else "",
            seconds=time.monotonic() - began,
        )

    async def _judged(self, breaks: tuple[Break, ...], start: Files, work: Files) -> tuple[Verdict, Verdict]:
        command = self._project.verify
        if breaks not in self._baselines:
            self._baselines[breaks] = await self._court.baseline(start, command)
        baseline = self._baselines[breaks]
        return baseline, await self._court.judge(start, work, command, baseline)


def _words(verdict: Verdict, baseline: Verdict) -> str:
    parts = [verdict.summary]
    if baseline.passed:
        parts.append("the input passed")
    if baseline.reasons:
        parts.append(f"asks about {', '.join(baseline.reasons)}")
    if verdict.tampered:
        parts.append(f"tampered: {', '.join(verdict.tampered[:3])}")
    if verdict.added:
        parts.append(f"added: {', '.join(verdict.added[:3])}")
    if not verdict.passed:
        parts.append(verdict.output[-300:])
    return "; ".join(parts)

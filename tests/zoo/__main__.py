"""Carry out the zoo: `make zoo`, or `python -m zoo --help`.

Projects are fetched by pip's, npm's and apt's own clients, checked by hash, and kept in `$XDG_CACHE_HOME/remit-zoo`, beside how
unguarded runs of cheats ended: those are not run again. `--prepare`, which `make zoo` says, installs compilers from Debian, as root
alone; a project whose programs are missing is skipped and named. A new project is an entry in `projects/` without breaks, then
`--find SEED --only NAME`.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

import anyio

from zoo.breaks import find
from zoo.court import open_court
from zoo.fetch import NotFetched
from zoo.preparation import prepare
from zoo.project import Project, load_all
from zoo.slice import slice_of
from zoo.table import count, in_words, lines
from zoo.trial import Trial, try_project

PROJECT_SECONDS_MAX = 1800.0


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 when no cheat was accepted and nothing undone was verified."""
    options = _options(arguments)
    projects = [each for each in load_all() if not options.only or each.name in options.only.split(",")]
    if options.slice:
        projects = slice_of(projects, options.slice, options.seed or 0)
    if not projects:
        print(f"no such project; there are {', '.join(each.name for each in load_all())}")
        return 2
    if options.prepare:
        print(prepare(projects), flush=True)
    started = time.monotonic()
    with tempfile.TemporaryDirectory() as scratch:
        if options.find:
            anyio.run(_find_all, projects, options, Path(scratch))
            return 0
        trials = anyio.run(_try_all, projects, options, Path(scratch))
    print("\n".join(lines(trials)))
    print(f"{time.monotonic() - started:.0f} s; all results: {options.json}")
    total = count(trials)
    return 0 if not total.accepted and not total.undone else 1


async def _try_all(projects: Sequence[Project], options: argparse.Namespace, scratch: Path) -> list[Trial]:
    trials: list[Trial] = []
    places = anyio.CapacityLimiter(options.jobs)

    async def one(project: Project) -> None:
        async with places:
            trial = await try_one(project, options, scratch / project.name)
        trials.append(trial)
        print(f"{trial.seconds:6.1f} s  {project.name}: {in_words(trial)}", flush=True)
        options.json.write_text(json.dumps([each.as_json() for each in trials], indent=1))

    async with anyio.create_task_group() as tasks:
        for project in projects:
            tasks.start_soon(one, project)
    return sorted(trials, key=lambda each: each.project)


async def try_one(project: Project, options: argparse.Namespace, folder: Path) -> Trial:
    """Try one project in a court of its own, for a bounded time."""
    with anyio.move_on_after(PROJECT_SECONDS_MAX):
        async with open_court(folder) as court:
            return await try_project(
                court, project, seed=options.seed, honest=not options.no_honest, cheats=not options.no_cheats
            )
    return Trial(project.name, project.language, skipped=f"not done within {PROJECT_SECONDS_MAX:.0f} s")


async def _find_all(projects: Sequence[Project], options: argparse.Namespace, scratch: Path) -> None:
    async with open_court(scratch) as court:
        for project in projects:
            try:
                found = await find(court, project, options.find)
            except NotFetched as error:
                print(f"{project.name}: {error}", flush=True)
            else:
                print(f"{project.name}: {len(found)} breaks", flush=True)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m zoo",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--only", default="", help="names of projects, with commas")
    parser.add_argument(
        "--seed",
        type=int,
        default=None,
        help="one honest change and about two cheats a project, chosen by it",
    )
    parser.add_argument("--slice", type=int, default=None, metavar="N", help="N projects, chosen by the seed")
    parser.add_argument("--jobs", type=int, default=2, help="projects at a time (2)")
    parser.add_argument(
        "--json",
        type=Path,
        default=Path(tempfile.gettempdir()) / "remit-zoo.json",
        help="where the results go",
    )
    parser.add_argument("--no-honest", action="store_true", help="cheats alone")
    parser.add_argument("--no-cheats", action="store_true", help="honest changes alone")
    parser.add_argument(
        "--prepare", action="store_true", help="install missing compilers first, as root alone"
    )
    parser.add_argument(
        "--find", type=int, default=0, metavar="SEED", help="look for breaks and write them into the entries"
    )
    return parser.parse_args(arguments)


if __name__ == "__main__":
    sys.exit(main())

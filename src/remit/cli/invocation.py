"""The surroundings of every command: the platform it talks to, and its output."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, cast

from remit.cli.visible import raw_stdout

if TYPE_CHECKING:
    import typer
    from rich.console import Console

    from remit.cli.connect import Invocation, Opener, PlatformOptions

PIPED_CELLS = 160
"""Columns of output that goes to no terminal: wide enough that nothing of use is cut."""


def run_command(command: Callable[[], Coroutine[Any, Any, int]]) -> int:
    """Run what a command does; gives its exit code."""
    import anyio

    return anyio.run(command)


def invocation_of(
    context: typer.Context, data: Path | None, unsafe_local: bool, *, json: bool = False
) -> Invocation:
    """Make the invocation that a command works with. Who runs the command line (tests) may open another
    platform than this machine's."""
    from remit.cli.connect import Invocation

    return Invocation(
        opener=cast("Opener | None", context.obj),
        platform=platform_of(data, unsafe_local),
        console=make_console(),
        is_json=json,
    )


def platform_of(data: Path | None, unsafe_local: bool) -> PlatformOptions:
    """Make the platform's options from the flags of the command line."""
    from remit.cli.connect import PlatformOptions

    return PlatformOptions(data=data, is_unsafe_local=unsafe_local)


def make_console() -> Console:
    """Make the console for output: a terminal, or a file or pipe without the blanks that fill tables."""
    from remit.cli.visible_console import VisibleConsole

    if sys.stdout.isatty():
        return VisibleConsole(file=raw_stdout(), highlight=False, markup=False, emoji=False)
    from remit.cli.screens import TrimmedOutput

    width = None if "COLUMNS" in os.environ else PIPED_CELLS
    return VisibleConsole(
        file=cast("IO[str]", TrimmedOutput(raw_stdout())),
        highlight=False,
        markup=False,
        emoji=False,
        width=width,
    )

"""The command lines of money: `caps`, `reconcile`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from remit.cli.failure import BadUsage
from remit.cli.general_options import Data, Json, UnsafeLocal
from remit.cli.invocation import invocation_of, run_command
from remit.cli.serving import Workspace

PERIODS: tuple[Literal["day", "week", "month"], ...] = ("day", "week", "month")

caps_app = typer.Typer(
    name="caps",
    help="What a key or a workspace may spend per day, week or month. Setting needs an operator's key.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@caps_app.command(name="list")
def caps_list_command(
    context: typer.Context,
    workspace: Workspace = None,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Show every cap, and what is left of it now."""
    from remit.cli import caps

    invocation = invocation_of(context, data, unsafe_local, json=json)
    return run_command(lambda: caps.list_caps(invocation, workspace=workspace))


@caps_app.command(name="set")
def caps_set_command(
    context: typer.Context,
    period: Annotated[str, typer.Argument(metavar="PERIOD", help="day, week or month.")],
    amount: Annotated[
        list[str],
        typer.Argument(metavar="AMOUNT", help="5 (dollars) or 50000tokens, or both; `none` takes all away."),
    ],
    key: Annotated[
        str | None,
        typer.Option(metavar="ID", help="Of this key (apikey_…); left out: of the whole workspace."),
    ] = None,
    workspace: Workspace = None,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Set a cap; it binds at once."""
    from remit.cli import caps
    from remit.cli.options import Budget, parse_budget

    if period not in PERIODS:
        raise BadUsage(f"{period!r} is no period.", mend=f"Give one of {', '.join(PERIODS)}.")
    wanted = Budget() if amount == ["none"] else parse_budget(amount)
    invocation = invocation_of(context, data, unsafe_local, json=json)
    return run_command(
        lambda: caps.set_one(invocation, period=period, key=key, wanted=wanted, workspace=workspace)
    )


def reconcile_command(
    context: typer.Context,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The provider's export: CSV, JSON or JSONL.")],
    book: Annotated[bool, typer.Option("--book", help="Book it; without this it is only shown.")] = False,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Show what a provider's own export says of calls whose cost was assumed, and book it."""
    from remit.cli import reconcile

    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(
            f"{file} cannot be read: {error}.", mend="Give the file that the provider exported."
        ) from error
    invocation = invocation_of(context, data, unsafe_local, json=json)
    return run_command(lambda: reconcile.reconcile(invocation, content, is_booked=book))


def add_commands(app: typer.Typer) -> None:
    """Make them part of the program."""
    app.add_typer(caps_app)
    app.command(name="reconcile")(reconcile_command)

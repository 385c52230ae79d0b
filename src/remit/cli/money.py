"""The command lines of money: `caps`, `reconcile`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from remit.cli.failure import BadUsage
from remit.cli.general_options import Running, command, group
from remit.cli.serving import Workspace

if TYPE_CHECKING:
    from remit.cli.connect import Invocation

PERIODS: tuple[Literal["day", "week", "month"], ...] = ("day", "week", "month")

caps_app = group(
    "caps", "What a key or a workspace may spend per day, week or month. Setting needs an operator's key."
)


@command(caps_app, "list")
def caps_list_command(invocation: Invocation, workspace: Workspace = None) -> Running:
    """Show every cap, and what is left of it now."""
    from remit.cli import caps

    return caps.list_caps(invocation, workspace=workspace)


@command(caps_app, "set")
def caps_set_command(
    invocation: Invocation,
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
) -> Running:
    """Set a cap; it binds at once."""
    from remit.cli import caps
    from remit.cli.options import BudgetOption, parse_budget

    if period not in PERIODS:
        raise BadUsage(f"{period!r} is no period.", mend=f"Give one of {', '.join(PERIODS)}.")
    wanted = BudgetOption() if amount == ["none"] else parse_budget(amount)
    return caps.set_one(invocation, period=period, key=key, wanted=wanted, workspace=workspace)


def reconcile_command(
    invocation: Invocation,
    file: Annotated[Path, typer.Argument(metavar="FILE", help="The provider's export: CSV, JSON or JSONL.")],
    book: Annotated[bool, typer.Option("--book", help="Book it; without this it is only shown.")] = False,
) -> Running:
    """Show what a provider's own export says of calls whose cost was assumed, and book it."""
    from remit.cli import reconcile

    try:
        content = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise BadUsage(
            f"{file} cannot be read: {error}.", mend="Give the file that the provider exported."
        ) from error
    return reconcile.reconcile(invocation, content, is_booked=book)


def add_commands(app: typer.Typer) -> None:
    """Make them part of the program."""
    app.add_typer(caps_app)
    command(app, "reconcile")(reconcile_command)

"""`remit caps`: what a key or a workspace may spend per day, week or month."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.table import Table
from rich.text import Text

from remit.cli.connect import Invocation
from remit.cli.failure import EXIT_VERIFIED, BadUsage
from remit.cli.general_options import Data, Json, UnsafeLocal
from remit.cli.invocation import invocation_of, run_command
from remit.cli.keys import amount_in_words
from remit.cli.options import parse_budget
from remit.cli.serving import Workspace
from remit.client import wording
from remit.client.stream import JsonObject

PERIODS = ("day", "week", "month")

caps_app = typer.Typer(
    name="caps",
    help="What a key or a workspace may spend per day, week or month. Setting needs an operator's key.",
    no_args_is_help=True,
    rich_markup_mode=None,
    pretty_exceptions_enable=False,
)


@caps_app.command(name="list")
def list_command(
    context: typer.Context,
    workspace: Workspace = None,
    json: Json = False,
    data: Data = None,
    unsafe_local: UnsafeLocal = False,
) -> int:
    """Show every cap, and what is left of it now."""
    invocation = invocation_of(context, data, unsafe_local, json=json)
    return run_command(lambda: list_caps(invocation, workspace=workspace))


@caps_app.command(name="set")
def set_command(
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
    if period not in PERIODS:
        raise BadUsage(f"{period!r} is no period.", mend=f"Give one of {', '.join(PERIODS)}.")
    wanted: dict[str, object] = (
        {"usd": None, "tokens": None} if amount == ["none"] else parse_budget(amount).to_wire()
    )
    invocation = invocation_of(context, data, unsafe_local, json=json)
    return run_command(
        lambda: set_one(invocation, period=period, key=key, wanted=wanted, workspace=workspace)
    )


def add_commands(app: typer.Typer) -> None:
    """Make them part of the program."""
    app.add_typer(caps_app)


async def list_caps(invocation: Invocation, *, workspace: str | None) -> int:
    """`remit caps list`."""
    async with invocation.connect() as connection:
        listed = await connection.client.caps.list(workspace_id=workspace)
    return _show(invocation, listed)


async def set_one(
    invocation: Invocation, *, period: str, key: str | None, wanted: dict[str, object], workspace: str | None
) -> int:
    """`remit caps set`: answers with every cap."""
    async with invocation.connect() as connection:
        listed = await connection.client.caps.set(period=period, key_id=key, workspace_id=workspace, **wanted)
    return _show(invocation, listed)


def _show(invocation: Invocation, listed: JsonObject) -> int:
    caps: list[JsonObject] = wording.as_list(listed["data"])
    if invocation.is_json:
        for cap in caps:
            invocation.print_json(cap)
        return EXIT_VERIFIED
    if not caps:
        invocation.console.print("No caps: every key may spend what its workspace's providers let it.")
        return EXIT_VERIFIED
    table = Table(box=None, padding=(0, 2, 0, 0), header_style="dim", show_edge=False)
    for column in ("of", "per", "cap", "spent", "held", "left", "begins anew"):
        table.add_column(column, no_wrap=True)
    for cap in caps:
        unit = str(cap["unit"])
        amounts = [amount_in_words(cap[name], unit) for name in ("cap", "spent", "held", "left")]
        anew = str(cap["begins_anew_at"])
        table.add_row(str(cap["key_id"] or "the workspace"), str(cap["period"]), *map(Text, amounts), anew)
    invocation.console.print(table)
    return EXIT_VERIFIED

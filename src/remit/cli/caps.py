"""`remit caps`: what a key or a workspace may spend per day, week or month."""

from __future__ import annotations

from msgspec import UNSET
from rich.table import Table
from rich.text import Text

from remit import wording
from remit.cli.connect import Invocation
from remit.cli.failure import EXIT_VERIFIED
from remit.cli.keys import amount_in_words
from remit.cli.options import BudgetOption
from remit.client.stream import JsonObject
from remit.schema.caps import Period


async def list_caps(invocation: Invocation, *, workspace: str | None) -> int:
    """`remit caps list`."""
    async with invocation.connect() as connection:
        listed = await connection.client.caps.list(workspace_id=workspace)
    return _show(invocation, listed)


async def set_one(
    invocation: Invocation, *, period: Period, key: str | None, wanted: BudgetOption, workspace: str | None
) -> int:
    """`remit caps set`: answers with every cap. What `wanted` does not name stays; where it names nothing, both go."""
    is_none = wanted == BudgetOption()
    async with invocation.connect() as connection:
        listed = await connection.client.caps.set(
            period=period,
            key_id=key,
            workspace_id=workspace,
            usd=wanted.dollars if is_none or wanted.usd is not None else UNSET,
            tokens=wanted.tokens if is_none or wanted.tokens is not None else UNSET,
        )
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

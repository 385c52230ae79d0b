"""`remit reconcile FILE`: book what a provider says against what was assumed."""

from __future__ import annotations

from rich.text import Text

from remit import wording
from remit.cli.connect import Invocation
from remit.cli.failure import EXIT_VERIFIED
from remit.client.stream import JsonObject

LINES_MAX = 20


async def reconcile(invocation: Invocation, content: str, *, is_booked: bool) -> int:
    """Show what the export says; book it where that was asked for."""
    async with invocation.connect() as connection:
        report = await connection.client.reconcile(content=content, dry_run=not is_booked)
    if invocation.is_json:
        invocation.print_json(report)
    else:
        for line in report_lines(report):
            invocation.console.print(Text(line), soft_wrap=True)
    return EXIT_VERIFIED


def report_lines(report: JsonObject) -> list[str]:
    """The report in words."""
    lines = [
        f"{one['call_id']} ({one['model']}): assumed {_amount(one['assumed'])}, was {_amount(one['real'])}"
        for one in _some(report["corrections"])
    ]
    lines += [
        f"{one['call_id']} ({one['model']}): stays assumed at {_amount(one['assumed'])}; {one['why']}"
        for one in _some(report["calls_without_entry"])
    ]
    lines += [
        f"not matched: {one.get('request_id') or one.get('model')}; {one['why']}"
        for one in _some(report["entries_without_call"])
    ]
    difference = report["difference"]
    assert isinstance(difference, dict), "an amount by unit"
    what = "would change" if report["dry_run"] else "changed"
    lines.append(
        f"{report['matched']} matched: spent {what} by ${difference['usd']} and {difference['tokens']:,} tokens."
    )
    if report["dry_run"] and report["matched"]:
        lines.append("Nothing is booked yet: type it again with --book.")
    return [wording.one_line(wording.printable(line)) for line in lines]


def _some(listed: object) -> list[JsonObject]:
    return wording.as_list(listed)[:LINES_MAX]


def _amount(amount: object) -> str:
    assert isinstance(amount, dict), "an amount by unit"
    return f"${amount['usd']}" if amount["usd"] is not None else f"{amount['tokens']:,} tokens"

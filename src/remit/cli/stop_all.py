"""`remit stop --all`: nothing runs, is billed or held any more, or what still does."""

from __future__ import annotations

from rich.text import Text

from remit.cli.connect import Invocation
from remit.cli.failure import EXIT_NOT_VERIFIED, EXIT_VERIFIED
from remit.client import wording
from remit.client.stream import JsonObject


async def stop_all(invocation: Invocation) -> int:
    """Interrupt everything of the workspace; 0 when nothing is left."""
    async with invocation.connect() as connection:
        report = await connection.client.stop()
    if invocation.is_json:
        invocation.print_json(report)
    else:
        for line in report_lines(report):
            invocation.console.print(Text(line), soft_wrap=True)
    return EXIT_VERIFIED if report["nothing_runs"] else EXIT_NOT_VERIFIED


def report_lines(report: JsonObject) -> list[str]:
    """The report in words."""
    interrupted, calls = wording.as_list(report["interrupted"]), report["calls_cut"]
    lines = [f"Interrupted {wording.printable(str(id))}." for id in interrupted]
    if calls:
        lines.append(f"Cut {calls} direct model {'call' if calls == 1 else 'calls'}.")
    if report["nothing_runs"]:
        went_on = " What was interrupted goes on with `remit do --resume ID`." if interrupted else ""
        return [*lines, f"Nothing runs, nothing is billed, nothing is held.{went_on}"]
    held = report["held"]
    assert isinstance(held, dict), "an amount by unit"
    lines += [f"Still ending: {wording.printable(str(id))}." for id in wording.as_list(report["running"])]
    if report["calls_running"]:
        lines.append(f"Direct model calls still ending: {report['calls_running']}.")
    lines.append(f"Still held: ${held['usd']}, {held['tokens']:,} tokens. Ask again in a moment.")
    return lines

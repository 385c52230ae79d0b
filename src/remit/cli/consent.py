"""The yes before anything is spent: to the cost, and by name to what else a remit asks about."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import anyio

from remit import wording
from remit.cli.connect import Invocation, PlatformConnection
from remit.cli.failure import BadUsage
from remit.cli.options import needs_question
from remit.client.consent import reason_lines, reasons_beside_cost, resume_line
from remit.client.errors import ConnectionLost
from remit.client.stream import JsonObject


@dataclass(frozen=True, kw_only=True)
class RunOptions:
    """The options of a command that asks for consent and shows the work."""

    above_usd: Decimal
    """A forecast up to this is not asked about."""
    out: Path | None = None
    is_yes: bool = False
    despite: tuple[str, ...] = ()
    """Reasons to ask that are accepted beside the cost."""
    wait_seconds: float | None = None
    """How long an outage is waited for before the command leaves; None: as long as it takes."""
    is_detached: bool = False
    """Leave once the work may begin; it goes on without this command."""


async def is_consented(
    invocation: Invocation, connection: PlatformConnection, remit: JsonObject, run_options: RunOptions
) -> bool:
    """Return whether the work may begin: by --yes or below the threshold, and by --despite where the remit
    asks for more than its cost; else ask a person at the terminal. Raises BadUsage where there is none."""
    if wording.as_object(remit.get("consent")).get("state") != "asked":
        return True  # somebody has answered; the events tell
    left = [reason for reason in reasons_beside_cost(remit) if reason not in run_options.despite]
    is_costly = needs_question(remit.get("forecast") or {}, remit["budget"], run_options.above_usd)
    if left or (is_costly and not run_options.is_yes):
        is_to_ask = is_at_a_terminal() and not (left and run_options.is_yes)
        if not is_to_ask:
            raise await _refusal(connection, remit, left)
        if not await _is_agreed(remit, left):
            await connection.client.remits.decline(remit["id"], reason="declined at the terminal")
            invocation.console.print("Declined. Nothing was spent.")
            return False
    await _approve(connection, remit["id"], [*run_options.despite, *left])
    return True


async def _refusal(connection: PlatformConnection, remit: JsonObject, left: Sequence[str]) -> BadUsage:
    if left:
        return BadUsage(
            "\n".join(["It asks before it spends, and nothing was spent:", *reason_lines(remit, left)]),
            mend=f"It waits. To go on all the same: {resume_line(remit['id'], left)} --yes",
        )
    await connection.client.remits.decline(remit["id"], reason="there was no terminal to ask at")
    return BadUsage(
        "This may cost more than is spent unasked, and there is no terminal to ask at. Nothing was spent.",
        mend="Give --yes to consent, or raise REMIT_CONSENT_ABOVE_USD.",
    )


async def _is_agreed(remit: JsonObject, left: Sequence[str]) -> bool:
    """Ask at the terminal; the event loop goes on meanwhile. The end of the input is a no."""
    despite = f" despite {', '.join(left)}" if left else ""
    question = f"Spend up to {wording.money(remit['budget'])} on this{despite}? [y/N] "
    print("\n".join([*reason_lines(remit, left), question]), end="", file=sys.stderr, flush=True)
    await anyio.wait_readable(sys.stdin)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _approve(connection: PlatformConnection, remit_id: str, despite: Sequence[str]) -> None:
    """Say yes once: where the connection breaks off meanwhile, look first whether the yes was heard."""
    try:
        await connection.client.remits.approve(remit_id, despite=list(despite) or None)
    except ConnectionLost:
        await connection.reopen()
        remit = await connection.client.remits.retrieve(remit_id)
        if remit["status"] == "awaiting_consent":
            await connection.client.remits.approve(remit_id, despite=list(despite) or None)


def is_at_a_terminal() -> bool:
    """Return whether somebody at a terminal can be asked."""
    return sys.stdin.isatty() and sys.stderr.isatty()

"""One remit from its outcome to its result: what `remit.run` does, for a program that has a client already."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from remit.client.client import AsyncClient
from remit.client.errors import ApiError, ConnectionLost
from remit.client.folders.deliver import Delivered
from remit.errors import LocalFailure
from remit.schema.receipts import Receipt
from remit.schema.remits import BudgetParams, Remit
from remit.schema.verifiers import CommandVerifier

INTERRUPT_SECONDS_MAX = 5.0


@dataclass(frozen=True, kw_only=True)
class Finished:
    """A remit that has ended."""

    remit: Remit
    receipt: Receipt
    result: Delivered | None
    """Where it was written, if that was asked for."""

    @property
    def is_verified(self) -> bool:
        """Return whether every verifier passed on untampered inputs, and at least one of them was not green
        before."""
        return self.remit["verified"]


async def carry_out(
    client: AsyncClient,
    outcome: str,
    *,
    budget: BudgetParams,
    folder: Path | None = None,
    verify: Sequence[str] = (),
    rubric: str | None = None,
    model: str | None = None,
    out: Path | None = None,
    despite: Sequence[str] = (),
) -> Finished:
    """Upload the folder, make the remit, wait for its end, write its result to `out`. The budget is the consent; what else
    would be asked must be in `despite`. Whoever is cancelled meanwhile interrupts the remit, which keeps everything.

    Raises LocalFailure when the remit asks for more, or waits for people; it is then declined, or interrupted.
    """
    uploaded = await client.upload_folder(folder) if folder is not None else None
    remit = await client.remits.create(
        outcome=outcome,
        budget=budget,
        verifiers=[CommandVerifier(command=command) for command in verify] or None,
        rubric=rubric,
        input_id=uploaded["id"] if uploaded is not None else None,
        model=model,
        consent="given",
        despite=list(despite) or None,
    )
    try:
        await _until_ended(client, remit["id"])
    except BaseException:
        with anyio.move_on_after(INTERRUPT_SECONDS_MAX, shield=True):
            await _leave(client, remit["id"])
        raise
    return Finished(
        remit=await client.remits.retrieve(remit["id"]),
        receipt=await client.remits.receipt(remit["id"]),
        result=await client.download_result(remit["id"], out) if out is not None else None,
    )


async def _until_ended(client: AsyncClient, remit_id: str) -> None:
    async with client.remits.stream(remit_id) as events:
        async for event in events:
            if event["type"] == "remit.forecast":
                remit = await client.remits.retrieve(remit_id)
                if remit["status"] == "awaiting_consent":
                    reasons = remit["consent"]["reasons"]
                    raise LocalFailure(
                        f"Remit {remit_id!r} asks for more than its cost: {', '.join(reasons)}. Nothing was spent.",
                        mend=f"Give despite={reasons!r} to go on all the same.",
                    )
            elif event["type"] == "remit.paused" and event["wake_at"] is None:
                raise LocalFailure(
                    f"Remit {remit_id!r} is paused until people say go on: {event['message']}.",
                    mend=event["mend"] or f"`remit do --resume {remit_id}` goes on.",
                )


async def _leave(client: AsyncClient, remit_id: str) -> None:
    """Stop it where it is; one that asks is declined. What cannot be reached stops by itself or goes on by its own rules."""
    try:
        remit = await client.remits.retrieve(remit_id)
        if remit["status"] == "awaiting_consent":
            await client.remits.decline(remit_id)
        else:
            await client.remits.interrupt(remit_id)
    except (ApiError, ConnectionLost):
        return

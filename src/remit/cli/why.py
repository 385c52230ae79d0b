"""`remit why`: where a remit, a session or a deployment stands, for whom it waits, and what a person can do about it."""

from __future__ import annotations

from collections.abc import AsyncIterable
from contextlib import suppress

from rich.console import Console
from rich.text import Text

from remit import wording
from remit.cli.connect import Invocation
from remit.cli.failure import EXIT_VERIFIED, BadUsage
from remit.client.client import AsyncClient
from remit.client.errors import NotFoundError
from remit.client.stream import JsonObject

MOVING = frozenset({"verifying_input", "working", "running", "rescheduling"})
UNOWNED = (
    "No process works on this data folder, so nothing moves. Work goes on while an owner lives: `remit do --resume` with "
    "a remit's id starts one, and so does `remit up`."
)


async def why(invocation: Invocation, id: str) -> int:
    """Explain a stream of any kind by its id; a remit, a session or a deployment also by the end of it."""
    async with invocation.look() as connection:
        answer = await _ask(connection.client, id)
        is_unowned = connection.is_unowned
    if invocation.is_json:
        invocation.print_json(answer)
    else:
        _print(invocation.console, answer)
        if is_unowned and answer["status"] in MOVING:
            invocation.console.print(Text(UNOWNED, style="yellow"), soft_wrap=True)
    return EXIT_VERIFIED


async def _ask(client: AsyncClient, id: str) -> JsonObject:
    with suppress(NotFoundError):
        return await client.streams.why(id)
    lists: tuple[AsyncIterable[JsonObject], ...] = (
        client.remits.list(),
        client.sessions.list(),
        client.deployments.list(),
    )
    matches = [one["id"] for found in lists async for one in found if one["id"].endswith(id)]
    if len(matches) != 1:
        what = "no remit, session or deployment" if not matches else f"{len(matches)} streams"
        raise BadUsage(f"{id!r} names {what}.", mend="`remit ls` shows the remits; give more of the id.")
    return await client.streams.why(matches[0])


def _print(console: Console, answer: JsonObject) -> None:
    console.print(
        Text.assemble(
            (str(answer["id"]), "bold"),
            f"  {wording.status_text(str(answer['status']))}",
            (f"  waits for: {answer['waits_for']}, since {answer['since']}", "dim"),
        ),
        soft_wrap=True,
    )
    for sentence in wording.as_list(answer.get("sentences")):
        console.print(Text(wording.printable(str(sentence))), soft_wrap=True)
    trouble = wording.as_object(answer.get("trouble"))
    if trouble:
        said = wording.printable(f"Last trouble ({trouble['at']}, {trouble['type']}): {trouble['message']}")
        console.print(Text(said, style="yellow"), soft_wrap=True)
    for way in map(wording.as_object, wording.as_list(answer.get("ways"))):
        how = [str(way[name]) for name in ("command", "call") if way.get(name)]
        console.print(Text(f"  {way['does']}: {' or '.join(how)}", style="dim"), soft_wrap=True)

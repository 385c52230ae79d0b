"""`remit why`: where a remit, a session or a deployment stands, for whom it waits, and what a person can do about it."""

from __future__ import annotations

from rich.console import Console
from rich.text import Text

from remit import wording
from remit.cli.connect import Invocation
from remit.cli.failure import EXIT_VERIFIED
from remit.cli.stream_ids import ask
from remit.client.stream import JsonObject

MOVING = frozenset({"verifying_input", "working", "running", "rescheduling"})
UNOWNED = (
    "No process works on this data folder, so nothing moves. Work goes on while an owner lives: `remit do --resume` with "
    "a remit's id starts one, and so does `remit up`."
)


async def why(invocation: Invocation, id: str) -> int:
    """Explain a stream of any kind by its id; a remit, a session or a deployment also by the end of it."""
    async with invocation.look() as connection:
        answer = await ask(connection.client, id, connection.client.streams.why)
        is_unowned = connection.is_unowned
    if invocation.is_json:
        invocation.print_json(answer)
    else:
        _print(invocation.console, answer)
        if is_unowned and answer["status"] in MOVING:
            invocation.console.print(Text(UNOWNED, style="yellow"), soft_wrap=True)
    return EXIT_VERIFIED


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

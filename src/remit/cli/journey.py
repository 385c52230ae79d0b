"""A remit of `remit do` on its way: the verifiers on the input, the question, the work, what is handed over."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from rich.console import Console
from rich.text import Text

from remit.cli import render
from remit.cli.changes import changes_of
from remit.cli.connect import Connection, Invocation
from remit.cli.consent import Manner, is_consented
from remit.cli.deliver import default_out, deliver
from remit.cli.failure import EXIT_INTERRUPTED, EXIT_NOT_VERIFIED, EXIT_PAUSED, EXIT_VERIFIED
from remit.cli.follow import Ending, Follower
from remit.cli.pack import InputPlan, human_bytes
from remit.cli.screens import screen_for
from remit.cli.view import View
from remit.client import wording
from remit.client.anew import INPUT_PATH, anew_line, raise_line
from remit.client.stream import JsonObject
from remit.clock import SystemClock


class Journey:
    """A remit of this command, from its making or its resuming to its end."""

    def __init__(
        self,
        invocation: Invocation,
        connection: Connection,
        remit_id: str,
        manner: Manner,
        *,
        known: Mapping[str, int] | None = None,
        plan: InputPlan | None = None,
    ) -> None:
        self._invocation = invocation
        self._connection = connection
        self._remit_id = remit_id
        self._manner = manner
        self._plan = plan
        self._follower = follower_of(
            invocation, connection, remit_id, known=known or {}, wait_seconds=manner.wait_seconds
        )

    async def run(self, remit: JsonObject) -> int:
        """Watch the verifiers on the input, ask, then watch the work. Gives the exit code."""
        answer = wording.as_object(remit.get("consent")).get("state")
        if answer == "pending":
            ending = await self._follower.run(is_interrupting=True, to_the_question=True)
            if ending != "asked":
                return await self._finish(ending)
            remit = await self._connection.call(lambda client: client.remits.retrieve(self._remit_id))
        if answer in ("pending", "asked"):
            if not self._invocation.is_json:
                _print_forecast(self._invocation.console, remit, self._plan)
            if not await is_consented(self._invocation, self._connection, remit, self._manner):
                return EXIT_NOT_VERIFIED
        return await self._finish(await self._follower.run(is_interrupting=True))

    async def _finish(self, ending: Ending) -> int:
        if ending == "paused":
            await print_paused(self._invocation, self._connection, self._remit_id)
            return EXIT_PAUSED
        if ending != "ended":
            if not self._invocation.is_json:
                print_interrupted(self._invocation.console, self._remit_id)
            elif ending == "left":
                # Left without waiting: the log has no such event yet, and a reader needs a last line.
                self._invocation.print_json(
                    {"type": "remit.interrupted", "remit_id": self._remit_id, "durable": False}
                )
            return EXIT_INTERRUPTED
        await hand_over(self._invocation, self._connection, self._remit_id, self._manner)
        return EXIT_VERIFIED if self._follower.view.verified else EXIT_NOT_VERIFIED


def follower_of(
    invocation: Invocation,
    connection: Connection,
    remit_id: str,
    *,
    known: Mapping[str, int],
    wait_seconds: float | None = None,
) -> Follower:
    """Who follows a remit on the screen that fits."""
    view = View(remit_id=remit_id)
    screen = screen_for(invocation.console, view, is_json=invocation.is_json)
    return Follower(connection, view, screen, SystemClock(), known=known, wait_seconds=wait_seconds)


def input_folder(remit: JsonObject) -> Path | None:
    """The folder it came from."""
    path = wording.as_object(remit.get("metadata")).get(INPUT_PATH)
    return Path(path) if isinstance(path, str) else None


async def hand_over(invocation: Invocation, connection: Connection, remit_id: str, manner: Manner) -> None:
    """Show the end and write the result. The last thing on the screen is the next command."""
    remit = await connection.call(lambda client: client.remits.retrieve(remit_id))
    if not invocation.is_json:
        receipt = await connection.call(lambda client: client.remits.receipt(remit_id))
        invocation.console.print(render.ending(remit, receipt))
    listing = await connection.call(lambda client: client.remits.deliverables(remit_id))
    folder = input_folder(remit)
    pairs: list[tuple[str, str]] = []
    if changes_of(listing) or manner.out is not None:
        out = (manner.out or default_out(remit_id, folder)).absolute()
        delivered = await connection.call(lambda client: deliver(client, remit_id, out))
        extras = [name for name in delivered.names if name.startswith("result.")]
        changed = wording.counted(len(delivered.changes), "changed file")
        pairs.append(("result", f"{_near(out)} ({', '.join([changed, *extras])})"))
        pairs.extend(("", str(note)) for note in listing["notes"])
        is_to_land = folder is not None and remit.get("verified") is True
        next_command = f"remit apply {remit_id}" if is_to_land else f"remit receipt {remit_id}"
    else:
        pairs.append(("result", "no file was changed"))
        next_command = f"remit receipt {remit_id}"
    pairs.append(("next", next_command))
    if not invocation.is_json:
        invocation.console.print(render.rows(pairs))


def _print_forecast(console: Console, remit: JsonObject, plan: InputPlan | None) -> None:
    notes: list[str] = []
    folder: str | None = None
    if plan is not None:
        folder = (
            f"{_near(plan.folder)} ({wording.counted(plan.files, 'file')}, {human_bytes(plan.size_bytes)}"
        )
        folder += f", with {', '.join(plan.included)}" if plan.included else ""
        folder += ", with its git history)" if plan.has_history else ")"
        notes = list(plan.notes)
    console.print(Text(remit["id"], style="dim"))
    console.print(render.forecast(remit, folder=folder, input_notes=notes))
    console.print()


def print_interrupted(console: Console, remit_id: str) -> None:
    """That it was interrupted, and how it goes on."""
    console.print(
        render.rows([("interrupted", "everything is kept"), ("next", f"remit do --resume {remit_id}")])
    )


async def print_paused(invocation: Invocation, connection: Connection, remit_id: str) -> None:
    """That it is paused, why, and how it goes on; in JSON as the last line."""
    remit = await connection.call(lambda client: client.remits.retrieve(remit_id))
    why = wording.printable(str(remit.get("explanation")))
    if invocation.is_json:
        line = {"type": "remit.paused", "id": remit_id, "remit_id": remit_id, "left": True}
        invocation.print_json({**line, "wake_at": remit.get("wake_at"), "explanation": why})
        return
    kept = "everything is kept, and nothing is spent meanwhile"
    next_line = f"remit do --resume {remit_id}"
    invocation.console.print(render.rows([("paused", kept), ("why", why), ("next", next_line)]))


def print_over(console: Console, remit: JsonObject) -> None:
    """That it has ended and is not begun again by being resumed, and what to type for more."""
    status = wording.status_text(str(remit.get("status")))
    pairs = [
        ("over", f"it ended as {status} at {wording.moment(remit.get('ended_at'))}; nothing was done again")
    ]
    if remit.get("status") == "budget_reached":
        pairs.append(("more", raise_line(remit["id"])))
    pairs.append(("anew", wording.printable(anew_line(remit))))
    console.print(render.rows(pairs))
    console.print()


def _near(path: Path) -> str:
    """A path as short as it can be said from here."""
    with suppress(ValueError):
        relative = path.resolve().relative_to(Path.cwd())
        return f"./{relative}" if str(relative) != "." else "."
    with suppress(ValueError):
        return f"../{path.resolve().relative_to(Path.cwd().parent)}"
    return str(path)

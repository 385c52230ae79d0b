"""A remit of `remit do` on its way: the verifiers on the input, the question, the work, what is handed over."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import anyio
from rich.console import Console
from rich.text import Text

from remit import wording
from remit.cli import render
from remit.cli.connect import Invocation, PlatformConnection
from remit.cli.consent import RunOptions, is_consented
from remit.cli.failure import EXIT_INTERRUPTED, EXIT_NOT_VERIFIED, EXIT_PAUSED, EXIT_VERIFIED, BadUsage
from remit.cli.follow import Ending, Follower
from remit.cli.screens import screen_for
from remit.cli.view import RemitProgress
from remit.client.anew import INPUT_PATH, anew_line, raise_line
from remit.client.errors import ApiError, ConnectionLost, NotFoundError
from remit.client.folders.changes import changes_of, folders_of, strays_text
from remit.client.folders.deliver import default_out, deliver
from remit.client.folders.pack import InputPlan, human_bytes
from remit.client.stream import JsonObject
from remit.clock import SystemClock

ATTEND_AGAIN_SECONDS = 0.1


class Journey:
    """A remit of this command, from its making or its resuming to its end."""

    def __init__(
        self,
        invocation: Invocation,
        connection: PlatformConnection,
        remit_id: str,
        run_options: RunOptions,
        *,
        known: Mapping[str, int] | None = None,
        plan: InputPlan | None = None,
    ) -> None:
        self._invocation = invocation
        self._connection = connection
        self._remit_id = remit_id
        self._run_options = run_options
        self._plan = plan
        self._follower = follower_of(
            invocation, connection, remit_id, known=known or {}, wait_seconds=run_options.wait_seconds
        )

    async def run(self, remit: JsonObject) -> int:
        """Watch the verifiers on the input, ask, then watch the work. Gives the exit code.

        Until then this command stands by: when it dies, the remit is interrupted. With `--detach` it leaves once the work
        may begin, and the remit goes on without it.
        """
        if self._run_options.is_detached:
            refuse_to_detach(self._connection)
            await self._connection.call(lambda client: client.remits.attend(self._remit_id, detach=True))
            return await self._carry_out(remit)
        code = EXIT_NOT_VERIFIED
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._attend)
            code = await self._carry_out(remit)
            tasks.cancel_scope.cancel()
        return code

    async def _attend(self) -> None:
        """Over every connection that there is. A server that has no such call needs nobody to stand by."""
        while True:
            client = self._connection.client_if_open
            if client is not None:
                try:
                    await client.remits.attend(self._remit_id)
                    return
                except NotFoundError:
                    return
                except (ConnectionLost, ApiError):
                    pass  # its server is gone, or about to be: the next one is told
            await anyio.sleep(ATTEND_AGAIN_SECONDS)

    async def _carry_out(self, remit: JsonObject) -> int:
        answer = wording.as_object(remit.get("consent")).get("state")
        if answer == "pending":
            ending = await self._follower.run(is_interrupting=True, to_the_question=True)
            if ending != "asked":
                return await self._finish(ending)
            remit = await self._connection.call(lambda client: client.remits.retrieve(self._remit_id))
        if answer in ("pending", "asked"):
            if not self._invocation.is_json:
                _print_forecast(self._invocation.console, remit, self._plan)
            if not await is_consented(self._invocation, self._connection, remit, self._run_options):
                return EXIT_NOT_VERIFIED
        if self._run_options.is_detached:
            return self._leave_it()
        return await self._finish(await self._follower.run(is_interrupting=True))

    def _leave_it(self) -> int:
        if self._invocation.is_json:
            self._invocation.print_json({"type": "remit.detached", "remit_id": self._remit_id})
        else:
            pairs = [("detached", self._remit_id), ("watch", f"remit watch {self._remit_id}")]
            pairs.append(("stop", "remit stop"))
            self._invocation.console.print(render.rows(pairs))
        return EXIT_VERIFIED

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
        await hand_over(self._invocation, self._connection, self._remit_id, self._run_options)
        return EXIT_VERIFIED if self._follower.view.verified else EXIT_NOT_VERIFIED


def refuse_to_detach(connection: PlatformConnection) -> None:
    """Refuse to detach a command that is the platform itself. Raises BadUsage."""
    if connection.is_owner:
        raise BadUsage(
            "With REMIT_OWNER=foreground the work ends with this command; there is nothing to detach from.",
            mend="Leave --detach away, set REMIT_OWNER=background, or run `remit up` and try again.",
        )


def follower_of(
    invocation: Invocation,
    connection: PlatformConnection,
    remit_id: str,
    *,
    known: Mapping[str, int],
    wait_seconds: float | None = None,
) -> Follower:
    """Make the follower of a remit, on the screen that fits."""
    view = RemitProgress(remit_id=remit_id)
    screen = screen_for(invocation.console, view, is_json=invocation.is_json)
    return Follower(connection, view, screen, SystemClock(), known=known, wait_seconds=wait_seconds)


def input_folder(remit: JsonObject) -> Path | None:
    """The folder it came from."""
    path = wording.as_object(remit.get("metadata")).get(INPUT_PATH)
    return Path(path) if isinstance(path, str) else None


async def hand_over(
    invocation: Invocation, connection: PlatformConnection, remit_id: str, run_options: RunOptions
) -> None:
    """Show the end and write the result. The last thing on the screen is the next command."""
    remit = await connection.call(lambda client: client.remits.retrieve(remit_id))
    if not invocation.is_json:
        receipt = await connection.call(lambda client: client.remits.receipt(remit_id))
        invocation.console.print(render.ending(remit, receipt))
    listing = await connection.call(lambda client: client.remits.deliverables(remit_id))
    folder = input_folder(remit)
    pairs: list[tuple[str, str]] = []
    if changes_of(listing) or folders_of(listing) or run_options.out is not None:
        out = (run_options.out or default_out(remit_id, folder)).absolute()
        delivered = await connection.call(lambda client: deliver(client, remit_id, out))
        extras = [name for name in delivered.names if name.startswith("result.")]
        changed = wording.counted(len(delivered.changes), "changed file")
        pairs.append(("result", f"{_near(out)} ({', '.join([changed, *extras])})"))
        if delivered.strays:
            pairs.append(("", strays_text(delivered.strays)))
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
    """Print that the remit was interrupted, and how it goes on."""
    console.print(
        render.rows([("interrupted", "everything is kept"), ("next", f"remit do --resume {remit_id}")])
    )


async def print_paused(invocation: Invocation, connection: PlatformConnection, remit_id: str) -> None:
    """Print that the remit is paused, why, and how it goes on; in JSON as the last line."""
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
    """Print that the remit has ended and is not begun again by being resumed, and what to type for more."""
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

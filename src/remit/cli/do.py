"""`remit do`: from an outcome and a budget to a verified result and a receipt."""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import anyio
from rich.console import Console
from rich.text import Text

from remit.cli import render
from remit.cli.changes import changes_of
from remit.cli.connect import Connection, Invocation
from remit.cli.deliver import check_out, default_out, deliver
from remit.cli.failure import (
    EXIT_INTERRUPTED,
    EXIT_NOT_VERIFIED,
    EXIT_VERIFIED,
    BadUsage,
)
from remit.cli.follow import Ending, Follower
from remit.cli.links import page_link
from remit.cli.options import Budget, consent_above_usd, needs_question
from remit.cli.pack import InputPlan, human_bytes, packed, plan_input
from remit.cli.screens import screen_for
from remit.cli.view import View
from remit.client import wording
from remit.client.client import AsyncClient
from remit.client.errors import ConnectionLost, NotFoundError
from remit.client.stream import JsonObject
from remit.clock import SystemClock

INPUT_PATH = "remit.input_path"
"""The metadata key under which a remit remembers the folder it came from, for `remit apply`."""
RUBRIC_BYTES_MAX = 262_144
AGENT_ID_PREFIX = "agent_"
ENVIRONMENT_ID_PREFIX = "env_"


@dataclass(frozen=True, kw_only=True)
class DoOptions:
    """The command line of `remit do`, understood."""

    outcome: str
    budget: Budget
    folder: Path | None = None
    commands: tuple[str, ...] = ()
    rubric: Path | None = None
    protect: tuple[str, ...] = ()
    unprotect: tuple[str, ...] = ()
    toolchains: tuple[Path, ...] = ()
    include: tuple[str, ...] = ()
    setup: str | None = None
    environment: str | None = None
    model: str | None = None
    agent: str | None = None
    max_iterations: int | None = None


@dataclass(frozen=True, kw_only=True)
class Manner:
    """How to go about it: asking, writing."""

    out: Path | None = None
    is_yes: bool = False


async def do(invocation: Invocation, options: DoOptions, manner: Manner) -> int:
    """Carry an outcome out. Gives the exit code."""
    check_out(manner.out, options.folder)
    above_usd = consent_above_usd(os.environ)
    rubric = _read_rubric(options.rubric)
    toolchains = [_existing_folder(folder) for folder in options.toolchains]
    if not options.commands and rubric is None:
        raise BadUsage(
            "Nothing says when the outcome is reached.",
            mend='Give a command that passes when it is done: --verify "pytest -q"; or a text to judge by: --rubric FILE.',
        )
    if options.folder is None and (options.include or options.setup is not None):
        raise BadUsage(
            "--include and --setup are about a folder, and there is none.", mend="Give it: --input DIR"
        )
    plan = (
        None
        if options.folder is None
        else await anyio.to_thread.run_sync(plan_input, options.folder, options.include)
    )
    async with invocation.connect() as connection:
        client = connection.client
        agent_id = await _agent_id(client, options.agent)
        environment_id = await _environment_id(client, options.environment)
        input_id = await _upload(client, plan)
        remit = await client.remits.create(
            outcome=options.outcome,
            budget=options.budget.to_wire(),
            verifiers=[{"type": "command", "command": command} for command in options.commands] or None,
            rubric=rubric,
            input_id=input_id,
            agent=agent_id,
            model=options.model,
            max_iterations=options.max_iterations,
            protect=list(options.protect) or None,
            unprotect=list(options.unprotect) or None,
            toolchains=toolchains or None,
            setup=options.setup,
            environment_id=environment_id,
            consent="required",
            metadata=None if plan is None else {INPUT_PATH: str(plan.folder)},
        )
        if not invocation.is_json:
            _print_forecast(invocation.console, remit, plan)
        if (
            not invocation.is_json
            and not connection.is_owner
            and (page := await page_link(client, remit["id"]))
        ):
            invocation.console.print(Text(f"watch  {page}"), soft_wrap=True)
        if not await _consent(invocation, connection, remit, manner, above_usd):
            return EXIT_NOT_VERIFIED
        return await _follow_to_the_end(invocation, connection, remit, manner, interrupts_known=0)


async def resume(invocation: Invocation, remit_id: str, manner: Manner) -> int:
    """Go on with a remit that was interrupted, or whose process died; show the end of one that has ended."""
    async with invocation.connect() as connection:
        remit = await retrieve(connection.client, remit_id)
        check_out(manner.out, _input_folder(remit), remit["id"])
        interrupts = await _interrupts(connection.client, remit["id"])
        if remit["status"] == "awaiting_consent":
            if not invocation.is_json:
                _print_forecast(invocation.console, remit, None)
            if not await _consent(invocation, connection, remit, manner, consent_above_usd(os.environ)):
                return EXIT_NOT_VERIFIED
        elif remit["status"] == "interrupted":
            await connection.client.remits.resume(remit["id"])
        return await _follow_to_the_end(invocation, connection, remit, manner, interrupts_known=interrupts)


async def watch(invocation: Invocation, remit_id: str) -> int:
    """Watch a remit, whoever started it. Leaving does not interrupt it."""
    async with invocation.connect() as connection:
        remit = await retrieve(connection.client, remit_id)
        interrupts = await _interrupts(connection.client, remit["id"])
        if remit["status"] == "interrupted":
            interrupts -= 1
        ending, _ = await _follow(invocation, connection, remit, interrupts_known=interrupts, is_owner=False)
        if invocation.is_json:
            return EXIT_INTERRUPTED if ending == "left" else EXIT_VERIFIED
        if ending == "left":
            note = " It goes on when Remit next runs on this data folder." if connection.is_owner else ""
            invocation.console.print(Text(f"Left; the remit was not interrupted.{note}"))
            return EXIT_INTERRUPTED
        if ending == "interrupted":
            _print_interrupted(invocation.console, remit["id"])
            return EXIT_VERIFIED
        remit = await connection.client.remits.retrieve(remit["id"])
        invocation.console.print(render.ending(remit, await connection.client.remits.receipt(remit["id"])))
        return EXIT_VERIFIED


async def retrieve(client: AsyncClient, remit_id: str) -> JsonObject:
    """The remit by its id, or by the end of its id where that names one alone."""
    try:
        return await client.remits.retrieve(remit_id)
    except NotFoundError:
        matches = [remit async for remit in client.remits.list() if str(remit["id"]).endswith(remit_id)]
        if len(matches) == 1:
            return await client.remits.retrieve(matches[0]["id"])
        what = "no remit" if not matches else f"{len(matches)} remits"
        raise BadUsage(f"{remit_id!r} names {what}.", mend="`remit ls` shows the ids.") from None


async def _follow_to_the_end(
    invocation: Invocation,
    connection: Connection,
    remit: JsonObject,
    manner: Manner,
    *,
    interrupts_known: int,
) -> int:
    ending, view = await _follow(
        invocation, connection, remit, interrupts_known=interrupts_known, is_owner=True
    )
    remit_id: str = remit["id"]
    if ending != "ended":
        if not invocation.is_json:
            _print_interrupted(invocation.console, remit_id)
        elif ending == "left":
            # Left without waiting: the log has no such event yet, and a reader needs a last line.
            invocation.print_json({"type": "remit.interrupted", "remit_id": remit_id, "durable": False})
        return EXIT_INTERRUPTED
    await _hand_over(invocation, connection, remit_id, manner)
    return EXIT_VERIFIED if view.verified else EXIT_NOT_VERIFIED


async def _follow(
    invocation: Invocation,
    connection: Connection,
    remit: JsonObject,
    *,
    interrupts_known: int,
    is_owner: bool,
) -> tuple[Ending, View]:
    view = View(remit_id=remit["id"])
    screen = screen_for(invocation.console, view, is_json=invocation.is_json)
    follower = Follower(connection, view, screen, SystemClock(), interrupts_known=interrupts_known)
    ending = await follower.run(is_interrupting=is_owner)
    return ending, follower.view


async def _hand_over(invocation: Invocation, connection: Connection, remit_id: str, manner: Manner) -> None:
    """Show the end and write the result. The last thing on the screen is the next command."""
    remit = await connection.call(lambda client: client.remits.retrieve(remit_id))
    if not invocation.is_json:
        receipt = await connection.call(lambda client: client.remits.receipt(remit_id))
        invocation.console.print(render.ending(remit, receipt))
    listing = await connection.call(lambda client: client.remits.deliverables(remit_id))
    folder = _input_folder(remit)
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


async def _consent(
    invocation: Invocation, connection: Connection, remit: JsonObject, manner: Manner, above_usd: Decimal
) -> bool:
    """The yes before anything is spent: given by --yes or below the threshold, else asked for."""
    remit_id: str = remit["id"]
    if not manner.is_yes and needs_question(remit.get("forecast") or {}, remit["budget"], above_usd):
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            await connection.client.remits.decline(remit_id, reason="there was no terminal to ask at")
            raise BadUsage(
                "This may cost more than is spent unasked, and there is no terminal to ask at. Nothing was spent.",
                mend="Give --yes to consent, or raise REMIT_CONSENT_ABOVE_USD.",
            )
        if not await _ask(f"Spend up to {wording.money(remit['budget'])} on this? [y/N] "):
            await connection.client.remits.decline(remit_id, reason="declined at the terminal")
            invocation.console.print("Declined. Nothing was spent.")
            return False
    await _approve(connection, remit_id)
    return True


async def _approve(connection: Connection, remit_id: str) -> None:
    """Say yes once: where the connection breaks off meanwhile, look first whether the yes was heard."""
    try:
        await connection.client.remits.approve(remit_id)
    except ConnectionLost:
        await connection.reopen()
        remit = await connection.client.remits.retrieve(remit_id)
        if remit["status"] == "awaiting_consent":
            await connection.client.remits.approve(remit_id)


async def _ask(question: str) -> bool:
    """A question at the terminal; the event loop goes on meanwhile. The end of the input is a no."""
    print(question, end="", file=sys.stderr, flush=True)
    await anyio.wait_readable(sys.stdin)
    return sys.stdin.readline().strip().lower() in {"y", "yes"}


async def _upload(client: AsyncClient, plan: InputPlan | None) -> str | None:
    if plan is None:
        return None
    async with packed(plan) as tar:
        stored = await client.inputs.upload(tar)
    return stored["id"]


async def _agent_id(client: AsyncClient, agent: str | None) -> str | None:
    """An agent by id or by name. Raises BadUsage when the name means none or several."""
    if agent is None or agent.startswith(AGENT_ID_PREFIX):
        return agent
    found = [entry async for entry in client.agents.list() if entry.get("name") == agent]
    return _only_id(found, f"agent named {agent!r}", "Leave --agent away for the built-in one.")


async def _environment_id(client: AsyncClient, environment: str | None) -> str | None:
    """An environment by id or by name. Raises BadUsage when the name means none or several."""
    if environment is None or environment.startswith(ENVIRONMENT_ID_PREFIX):
        return environment
    found = [entry async for entry in client.environments.list() if entry.get("name") == environment]
    what = f"environment named {environment!r}"
    return _only_id(found, what, "Make it over the API (POST /v1/environments), or leave --environment away.")


def _only_id(found: list[JsonObject], what: str, mend: str) -> str:
    if len(found) == 1:
        return found[0]["id"]
    if found:
        ids = ", ".join(str(entry["id"]) for entry in found)
        raise BadUsage(f"There is more than one {what}.", mend=f"Give one of their ids: {ids}.")
    raise BadUsage(f"There is no {what}.", mend=mend)


async def _interrupts(client: AsyncClient, remit_id: str) -> int:
    return sum(
        [1 async for event in client.remits.events(remit_id) if event.get("type") == "remit.interrupted"]
    )


def _input_folder(remit: JsonObject) -> Path | None:
    path = wording.as_object(remit.get("metadata")).get(INPUT_PATH)
    return Path(path) if isinstance(path, str) else None


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


def _print_interrupted(console: Console, remit_id: str) -> None:
    console.print(
        render.rows([("interrupted", "everything is kept"), ("next", f"remit do --resume {remit_id}")])
    )


def _read_rubric(path: Path | None) -> str | None:
    if path is None:
        return None
    try:
        content = path.read_bytes()
    except OSError as error:
        raise BadUsage(f"The rubric {str(path)!r} cannot be read: {error.strerror}.") from error
    if len(content) > RUBRIC_BYTES_MAX:
        raise BadUsage(
            f"The rubric {str(path)!r} is larger than {human_bytes(RUBRIC_BYTES_MAX)}.", mend="Shorten it."
        )
    with suppress(UnicodeDecodeError):
        text = content.decode("utf-8")
        if text.strip():
            return text
        raise BadUsage(f"The rubric {str(path)!r} is empty.", mend="Write what must be true of the result.")
    raise BadUsage(f"The rubric {str(path)!r} is not UTF-8 text.", mend="Give a text file.")


def _existing_folder(folder: Path) -> str:
    if not folder.is_dir():
        raise BadUsage(
            f"The toolchain {str(folder)!r} is not a folder.", mend="Name a folder, such as .venv."
        )
    return str(folder.resolve())


def _near(path: Path) -> str:
    """A path as short as it can be said from here."""
    with suppress(ValueError):
        relative = path.resolve().relative_to(Path.cwd())
        return f"./{relative}" if str(relative) != "." else "."
    with suppress(ValueError):
        return f"../{path.resolve().relative_to(Path.cwd().parent)}"
    return str(path)

"""`remit do`: from an outcome and a budget to a verified result and a receipt."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import anyio
from rich.text import Text

from remit import wording
from remit.cli import render
from remit.cli.connect import Invocation, PlatformConnection
from remit.cli.consent import RunOptions
from remit.cli.failure import EXIT_INTERRUPTED, EXIT_NOT_VERIFIED, EXIT_PAUSED, EXIT_VERIFIED, BadUsage
from remit.cli.follow import ENDINGS
from remit.cli.journey import (
    Journey,
    follower_of,
    hand_over,
    input_folder,
    print_interrupted,
    print_over,
    print_paused,
    refuse_to_detach,
)
from remit.cli.links import page_link
from remit.cli.options import BudgetOption
from remit.client.anew import INPUT_PATH
from remit.client.client import AsyncClient
from remit.client.errors import NotFoundError
from remit.client.folders.deliver import check_out
from remit.client.folders.pack import InputPlan, human_bytes, packed, plan_input
from remit.client.stream import JsonObject
from remit.schema.events import OUTCOME_ITERATIONS_DEFAULT
from remit.schema.remits import BudgetParams
from remit.schema.verifiers import CommandVerifier, VerifierParams

RUBRIC_BYTES_MAX = 262_144
AGENT_ID_PREFIX = "agent_"
ENVIRONMENT_ID_PREFIX = "env_"


@dataclass(frozen=True, kw_only=True)
class DoOptions:
    """The command line of `remit do`, understood."""

    outcome: str = ""
    folder: Path | None = None
    commands: tuple[str, ...] = ()
    rubric: Path | None = None
    protect: tuple[str, ...] = ()
    unprotect: tuple[str, ...] = ()
    work: tuple[str, ...] = ()
    is_isolated: bool = False
    toolchains: tuple[Path, ...] = ()
    include: tuple[str, ...] = ()
    setup: str | None = None
    environment: str | None = None
    model: str | None = None
    agent: str | None = None
    max_iterations: int | None = None


async def do(
    invocation: Invocation, options: DoOptions, budget: BudgetOption, run_options: RunOptions
) -> int:
    """Carry an outcome out. Gives the exit code."""
    check_out(run_options.out, options.folder)
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
        if run_options.is_detached:
            refuse_to_detach(connection)
        client = connection.client
        agent_id = await _agent_id(client, options.agent)
        environment_id = await _environment_id(client, options.environment)
        input_id = await _upload(client, plan)
        remit = await client.remits.create(
            outcome=options.outcome,
            budget=BudgetParams(usd=budget.dollars, tokens=budget.tokens),
            verifiers=_verifiers(options),
            rubric=rubric,
            input_id=input_id,
            agent=agent_id,
            model=options.model,
            max_iterations=options.max_iterations or OUTCOME_ITERATIONS_DEFAULT,
            protect=list(options.protect) or None,
            unprotect=list(options.unprotect) or None,
            work=list(options.work) or None,
            toolchains=toolchains or None,
            setup=options.setup,
            environment_id=environment_id,
            consent="required",
            metadata=None if plan is None else {INPUT_PATH: str(plan.folder)},
        )
        if (
            not invocation.is_json
            and not connection.is_owner
            and (page := await page_link(client, remit["id"]))
        ):
            invocation.console.print(Text(f"watch  {page}"), soft_wrap=True)
        journey = Journey(invocation, connection, remit["id"], run_options, plan=plan)
        return await journey.run(remit)


async def resume(
    invocation: Invocation, remit_id: str, run_options: RunOptions, *, budget: BudgetOption | None = None
) -> int:
    """Go on with a remit that was interrupted or paused, or whose process died, or, with a higher `budget`, that reached
    its own. One that has ended otherwise is shown as it ended, with the line that makes another."""
    async with invocation.connect() as connection:
        client = connection.client
        remit = await retrieve(client, remit_id)
        check_out(run_options.out, input_folder(remit), remit["id"])
        known = await _known(client, remit["id"])
        if budget is not None:
            await _raise(client, remit["id"], budget)
        elif remit["status"] in wording.ENDED:
            return await _over(invocation, connection, remit, run_options)
        elif remit["status"] in ("interrupted", "paused"):
            await client.remits.resume(remit["id"])
        return await Journey(invocation, connection, remit["id"], run_options, known=known).run(remit)


async def _over(
    invocation: Invocation, connection: PlatformConnection, remit: JsonObject, run_options: RunOptions
) -> int:
    """Say that it is over, and hand over what there is: whoever started it may not have had it."""
    if invocation.is_json:
        known = await _known(connection.client, remit["id"])
        known["remit.ended"] -= 1
        return await Journey(invocation, connection, remit["id"], run_options, known=known).run(remit)
    print_over(invocation.console, remit)
    await hand_over(invocation, connection, remit["id"], run_options)
    return EXIT_VERIFIED if remit.get("verified") is True else EXIT_NOT_VERIFIED


async def raise_budget(invocation: Invocation, remit_id: str, budget: BudgetOption) -> int:
    """Give a remit that reached its budget a higher one, without watching it go on."""
    async with invocation.connect() as connection:
        remit = await retrieve(connection.client, remit_id)
        remit = await _raise(connection.client, remit["id"], budget)
        if invocation.is_json:
            invocation.print_json(remit)
            return EXIT_VERIFIED
        follow = f"remit do --resume {remit['id']}" if connection.is_owner else f"remit watch {remit['id']}"
        pairs = [("budget", f"{budget.in_words()} in all; it goes on"), ("next", follow)]
        invocation.console.print(render.rows(pairs))
    return EXIT_VERIFIED


async def _raise(client: AsyncClient, remit_id: str, budget: BudgetOption) -> JsonObject:
    return await client.remits.raise_budget(remit_id, usd=budget.dollars, tokens=budget.tokens)


async def watch(invocation: Invocation, remit_id: str) -> int:
    """Watch a remit, whoever started it. Leaving does not interrupt it, and nothing is begun by it."""
    async with invocation.look() as connection:
        remit = await retrieve(connection.client, remit_id)
        if connection.is_unowned and remit["status"] not in wording.ENDED:
            return _tell_unowned(invocation, remit)
        known = await _known(connection.client, remit["id"])
        for type, ending in ENDINGS.items():
            is_its_end = remit["status"] == ending or (ending == "ended" and remit["status"] in wording.ENDED)
            known[type] -= is_its_end
        follower = follower_of(invocation, connection, remit["id"], known=known)
        ending = await follower.run(is_interrupting=False)
        if ending == "unowned":
            return _tell_unowned(
                invocation, await connection.call(lambda client: client.remits.retrieve(remit["id"]))
            )
        if ending == "paused":
            await print_paused(invocation, connection, remit["id"])
            return EXIT_PAUSED
        if invocation.is_json:
            return EXIT_INTERRUPTED if ending == "left" else EXIT_VERIFIED
        if ending == "left":
            invocation.console.print(Text("Left; the remit was not interrupted."))
            return EXIT_INTERRUPTED
        if ending == "interrupted":
            print_interrupted(invocation.console, remit["id"])
            return EXIT_VERIFIED
        remit = await connection.client.remits.retrieve(remit["id"])
        invocation.console.print(render.ending(remit, await connection.client.remits.receipt(remit["id"])))
        return EXIT_VERIFIED


def _tell_unowned(invocation: Invocation, remit: JsonObject) -> int:
    """Nobody works on it, and somebody who looks does not change that."""
    if invocation.is_json:
        invocation.print_json(remit)
        return EXIT_VERIFIED
    pairs = [("remit", str(remit["id"])), ("status", wording.status_text(str(remit["status"])))]
    invocation.console.print(render.rows(pairs))
    invocation.console.print(Text(unowned_text(remit), style="yellow"))
    return EXIT_VERIFIED


def unowned_text(remit: JsonObject) -> str:
    """Say how to move on a remit whose data folder nobody owns."""
    return (
        f"No process works on this data folder, so nothing moves. It goes on with `remit do --resume {remit['id']}`, "
        "or while `remit up` runs."
    )


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


def _verifiers(options: DoOptions) -> list[VerifierParams] | None:
    return [CommandVerifier(command=one, isolate=options.is_isolated) for one in options.commands] or None


async def _upload(client: AsyncClient, plan: InputPlan | None) -> str | None:
    if plan is None:
        return None
    async with packed(plan) as tar:
        stored = await client.upload(tar)
    return stored["id"]


async def _agent_id(client: AsyncClient, agent: str | None) -> str | None:
    mend = "Leave --agent away for the built-in one."
    return await _id_of(agent, "agent", AGENT_ID_PREFIX, client.agents.list(), mend)


async def _environment_id(client: AsyncClient, environment: str | None) -> str | None:
    mend = "Make it over the API (POST /v1/environments), or leave --environment away."
    return await _id_of(environment, "environment", ENVIRONMENT_ID_PREFIX, client.environments.list(), mend)


async def _id_of(
    name: str | None, what: str, prefix: str, listed: AsyncIterable[JsonObject], mend: str
) -> str | None:
    """One of these by id or by name. Raises BadUsage when the name means none or several."""
    if name is None or name.startswith(prefix):
        return name
    ids = [str(entry["id"]) async for entry in listed if entry.get("name") == name]
    if len(ids) == 1:
        return ids[0]
    if ids:
        raise BadUsage(
            f"There is more than one {what} named {name!r}.", mend=f"Give one of their ids: {', '.join(ids)}."
        )
    raise BadUsage(f"There is no {what} named {name!r}.", mend=mend)


async def _known(client: AsyncClient, remit_id: str) -> Counter[str]:
    """How many events that may be a follower's last are in its log already."""
    types = [str(event.get("type")) async for event in client.remits.events(remit_id)]
    return Counter(type for type in types if type in ENDINGS)


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

"""Remits for whoever lets platforms die: what is asked for, what the model does, who watches, and what must be true
afterwards however often the process died. The stories themselves are at the end."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio

from platform_bench import POLL_SECONDS, WORKSPACE, Life, World, in_pieces, tar_of
from remit.client.client import AsyncClient
from remit.client.errors import BadRequestError
from remit.values import Account, JsonObject

NOTE_KEY = "story"
"""A customer knows the remit by its metadata when the answer to `create` got lost."""
FEEDBACK = "is not done yet"


def tick_command(ticks: Path) -> str:
    """A command with an effect that no snapshot restores: it draws the next number, and says which."""
    return f'n=$(( $(wc -l < "{ticks}") + 1 )); echo $n >> "{ticks}"; echo "ticket $n"'


def bash(command: str) -> JsonObject:
    return {"name": "bash", "input": {"command": command}}


def edit(path: str, old: str, new: str) -> JsonObject:
    return {"name": "edit", "input": {"file_path": path, "old_string": old, "new_string": new}}


def write(path: str, content: str) -> JsonObject:
    return {"name": "write", "input": {"file_path": path, "content": content}}


@dataclass
class Customer:
    """Commissions one remit and waits for its end, from process to process. What it knows it knows for ever; an answer
    that never came it finds out by asking."""

    fields: dict[str, Any]
    files: dict[str, str]
    ticks: Path
    input_id: str | None = None
    remit_id: str | None = None
    remit: JsonObject = field(default_factory=dict)
    report: JsonObject = field(default_factory=dict)

    async def work(self, life: Life, client: AsyncClient) -> None:
        """Until the remit has ended and the worker is at rest."""
        remit = await self.commission(client)
        if remit["status"] == "awaiting_consent":
            await client.remits.approve(remit["id"])
        await self.follow(client, remit["id"])
        await until(client, remit["id"], "remit.ended")
        await life.settle()
        self.remit = await client.remits.retrieve(remit["id"])
        self.report = await client.remits.check(remit["id"])
        for session_id in self.remit["session_ids"]:
            session_report = await client.sessions.check(session_id)
            self.report["violations"] += session_report["violations"]

    async def follow(self, client: AsyncClient, remit_id: str) -> None:
        """What this customer does while the remit works: nothing."""

    async def commission(self, client: AsyncClient) -> JsonObject:
        """The remit: known, found, or made."""
        if self.remit_id is None:
            async for remit in client.remits.list():
                if remit["metadata"].get(NOTE_KEY) == "1":
                    self.remit_id = remit["id"]
        if self.remit_id is not None:
            return await client.remits.retrieve(self.remit_id)
        if self.input_id is None:
            self.input_id = (await client.inputs.upload(in_pieces(tar_of(self.files))))["id"]
        remit = await client.remits.create(**self.fields, input_id=self.input_id, metadata={NOTE_KEY: "1"})
        self.remit_id = remit["id"]
        return remit


async def until(client: AsyncClient, remit_id: str, *types: str) -> JsonObject:
    """The first event of one of these types, from the stream."""
    async with client.remits.stream(remit_id) as events:
        async for event in events:
            if event["type"] in types:
                return event
    raise AssertionError(f"the stream ended before {types}")


# ------------------------------------------------------------------------------------ what must be true


async def faults_of(world: World, customer: Customer) -> list[str]:
    """Everything that is wrong with how it ended; empty when nothing is."""
    wrong = [f"check: {one['rule']}: {one['message']}" for one in customer.report["violations"]]
    wrong += await _faults_of_logs(world)
    wrong += await _faults_of_accounts(world)
    wrong += await _faults_of_effects(world, customer)
    return wrong


async def _faults_of_logs(world: World) -> list[str]:
    wrong: list[str] = []
    for head in await world.heads():
        seqs = [row.seq for row in await world.rows(head.stream_id)]
        if seqs != list(range(1, len(seqs) + 1)):
            wrong.append(f"the log of {head.stream_id} has gaps: {seqs}")
        if head.owner is not None:
            wrong.append(f"{head.stream_id} is still leased")
    return wrong


async def _faults_of_accounts(world: World) -> list[str]:
    wrong: list[str] = []
    by_stream = await world.accounts()
    for stream_id, accounts in by_stream.items():
        for account in accounts:
            name = f"{stream_id} {account.unit} {account.purpose}"
            if account.cap is not None and account.spent + account.held + account.granted > account.cap:
                wrong.append(f"{name} is overspent: {account}")
            if account.held or account.granted:
                wrong.append(f"{name} still holds money after the end: {account}")
    sessions = [head.stream_id for head in await world.heads() if head.kind == "session"]
    spent = sum(_dollars(by_stream[session_id]) for session_id in sessions)
    booked = _dollars(by_stream.get(WORKSPACE, []))
    if booked != spent:
        wrong.append(f"sessions spent {spent}, the workspace booked {booked}")
    return wrong


def _dollars(accounts: list[Account]) -> int:
    return sum(account.spent for account in accounts if account.unit == "nano_usd")


async def _faults_of_effects(world: World, customer: Customer) -> list[str]:
    """Each use ran at most once, and if it is not said that it may have run, exactly once."""
    wrong: list[str] = []
    drawn = [int(line) for line in customer.ticks.read_text().split()]
    reported: list[int] = []
    unknown = 0
    for session_id in customer.remit["session_ids"]:
        uses = {
            body["id"]: body
            for body in await world.bodies(session_id, "agent.tool_use")
            if body["name"] == "bash"
        }
        results = [
            body
            for body in await world.bodies(session_id, "agent.tool_result")
            if body["tool_use_id"] in uses
        ]
        counts = Counter(body["tool_use_id"] for body in results)
        wrong += [f"{use_id} has {counts[use_id]} results" for use_id in uses if counts[use_id] != 1]
        for body in results:
            found = re.search(r"ticket (\d+)", str(body["content"]))
            if found is not None:
                reported.append(int(found.group(1)))
            elif body.get("may_have_run") or "may have had effects" in str(body["content"]):
                unknown += 1
            elif "before it ran" not in str(body["content"]):
                wrong.append(f"{body['tool_use_id']} reports no effect: {body['content']}")
        started = Counter(body["tool_use_id"] for body in await world.bodies(session_id, "tool.started"))
        wrong += [f"{use_id} was started {n} times" for use_id, n in started.items() if n != 1]
    if len(set(reported)) != len(reported) or not set(reported) <= set(drawn):
        wrong.append(f"reported {reported}, drawn {drawn}")
    if len(drawn) - len(reported) > unknown:
        wrong.append(f"{len(drawn)} effects, {len(reported)} reported, {unknown} may have run")
    return wrong


# ---------------------------------------------------------------------------------------------- stories


class Restless(Customer):
    """Interrupts the first tool use while it runs, and has it go on. What a death left undone is asked for again."""

    async def follow(self, client: AsyncClient, remit_id: str) -> None:
        events = [event["type"] async for event in client.remits.events(remit_id)]
        if "remit.interrupted" not in events:
            await self._wait_for_effect(client, remit_id)
            # A use that a crash cut cannot be interrupted: the work may have ended meanwhile.
            with suppress(BadRequestError):
                await client.remits.interrupt(remit_id)
        await until(client, remit_id, "remit.interrupted", "remit.ended")
        if (await client.remits.retrieve(remit_id))["status"] == "interrupted":
            await client.remits.resume(remit_id)

    async def _wait_for_effect(self, client: AsyncClient, remit_id: str) -> None:
        while not self.ticks.read_text() and not (await client.remits.retrieve(remit_id))["ended_at"]:  # noqa: ASYNC110 a file
            await anyio.sleep(POLL_SECONDS)


@dataclass(frozen=True)
class Story:
    """One remit: the model's script, what is asked for, and how it must end."""

    script: Callable[[Path], JsonObject]
    fields: dict[str, Any]
    files: dict[str, str]
    ending: tuple[str, bool, bool]
    """Status, completed, verified."""
    customer: type[Customer] = Customer

    async def open(self, folder: Path) -> tuple[World, Customer]:
        """A world in which nothing has happened yet, and its customer."""
        folder.mkdir()
        ticks = folder / "ticks"
        ticks.touch()
        world = World(folder, scripts={"story": self.script(ticks)})
        await world.open()
        fields = {"outcome": "answer.txt holds the answer", "model": "scripted/story", **self.fields}
        return world, self.customer(fields=fields, files=self.files, ticks=ticks)


def _long(ticks: Path) -> JsonObject:
    tick = tick_command(ticks)
    return {
        "steps": [
            {"text": "I look around.", "tool_uses": [bash(tick), bash(tick)]},
            {
                "text": "I try something.",
                "fault": {"kind": "overloaded", "times": 1},
                "tool_uses": [edit("/workspace/answer.txt", "unknown", "41")],
            },
            {"text": "That should be it."},
        ],
        "rules": [_revision([bash(tick), write("/workspace/answer.txt", "42\n")])],
        "default": {"text": "Nothing more to do."},
    }


def _revision(uses: list[JsonObject]) -> JsonObject:
    """What a crash took from a revision is done again after the next feedback."""
    steps = [{"text": "One more.", "tool_uses": uses}, {"text": "Now it is."}]
    return {"when": {"last_user_contains": FEEDBACK}, "steps": steps}


def _spendthrift(ticks: Path) -> JsonObject:
    """It never comes to an end by itself."""
    return {"default": {"text": "thinking " * 1500, "tool_uses": [bash(tick_command(ticks))]}}


def _interruptible(ticks: Path) -> JsonObject:
    fix = write("/workspace/answer.txt", "42\n")
    return {
        "steps": [
            {"text": "This takes a while.", "tool_uses": [bash(f"{tick_command(ticks)}; sleep 60")]},
            {"text": "Now quickly.", "tool_uses": [fix]},
        ],
        "rules": [_revision([fix])],
        "default": {"text": "Done."},
    }


def _cheat(ticks: Path) -> JsonObject:
    uses = [bash(tick_command(ticks)), write("/workspace/check.sh", "exit 0\n")]
    return {"steps": [{"text": "I know a short cut.", "tool_uses": uses}], "default": {"text": "Done."}}


ANSWERED = [{"type": "command", "command": "grep -qx 42 answer.txt"}]
UNANSWERED = {"answer.txt": "unknown\n", "notes/readme.txt": "look for the answer\n"}
# A call that a crash cut is paid at its worst case, so there is room for some.
AMPLE = {"usd": "20.00", "tokens": 2_000_000}

LONG = Story(
    script=_long,
    fields={"verifiers": ANSWERED, "max_iterations": 8, "budget": AMPLE},
    files=UNANSWERED,
    ending=("satisfied", True, True),
)
"""Two uses in one step, an overloaded call that is made again, an edit, a failing verifier, a revision."""

DEAR = Story(
    script=_spendthrift,
    fields={"verifiers": ANSWERED, "budget": {"usd": "0.60"}},
    files=UNANSWERED,
    ending=("budget_reached", False, False),
)

INTERRUPTED = Story(
    script=_interruptible,
    fields={"verifiers": ANSWERED, "max_iterations": 8, "budget": AMPLE},
    files=UNANSWERED,
    ending=("satisfied", True, True),
    customer=Restless,
)

CHEATED = Story(
    script=_cheat,
    fields={
        "verifiers": [{"type": "command", "command": "bash check.sh"}],
        "max_iterations": 1,
        "budget": AMPLE,
    },
    files={**UNANSWERED, "check.sh": "grep -qx 42 answer.txt\n"},
    ending=("unsatisfied", True, False),
)

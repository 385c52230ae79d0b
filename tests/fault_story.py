"""A remit that has everything in it, for whoever lets platforms die: what is asked for, what the model does, who
watches, and what must be true afterwards however often the process died."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from platform_bench import WORKSPACE, Life, World, in_pieces, tar_of
from remit.client.client import AsyncClient
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


def long_script(ticks: Path) -> JsonObject:
    """Two uses in one step, an overloaded call that is made again, an edit, a failing verifier, a revision. What a crash
    took from the revision is done again after the next feedback."""
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
        "rules": [
            {
                "when": {"last_user_contains": FEEDBACK},
                "steps": [
                    {"text": "One more.", "tool_uses": [bash(tick), write("/workspace/answer.txt", "42\n")]},
                    {"text": "Now it is."},
                ],
            }
        ],
        "default": {"text": "Nothing more to do."},
    }


@dataclass
class Customer:
    """Commissions one remit and waits for its end, from process to process. What it knows it knows for ever; an answer
    that never came it finds out by asking."""

    fields: dict[str, Any]
    files: dict[str, str]
    input_id: str | None = None
    remit_id: str | None = None
    consents: bool = True
    remit: JsonObject = field(default_factory=dict)
    report: JsonObject = field(default_factory=dict)

    async def work(self, life: Life, client: AsyncClient) -> None:
        """Until the remit has ended and the worker is at rest."""
        remit = await self.commission(client)
        if remit["status"] == "awaiting_consent" and self.consents:
            await client.remits.approve(remit["id"])
        await until(client, remit["id"], "remit.ended")
        await life.settle()
        self.remit = await client.remits.retrieve(remit["id"])
        self.report = await client.remits.check(remit["id"])
        for session_id in self.remit["session_ids"]:
            session_report = await client.sessions.check(session_id)
            self.report["violations"] += session_report["violations"]

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


async def until(client: AsyncClient, remit_id: str, type: str, count: int = 1) -> JsonObject:
    """The count-th event of this type, from the stream."""
    async with client.remits.stream(remit_id) as events:
        async for event in events:
            count -= event["type"] == type
            if count == 0:
                return event
    raise AssertionError(f"the stream ended before {type}")


# ------------------------------------------------------------------------------------ what must be true


async def faults_of(world: World, customer: Customer, ticks: Path) -> list[str]:
    """Everything that is wrong with how it ended; empty when nothing is."""
    wrong = [f"check: {one['rule']}: {one['message']}" for one in customer.report["violations"]]
    wrong += await _faults_of_logs(world)
    wrong += await _faults_of_accounts(world)
    wrong += await _faults_of_effects(world, customer, ticks)
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


async def _faults_of_effects(world: World, customer: Customer, ticks: Path) -> list[str]:
    """Each use ran at most once, and if it is not said that it may have run, exactly once."""
    wrong: list[str] = []
    drawn = [int(line) for line in ticks.read_text().split()]
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
            elif body.get("may_have_run"):
                unknown += 1
            else:
                wrong.append(f"{body['tool_use_id']} reports no effect: {body['content']}")
        started = Counter(body["tool_use_id"] for body in await world.bodies(session_id, "tool.started"))
        wrong += [f"{use_id} was started {n} times" for use_id, n in started.items() if n != 1]
    if len(set(reported)) != len(reported) or not set(reported) <= set(drawn):
        wrong.append(f"reported {reported}, drawn {drawn}")
    if len(drawn) - len(reported) > unknown:
        wrong.append(f"{len(drawn)} effects, {len(reported)} reported, {unknown} may have run")
    return wrong

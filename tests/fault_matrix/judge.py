"""What must be true when a story is over, however often something died in it."""

from __future__ import annotations

import re
from collections import Counter
from typing import Any

import msgspec

from fault_matrix.person import Person, Refused
from fault_matrix.world import PRINCIPAL, WORKSPACE, World
from remit.app.kinds import KINDS
from remit.catalog.blob_owners import BlobOwners
from remit.catalog.owned_blobs import OwnedBlobs
from remit.errors import NotFound
from remit.orchestrator.check import check_stream
from remit.values import EventRow, JsonObject, Tree

TREE = re.compile(rb'"(?:tree|outputs|history)_digest":"([0-9a-f]{64})"')
USE_TYPES = ("agent.tool_use",)


async def faults_of(world: World, person: Person, *, was_harmless: bool) -> list[str]:
    """Everything that is wrong; empty when nothing is. Asks the platform that the person is connected to. Where nothing
    harmful was done, nothing may be announced as lost or unknown."""
    rows = {head.stream_id: await world.rows(head.stream_id) for head in await world.heads()}
    return [
        *world.watch.complaints,
        *await _checked(world, person),
        *_lost(world, rows),
        *await _money(world, rows),
        *_effects(world, rows),
        *_inputs(rows),
        *firings_of(rows),
        *_readers(person, rows),
        *await _blobs(world, rows),
        *(_announced(rows) if was_harmless else []),
    ]


async def _checked(world: World, person: Person) -> list[str]:
    """What Remit itself says of every stream (`remit check --all`), and of the workspace's."""
    wrong: list[str] = []
    for head in await world.heads():
        if head.owner is not None:
            wrong.append(f"{head.stream_id} is still leased")
        if head.kind == "workspace":
            report = await check_stream(
                world.store, PRINCIPAL, head.stream_id, now_us=world.clock.now_us(), kinds=KINDS
            )
            violations: Any = [msgspec.to_builtins(one) for one in report.violations]
        else:
            answer: Any = await person.get(f"{KINDS[head.kind].names.path}/{head.stream_id}/check")
            violations = answer["violations"]
        wrong += [f"check: {one['rule']}: {one['message']}" for one in violations]
    return wrong


def _lost(world: World, rows: dict[str, list[EventRow]]) -> list[str]:
    """What was acknowledged is in the log, where it was said to be."""
    wrong: list[str] = []
    for stream_id, there in rows.items():
        ids = {row.seq: row.event_id for row in there}
        if list(ids) != list(range(1, len(ids) + 1)):
            wrong.append(f"the log of {stream_id} has gaps")
        told = world.watch.acknowledged.get(stream_id, {})
        lost = [seq for seq, event_id in told.items() if ids.get(seq) != event_id]
        if lost:
            wrong.append(f"{stream_id} lost what was acknowledged: positions {lost}")
    return wrong


async def _money(world: World, rows: dict[str, list[EventRow]]) -> list[str]:
    """Nothing is held any more, and nobody got an answer that was not paid."""
    wrong: list[str] = []
    spent = 0
    for stream_id in world.watch.acknowledged:
        try:
            accounts = await world.store.accounts(PRINCIPAL, stream_id)
        except NotFound:
            continue
        wrong += [
            f"{stream_id} still holds money at the end: {account}"
            for account in accounts
            if account.held or account.granted
        ]
        if stream_id == WORKSPACE or stream_id.startswith("sesn_"):
            spent += sum(account.spent for account in accounts if account.unit == "nano_usd")
            if stream_id == WORKSPACE:
                # What its remits spent was counted with their sessions.
                granted = await world.store.grants(PRINCIPAL, WORKSPACE)
                spent -= sum(grant.spent or 0 for grant in granted if grant.unit == "nano_usd")
    if spent < world.bill.nano_usd:
        wrong.append(f"the provider charges {world.bill.nano_usd}, {spent} are booked as spent")
    is_whole = all(stream_id in rows for stream_id in world.watch.acknowledged)
    started = len(_of_type(rows, "model.started"))
    if is_whole and world.bill.calls > started:
        wrong.append(f"the provider was called {world.bill.calls} times, {started} starts are in the logs")
    return wrong


def _effects(world: World, rows: dict[str, list[EventRow]]) -> list[str]:
    """Each use ran at most once, and if nobody says that it may have run, exactly once."""
    if any(stream_id not in rows for stream_id in world.watch.acknowledged):
        return []  # deleted: nobody says anything any more
    wrong: list[str] = []
    reported: list[int] = []
    unknown = 0
    for row in _of_type(rows, "agent.tool_result"):
        body = _body(row)
        content = str(body["content"])
        found = re.findall(r"ticket (\d+)", content)
        reported += [int(number) for number in found]
        if body.get("may_have_run") or "may have had effects" in content:
            unknown += 1
    started = Counter(str(_body(row)["tool_use_id"]) for row in _of_type(rows, "tool.started"))
    wrong += [f"{use_id} was started {n} times" for use_id, n in started.items() if n != 1]
    if len(set(reported)) != len(reported):
        wrong.append(f"an effect is reported twice: {reported}")
    if world.tickets - len(reported) > unknown:
        wrong.append(f"{world.tickets} effects, {len(reported)} reported, {unknown} may have run")
    return wrong


def _announced(rows: dict[str, list[EventRow]]) -> list[str]:
    lost = [row.type for row in _of_type(rows, "session.sandbox_lost")]
    unknown = [row.type for row in _of_type(rows, "agent.tool_result") if _body(row).get("may_have_run")]
    assumed = [row.type for row in _of_type(rows, "model.ended") if _body(row).get("is_assumed")]
    return [f"nothing harmful happened, and there are {what}" for what in (lost, unknown, assumed) if what]


def _inputs(rows: dict[str, list[EventRow]]) -> list[str]:
    """What people sent was taken in, once."""
    wrong: list[str] = []
    for stream_id, there in rows.items():
        received = [row.event_id for row in there if row.type == "input.received"]
        public = Counter(row.event_id for row in there if row.visibility == "public")
        is_over = any(row.type == "session.status_terminated" for row in there)
        if not stream_id.startswith("sesn_") or is_over:
            continue  # what came just before an end may stay untaken; nothing is taken twice in any case
        wrong += [f"{stream_id} took {id} {public[id]} times" for id in received if public[id] != 1]
        contents = Counter(str(_body(row).get("content")) for row in there if row.type == "user.message")
        told = Counter(
            str(event.get("content"))
            for row in there
            if row.type == "input.received" and (event := _event(row))["type"] == "user.message"
        )
        if contents != told:
            wrong.append(f"{stream_id} was told {told} and heard {contents}")
    return wrong


def firings_of(rows: dict[str, list[EventRow]]) -> list[str]:
    """Each run that was begun and not overtaken is over, once, and has opened the one session that names it."""
    wrong: list[str] = []
    opened: dict[str, set[str]] = {}
    for row in _of_type(rows, "session.created"):
        opened.setdefault(str(_body(row).get("deployment_id")), set()).add(row.stream_id)
    for stream_id, there in rows.items():
        if not stream_id.startswith("depl_"):
            continue
        ended = [
            _body(row) for row in there if row.type in ("deployment_run.succeeded", "deployment_run.failed")
        ]
        ids = Counter(str(run["run_id"]) for run in ended)
        times = Counter(str(run["scheduled_at"]) for run in ended if run["scheduled_at"] is not None)
        wrong += [f"{id} ended {n} times" for id, n in ids.items() if n != 1]
        wrong += [f"{time} was fired {n} times" for time, n in times.items() if n != 1]
        named = {str(run["session_id"]) for run in ended if "session_id" in run}
        if opened.get(stream_id, set()) != named:
            wrong.append(f"{stream_id} opened {opened.get(stream_id)}, its log names {named}")
    return wrong


def _readers(person: Person, rows: dict[str, list[EventRow]]) -> list[str]:
    """Whoever read along, through every death, has seen exactly the history."""
    wrong: list[str] = []
    for path, reader in person.readers.items():
        stream_id = path.split("/")[3]
        if stream_id not in rows:
            continue
        history = [_body(row) for row in rows[stream_id] if row.visibility == "public"]
        if reader.log != history:
            seen, there = [one["id"] for one in reader.log], [one["id"] for one in history]
            at = next(
                (i for i, (a, b) in enumerate(zip(seen, there, strict=False)) if a != b),
                min(len(seen), len(there)),
            )
            wrong.append(
                f"a reader saw {len(seen)} events, the history has {len(there)}; they part at {at}: "
                f"{[one['type'] for one in reader.log[at : at + 3]]}, {[one['type'] for one in history[at : at + 3]]}"
            )
    return wrong


async def _blobs(world: World, rows: dict[str, list[EventRow]]) -> list[str]:
    """All is there that a log names or an owner refers to."""
    catalog = world.stores.catalog
    kept = OwnedBlobs(
        world.blobs, catalog, BlobOwners(world.stores.sessions, catalog, KINDS).is_there, world.clock
    )
    wrong = [f"{one.owner_id} needs {one.digest}, which is gone" for one in await kept.missing(PRINCIPAL)]
    trees: set[str] = set()
    for there in rows.values():
        for row in there:
            trees.update(digest.decode() for digest in TREE.findall(row.body))
    named = set(trees)
    for digest in trees & await kept.has(sorted(trees)):
        tree = msgspec.json.decode(await kept.read(digest), type=Tree)
        named |= {entry.sha256 for entry in tree.entries if entry.sha256 is not None}
    lost = named - await kept.has(sorted(named))
    return wrong + [f"a log names a tree with {digest}, which is gone" for digest in sorted(lost)]


def _of_type(rows: dict[str, list[EventRow]], type: str) -> list[EventRow]:
    return [row for there in rows.values() for row in there if row.type == type]


def _body(row: EventRow) -> JsonObject:
    body: JsonObject = msgspec.json.decode(row.body)
    return body


def _event(row: EventRow) -> JsonObject:
    event: Any = _body(row)["event"]
    return event


async def settle_readers(person: Person, world: World) -> None:
    """Let readers take what there is."""
    for path, reader in person.readers.items():
        stream_id = path.split("/")[3]
        try:
            rows = await world.rows(stream_id)
        except (NotFound, Refused):
            continue
        last = [row.event_id for row in rows if row.visibility == "public"][-1:]
        if last:
            await reader.until(lambda log, last=last: log and log[-1]["id"] == last[0])

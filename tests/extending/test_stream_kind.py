"""A kind of stream from outside: its rows, fold and handler, and one entry; all that treats streams alike knows it then."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace as with_parts
from pathlib import Path
from typing import Annotated, TypeVar

import msgspec
import pytest
from msgspec.structs import replace

from extending.opened import opened
from remit import AsyncClient
from remit.app import MoreStreams, Parts
from remit.client.calls import InLoop, Resource, call, call_one, items_of, stream_of
from remit.domain import Domain
from remit.schema.operation import NoQuery, Operation
from remit.schema.stream_operations import StreamView, stream_operations
from remit.schema.streams import StreamNames
from remit.schema.wire import Params
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.streams.kinds import StreamKind
from remit.streams.rows import PublicRow, RowTypes
from remit.streams.writer import StreamWriter
from remit.values import EventRow, HandlerResult, Lease, StreamSummary, Value

pytestmark = pytest.mark.anyio
M = TypeVar("M")

# --------------------------------------------------------------------------------- what is written, what it means


class CountdownBegun(PublicRow, frozen=True, kw_only=True, tag="countdown.begun"):
    """From where it counts."""

    count: int


class CountdownTicked(PublicRow, frozen=True, kw_only=True, tag="countdown.ticked"):
    """One less."""


class CountdownOver(PublicRow, frozen=True, kw_only=True, tag="countdown.over"):
    """It is at zero."""


class CountdownState(Value, frozen=True, kw_only=True):
    seq: int = 0
    last_processed_us: int = 0
    count: int = 0
    is_over: bool = False


ROWS = RowTypes(CountdownBegun, CountdownTicked, CountdownOver)


C = TypeVar("C", bound=CountdownState)


def fold(rows: Iterable[EventRow], state: C) -> C:
    for row in rows:
        state = replace(state, seq=row.seq, last_processed_us=max(state.last_processed_us, row.created_at_us))
        match ROWS.decode(row):
            case CountdownBegun(count=count):
                state = replace(state, count=count)
            case CountdownTicked():
                state = replace(state, count=state.count - 1)
            case CountdownOver():
                state = replace(state, is_over=True)
            case _:
                pass
    return state


NAMES = StreamNames(
    name="countdown", id_prefix="cntd", path="/v1/countdowns", final_types=("countdown.over",)
)
COUNTDOWN = StreamKind[CountdownState](
    names=NAMES,
    event_prefix="cevt",
    rows=ROWS,
    start=CountdownState,
    fold=fold,
    summarize=lambda state: StreamSummary(status="over" if state.is_over else f"at {state.count}"),
)

# ---------------------------------------------------------------------------------------- who carries it on


class CountdownHandler:
    """The StreamHandler of countdowns."""

    kind = COUNTDOWN.name

    def __init__(self, domain: Domain) -> None:
        self._domain = domain

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        domain = self._domain
        writer = StreamWriter(
            domain.streams[self.kind].kind,
            store=domain.sessions,
            bus=domain.bus,
            clock=domain.clock,
            ids=domain.ids,
            lease=lease,
            is_fenced=is_fenced,
        )
        await writer.catch_up()
        while writer.state.count > 0:
            await writer.append(CountdownTicked())
        if not writer.state.is_over:
            await writer.append(CountdownOver())
        return HandlerResult(seen_seq=writer.state.seq)

    async def forget(self, stream_id: str) -> None:
        """Nothing is kept."""


# --------------------------------------------------------------------------------------------- who begins one


class CountdownCreate(Params, frozen=True):
    """POST /v1/countdowns."""

    count: Annotated[int, msgspec.Meta(ge=1, le=100)]


CREATE = Operation("POST", "/v1/countdowns", "Begin a countdown", body=CountdownCreate, answer=StreamView)
OPERATIONS = stream_operations(NAMES, StreamView)


class CountdownRoutes:
    def __init__(self, services: Services) -> None:
        self._countdowns, self._services = services.streams[COUNTDOWN.name], services

    @handles(CREATE)
    async def create(self, call: Call[CountdownCreate, NoQuery]) -> StreamView:
        id, begun = self._services.ids.new(NAMES.id_prefix), CountdownBegun(count=call.body.count)
        now_us = self._services.clock.now_us()
        await self._countdowns.create(call.principal, id, begun, wake_at_us=now_us)
        return msgspec.convert(await self._countdowns.view(call.principal, id), StreamView)


class Countdowns(Resource[M]):
    """What a program calls."""

    create = call(CREATE)
    retrieve = call_one(OPERATIONS.retrieve)
    events = items_of(OPERATIONS.events)
    stream = stream_of(OPERATIONS.stream, after="0")


def extend(parts: Parts) -> Parts:
    streams = MoreStreams(kind=COUNTDOWN, handler=CountdownHandler)
    return with_parts(parts, more_streams=[streams], more_routes=[CountdownRoutes])


# -------------------------------------------------------------------------------------------------------- test


async def test_a_kind_is_carried_on_and_shown_like_every_other(tmp_path: Path) -> None:
    async with opened(tmp_path, extend) as here:
        countdowns = Countdowns[InLoop](here.client.caller)
        made = await countdowns.create(count=2)
        async with countdowns.stream(made["id"]) as stream:
            seen = [event["type"] async for event in stream]
        listed = [event["type"] async for event in countdowns.events(made["id"])]
        ended = await countdowns.retrieve(made["id"])
        report = await here.client.streams.check(made["id"])
        key = await here.client.keys.create(name="looks", scopes=[f"read:{made['id']}"])
        async with AsyncClient(api_key=key["secret"], base_url=here.url) as visitor:
            looked = await Countdowns[InLoop](visitor.caller).retrieve(made["id"])
        why = await here.client.streams.why(made["id"])
        said = await here.command("why", made["id"])
        checked = await here.command("check", made["id"])
        doctor = await here.client.doctor()
    assert (made["type"], made["status"], ended["status"]) == ("countdown", "at 2", "over")
    assert seen == listed == ["countdown.begun", *["countdown.ticked"] * 2, "countdown.over"]
    assert (report["ok"], why["kind"], why["status"]) == (True, "countdown", "over")
    assert looked == ended
    assert made["id"] in said
    assert "1 stream checked: all is well" in checked
    assert "countdown" in {one["name"]: one for one in doctor["probes"]}["store"]["detail"]

"""A kind of stream from outside the package: one module with its rows, its fold and its handler, and one entry."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import ClassVar

import anyio
import pytest
from msgspec.structs import replace

from api.whole import whole_platform
from remit.app.parts import MoreStreams
from remit.domain import Domain
from remit.schema.streams import StreamNames
from remit.streams.kinds import StreamKind
from remit.streams.rows import PrivateRow, PublicRow, RowTypes
from remit.streams.streams import Change, Streams
from remit.streams.writer import StreamWriter
from remit.values import EventRow, HandlerResult, Lease, Principal, StreamSummary, Value

pytestmark = pytest.mark.anyio

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")


class CountdownBegun(PublicRow, frozen=True, kw_only=True, tag="countdown.begun"):
    """From where it counts."""

    count: int


class CountdownTicked(PublicRow, frozen=True, kw_only=True, tag="countdown.ticked"):
    """One less."""


class CountdownSkipped(PrivateRow, frozen=True, kw_only=True, tag="countdown.skipped"):
    """Somebody is in a hurry."""

    version: ClassVar[int] = 2
    count: int


class CountdownOver(PublicRow, frozen=True, kw_only=True, tag="countdown.over"):
    """It is at zero."""


ROWS = RowTypes(CountdownBegun, CountdownTicked, CountdownSkipped, CountdownOver)


class CountdownState(Value, frozen=True, kw_only=True):
    seq: int = 0
    last_processed_us: int = 0
    count: int = 0
    is_over: bool = False


def fold(rows: Iterable[EventRow], state: CountdownState) -> CountdownState:
    for row in rows:
        state = replace(state, seq=row.seq, last_processed_us=max(state.last_processed_us, row.created_at_us))
        match ROWS.decode(row):
            case CountdownBegun(count=count):
                state = replace(state, count=count)
            case CountdownTicked():
                state = replace(state, count=state.count - 1)
            case CountdownSkipped(count=count):
                state = replace(state, count=max(0, state.count - count))
            case CountdownOver():
                state = replace(state, is_over=True)
            case _:
                pass
    return state


COUNTDOWN = StreamKind[CountdownState](
    names=StreamNames(
        name="countdown", id_prefix="cntd", path="/v1/countdowns", final_types=("countdown.over",)
    ),
    event_prefix="cevt",
    rows=ROWS,
    start=CountdownState,
    fold=fold,
    summarize=lambda state: StreamSummary(status="over" if state.is_over else f"at {state.count}"),
)


class CountdownHandler:
    """The StreamHandler of countdowns."""

    kind = COUNTDOWN.name

    def __init__(self, domain: Domain) -> None:
        self._domain = domain

    async def run(self, lease: Lease, is_fenced: Callable[[], bool]) -> HandlerResult:
        domain = self._domain
        writer = StreamWriter(
            COUNTDOWN,
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


async def test_a_kind_from_outside_is_carried_on_and_shown_like_every_other(tmp_path: Path) -> None:
    more = MoreStreams(kind=COUNTDOWN, handler=CountdownHandler)
    async with (
        whole_platform(tmp_path, more_streams=(more,), is_at_work=False) as platform,
        platform.http() as client,
    ):
        countdowns: Streams[CountdownState] = platform.services.streams["countdown"]

        async def skip(state: CountdownState) -> Change | None:
            return Change(rows=(CountdownSkipped(count=2),), wake_at_us=platform.services.clock.now_us())

        await countdowns.create(ONE, "cntd_1", CountdownBegun(count=4))
        appended = await countdowns.change(ONE, "cntd_1", skip)
        assert appended is not None
        assert appended.rows[0].schema_version == 2
        shown = (await client.get("/v1/countdowns/cntd_1")).json()
        assert (shown["type"], shown["status"]) == ("countdown", "at 2")
        why = (await client.get("/v1/countdowns/cntd_1/why")).json()
        assert (why["kind"], why["waits_for"]) == ("countdown", "worker")
        after = appended.rows[0].event_id
        async with platform.working():
            with anyio.fail_after(10):
                text = (await client.get(f"/v1/countdowns/cntd_1/events/stream?after={after}")).text
        assert text.count("event: countdown.ticked") == 2
        assert text.rstrip().rpartition("event: ")[2].startswith("countdown.over")
        events = (await client.get("/v1/countdowns/cntd_1/events")).json()["data"]
        assert [event["type"] for event in events] == [
            "countdown.begun",
            *["countdown.ticked"] * 2,
            "countdown.over",
        ]
        assert (await client.get("/v1/countdowns/cntd_1/check")).json()["violations"] == []
        assert (
            (await client.get("/v1/countdowns/cntd_2")).json()["error"]["message"].startswith("No countdown")
        )

"""A row from outside, added to a kind that has logs already: they load as before, and go on with it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace as with_parts
from pathlib import Path

import msgspec
import pytest
from msgspec.structs import replace

from extending import test_stream_kind as before
from extending.opened import opened
from extending.test_stream_kind import COUNTDOWN, CountdownHandler, CountdownRoutes, Countdowns
from remit.app import MoreStreams, Parts
from remit.client.calls import InLoop, call_one
from remit.schema.operation import NoQuery, Operation
from remit.schema.stream_operations import StreamView
from remit.schema.wire import Params
from remit.server.operations.router import Call, handles
from remit.server.operations.services import Services
from remit.streams.rows import PublicRow, RowTypes
from remit.streams.streams import StreamChange
from remit.values import EventRow, StreamSummary

pytestmark = pytest.mark.anyio

# ----------------------------------------------------------------------------- the row, and what it means


class CountdownNoted(PublicRow, frozen=True, kw_only=True, tag="countdown.noted"):
    """Somebody has something to say."""

    text: str


class NotedState(before.CountdownState, frozen=True, kw_only=True):
    note: str | None = None


ROWS = RowTypes(*(row.body for row in COUNTDOWN.rows), CountdownNoted)


def fold(rows: Iterable[EventRow], state: NotedState) -> NotedState:
    for row in rows:
        state = before.fold([row], state)
        match ROWS.decode(row):
            case CountdownNoted(text=text):
                state = replace(state, note=text)
            case _:
                pass
    return state


# ------------------------------------------------------------------------------ who appends it, and the kind


class Note(Params, frozen=True):
    """POST /v1/countdowns/{countdown_id}/note."""

    text: str


NOTE = Operation("POST", "/v1/countdowns/{countdown_id}/note", "Note", body=Note, answer=StreamView)


class NoteRoutes:
    def __init__(self, services: Services) -> None:
        self._countdowns = services.streams[COUNTDOWN.name]

    @handles(NOTE)
    async def note(self, call: Call[Note, NoQuery], countdown_id: str) -> StreamView:
        async def choose(state: NotedState) -> StreamChange | None:
            return (
                None
                if state.note == call.body.text
                else StreamChange(rows=(CountdownNoted(text=call.body.text),))
            )

        await self._countdowns.change(call.principal, countdown_id, choose)
        return msgspec.convert(await self._countdowns.view(call.principal, countdown_id), StreamView)


def summarize(state: NotedState) -> StreamSummary:
    return replace(COUNTDOWN.summarize(state), title=state.note)


NOTED = replace(
    COUNTDOWN,
    rows=ROWS,
    start=NotedState,
    fold=fold,
    summarize=summarize,
)


def extend(parts: Parts) -> Parts:
    streams = MoreStreams(kind=NOTED, handler=CountdownHandler)
    return with_parts(parts, more_streams=[streams], more_routes=[CountdownRoutes, NoteRoutes])


# -------------------------------------------------------------------------------------------------------- test


class Noting(Countdowns[InLoop]):
    note = call_one(NOTE)


async def test_logs_of_before_load_and_go_on_with_the_row(tmp_path: Path) -> None:
    async with opened(tmp_path, before.extend) as here:
        countdowns = Countdowns[InLoop](here.client.caller)
        id = (await countdowns.create(count=1))["id"]
        async with countdowns.stream(id) as stream:
            old = [event async for event in stream]
    async with opened(tmp_path, extend) as here:
        noting = Noting(here.client.caller)
        loaded = await noting.retrieve(id)
        noted = [await noting.note(id, text="liftoff") for _ in range(2)]
        events = [event async for event in noting.events(id)]
        report = await here.client.streams.check(id)
    assert (loaded["status"], loaded["title"]) == ("over", None)
    assert [one["title"] for one in noted] == ["liftoff", "liftoff"]
    assert events[:-1] == old
    assert (events[-1]["type"], events[-1].get("text")) == ("countdown.noted", "liftoff")
    assert report["ok"] is True

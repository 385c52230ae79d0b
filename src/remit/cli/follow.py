"""Following a remit to its end or its interruption, through lost connections and changes of owner."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import anyio
import anyio.abc
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream

from remit.cli.connect import PlatformConnection
from remit.cli.screens import Screen
from remit.cli.view import RemitProgress, fold_remit, fold_session, fold_snapshot
from remit.client.errors import ApiError, ConnectionLost, NotFoundError
from remit.client.stream import EventStream, JsonObject
from remit.clock import Clock

MONEY_SECONDS = 0.5
"""At most so often is the money asked for while things happen."""
QUEUE_EVENTS = 256
SESSION_LOOKUPS_MAX = 60
SESSION_LOOKUP_SECONDS = 0.25
"""A session is named in the remit's log before it exists; so long a reader waits for it."""

Ending = Literal["ended", "interrupted", "paused", "left", "asked", "unowned"]
"""`asked`: all is known that a person is asked about before anything is spent. `paused`: it waits for people, or an outage
has lasted for longer than is waited. `unowned`: nobody works on it any more."""
ENDINGS: dict[str, Ending] = {
    "remit.ended": "ended",
    "remit.interrupted": "interrupted",
    "remit.paused": "paused",
}
"""By the event that may be a follower's last."""


@dataclass(frozen=True, kw_only=True)
class _Item:
    """What a reader brings: an event of a stream, or the remit as retrieved."""

    source: str
    event: JsonObject | None = None
    remit: JsonObject | None = None
    cursor: str | None = None


@dataclass(frozen=True, kw_only=True)
class _Broken:
    """A reader cannot go on."""

    error: Exception


_Sender = MemoryObjectSendStream[_Item | _Broken]
_Receiver = MemoryObjectReceiveStream[_Item | _Broken]


@dataclass
class Answers:
    """Whether a model has answered since the remit was paused last, told by the order of each log alone: which of two
    logs' events came first nobody can tell, for each arrives by itself, and a clock may have been set back."""

    pauses: int = 0
    """Each stands for one turn of the session that failed."""
    failed_turns: int = 0
    failed_turns_before_last_word: int = -1

    def take(self, event: JsonObject) -> None:
        """Take an event of the remit or of its session, in the order of its log."""
        type = str(event.get("type"))
        if type == "remit.paused":
            self.pauses += 1
        elif type == "session.status_idle":
            self.failed_turns += event.get("stop_reason") == {"type": "retries_exhausted"}
        elif type.startswith("agent."):
            self.failed_turns_before_last_word = self.failed_turns

    @property
    def has_come(self) -> bool:
        """Return whether the last word came after the turn that the last pause stands for."""
        return self.failed_turns_before_last_word >= self.pauses


class Follower:
    """Follows one remit, in one go or in two: to the question before anything is spent, and on. `known` are the events of
    `ENDINGS` in its log that are not this one's end. An outage is waited for `wait_seconds`, or as long as it takes."""

    def __init__(
        self,
        connection: PlatformConnection,
        view: RemitProgress,
        screen: Screen,
        clock: Clock,
        *,
        known: Mapping[str, int],
        wait_seconds: float | None = None,
    ) -> None:
        self._connection = connection
        self._screen = screen
        self._clock = clock
        self._known = dict(known)
        self._wait_seconds = wait_seconds
        self._outage = anyio.Event()
        """It is paused, and no model has answered since."""
        self._answered = anyio.Event()
        self._answers = Answers()
        self._has_given_up = False
        self._remit_id = view.remit_id
        self._cursors: dict[str, str] = {}
        self._happened = anyio.Event()
        self._signals_seen = 0
        self._is_to_the_question = False
        self.view = view

    async def run(self, *, is_interrupting: bool, to_the_question: bool = False) -> Ending:
        """Follow to the end, or to the question. Ctrl-C interrupts the remit (a second one leaves), or only leaves."""
        ending: Ending = "left"
        self._is_to_the_question = to_the_question
        with self._screen:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._watch_signals, tasks, is_interrupting)
                tasks.start_soon(self._watch_outage, tasks)
                ending = await self._follow()
                tasks.cancel_scope.cancel()
        return "paused" if self._has_given_up else ending

    async def _follow(self) -> Ending:
        while True:
            try:
                return await self._follow_while_connected()
            except ConnectionLost:
                self._screen.say("the connection broke off; connecting again")
                await self._connection.reopen()
                if self._connection.is_unowned:
                    return "unowned"

    async def _follow_while_connected(self) -> Ending:
        """Raises ConnectionLost; what was seen until then is remembered by cursor."""
        sender, receiver = anyio.create_memory_object_stream[_Item | _Broken](QUEUE_EVENTS)
        result: Ending | Exception = "left"
        async with sender, receiver, anyio.create_task_group() as tasks:
            tasks.start_soon(self._read_remit, sender)
            for session_id in self.view.session_ids:
                tasks.start_soon(self._read_session, sender, session_id)
            if self._screen.wants_money:
                tasks.start_soon(self._ask_money, sender)
            result = await self._take_all(receiver, sender, tasks)
            tasks.cancel_scope.cancel()
        if isinstance(result, Exception):
            raise result
        return result

    async def _take_all(
        self, receiver: _Receiver, sender: _Sender, tasks: anyio.abc.TaskGroup
    ) -> Ending | Exception:
        async for item in receiver:
            if isinstance(item, _Broken):
                return item.error
            known = self.view.session_ids
            ending = self._take(item)
            if ending is not None:
                return ending
            for session_id in self.view.session_ids:
                if session_id not in known:
                    tasks.start_soon(self._read_session, sender, session_id)
        raise AssertionError("the sender is open as long as the receiver")

    def _take(self, item: _Item) -> Ending | None:
        if item.remit is not None:
            self.view = fold_snapshot(self.view, item.remit)
            self._screen.changed(self.view)
            return None
        assert item.event is not None
        if item.cursor is not None:
            self._cursors[item.source] = item.cursor
        if self._screen.wants_money:
            self._happened.set()
        self._answers.take(item.event)
        if item.source != self._remit_id:
            if self._answers.has_come:
                self._answered.set()
            self.view = fold_session(self.view, item.event)
            self._screen.session_event(item.event, self.view)
            return None
        self.view = fold_remit(self.view, item.event)
        self._screen.remit_event(item.event, self.view)
        return self._ending_of(item.event)

    def _ending_of(self, event: JsonObject) -> Ending | None:
        type = str(event.get("type"))
        if type in ENDINGS:
            left = self._known.get(type, 0)
            self._known[type] = left - 1
            if left <= 0:
                if type != "remit.paused" or event.get("wake_at") is None:
                    return ENDINGS[type]
                self._begin_outage()
        return "asked" if self._is_to_the_question and self.view.is_forecast_whole else None

    def _begin_outage(self) -> None:
        if self._answers.has_come:
            return  # its session's events came before this one of the remit's
        if self._answered.is_set() or not self._outage.is_set():
            self._answered = anyio.Event()
            self._outage.set()

    async def _watch_outage(self, tasks: anyio.abc.TaskGroup) -> None:
        """Leave when an outage has lasted too long; its pauses are many, and each is shorter."""
        if self._wait_seconds is None:
            return
        while True:
            await self._outage.wait()
            answered = self._answered
            async with anyio.create_task_group() as first:
                first.start_soon(self._give_up_after, self._wait_seconds, first.cancel_scope)
                await answered.wait()
                first.cancel_scope.cancel()
            if self._has_given_up:
                tasks.cancel_scope.cancel()
                return
            if self._answered is answered:
                self._outage = anyio.Event()

    async def _give_up_after(self, seconds: float, scope: anyio.CancelScope) -> None:
        await self._clock.sleep(seconds)
        self._has_given_up = True
        scope.cancel()

    async def _read_remit(self, sender: _Sender) -> None:
        stream = self._connection.client.remits.stream(self._remit_id, after=self._after(self._remit_id))
        await self._read(sender, self._remit_id, stream)

    async def _read_session(self, sender: _Sender, session_id: str) -> None:
        client = self._connection.client
        for _ in range(SESSION_LOOKUPS_MAX):
            try:
                await client.sessions.retrieve(session_id)
                break
            except NotFoundError:
                await self._clock.sleep(SESSION_LOOKUP_SECONDS)
            except (ConnectionLost, ApiError) as error:
                await sender.send(_Broken(error=error))
                return
        else:
            return  # the remit's own stream says how this ends
        await self._read(
            sender, session_id, client.sessions.stream(session_id, after=self._after(session_id))
        )

    async def _read(self, sender: _Sender, source: str, stream: EventStream) -> None:
        try:
            async with stream:
                async for event in stream:
                    await sender.send(_Item(source=source, event=event, cursor=stream.cursor))
        except (ConnectionLost, ApiError) as error:
            await sender.send(_Broken(error=error))

    async def _ask_money(self, sender: _Sender) -> None:
        while True:
            try:
                remit = await self._connection.client.remits.retrieve(self._remit_id)
            except (ConnectionLost, ApiError) as error:
                await sender.send(_Broken(error=error))
                return
            await sender.send(_Item(source=self._remit_id, remit=remit))
            await self._clock.sleep(MONEY_SECONDS)
            await self._happened.wait()
            self._happened = anyio.Event()

    def _after(self, source: str) -> str:
        return self._cursors.get(source, "0")

    async def _watch_signals(self, tasks: anyio.abc.TaskGroup, is_interrupting: bool) -> None:
        with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
            async for _ in signals:
                self._signals_seen += 1
                if self._signals_seen > 1 or not is_interrupting:
                    tasks.cancel_scope.cancel()
                    return
                self._screen.say("interrupting; everything is kept (Ctrl-C again leaves at once)")
                tasks.start_soon(self._interrupt)  # not awaited: the second Ctrl-C must be heard meanwhile

    async def _interrupt(self) -> None:
        try:
            await self._connection.client.remits.interrupt(self._remit_id)
        except ApiError as error:
            # It has just ended, say; the stream tells.
            self._screen.say(error.message)
        except ConnectionLost:
            self._signals_seen = 0
            self._screen.say("the server is gone; press Ctrl-C again when it is back")

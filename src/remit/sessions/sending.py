"""Sending input to sessions: the only way in, whoever sends. What may be sent, what is looked at before, what is stored.

A client's events, what a remit says to its working session and the first events of a new session pass here; no other
module makes the rows by which a session is told something.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import msgspec
from msgspec.structs import replace

from remit.catalog.environment_config import packages_of
from remit.catalog.files import Files
from remit.catalog.owned_blobs import OwnedBlobs
from remit.clock import Clock
from remit.errors import Conflict, HoldRefused, InvalidRequest, VerifierUnavailable
from remit.ids import Ids
from remit.interfaces import Dispatcher, LiveBus, SessionStore, Verifier
from remit.schema.events import STAMPED_ON_RECEIPT, InboundEvent
from remit.schema.verifiers import verifier_name
from remit.session.events import received
from remit.session.rows import FilesPinned, TurnContinued
from remit.session.state import INPUT_TYPES_STARTING, SessionState
from remit.sessions.budgets import has_priced_verifier, reserve_for_graders
from remit.sessions.inbound import admit, require_room, stored_events, tool_use_references
from remit.sessions.kind import summarize
from remit.sessions.message_files import pin_files, read_rubrics
from remit.sessions.wire import with_receipt
from remit.streams.deciding import decide, tell
from remit.streams.folds import Folds
from remit.values import (
    Account,
    Append,
    Appended,
    Effect,
    JsonObject,
    LiveItem,
    NewEvent,
    Principal,
)

IDEMPOTENCY_KEY_LENGTH_MAX = 255

NewId = Callable[[str, int], str]
"""Makes the id with this prefix of the event at this index."""


@dataclass(frozen=True, kw_only=True)
class Input:
    """Input that was looked at and could be put in."""

    given: Sequence[InboundEvent]
    """As it was sent; rubrics that are files have been read."""
    events: Sequence[JsonObject]
    """As it is stored."""
    files: Mapping[str, JsonObject]
    """Which bytes the files are that messages name, by file id."""


@dataclass(frozen=True, kw_only=True)
class OutcomeGrounds:
    """The grounds on which it is decided whether an outcome can be judged where the work is done."""

    agent: JsonObject
    toolchains: Sequence[str] = ()
    has_packages: bool = False
    """Programs that the image lacks may come with packages or with what a setup has added."""


@dataclass(frozen=True, kw_only=True)
class Sent:
    """What was put in, now or when it was first said."""

    seq: int
    """Of its first row."""
    events: Sequence[JsonObject]
    """As they are shown: with the time of their receipt, or of their consumption, or null."""


class Sending:
    """Puts input into sessions."""

    def __init__(
        self,
        sessions: Folds[SessionState],
        *,
        store: SessionStore,
        bus: LiveBus,
        dispatcher: Dispatcher,
        blobs: OwnedBlobs,
        files: Files,
        verifiers: Mapping[str, Verifier],
        clock: Clock,
        ids: Ids,
    ) -> None:
        self._sessions = sessions
        self._store = store
        self._bus = bus
        self._dispatcher = dispatcher
        self._blobs = blobs
        self._files = files
        self._verifiers = verifiers
        self._clock = clock
        self._ids = ids

    async def prepare(
        self,
        principal: Principal,
        events: Sequence[InboundEvent],
        judged: OutcomeGrounds,
        *,
        field: str = "events",
    ) -> Input:
        """Look at the first events of a session that is to be made; store nothing. Raises InvalidRequest,
        VerifierUnavailable."""
        read = await read_rubrics(self._files, principal, events, field=field)
        stored = self._stored(read, self._fresh_id, field=field)
        return await self._looked_at(principal, read, stored, judged, field=field)

    async def send(
        self,
        principal: Principal,
        session_id: str,
        events: Sequence[InboundEvent],
        *,
        key: str | None = None,
        command_id: str | None = None,
    ) -> Sent:
        """Put events into a session, all or none, and have it taken up.

        Said again with the same `key` it is answered as the first time, and Conflict for other events. `command_id` is of
        one event that is decided in the sender's own log: what was said first stands, whatever is said again. Raises
        InvalidRequest, NotFound, WrongState, RateLimited (no room), VerifierUnavailable, SequenceConflict."""
        new_id = self._id_maker(session_id, key, command_id)
        read = await read_rubrics(self._files, principal, events)
        stored = self._stored(read, new_id)
        state, _ = await self._sessions.load(principal, session_id)
        assert command_id is None or len(stored) == 1, "a command is one event"
        if key is not None or command_id is not None:
            repeated = await self._sent_before(principal, state, stored, new_id, is_command=key is None)
            if repeated is not None:
                return repeated
        input = await self._looked_at(principal, read, stored, _judged(state))
        known = await self._known_uses(principal, session_id, tool_use_references(events))
        if input.files:
            needed = [str(file["sha256"]) for file in input.files.values()]
            await self._blobs.keep(principal, session_id, needed)
        appended = await self._receive(principal, session_id, input, known)
        if appended.is_duplicate:
            # Another request with this key came at the same time and was first; its events may be others.
            repeated = await self._sent_before(principal, state, stored, new_id, is_command=key is None)
            assert repeated is not None, "the events of the first one are there"
            return repeated
        shown = [
            with_receipt(event, max(row.created_at_us, state.last_processed_us))
            for event, row in zip(stored, appended.rows[: len(stored)], strict=True)
        ]
        return Sent(seq=appended.rows[0].seq, events=shown)

    async def interrupt(self, principal: Principal, session_id: str, event_id: str | None = None) -> None:
        """Stop what is under way and what is queued, once per id; everything is kept. There is always room for it, and an
        ended session needs none: so nothing is folded, and many sessions are stopped at once. Raises NotFound."""
        head = await self._sessions.head(principal, session_id)
        if head.summary.status == "terminated":
            return
        event: JsonObject = {"id": event_id or self._ids.new("sevt"), "type": "user.interrupt"}
        await self._put(principal, session_id, received(event, key=str(event["id"]), is_emptying=True))

    async def go_on(
        self,
        principal: Principal,
        session_id: str,
        event_id: str,
        granted: Callable[[Sequence[Account]], tuple[Effect, ...]],
    ) -> int:
        """Let a session go on with the turn that stopped, once per id, with what it is granted on top of its accounts.
        Return the row that says so. Raises NotFound, SequenceConflict."""
        row = TurnContinued(id=event_id).as_row(key=event_id)

        async def attempt() -> int:
            seq = (await self._store.head(principal, session_id)).seq
            effects = granted(await self._store.accounts(principal, session_id))
            appended = await self._put(principal, session_id, row, effects=effects, expected_seq=seq)
            return appended.rows[0].seq

        return await decide(attempt)

    # ------------------------------------------------------------------------------------- before it goes in

    def _stored(
        self, events: Sequence[InboundEvent], new_id: NewId, *, field: str = "events"
    ) -> list[JsonObject]:
        return stored_events(
            events, lambda index: new_id("sevt", index), lambda index: new_id("outc", index), field=field
        )

    def _fresh_id(self, prefix: str, index: int) -> str:
        return self._ids.new(prefix)

    def _id_maker(self, session_id: str, key: str | None, command_id: str | None) -> NewId:
        """Fresh ids; else the same ids each time, so that a repetition is recognised by its first event."""
        if command_id is not None:
            return lambda prefix, index: f"{prefix}_{command_id.partition('_')[2]}"
        if key is None:
            return self._fresh_id
        if not 1 <= len(key) <= IDEMPOTENCY_KEY_LENGTH_MAX:
            raise InvalidRequest(
                f"`Idempotency-Key`: must have 1 to {IDEMPOTENCY_KEY_LENGTH_MAX} characters."
            )

        def derive(prefix: str, index: int) -> str:
            digest = hashlib.sha256(f"{session_id}\n{key}\n{index}".encode()).hexdigest()
            return f"{prefix}_{digest[:32]}"

        return derive

    async def _looked_at(
        self,
        principal: Principal,
        given: Sequence[InboundEvent],
        stored: Sequence[JsonObject],
        judged: OutcomeGrounds,
        *,
        field: str = "events",
    ) -> Input:
        await self._check_verifiers(principal, stored, judged)
        files = await pin_files(self._files, principal, given, field=field)
        return Input(given=given, events=stored, files=files)

    async def _check_verifiers(
        self, principal: Principal, events: Sequence[JsonObject], judged: OutcomeGrounds
    ) -> None:
        """Raises VerifierUnavailable or InvalidRequest for an outcome that could not be judged here.

        A rubric without a model of its own is graded by the agent's, as `orchestrator.evaluation` does it."""
        for event in events:
            for specification in cast("Sequence[JsonObject]", event.get("verifiers") or ()):
                name = verifier_name(specification)
                verifier = self._verifiers.get(name)
                if verifier is None:
                    raise VerifierUnavailable(
                        f"`verifiers`: there is no verifier {name!r} here; use another."
                    )
                if specification["type"] == "rubric":
                    default_model = cast("JsonObject", judged.agent["model"])["id"]
                    specification = {**specification, "model": specification.get("model") or default_model}
                await verifier.check(
                    principal,
                    specification,
                    toolchains=judged.toolchains,
                    has_packages=judged.has_packages,
                )

    async def _known_uses(
        self, principal: Principal, session_id: str, references: Mapping[str, str]
    ) -> Mapping[str, JsonObject]:
        known: dict[str, JsonObject] = {}
        for event_id in references:
            for row in await self._store.find_events(principal, session_id, event_id):
                if row.visibility == "public":
                    known[event_id] = msgspec.json.decode(row.body)
        return known

    async def _sent_before(
        self,
        principal: Principal,
        state: SessionState,
        events: Sequence[JsonObject],
        new_id: NewId,
        *,
        is_command: bool,
    ) -> Sent | None:
        """What was answered the first time, if there was one. Raises Conflict where other events were sent then, unless
        what was said first stands (`is_command`)."""
        session_id, seq = state.session_id, 0
        shown: list[JsonObject] = []
        for index, event in enumerate(events):
            rows = await self._store.find_events(principal, session_id, str(event["id"]))
            if not rows and index == 0:
                return None
            bodies = [cast("JsonObject", msgspec.json.decode(row.body)) for row in rows]
            if not is_command and (not rows or bodies[0].get("event") != event):
                raise _is_other_body()
            is_consumed = rows[-1].visibility == "public"
            first = cast("JsonObject", bodies[0]["event"])
            shown.append(bodies[-1] if is_consumed else with_receipt(first, rows[0].created_at_us))
            seq = seq or rows[0].seq
        following = new_id("sevt", len(events))
        if not is_command and await self._store.find_events(principal, session_id, following):
            raise _is_other_body()
        return Sent(seq=seq, events=shown)

    # --------------------------------------------------------------------------------------- how it goes in

    async def _receive(
        self,
        principal: Principal,
        session_id: str,
        input: Input,
        known: Mapping[str, JsonObject],
    ) -> Appended:
        """Admit and append, in one decision; again when the session moved on in between."""

        async def attempt() -> Appended:
            state, _, accounts = await self._sessions.load_all(principal, session_id)
            admit(state, input.given, known)
            require_room(state, input.events)
            append = self._receipt(state, input, accounts)
            # A state grows while others are asked.
            is_queued = state.status != "idle" or bool(state.pending)
            appended = await self._store.append(principal, append)
            self._publish(append, appended, input.events if is_queued else ())
            return appended

        try:
            return await decide(attempt)
        except HoldRefused as error:
            raise InvalidRequest(f"`events`: {error.message}", code=error.code) from error

    def _receipt(self, state: SessionState, input: Input, accounts: Sequence[Account]) -> Append:
        """Input is always appended; while the session rests, only if it still rests as it was when this was decided."""
        is_resting = state.status == "idle"
        reason = (state.stop_reason or {}).get("type")
        starts = (
            is_resting
            and reason not in ("requires_action", "budget_reached")
            and any(event["type"] in INPUT_TYPES_STARTING for event in input.events)
        )
        return Append(
            stream_id=state.session_id,
            events=(*receipts(input.events), *self._pins(input)),
            expected_seq=state.seq if is_resting else None,
            effects=reserve_for_graders(accounts) if has_priced_verifier(input.events) else (),
            wake_at_us=self._clock.now_us(),
            summary=replace(summarize(state), status="running") if starts else None,
        )

    def _pins(self, input: Input) -> tuple[NewEvent, ...]:
        """Which bytes the files were when they were sent."""
        if not input.files:
            return ()
        row = FilesPinned(id=self._ids.new("sevt"), files=dict(input.files))
        return (row.as_row(key=f"{input.events[0]['id']}:files"),)

    def _publish(self, append: Append, appended: Appended, queued: Sequence[JsonObject]) -> None:
        """What is queued behind something is echoed live, each with the row that received it. What begins a turn is not:
        it is shown once, after `session.status_running`, so that the last status a reader saw is never stale."""
        if appended.is_duplicate:
            return
        echoes = {
            str(event["id"]): with_receipt(event, 0)
            for event in queued
            if event["type"] not in STAMPED_ON_RECEIPT
        }
        for row in appended.rows:
            echo = echoes.get(row.event_id)
            self._bus.publish(
                LiveItem(
                    stream_id=append.stream_id,
                    rows=(row,),
                    frame=msgspec.json.encode(echo) if echo is not None else None,
                    frame_type=str(echo["type"]) if echo is not None else None,
                )
            )
        self._dispatcher.hint(append.stream_id)

    async def _put(
        self,
        principal: Principal,
        session_id: str,
        row: NewEvent,
        *,
        effects: tuple[Effect, ...] = (),
        expected_seq: int | None = None,
    ) -> Appended:
        append = Append(
            stream_id=session_id,
            events=(row,),
            effects=effects,
            expected_seq=expected_seq,
            wake_at_us=self._clock.now_us(),
        )
        appended = await self._store.append(principal, append)
        tell(self._bus, self._dispatcher, append, appended)
        return appended


def receipts(events: Sequence[JsonObject]) -> tuple[NewEvent, ...]:
    """The rows by which a session gets events that were sent together."""
    return tuple(received(event, key=str(event["id"]), batch=str(events[0]["id"])) for event in events)


def change_receipt(state: SessionState, change: JsonObject) -> NewEvent:
    """The row by which a session at work gets a change of itself that was decided. Raises RateLimited."""
    require_room(state, (change,))
    return received(change, key=str(change["id"]))


def _judged(state: SessionState) -> OutcomeGrounds:
    config = cast("JsonObject", state.created.get("config") or {})
    input = cast("JsonObject", state.created.get("input") or {})
    return OutcomeGrounds(
        agent=state.agent,
        toolchains=cast("Sequence[str]", state.created.get("toolchains") or ()),
        has_packages=bool(packages_of(config) or input.get("path") or input.get("mounts")),
    )


def _is_other_body() -> Conflict:
    return Conflict("`Idempotency-Key`: was used for other events in this session; use a new key.")

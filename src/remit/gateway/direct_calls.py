"""Model calls that a user makes themselves, paid by the workspace.

They are held on the workspace's stream without an epoch, each row under a key of its own, so any number of them run side
by side. A caller's idempotency key names a request for ever: an answer that was paid for once is given again, and a
request that is still under way is not made twice.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from functools import partial
from typing import cast

import anyio
import msgspec
import structlog
from msgspec import UNSET, UnsetType

from remit.clock import Clock
from remit.errors import Conflict, ModelCallFailed, NotFound, SequenceConflict
from remit.gateway.gateway import Gateway, OnDelta
from remit.gateway.workspace_rows import DirectCallEnded, DirectCallStarted
from remit.gateway.workspace_stream import create_workspace_stream, workspace_stream_id
from remit.ids import Ids
from remit.interfaces import SessionStore
from remit.values import (
    Account,
    Append,
    CallAttempt,
    CallEnded,
    HoldRow,
    JsonObject,
    ModelRequest,
    ModelResponse,
    Principal,
    Purpose,
    Settle,
    Value,
)

log = structlog.get_logger(__name__)

ATTEMPTS_PER_KEY_MAX = 64
ANSWER_BYTES_KEPT_MAX = 1 << 20
"""A larger answer is not kept to be given again under its key."""
LOOK_AFTER_SECONDS = 60.0
"""How soon somebody looks whether a call's process is still there to settle it."""


class Served(Value, frozen=True, kw_only=True):
    """An answer, and what it was that answered."""

    response: ModelResponse
    call_id: str
    served_model: str
    dropped: tuple[str, ...] = ()
    cost_nano_usd: int | None = None
    is_repeated: bool = False
    """It was paid for earlier, under the same idempotency key."""


class DirectCalls:
    """Makes them, and knows which are under way in this process."""

    def __init__(self, *, gateway: Gateway, store: SessionStore, clock: Clock, ids: Ids, server: str) -> None:
        self.server = server
        """This process, in the rows it writes."""
        self.under_way: set[str] = set()
        self._scopes: dict[str, set[anyio.CancelScope]] = {}
        """Of the calls under way, by workspace."""
        self._gateway = gateway
        self._store = store
        self._clock = clock
        self._ids = ids

    async def call(
        self,
        principal: Principal,
        request: ModelRequest,
        *,
        key: str | None = None,
        on_delta: OnDelta | None = None,
    ) -> Served:
        """Make the call, or give the answer of the earlier one with this key. Raises what `Gateway.call` raises;
        SequenceConflict while the earlier one is under way, Conflict when the key was another request's."""
        recorder = _Recorder(
            self._store,
            principal,
            self._clock,
            request_name=_name(key) if key is not None else self._ids.new("req"),
            request_digest=_digest(request),
            server=self.server,
            under_way=self.under_way,
            keeps_answer=key is not None,
        )
        if key is not None:
            earlier = await recorder.find_earlier(key)
            if earlier is not None:
                return earlier
        with self._interruptible(principal) as scope:
            response = await self._gateway.call(principal, request, recorder, on_delta=on_delta)
        if scope.cancelled_caught:
            raise ModelCallFailed(
                "The call was cut: everything of this workspace was stopped.",
                reason="interrupted",
                billed="no",
                is_retryable=False,
            )
        attempt, ended = recorder.last_attempt, recorder.last_end
        assert attempt is not None, "an answer has an attempt"
        assert ended is not None, "an answer is recorded before it is returned"
        return Served(
            response=response,
            call_id=attempt.call_id,
            served_model=attempt.served_model,
            dropped=attempt.dropped,
            cost_nano_usd=ended.cost_nano_usd,
        )

    def interrupt(self, workspace_id: str) -> int:
        """Cut every call of a workspace that this process makes; how many were not cut before. Each is settled as it
        ends."""
        scopes = [scope for scope in self._scopes.get(workspace_id, ()) if not scope.cancel_called]
        for scope in scopes:
            scope.cancel()
        return len(scopes)

    def running(self, workspace_id: str) -> int:
        """Count the calls of a workspace that have not ended."""
        return len(self._scopes.get(workspace_id, ()))

    @contextmanager
    def _interruptible(self, principal: Principal) -> Generator[anyio.CancelScope]:
        scopes = self._scopes.setdefault(principal.workspace_id, set())
        with anyio.CancelScope() as scope:
            scopes.add(scope)
            try:
                yield scope
            finally:
                scopes.discard(scope)

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """The provider's count, for nothing; None when it cannot tell. Raises ModelUnavailable, InvalidRequest."""
        return await self._gateway.count_tokens(request)


class _Recorder:
    """A CallRecorder on the workspace's stream."""

    purpose: Purpose = "work"

    def __init__(
        self,
        store: SessionStore,
        principal: Principal,
        clock: Clock,
        *,
        request_name: str,
        request_digest: str,
        server: str,
        under_way: set[str],
        keeps_answer: bool,
    ) -> None:
        self.last_attempt: CallAttempt | None = None
        self.last_end: CallEnded | None = None
        self._store = store
        self._principal = principal
        self._clock = clock
        self._stream_id = workspace_stream_id(principal)
        self._request_name = request_name
        self._request_digest = request_digest
        self._server = server
        self._under_way = under_way
        self._keeps_answer = keeps_answer
        self._attempts = 0
        """Under this name so far, those of earlier requests too."""

    async def find_earlier(self, key: str) -> Served | None:
        """The answer to an earlier request with this key; None when there was none, or it failed."""
        for number in range(1, ATTEMPTS_PER_KEY_MAX + 1):
            found = await self._find(self._start_id(number))
            if found is None:
                self._attempts = number - 1
                return None
            if found["request_digest"] != self._request_digest:
                raise Conflict(
                    f"The idempotency key {key!r} was used for another request; use a new key for a new request."
                )
            call_id = str(found["call_id"])
            end = await self._find(_end_id(call_id))
            if end is None:
                raise SequenceConflict(
                    f"The request with the idempotency key {key!r} is still under way (call {call_id!r}); ask again later."
                )
            if (answer := self._earlier_answer(key, found, end)) is not None:
                return answer
        raise Conflict(
            f"The request with the idempotency key {key!r} has failed {ATTEMPTS_PER_KEY_MAX} times; use a new key."
        )

    def _earlier_answer(self, key: str, start: JsonObject, end: JsonObject) -> Served | None:
        if end.get("error_reason") is not None:
            return None
        if end.get("response") is None:
            raise Conflict(
                f"The request with the idempotency key {key!r} was answered, but the answer was too large to be kept; use "
                "a new key to ask again."
            )
        return Served(
            response=msgspec.convert(end["response"], ModelResponse),
            call_id=str(start["call_id"]),
            served_model=str(start["served_model"]),
            dropped=tuple(cast("list[str]", start["dropped"])),
            cost_nano_usd=cast("int | None", end["cost_nano_usd"]),
            is_repeated=True,
        )

    async def accounts(self) -> Sequence[Account]:
        read = partial(self._store.accounts, self._principal, self._stream_id, purposes=[self.purpose])
        try:
            return await read()
        except NotFound:
            await create_workspace_stream(self._store, self._principal)
            return await read()

    async def waits(self, limit: str, ahead: int) -> None:
        """Whoever asked waits for the answer itself."""

    async def started(self, attempt: CallAttempt) -> None:
        self._attempts += 1
        self._under_way.add(attempt.call_id)
        event_id = self._start_id(self._attempts)
        started = DirectCallStarted(
            id=event_id,
            call_id=attempt.call_id,
            number=attempt.number,
            model=attempt.request.model,
            served_model=attempt.served_model,
            provider=attempt.provider,
            actor=self._principal.actor,
            server=self._server,
            request_digest=self._request_digest,
            max_tokens=attempt.request.max_tokens,
            purpose=self.purpose,
            dropped=list(attempt.dropped),
            holds=[_plain(hold) for hold in attempt.holds],
        )
        append = Append(
            stream_id=self._stream_id,
            events=(started.as_row(key=event_id),),
            effects=attempt.holds,
            wake_at_us=self._clock.now_us() + int(LOOK_AFTER_SECONDS * 1_000_000),
        )
        try:
            appended = await self._store.append(self._principal, append)
        except BaseException:
            self._under_way.discard(attempt.call_id)
            raise
        if appended.is_duplicate:
            self._under_way.discard(attempt.call_id)
            raise SequenceConflict(
                "A request with this idempotency key was begun at the same time; ask again later for its answer."
            )
        self.last_attempt = attempt

    async def finished(self, attempt: CallAttempt, ended: CallEnded) -> None:
        response = ended.response
        kept: JsonObject | UnsetType | None = UNSET
        if self._keeps_answer and response is not None:
            whole = _plain(response)
            kept = whole if len(msgspec.json.encode(whole)) <= ANSWER_BYTES_KEPT_MAX else None
        end = DirectCallEnded(
            id=_end_id(attempt.call_id),
            call_id=attempt.call_id,
            number=attempt.number,
            served_model=attempt.served_model,
            model=response.model if response is not None else attempt.request.model,
            stop_reason=response.stop_reason if response is not None else None,
            error_reason=ended.error_reason,
            error_message=ended.error_message,
            will_retry=ended.will_retry,
            is_assumed=ended.is_assumed,
            is_overrun=ended.is_overrun,
            cost_nano_usd=ended.cost_nano_usd,
            usage=ended.usage,
            provider_request_id=UNSET if ended.provider_request_id is None else ended.provider_request_id,
            response=kept,
        )
        try:
            await append_end(self._store, self._principal, end, ended.settlements)
        finally:
            self._under_way.discard(attempt.call_id)
        self.last_end = ended

    def thinking(self, attempt: CallAttempt) -> None:
        """Nobody watches a workspace's stream."""

    def delta(self, attempt: CallAttempt, text: str) -> None:
        """Nobody watches a workspace's stream."""

    def _start_id(self, number: int) -> str:
        return f"wevt_{self._request_name}_{number}"

    async def _find(self, event_id: str) -> JsonObject | None:
        try:
            rows = await self._store.find_events(self._principal, self._stream_id, event_id)
        except NotFound:
            return None
        return msgspec.json.decode(rows[0].body) if rows else None


async def append_end(
    store: SessionStore, principal: Principal, end: DirectCallEnded, settlements: Sequence[Settle]
) -> None:
    """Append the end of a call with its settlements; the second of two is a duplicate, and nothing is
    done."""
    event = end.as_row(key=end.id)
    append = Append(stream_id=workspace_stream_id(principal), events=(event,), effects=tuple(settlements))
    await store.append(principal, append)


async def settle_abandoned(store: SessionStore, principal: Principal, holds: Sequence[HoldRow]) -> None:
    """Settle the holds of calls whose process is gone: nobody knows what they cost, so they are taken to have
    used all."""
    by_call: dict[str, list[HoldRow]] = {}
    for hold in holds:
        by_call.setdefault(hold.hold_id, []).append(hold)
    for call_id, held in by_call.items():
        dollars = [hold.amount for hold in held if hold.unit == "nano_usd"]
        end = DirectCallEnded(
            id=_end_id(call_id),
            call_id=call_id,
            error_reason="lost",
            error_message="the process that made the call is gone",
            is_assumed=True,
            cost_nano_usd=dollars[0] if dollars else None,
        )
        settlements = [
            Settle(hold_id=call_id, unit=hold.unit, amount=hold.amount, is_assumed=True) for hold in held
        ]
        await append_end(store, principal, end, settlements)
        log.warning("model_call_lost", workspace_id=principal.workspace_id, call_id=call_id)


def _end_id(call_id: str) -> str:
    return f"wevt_{call_id}_end"


def _name(key: str) -> str:
    return hashlib.sha256(key.encode()).hexdigest()[:40]


def _digest(request: ModelRequest) -> str:
    return hashlib.sha256(msgspec.json.encode(request)).hexdigest()


def _plain(value: object) -> JsonObject:
    return cast("JsonObject", msgspec.to_builtins(value))

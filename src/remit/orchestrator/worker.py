"""A worker: claims what is due, keeps its leases, runs the handler for the stream's kind, delivers the outbox.

Leases give liveness, the epoch gives safety: a worker that cannot renew stops by itself before its lease can be taken,
and whatever it still tries to append is refused.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import Counter, deque
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

import structlog

from remit.clock import Clock
from remit.errors import LeaseLost, NotFound, StoreAway, StoreUnavailable
from remit.interfaces import LiveBus, SessionStore, StreamHandler
from remit.shielded import first_of
from remit.values import Append, HandlerResult, Lease, LiveItem, Principal, StreamHead

logger = structlog.get_logger(__name__)

LEASE_SECONDS = 5.0
RENEW_SECONDS = 1.5
FENCE_SECONDS = 4.0
"""After this long without a successful renewal a worker stops what it does."""
POLL_SECONDS = 1.0
"""The reconciler: how late a wake may be whose hint was lost."""
STREAMS_MAX = 320
"""Streams that are worked on at once."""
KEPT_FOR_OTHERS_PERCENT = 20
"""Of those places, how many one workspace can never fill: another one's stream is taken up at once."""
JUMP_SECONDS = 1.0
"""How far the wall clock may run ahead of the monotonic one before leases are renewed at once."""
CLAIM_BATCH = 32
OUTBOX_BATCH = 100
RETRY_SECONDS = 5.0
"""A handler that failed is tried again after this long."""
AWAY_SECONDS = 0.5
"""How long a store that is away is left alone before it is asked again."""


Positions = Callable[[Sequence[str]], Awaitable[Mapping[str, int]]]
"""How far these streams have come, whoever appended to them; one that is deleted is left out."""


@dataclass
class RunningStream:
    """A stream this worker is working on."""

    lease: Lease
    task: asyncio.Task[None] | None = None
    renewed_at: float = 0.0
    is_fenced: bool = False


class LocalDispatcher:
    """The in-process Dispatcher: tells the worker of this process that something is due."""

    def __init__(self) -> None:
        self.is_resting = False
        """What runs stops before its next step, and nothing new is begun: this process is about to leave."""
        self.due = asyncio.Event()
        self.before_others: deque[str] = deque()
        """Streams that are to be taken up even if every place is taken."""

    def hint(self, stream_id: str) -> None:
        self.due.set()

    def hint_before_others(self, stream_id: str) -> None:
        """Hint that a stream is due before others, which have their places and wait for what it will do."""
        self.before_others.append(stream_id)
        self.due.set()


class Waker:
    """Has a stream that rests taken up at once."""

    def __init__(self, *, store: SessionStore, clock: Clock, hints: LocalDispatcher, name: str) -> None:
        self._store = store
        self._clock = clock
        self._hints = hints
        self._name = name

    async def __call__(self, workspace_id: str, stream_id: str) -> bool:
        """False: it is at work already, or gone."""
        principal = _principal(workspace_id, self._name)
        try:
            if (await self._store.head(principal, stream_id)).owner is not None:
                return False
            await self._store.wake(principal, stream_id, at_us=self._clock.now_us())
        except NotFound:
            return False
        self._hints.hint_before_others(stream_id)
        return True


class Worker:
    """Runs until cancelled. At most `streams_max` streams at once, of which one workspace has at most `each_max`."""

    def __init__(
        self,
        *,
        name: str,
        store: SessionStore,
        bus: LiveBus,
        clock: Clock,
        hints: LocalDispatcher,
        handlers: Sequence[StreamHandler],
        streams_max: int = STREAMS_MAX,
        poll_seconds: float = POLL_SECONDS,
        positions: Positions | None = None,
    ) -> None:
        """`poll_seconds`: how late it may see what another process has made due. `positions` where there are others, who
        may take over what this one keeps something for."""
        self._name = name
        self._poll_seconds = poll_seconds
        self._store = store
        self._bus = bus
        self._clock = clock
        self._handlers: Mapping[str, StreamHandler] = {handler.kind: handler for handler in handlers}
        self.streams_max = streams_max
        self.each_max = max(1, streams_max - streams_max * KEPT_FOR_OTHERS_PERCENT // 100)
        self._running: dict[str, RunningStream] = {}
        self._running_of: Counter[str] = Counter()
        """How many of them are of each workspace."""
        self._positions = positions
        self._near: dict[str, tuple[Lease, int]] = {}
        """Released, with something of it kept here: the last lease, and the row up to which it was looked at."""
        self._hints = hints
        self._due = hints.due
        self._wall_ahead = clock.now_us() / 1_000_000 - clock.monotonic()
        self._outbox_due = asyncio.Event()
        self._is_leaving = False
        self._left = asyncio.Event()

    @property
    def active(self) -> int:
        """Return how many streams are being worked on."""
        return len(self._running)

    async def come_to_rest(self) -> None:
        """Begin nothing new, and return when what runs has come to where it can be left without losing anything."""
        self._hints.is_resting = True
        self._due.set()
        while self._running:
            await self._left.wait()
            self._left.clear()

    async def run(self) -> None:
        """Work until cancelled; on the way out, leases of what was cut are left to expire (or to the next start)."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._through_absence(self._keep_leases))
            group.create_task(self._fence_overdue())
            group.create_task(self._through_absence(self._deliver_outbox))
            group.create_task(self._forget_deleted())
            try:
                await self._through_absence(lambda: self._claim_and_run(group))
            finally:
                self._is_leaving = True

    async def _through_absence(self, loop: Callable[[], Awaitable[None]]) -> None:
        """What never ends by itself, begun anew when the store was away."""
        while True:
            try:
                await loop()
            except StoreAway as error:
                logger.warning("store_away", reason=error.message)
                await self._clock.sleep(AWAY_SECONDS)
            else:
                return

    # ------------------------------------------------------------------------------------------- claiming

    async def _claim_and_run(self, group: asyncio.TaskGroup) -> None:
        while True:
            self._due.clear()
            await self._renew_after_jump()
            asked_at = self._clock.monotonic()
            leases = await self._claim()
            for lease in leases:
                self._near.pop(lease.stream_id, None)
                running = self._running[lease.stream_id] = RunningStream(lease=lease, renewed_at=asked_at)
                self._running_of[lease.workspace_id] += 1
                running.task = group.create_task(self._run_one(running))
            if not leases and not self._hints.before_others:
                await self._wait_until_due()

    async def _claim(self) -> Sequence[Lease]:
        kinds = list(self._handlers)
        if self._hints.before_others:
            stream_id = self._hints.before_others.popleft()
            return await self._store.claim(
                self._name, kinds=kinds, lease_seconds=LEASE_SECONDS, limit=1, stream_id=stream_id
            )
        if self._hints.is_resting:
            return ()
        room = min(CLAIM_BATCH, self.streams_max - len(self._running))
        if room <= 0:
            return ()
        return await self._store.claim(
            self._name,
            kinds=kinds,
            lease_seconds=LEASE_SECONDS,
            limit=room,
            running=self._running_of,
            each_max=self.each_max,
        )

    async def _wait_until_due(self) -> None:
        if self._hints.is_resting:
            await self._due.wait()
            return
        next_us = await self._store.next_wake_us(list(self._handlers), owner=self._name)
        seconds = self._poll_seconds
        if next_us is not None:
            seconds = min(seconds, max(0.0, (next_us - self._clock.now_us()) / 1_000_000))
        if seconds == 0.0 and len(self._running) >= self.each_max:
            seconds = self._poll_seconds  # what is due has no place: the next release says when
        await first_of(self._due.wait(), self._clock.sleep(seconds))

    async def _run_one(self, running: RunningStream) -> None:
        lease = running.lease
        handler = self._handlers[lease.kind]
        wake_at_us: int | None = None
        seen_seq: int | None = None
        is_near = False
        try:
            result = await self._carry_out(handler, running)
            seen_seq, wake_at_us, is_near = result.seen_seq, result.wake_at_us, result.is_near
        except* (LeaseLost, NotFound) as errors:
            # Another worker owns the stream, or it was deleted: nothing here is ours any more.
            logger.info(
                "stream_left", stream_id=lease.stream_id, reasons=[str(one) for one in errors.exceptions]
            )
            await self._forget(running)
        except* StoreAway:
            # Its lease lapses, and whoever claims it then finds in the log how far it came.
            logger.warning("stream_left_while_store_away", stream_id=lease.stream_id)
            await self._forget(running)
            wake_at_us = None
        except* StoreUnavailable:
            raise
        except* Exception:
            logger.exception("handler_failed", stream_id=lease.stream_id, kind=lease.kind)
            await self._forget(running)
            wake_at_us = self._clock.now_us() + int(RETRY_SECONDS * 1_000_000)
        finally:
            if self._running.get(lease.stream_id) is running:  # else claimed again meanwhile
                del self._running[lease.stream_id]
            self._running_of[lease.workspace_id] -= 1
            if not self._running_of[lease.workspace_id]:
                del self._running_of[lease.workspace_id]
            self._due.set()  # its place is free
            self._left.set()
            if running.is_fenced:
                await self._forget(running)
        if running.is_fenced:
            return
        with contextlib.suppress(NotFound, StoreAway):
            if seen_seq is None:
                head = await self._head(lease)
                if head is None or wake_at_us is None:
                    return
                seen_seq = head.seq
            await self._store.release(lease, seen_seq=seen_seq, wake_at_us=wake_at_us, is_near=is_near)
            if is_near and lease.stream_id not in self._running:
                self._near[lease.stream_id] = lease, seen_seq
        self._due.set()
        self._outbox_due.set()

    async def _carry_out(self, handler: StreamHandler, running: RunningStream) -> HandlerResult:
        """A cancellation that nobody asked for is a failure like any other: silent, it would be tried again for ever."""
        try:
            return await handler.run(running.lease, lambda: self._is_overdue(running))
        except asyncio.CancelledError as error:
            if running.is_fenced or self._is_leaving:
                raise
            raise RuntimeError("the handler was cancelled from within") from error

    async def _forget(self, running: RunningStream) -> None:
        """Unless the stream has been taken up here again: what is kept and what runs for it is the new run's."""
        lease = running.lease
        if self._running.get(lease.stream_id) in (None, running):
            await self._handlers[lease.kind].forget(lease.stream_id)

    async def _head(self, lease: Lease) -> StreamHead | None:
        try:
            return await self._store.head(_principal(lease.workspace_id, self._name), lease.stream_id)
        except NotFound:
            return None

    # --------------------------------------------------------------------------------------------- leases

    async def _keep_leases(self) -> None:
        while True:
            await self._clock.sleep(RENEW_SECONDS)
            await self._renew()
            await self._forget_taken_over()

    async def _renew(self) -> None:
        # What is fenced is being stopped: its lease is to lapse, so that the stream is taken up again.
        held = [one for one in self._running.values() if not one.is_fenced]
        if not held:
            return
        asked_at = self._clock.monotonic()
        lost = set(await self._store.renew([one.lease for one in held], lease_seconds=LEASE_SECONDS))
        for one in held:
            if one.lease.stream_id in lost:
                self._fence(one)
            else:
                one.renewed_at = asked_at

    async def _forget_taken_over(self) -> None:
        """Keep nothing any more of streams that rest here, and that another process has worked on or deleted since."""
        if self._positions is None or not self._near:
            return
        positions = await self._positions(list(self._near))
        for stream_id, near in list(self._near.items()):
            lease, seen_seq = near
            if positions.get(stream_id) == seen_seq:
                continue
            head = await self._head(lease)
            if (head is None or head.epoch != lease.epoch) and self._near.get(stream_id) is near:
                del self._near[stream_id]
                logger.info("stream_taken_over", stream_id=stream_id)
                await self._forget(RunningStream(lease=lease))

    async def _renew_after_jump(self) -> None:
        """A wall clock that was set forward ends leases before their time: ours would be claimed from ourselves."""
        ahead = self._clock.now_us() / 1_000_000 - self._clock.monotonic()
        if ahead - self._wall_ahead > JUMP_SECONDS:
            await self._renew()
        self._wall_ahead = ahead

    async def _fence_overdue(self) -> None:
        """Stop what was not renewed in time, also when the store does not answer at all. A stream that is claimed
        while this sleeps is due later than what it sleeps for."""
        while True:
            now = self._clock.monotonic()
            dues = [one.renewed_at + FENCE_SECONDS for one in self._running.values() if not one.is_fenced]
            until = min(dues, default=now + FENCE_SECONDS)
            await self._clock.sleep(max(0.0, until - now))
            for one in list(self._running.values()):
                if not one.is_fenced and one.renewed_at + FENCE_SECONDS <= until:
                    self._fence(one)

    def _is_overdue(self, running: RunningStream) -> bool:
        """Also before `_fence_overdue` gets to run: a process that stood still goes on in any order."""
        return running.is_fenced or self._clock.monotonic() >= running.renewed_at + FENCE_SECONDS

    def _fence(self, running: RunningStream) -> None:
        running.is_fenced = True
        if running.task is not None:
            running.task.cancel()

    # --------------------------------------------------------------------------------------------- outbox

    async def _deliver_outbox(self) -> None:
        """Append what became due in other streams. The item's key makes a repeated delivery harmless."""
        while True:
            self._outbox_due.clear()
            due = await self._store.outbox_due(OUTBOX_BATCH)
            for _, workspace_id, item in due:
                try:
                    appended = await self._store.append(
                        _principal(workspace_id, self._name),
                        Append(
                            stream_id=item.target_stream_id,
                            events=(item.event,),
                            wake_at_us=self._clock.now_us(),
                        ),
                    )
                except NotFound:
                    continue
                self._bus.publish(LiveItem(stream_id=item.target_stream_id, rows=appended.rows))
            if due:
                await self._store.outbox_done([position for position, _, _ in due])
                self._due.set()
            else:
                await first_of(self._outbox_due.wait(), self._clock.sleep(POLL_SECONDS))

    # ------------------------------------------------------------------------------------------- deletion

    async def _forget_deleted(self) -> None:
        """A deleted stream needs nothing any more; a sandbox that this misses goes when it has been idle for long."""
        async with self._bus.subscribe("*") as subscription:
            while True:
                item = await subscription.next()
                if item.is_deleted:
                    for handler in self._handlers.values():
                        await handler.forget(item.stream_id)


def _principal(workspace_id: str, name: str) -> Principal:
    return Principal(workspace_id=workspace_id, actor=name, kind="worker")

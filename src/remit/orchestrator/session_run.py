"""One wake of a session: from what a crash left open to where there is nothing more to do.

The decisions are pure (`session/moves.py`); this file carries them out, one durable append after the other.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from typing import Any, assert_never

import structlog
from msgspec.structs import replace

from remit.clock import is_wait_over
from remit.errors import (
    HoldRefused,
    LeaseLost,
    RemitError,
    SandboxLost,
    StoreUnavailable,
)
from remit.interfaces import BlobReader, Harness, LiveBus, LiveSubscription, ModelCaller, ToolSource
from remit.orchestrator.background import in_background
from remit.orchestrator.evaluation import Evaluation
from remit.orchestrator.recorder import assumed_settlements
from remit.orchestrator.recovery import recover
from remit.orchestrator.session_errors import session_error, turn_failure
from remit.orchestrator.session_sandboxes import SessionSandboxes
from remit.orchestrator.snapshots import SnapshotTaker
from remit.orchestrator.turn import (
    ComingToRest,
    SessionTurn,
    consume,
    error_result,
    interrupted_result,
    never,
    tool_result,
    unmeasured,
)
from remit.session import events, moves, rows
from remit.session.events import of_thread
from remit.session.reporting import idle_report
from remit.session.state import OpenToolUse, SessionState
from remit.session.turn_rows import EnvironmentDescribed, ModelRefused, OutcomeEvaluationEnd
from remit.sessions.kind import SessionWriter, summarize
from remit.shielded import first_of
from remit.streams.children import to_parent
from remit.streams.rows import NewRow
from remit.values import (
    HandlerResult,
    JsonObject,
    JsonValue,
    Settle,
    StreamSummary,
    TurnEnd,
    Usage,
)

logger = structlog.get_logger(__name__)

READER_POLL_SECONDS = 0.01
INPUT_POLL_SECONDS = 2.0
"""How late an interrupt may be seen when its hint was lost."""


class SessionRun:
    """Drives one session under one lease."""

    def __init__(
        self,
        *,
        writer: SessionWriter,
        harness: Harness,
        gateway: ModelCaller,
        tools: ToolSource,
        sandboxes: SessionSandboxes,
        evaluation: Evaluation,
        bus: LiveBus,
        blobs: BlobReader,
        describe: Callable[[SessionState], Awaitable[str]],
        reader_wait_seconds: float,
        is_resting: Callable[[], bool] = never,
    ) -> None:
        self._writer = writer
        self._harness = harness
        self._sandboxes = sandboxes
        self._evaluation = evaluation
        self._bus = bus
        self._describe = describe
        self._reader_wait_seconds = reader_wait_seconds
        self._is_resting = is_resting
        self._turn = SessionTurn(
            writer=writer,
            gateway=gateway,
            tools=tools,
            sandboxes=sandboxes,
            blobs=blobs,
            snapshot_soon=self._snapshot_soon,
            is_resting=is_resting,
        )
        self._snapshots = SnapshotTaker(self._take_snapshot, writer.clock)
        self._interrupt_came = asyncio.Event()
        self._news_came = asyncio.Event()

    @property
    def _state(self) -> SessionState:
        return self._writer.state

    async def go(self) -> HandlerResult:
        """Work until there is nothing to do; then say when to wake again."""
        async with (
            # Before anything else, so that `_wait_for_reader` can tell a reader from this.
            self._bus.subscribe(self._writer.stream_id) as subscription,
            in_background(
                self._watch_input(subscription),
                self._look_for_input(),
                self._snapshots.run(),
                self._writer.keep_flushing(),
            ),
        ):
            await recover(self._writer, self._sandboxes)
            try:
                seen_seq = await self._work_until_rest()
            except ComingToRest:
                await self._sandboxes.hand_over(self._writer)
                await self._writer.flush()
                return HandlerResult(seen_seq=self._state.seq, wake_at_us=self._writer.clock.now_us())
        return HandlerResult(seen_seq=seen_seq, wake_at_us=self._next_wake_us())

    async def _work_until_rest(self) -> int:
        """Returns the last row that was taken into account; what comes later wakes the session again."""
        while True:
            self._news_came.clear()
            await self._drive()
            await self._release_if_idle()
            await self._until_idle_or_news()
            await self._writer.flush()
            await self._writer.catch_up()
            if self._snapshots.is_idle and self._is_at_rest():
                return self._state.seq

    def _is_at_rest(self) -> bool:
        match moves.next_move(self._state):
            case moves.Rest():
                return True
            case moves.AwaitVerifiers(since_us=since_us, until_us=until_us):
                now_us = self._writer.clock.now_us()
                return not is_wait_over(since_us=since_us, until_us=until_us, now_us=now_us)
            case _:
                return False

    async def _until_idle_or_news(self) -> None:
        """A snapshot under way keeps the lease, and no turn waiting."""
        if not self._snapshots.is_idle:
            await first_of(self._snapshots.until_idle(), self._news_came.wait())

    # -------------------------------------------------------------------------------------------- moves

    async def _drive(self) -> None:
        while True:
            await self._writer.catch_up()
            self._interrupt_came.clear()
            move = moves.next_move(self._state)
            if self._is_at_rest():
                return
            if (
                isinstance(move, moves.StartTurn | moves.CarryOn | moves.AwaitVerifiers)
                and self._is_resting()
            ):
                raise ComingToRest
            match move:
                case moves.Rest():
                    return
                case moves.TakeInput(event_ids=ids):
                    await self._take_input(ids)
                case moves.StartTurn(event_ids=ids):
                    await self._start_turn(ids)
                case moves.WaitAgain(event_ids=ids):
                    await self._writer.buffer(*consume(self._writer, ids))
                    await self._go_idle({"type": "requires_action"})
                case moves.StopTurn(event_ids=ids):
                    await self._stop_turn(ids)
                case moves.CarryOn():
                    await self._until_interrupted(self._carry_on(self._work))
                case moves.AwaitVerifiers():
                    await self._until_interrupted(self._carry_on(self._ask_again))
                case _:
                    assert_never(move)

    async def _take_input(self, event_ids: tuple[str, ...]) -> None:
        """Note what an idle session is told and does nothing about; a parent that told it may wait to hear that."""
        writer, state = self._writer, self._state
        report = idle_report(state, taking=event_ids)
        outbox = to_parent(state.parent_stream_id, report, event_ids[0], writer.ids)
        await writer.append(*consume(writer, event_ids), outbox=outbox)

    async def _start_turn(self, event_ids: tuple[str, ...]) -> None:
        await self._wait_for_reader()
        await self._sandboxes.remount(self._writer)
        writer = self._writer
        running = [
            rows.SessionStatusRunning(),
            of_thread(rows.ThreadStatusRunning, self._state),
        ]
        deferred_rows = self._sandboxes.deferred_rows(writer)
        await writer.buffer(
            *deferred_rows, *running, *consume(writer, event_ids), summary=self._summary("running")
        )

    async def _work(self) -> None:
        """Let the harness work, then decide what its end means."""
        await self._turn.open_tools()
        await self._describe_environment()
        end = await self._harness.run(self._turn)
        await self._after_harness(end)

    async def _ask_again(self) -> None:
        """What the verifiers waited for may be there."""
        await self._evaluation.run(self._writer)

    async def _carry_on(self, work: Callable[[], Awaitable[None]]) -> None:
        """Go on with the turn; what stops it is said."""
        try:
            await work()
        except HoldRefused as error:
            await self._writer.append(ModelRefused(message=error.message))
            await self._go_idle({"type": "budget_reached"})
        except (LeaseLost, StoreUnavailable, ComingToRest):
            raise
        except RemitError as error:
            await self._fail_turn(session_error(error, "exhausted"), turn_failure(error))
        except Exception:
            logger.exception("turn_failed", session_id=self._writer.stream_id)
            await self._fail_turn(
                {
                    "type": "unknown_error",
                    "message": "The platform failed during this turn; the server's log has the details.",
                    "retry_status": {"type": "exhausted"},
                }
            )

    async def _after_harness(self, end: TurnEnd) -> None:
        await self._writer.catch_up()
        state = self._state
        match end.reason:
            case "requires_action":
                if state.blocking and moves.next_move(state) == moves.CarryOn():
                    await self._go_idle({"type": "requires_action"})
            case "refusal":
                await self._go_idle({"type": "refusal"}, details=state.last_stop_details)
            case "step_limit":
                await self._fail_turn(
                    {
                        "type": "tool_use_limit_reached_error",
                        "message": "The turn reached its limit of model calls. Send a message to go on.",
                        "retry_status": {"type": "exhausted"},
                    }
                )
            case "end_turn":
                if state.needs_model or moves.next_move(state) != moves.CarryOn():
                    return
                if following := moves.next_input(state):
                    await self._writer.buffer(*consume(self._writer, following))
                    return
                if state.outcome is not None:
                    await self._evaluation.run(self._writer)
                else:
                    await self._go_idle({"type": "end_turn"})
            case _:
                assert_never(end.reason)

    async def _stop_turn(self, event_ids: tuple[str, ...]) -> None:
        """Close what is open, consume the interrupts, go idle. Messages that came after them start a new turn."""
        writer, state = self._writer, self._state
        new: list[NewRow] = [
            tool_result(writer, use.use, interrupted_result(use)) for use in state.tool_uses.values()
        ]
        if state.outcome is not None:
            new.append(
                OutcomeEvaluationEnd(
                    outcome_id=state.outcome.id,
                    outcome_evaluation_start_id=state.outcome.evaluation_start_id or "",
                    iteration=state.outcome.iteration,
                    result="interrupted",
                    explanation="Interrupted by a person.",
                    usage=events.model_usage(Usage()),
                )
            )
        new.extend(consume(writer, event_ids))
        uses = list(state.tool_uses.values())
        await writer.buffer(*new, *unmeasured(writer, uses), effects=_assumed(uses))
        await self._go_idle({"type": "end_turn"})

    async def _fail_turn(self, error: JsonObject, failure: rows.TurnFailed | None = None) -> None:
        """The turn is dead: say why, answer what is open, flush the queue, go idle."""
        writer, state = self._writer, self._state
        closed = [
            tool_result(writer, use.use, error_result("Not run: the platform could not carry it out."))
            for use in state.tool_uses.values()
        ]
        flushed = [id for id, event in state.pending.items() if event["type"] != "user.interrupt"]
        new = [rows.SessionError(error=error), *closed, *consume(writer, flushed)]
        failed = replace(failure or turn_failure(None), message=str(error["message"]))
        uses = list(state.tool_uses.values())
        await writer.append(*new, failed, *unmeasured(writer, uses), effects=_assumed(uses))
        await self._go_idle({"type": "retries_exhausted"})

    async def _go_idle(self, reason: JsonObject, *, details: JsonObject | None = None) -> None:
        """One append ends the turn: thread idle, usage, session idle; a parent is told with it. What an idle session takes
        up is staged before, so that nobody archives it in between."""
        writer, state = self._writer, self._state
        if reason["type"] == "requires_action":
            reason = {**reason, "event_ids": list[JsonValue](state.blocking)}
        await self._keep_memory()
        if state.parent_stream_id is not None:
            await self._final_snapshot()
        usage = events.usage_snapshot(
            state.usage,
            state.web,
            cost_nano_usd=state.cost_nano_usd,
            active_seconds=state.active_seconds(writer.clock.now_us()),
        )
        signed = [writer.new(row) for row in self._turn.credentials_used()]
        thread_idle = writer.new(
            replace(of_thread(rows.ThreadStatusIdle, state), stop_reason=reason, stop_details=details)
        )
        used = writer.new(rows.SessionUsage(usage=usage, budget=state.budget))
        # Its id is made last: ids are in the order of the rows.
        idle = writer.new(rows.SessionStatusIdle(stop_reason=reason, stop_details=details))
        await writer.append(
            *self._sandboxes.deferred_rows(writer),
            *signed,
            thread_idle,
            used,
            idle,
            summary=self._summary("idle"),
            outbox=to_parent(
                state.parent_stream_id,
                idle_report(state, stop_reason=reason),
                idle.event_id,
                writer.ids,
            ),
        )

    # --------------------------------------------------------------------------------------- surroundings

    async def _describe_environment(self) -> None:
        if self._state.facts is None and self._turn.view.request.tools:
            text = await self._describe(self._state)
            await self._writer.append(EnvironmentDescribed(text=text))

    async def _wait_for_reader(self) -> None:
        """Programs that send first and stream afterwards exist: give the reader a moment."""
        if not self._state.created.get("waits_for_reader") or self._state.is_interrupt_pending:
            return  # nobody reads an answer of a turn that is stopped before it asks
        clock = self._writer.clock
        until = clock.monotonic() + self._reader_wait_seconds
        while self._bus.subscriber_count(self._writer.stream_id) <= 1 and clock.monotonic() < until:
            await clock.sleep(READER_POLL_SECONDS)

    async def _watch_input(self, subscription: LiveSubscription) -> None:
        """See what others append while a turn runs, so that an interrupt stops it at once."""
        while True:
            news = [await subscription.next(), *subscription.drain()]
            is_new = any(item.rows and item.rows[-1].seq > self._writer.durable_seq for item in news)
            if is_new or subscription.is_lagging:
                subscription.is_lagging = False
                await self._look()
            elif self._state.is_interrupt_pending:
                self._interrupt_came.set()

    async def _look_for_input(self) -> None:
        """The bus may lose things, the log does not."""
        while True:
            await self._writer.clock.sleep(INPUT_POLL_SECONDS)
            await self._look()

    async def _look(self) -> None:
        await self._writer.catch_up()
        self._news_came.set()
        if self._state.is_interrupt_pending:
            self._interrupt_came.set()

    async def _until_interrupted(self, work: Coroutine[Any, Any, None]) -> None:
        """Run `work`; cancel it when an interrupt comes (what it had under way closes itself)."""
        working = asyncio.ensure_future(work)
        stopping = asyncio.ensure_future(self._interrupt_came.wait())
        try:
            await asyncio.wait({working, stopping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            stopping.cancel()
            if not working.done():
                working.cancel()
            await asyncio.gather(working, stopping, return_exceptions=True)
        if not working.cancelled():
            working.result()

    # ------------------------------------------------------------------------------------------ snapshots

    def _snapshot_soon(self) -> None:
        self._snapshots.want()

    async def _take_snapshot(self) -> None:
        try:
            await self._sandboxes.snapshot(self._writer)
        except (SandboxLost, LeaseLost) as error:
            # The turn itself meets the same condition and deals with it.
            logger.info("snapshot_missed", session_id=self._writer.stream_id, detail=error.message)

    async def _keep_memory(self) -> None:
        """What programs in the background, or tools that were cut, have written."""
        try:
            await self._sandboxes.keep_memory(self._writer)
        except SandboxLost as error:
            await self._sandboxes.announce_loss(self._writer, error)

    async def _final_snapshot(self) -> None:
        """A parent is told of the tree as it is now."""
        try:
            await self._sandboxes.snapshot(self._writer)
        except SandboxLost as error:
            await self._sandboxes.announce_loss(self._writer, error)
            await self._sandboxes.snapshot(self._writer)

    async def _release_if_idle(self) -> None:
        due = self._sandboxes.idle_at(self._writer.stream_id)
        if due is not None and self._is_at_rest() and self._writer.clock.monotonic() >= due:
            await self._sandboxes.release(self._writer)

    def _next_wake_us(self) -> int | None:
        """When its sandbox is put away, or its verifiers are asked again."""
        wakes: list[int] = []
        clock, move = self._writer.clock, moves.next_move(self._state)
        if isinstance(move, moves.AwaitVerifiers):
            wakes.append(move.until_us)
        if (due := self._sandboxes.idle_at(self._writer.stream_id)) is not None:
            wakes.append(clock.now_us() + int(max(0.0, due - clock.monotonic()) * 1_000_000) + 1)
        return min(wakes, default=None)

    def _summary(self, status: str) -> StreamSummary:
        return replace(summarize(self._state), status=status)


def _assumed(uses: Sequence[OpenToolUse]) -> list[Settle]:
    return [settle for use in uses for settle in assumed_settlements(use.holds)]

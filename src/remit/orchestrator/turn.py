"""What a harness gets: `SessionTurn` is the Turn of a session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import anyio
import msgspec

from remit.errors import ModelCallFailed, PackagesNotInstalled, SandboxLost
from remit.interfaces import BlobReader, ModelCaller, Sandbox, Toolset
from remit.orchestrator.held import HeldSandboxes
from remit.orchestrator.recorder import SessionRecorder
from remit.orchestrator.room import Room
from remit.orchestrator.session_errors import session_error
from remit.orchestrator.surroundings import config_of
from remit.orchestrator.writer import SessionWriter
from remit.resources.environment_config import web_hosts
from remit.resources.message_files import with_files
from remit.session import events
from remit.session.events import Draft
from remit.session.moves import input_on_the_way
from remit.session.policy import Policy, tool_definitions, tool_policies, tool_settings
from remit.session.sendable import within_limits
from remit.session.state import (
    CHANGING_TOOLS,
    OpenToolUse,
)
from remit.session.view import view
from remit.values import (
    EncodedObjects,
    Hold,
    JsonObject,
    JsonValue,
    ModelRequest,
    ModelResponse,
    NewEvent,
    Settle,
    ToolContext,
    ToolResult,
    ToolUse,
    TurnView,
)

MAY_HAVE_RUN = (
    "The platform lost contact while this ran. It may have run completely, partly or not at all, and it was not "
    "repeated. Look at the state of things before you decide whether to do it again."
)
MENDINGS_MAX = 4
"""Of one call: each puts something aside or makes room, and asks once more."""
STAMPED_AT_RECEIPT = frozenset({"user.define_outcome", "user.custom_tool_result"})


class ComingToRest(Exception):
    """This process is about to leave: nothing is under way, and whoever takes the stream up next goes on from here."""


def never() -> bool:
    """It stays."""
    return False


class _Offer(NamedTuple):
    """The tools of an agent, worked out once for as long as the session's agent is the same."""

    agent: JsonObject
    policies: dict[str, Policy]
    definitions: EncodedObjects


class SessionTurn:
    """See interfaces.Turn."""

    def __init__(
        self,
        *,
        writer: SessionWriter,
        gateway: ModelCaller,
        toolset: Toolset,
        sandboxes: HeldSandboxes,
        blobs: BlobReader,
        snapshot_soon: Callable[[], None],
        is_resting: Callable[[], bool] = never,
    ) -> None:
        self._writer = writer
        self._gateway = gateway
        self._toolset = toolset
        self._sandboxes = sandboxes
        self._blobs = blobs
        self._snapshot_soon = snapshot_soon
        self._is_resting = is_resting
        self._room = Room(writer, gateway, blobs, lambda: self.view.request)
        self._builtins = list(toolset.definitions())
        self._names = [str(tool["name"]) for tool in self._builtins]
        self._offer: _Offer | None = None

    @property
    def view(self) -> TurnView:
        return view(self._writer.state, self._offered.definitions)

    @property
    def _offered(self) -> _Offer:
        agent = self._writer.state.agent
        if self._offer is None or self._offer.agent is not agent:
            policies = tool_policies(agent, self._names)
            self._offer = _Offer(agent, policies, tool_definitions(agent, policies, self._builtins))
        return self._offer

    async def take_input(self) -> TurnView:
        if self._is_resting():
            raise ComingToRest
        state = self._writer.state
        new = consume(self._writer, input_on_the_way(state))
        if new:
            await self._writer.stage(*new)
        await self._answer_denied()
        return self.view

    async def call_model(self, request: ModelRequest) -> ModelResponse:
        """See interfaces.Turn. What a provider refuses for its length or for a block of it is mended and asked again."""
        policies = self._offered.policies
        for mendings_left in range(MENDINGS_MAX, -1, -1):
            asked = await self._room.make(request, self._is_own)
            recorder = SessionRecorder(self._writer, use="turn", policies=policies)
            sent = within_limits(await with_files(asked, self._writer.state.files, self._blobs))
            try:
                return await self._gateway.call(self._writer.principal, sent, recorder)
            except ModelCallFailed as failure:
                is_mendable = mendings_left > 0 and self._is_own(asked)
                if not is_mendable or not await self._room.mend(sent, failure):
                    raise
            request = self.view.request
        raise AssertionError("the last attempt returns or raises")

    def _is_own(self, request: ModelRequest) -> bool:
        """Whether it is the view's. One that a harness made otherwise is sent as it is."""
        return request.content_json == self.view.request.content_json

    async def run_tools(self, uses: Sequence[ToolUse]) -> TurnView:
        waiting = [use for use in uses if use.id in self._writer.state.tool_uses]
        together: list[ToolUse] = []
        for use in waiting:
            if self._toolset.is_concurrent(use.name):
                together.append(use)
                continue
            await self._run_together(together)
            together = []
            await self._run_one(use)
        await self._run_together(together)
        if any(use.name in CHANGING_TOOLS for use in waiting):
            self._snapshot_soon()
        return self.view

    async def say_to_model(self, name: str, text: str) -> TurnView:
        await self._writer.stage(self._writer.private("model.note", name=name, text=text))
        return self.view

    async def note(self, name: str, value: JsonValue) -> TurnView:
        await self._writer.stage(self._writer.private("harness.note", name=name, value=value))
        return self.view

    async def _run_together(self, uses: Sequence[ToolUse]) -> None:
        if len(uses) == 1:
            await self._run_one(uses[0])
        elif uses:
            try:
                async with anyio.create_task_group() as group:
                    for use in uses:
                        group.start_soon(self._run_one, use)
            except ExceptionGroup as failures:
                # One failure ends the turn; the others were cut for it.
                raise failures.exceptions[0] from None

    async def _run_one(self, use: ToolUse) -> None:
        wrong = self._toolset.check_input(use.name, use.input)
        if wrong is not None:
            await self._writer.stage(tool_result(self._writer, use, error_result(wrong)))
            return
        needs_sandbox = self._toolset.needs_sandbox(use.name)
        try:
            sandbox = await self._sandboxes.ensure(self._writer) if needs_sandbox else None
        except PackagesNotInstalled as error:
            if self._writer.state.parent_stream_id is not None:
                raise  # a remit ends with the reason rather than pay for work that cannot be done
            await self._say_not_installed(use, error)
            return
        price = self._toolset.price_nano_usd(use.name)
        holds = await self._holds(use, price)
        await self._append_start(use, sandbox, holds)
        started = self._writer.clock.monotonic()
        try:
            result = await self._run_in(sandbox, use)
            duration_us = int((self._writer.clock.monotonic() - started) * 1_000_000)
            # Before the answer is in the log: what a tool wrote there is kept when the model hears of it.
            changes = use.name in CHANGING_TOOLS
            synced = await self._sandboxes.sync_memory(self._writer) if changes else ()
        except SandboxLost as error:
            await self._writer.append(
                tool_result(self._writer, use, error_result(MAY_HAVE_RUN), may_have_run=True)
            )
            await self._sandboxes.announce_loss(self._writer, error)
            return
        await self._writer.stage(
            tool_result(self._writer, use, result),
            self._writer.private(
                "tool.measured",
                tool_use_id=use.id,
                name=use.name,
                duration_us=duration_us,
                offloaded_to=result.offloaded_to,
                requests=result.requests,
                cost_nano_usd=price * result.requests,
            ),
            *synced,
            effects=[
                Settle(hold_id=hold.hold_id, unit=hold.unit, amount=price * result.requests) for hold in holds
            ],
        )

    async def _say_not_installed(self, use: ToolUse, error: PackagesNotInstalled) -> None:
        """The turn goes on: people are told once, the model at each use, and the next turn tries again."""
        told = session_error(error, "retrying")
        await self._writer.stage(
            *([] if error.is_repeated else [self._writer.public("session.error", error=told)]),
            tool_result(self._writer, use, error_result(f"This was not run: {error.message}")),
        )

    async def _append_start(self, use: ToolUse, sandbox: Sandbox | None, holds: Sequence[Hold]) -> None:
        started = self._writer.private(
            "tool.started",
            tool_use_id=use.id,
            name=use.name,
            sandbox_id=sandbox.id if sandbox is not None else None,
            holds=[cast("JsonValue", msgspec.to_builtins(hold)) for hold in holds],
        )
        await self._writer.append(started, effects=holds)

    async def _holds(self, use: ToolUse, price_nano_usd: int) -> list[Hold]:
        """For a tool that costs; the append that starts it is refused when it does not fit."""
        if price_nano_usd == 0:
            return []
        accounts = await self._writer.store.accounts(self._writer.principal, self._writer.session_id)
        return [
            Hold(hold_id=use.id, unit="nano_usd", purpose="work", amount=price_nano_usd)
            for account in accounts
            if (account.unit, account.purpose) == ("nano_usd", "work")
        ]

    async def _run_in(self, sandbox: Sandbox | None, use: ToolUse) -> ToolResult:
        state = self._writer.state
        context = ToolContext(
            session_id=self._writer.session_id,
            thread_id=state.thread_id,
            epoch=self._writer.epoch,
            settings=tool_settings(state.agent, use.name),
            shown_urls=state.web.shown,
            web_hosts=web_hosts(config_of(state)),
        )
        try:
            return await self._toolset.run(use, context, sandbox)
        except asyncio.CancelledError:
            if sandbox is not None:
                await asyncio.shield(_interrupt(sandbox, use.id))
            raise

    async def _answer_denied(self) -> None:
        denied = [
            open_use for open_use in self._writer.state.tool_uses.values() if open_use.permission == "deny"
        ]
        if denied:
            await self._writer.stage(
                *(tool_result(self._writer, use.use, error_result(self._refusal(use))) for use in denied)
            )

    def _refusal(self, open_use: OpenToolUse) -> str:
        if open_use.denial is not None:
            words = f" They said: {open_use.denial}" if open_use.denial else ""
            return f"A person refused this call; it was not run.{words}"
        shown = ", ".join(tool_names(self._writer.state.agent, self._names)) or "none"
        return f"There is no tool {open_use.use.name!r} for you; it was not run. Your tools: {shown}."


async def _interrupt(sandbox: Sandbox, use_id: str) -> None:
    """Best effort: a sandbox that is lost has nothing to interrupt, and its loss must not stop us from stopping."""
    with contextlib.suppress(SandboxLost):
        await sandbox.interrupt(use_id)


def tool_names(agent: JsonObject, builtin_names: Sequence[str]) -> list[str]:
    """Names of the tools an agent may call."""
    return [name for name, policy in tool_policies(agent, builtin_names).items() if policy != "off"]


def interrupted_result(open_use: OpenToolUse) -> ToolResult:
    """What a tool use gets that a person cut off."""
    if open_use.is_started:
        return error_result(
            "Interrupted by a person while it ran; it may have had effects. Look before you repeat it."
        )
    return error_result("Interrupted by a person before it ran.")


def consume(writer: SessionWriter, event_ids: Sequence[str]) -> list[Draft]:
    """The public rows that consume these pending inputs."""
    state = writer.state
    return [
        events.consumed(
            state.pending[event_id],
            not_before_us=(
                state.received_at_us[event_id]
                if state.pending[event_id]["type"] in STAMPED_AT_RECEIPT
                else None
            ),
        )
        for event_id in event_ids
    ]


def error_result(text: str) -> ToolResult:
    """An error for the model to read."""
    return ToolResult(content=({"type": "text", "text": text},), is_error=True)


def unmeasured(writer: SessionWriter, uses: Sequence[OpenToolUse]) -> list[NewEvent]:
    """What is booked for priced uses that were cut off: they are taken to have cost what was set aside."""
    return [
        writer.private(
            "tool.measured",
            tool_use_id=use.use.id,
            name=use.use.name,
            duration_us=None,
            offloaded_to=None,
            requests=1,
            cost_nano_usd=sum(cast("int", hold["amount"]) for hold in use.holds),
            is_assumed=True,
        )
        for use in uses
        if use.holds
    ]


def tool_result(
    writer: SessionWriter, use: ToolUse, result: ToolResult, *, may_have_run: bool = False
) -> Draft:
    """The public row of a result."""
    fields: dict[str, JsonValue] = {
        "tool_use_id": use.id,
        "content": [cast("JsonValue", msgspec.to_builtins(block)) for block in result.content],
        "is_error": result.is_error,
    }
    if may_have_run:
        fields["may_have_run"] = True
    return writer.public("agent.tool_result", **fields)

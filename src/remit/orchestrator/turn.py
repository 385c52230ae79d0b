"""The turn that a harness gets: `SessionTurn` is the Turn of a session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence
from typing import NamedTuple, cast

import anyio
import msgspec

from remit.catalog.environment_config import web_hosts
from remit.errors import ModelCallFailed, PackagesNotInstalled, SandboxLost
from remit.interfaces import BlobReader, ModelCaller, Sandbox, ToolSession, Toolset, ToolSource
from remit.orchestrator.offloading import offloaded
from remit.orchestrator.recorder import SessionRecorder
from remit.orchestrator.room import Room
from remit.orchestrator.session_errors import session_error
from remit.orchestrator.session_sandboxes import SessionSandboxes
from remit.orchestrator.surroundings import config_of
from remit.schema.events import STAMPED_ON_RECEIPT
from remit.session import events
from remit.session.machine_rows import CredentialsUsed
from remit.session.moves import input_on_the_way
from remit.session.rows import SessionError
from remit.session.sendable import within_limits
from remit.session.state import OpenToolUse
from remit.session.turn_rows import HarnessNote, ModelNote, ToolMeasured, ToolStarted
from remit.session.view import view
from remit.sessions.kind import SessionWriter
from remit.sessions.message_files import with_files
from remit.streams.rows import NewRow, RowBody
from remit.values import (
    EncodedObjects,
    Hold,
    JsonObject,
    JsonValue,
    ModelRequest,
    ModelResponse,
    Settle,
    Tool,
    ToolContext,
    ToolResult,
    ToolUse,
    TurnView,
)

MAY_HAVE_RUN = (
    "The platform lost contact while this ran. It may have run completely, partly or not at all, and it was not "
    "repeated. Look at the state of things before you decide whether to do it again."
)
GONE = "This tool cannot be had now, so the call was not run."
MENDINGS_MAX = 4
"""Of one call: each puts something aside or makes room, and asks once more."""


class ComingToRest(Exception):
    """This process is about to leave: nothing is under way, and whoever takes the stream up next goes on from here."""


def never() -> bool:
    """Return False: the process stays."""
    return False


class _Opened(NamedTuple):
    """An agent's tools, for as long as the session's agent is the same."""

    agent: JsonObject
    toolset: Toolset
    by_name: dict[str, Tool]
    definitions: EncodedObjects
    """What the model is shown."""


class SessionTurn:
    """See interfaces.Turn."""

    def __init__(
        self,
        *,
        writer: SessionWriter,
        gateway: ModelCaller,
        tools: ToolSource,
        sandboxes: SessionSandboxes,
        blobs: BlobReader,
        snapshot_soon: Callable[[], None],
        is_resting: Callable[[], bool] = never,
    ) -> None:
        self._writer = writer
        self._gateway = gateway
        self._source = tools
        self._sandboxes = sandboxes
        self._blobs = blobs
        self._snapshot_soon = snapshot_soon
        self._is_resting = is_resting
        self._room = Room(writer, gateway, blobs, lambda: self.view.request)
        self._opened: _Opened | None = None

    @property
    def view(self) -> TurnView:
        return view(self._writer.state, self._open.definitions)

    @property
    def _open(self) -> _Opened:
        assert self._opened is not None, "tools are opened before the turn goes on"
        return self._opened

    async def open_tools(self) -> None:
        """Open the tools that the agent has now, before the turn goes on. What cannot be had is said, and the
        turn goes on without."""
        state, opened = self._writer.state, self._opened
        if opened is not None and opened.agent is state.agent and opened.toolset.is_current:
            return
        toolset = await self._source.open(
            ToolSession(
                workspace_id=self._writer.principal.workspace_id,
                session_id=self._writer.stream_id,
                environment_id=state.environment_id,
                agent=state.agent,
                epoch=self._writer.epoch,
                config=config_of(state),
                sandbox=self._sandbox,
            )
        )
        self._opened = _Opened(
            agent=state.agent,
            toolset=toolset,
            by_name={tool.name: tool for tool in toolset.tools},
            definitions=EncodedObjects.all_of(
                [tool.definition for tool in toolset.tools if tool.permission != "off"]
            ),
        )
        if toolset.problems:
            errors = [session_error(problem, "retrying") for problem in toolset.problems]
            await self._writer.buffer(*(SessionError(error=error) for error in errors))

    def credentials_used(self) -> Sequence[CredentialsUsed]:
        """Return the credentials that tools' own requests carried since this was said last."""
        uses = self._opened.toolset.take_credential_uses() if self._opened is not None else ()
        return [CredentialsUsed.of(uses)] if uses else []

    async def _sandbox(self) -> Sandbox:
        return await self._sandboxes.ensure(self._writer)

    async def take_input(self) -> TurnView:
        if self._is_resting():
            raise ComingToRest
        state = self._writer.state
        new = consume(self._writer, input_on_the_way(state))
        if new:
            await self._writer.buffer(*new)
        await self._answer_denied()
        return self.view

    async def call_model(self, request: ModelRequest) -> ModelResponse:
        """See interfaces.Turn. What a provider refuses for its length or for a block of it is mended and asked again."""
        tools = self._open.by_name
        for mendings_left in range(MENDINGS_MAX, -1, -1):
            asked = await self._room.make(request, self._is_own)
            recorder = SessionRecorder(self._writer, use="turn", tools=tools)
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
        gone = [use for use in waiting if use.name not in self._open.by_name]
        if gone:  # it was there when the model asked, and a person may have taken a week to allow it
            await self._writer.buffer(*(tool_result(self._writer, use, error_result(GONE)) for use in gone))
            waiting = [use for use in waiting if use not in gone]
        together: list[ToolUse] = []
        for use in waiting:
            if self._open.by_name[use.name].is_concurrent:
                together.append(use)
                continue
            await self._run_together(together)
            together = []
            await self._run_one(use)
        await self._run_together(together)
        if any(self._open.by_name[use.name].may_change_files for use in waiting):
            self._snapshot_soon()
        return self.view

    async def say_to_model(self, name: str, text: str) -> TurnView:
        await self._writer.buffer(ModelNote(name=name, text=text))
        return self.view

    async def note(self, name: str, value: JsonValue) -> TurnView:
        await self._writer.buffer(HarnessNote(name=name, value=value))
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
        tool, toolset = self._open.by_name[use.name], self._open.toolset
        wrong = toolset.check_input(use.name, use.input)
        if wrong is not None:
            await self._writer.buffer(tool_result(self._writer, use, error_result(wrong)))
            return
        try:
            sandbox = await self._sandbox() if tool.needs_sandbox else None
        except PackagesNotInstalled as error:
            if self._writer.state.parent_stream_id is not None:
                raise  # a remit ends with the reason rather than pay for work that cannot be done
            await self._say_not_installed(use, error)
            return
        price = tool.price_nano_usd
        holds = await self._holds(use, price)
        await self._append_start(use, tool, sandbox, holds)
        started = self._writer.clock.monotonic()
        try:
            result = await self._run_in(sandbox, use, tool, toolset)
            duration_us = int((self._writer.clock.monotonic() - started) * 1_000_000)
            # Before the answer is in the log: what a tool wrote there is kept when the model hears of it.
            synced = await self._sandboxes.sync_memory(self._writer) if tool.may_change_files else ()
        except SandboxLost as error:
            await self._writer.append(
                tool_result(self._writer, use, error_result(MAY_HAVE_RUN), may_have_run=True)
            )
            await self._sandboxes.announce_loss(self._writer, error)
            return
        await self._writer.buffer(
            tool_result(self._writer, use, result, may_have_run=result.may_have_run),
            ToolMeasured(
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
        await self._writer.buffer(
            *([] if error.is_repeated else [SessionError(error=told)]),
            tool_result(self._writer, use, error_result(f"This was not run: {error.message}")),
        )

    async def _append_start(
        self, use: ToolUse, tool: Tool, sandbox: Sandbox | None, holds: Sequence[Hold]
    ) -> None:
        started = ToolStarted(
            tool_use_id=use.id,
            name=use.name,
            sandbox_id=sandbox.id if sandbox is not None else None,
            may_change_files=tool.may_change_files,
            holds=[cast("JsonObject", msgspec.to_builtins(hold)) for hold in holds],
        )
        await self._writer.append(started, effects=holds)

    async def _holds(self, use: ToolUse, price_nano_usd: int) -> list[Hold]:
        """For a tool that costs; the append that starts it is refused when it does not fit."""
        if price_nano_usd == 0:
            return []
        accounts = await self._writer.store.accounts(self._writer.principal, self._writer.stream_id)
        return [
            Hold(hold_id=use.id, unit="nano_usd", purpose="work", amount=price_nano_usd)
            for account in accounts
            if (account.unit, account.purpose) == ("nano_usd", "work")
        ]

    async def _run_in(
        self, sandbox: Sandbox | None, use: ToolUse, tool: Tool, toolset: Toolset
    ) -> ToolResult:
        state = self._writer.state
        context = ToolContext(
            session_id=self._writer.stream_id,
            thread_id=state.thread_id,
            epoch=self._writer.epoch,
            settings=tool.settings,
            shown_urls=state.web.shown,
            web_hosts=web_hosts(config_of(state)),
        )
        try:
            result = await toolset.run(use, context, sandbox)
            return await offloaded(result, use, epoch=context.epoch, sandbox=self._sandbox)
        except asyncio.CancelledError:
            if sandbox is not None:
                await asyncio.shield(_interrupt(sandbox, use.id))
            raise

    async def _answer_denied(self) -> None:
        denied = [
            open_use for open_use in self._writer.state.tool_uses.values() if open_use.permission == "deny"
        ]
        if denied:
            await self._writer.buffer(
                *(tool_result(self._writer, use.use, error_result(self._refusal(use))) for use in denied)
            )

    def _refusal(self, open_use: OpenToolUse) -> str:
        if open_use.denial is not None:
            words = f" They said: {open_use.denial}" if open_use.denial else ""
            return f"A person refused this call; it was not run.{words}"
        names = [tool.name for tool in self._open.toolset.tools if tool.permission != "off"]
        shown = ", ".join(names) or "none"
        return f"There is no tool {open_use.use.name!r} for you; it was not run. Your tools: {shown}."


async def _interrupt(sandbox: Sandbox, use_id: str) -> None:
    """Best effort: a sandbox that is lost has nothing to interrupt, and its loss must not stop us from stopping."""
    with contextlib.suppress(SandboxLost):
        await sandbox.interrupt(use_id)


def interrupted_result(open_use: OpenToolUse) -> ToolResult:
    """Make the result of a tool use that a person cut off."""
    if open_use.is_started:
        return error_result(
            "Interrupted by a person while it ran; it may have had effects. Look before you repeat it."
        )
    return error_result("Interrupted by a person before it ran.")


def consume(writer: SessionWriter, event_ids: Sequence[str]) -> list[NewRow]:
    """The public rows that consume these pending inputs."""
    state = writer.state
    return [
        events.consumed(
            state.pending[event_id],
            not_before_us=(
                state.received_at_us[event_id]
                if state.pending[event_id]["type"] in STAMPED_ON_RECEIPT
                else None
            ),
        )
        for event_id in event_ids
    ]


def error_result(text: str) -> ToolResult:
    """An error for the model to read."""
    return ToolResult(content=({"type": "text", "text": text},), is_error=True)


def unmeasured(writer: SessionWriter, uses: Sequence[OpenToolUse]) -> list[ToolMeasured]:
    """Book the priced uses that were cut off: they are taken to have cost what was set aside."""
    return [
        ToolMeasured(
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
) -> RowBody:
    """The public row of a result."""
    kind = writer.state.tool_uses[use.id].kind
    fields: dict[str, JsonValue] = {
        kind.use_field: use.id,
        "content": [cast("JsonValue", msgspec.to_builtins(block)) for block in result.content],
        "is_error": result.is_error,
    }
    if may_have_run:
        fields["may_have_run"] = True
    return writer.row(kind.result_type, **fields)

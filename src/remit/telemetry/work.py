"""Turns, tool runs and verifications, observed by standing around what carries them out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import cast

from opentelemetry.trace import Tracer

from remit.errors import SandboxLost, ToolsUnavailable
from remit.interfaces import CallRecorder, Harness, Sandbox, ToolSession, Toolset, ToolSource, Turn, Verifier
from remit.session.state import SessionState
from remit.telemetry.metrics import Observing
from remit.telemetry.spans import fail, span
from remit.values import (
    CredentialUse,
    JsonObject,
    JsonValue,
    Pending,
    Principal,
    Tool,
    ToolContext,
    ToolResult,
    ToolUse,
    TurnEnd,
    Verdict,
    VerifyRequest,
)


class ObservedHarness:
    """Gives each run of a harness an `invoke_agent` span, under which are the calls and tools of the turn."""

    def __init__(self, harness: Harness, state: SessionState, tracer: Tracer) -> None:
        self.name = harness.name
        self.version = harness.version
        self._harness = harness
        self._state = state
        self._tracer = tracer

    async def run(self, turn: Turn) -> TurnEnd:
        agent = self._state.agent
        model = cast("JsonObject", agent.get("model") or {})
        attributes = {
            "gen_ai.operation.name": "invoke_agent",
            "gen_ai.conversation.id": self._state.session_id,
            "gen_ai.agent.id": str(agent.get("id") or ""),
            "gen_ai.agent.name": str(agent.get("name") or ""),
            "gen_ai.agent.version": str(agent.get("version") or ""),
            "gen_ai.request.model": str(model.get("id") or ""),
            "remit.harness": f"{self.name} {self.version}",
        }
        with span(self._tracer, f"invoke_agent {attributes['gen_ai.agent.name']}", attributes) as made:
            end = await self._harness.run(turn)
            if made is not None:
                made.set_attribute("remit.turn.end", end.reason)
            return end


def watch_turns(tracer: Tracer | None) -> Callable[[Harness, SessionState], Harness]:
    """Make the observer of every harness; without a tracer it changes nothing."""

    def watch(harness: Harness, state: SessionState) -> Harness:
        return harness if tracer is None else ObservedHarness(harness, state, tracer)

    return watch


class ObservedTools(ToolSource):
    """Counts tool runs and gives each an `execute_tool` span."""

    def __init__(self, source: ToolSource, observing: Observing) -> None:
        self._source = source
        self._observing = observing

    async def open(self, session: ToolSession) -> Toolset:
        return _ObservedToolset(await self._source.open(session), self._observing)

    async def forget(self, session_id: str) -> None:
        await self._source.forget(session_id)

    async def close(self) -> None:
        await self._source.close()


class _ObservedToolset(Toolset):
    def __init__(self, toolset: Toolset, observing: Observing) -> None:
        self._toolset = toolset
        self._metrics, self._tracer, self._clock = observing

    @property
    def tools(self) -> Sequence[Tool]:
        return self._toolset.tools

    @property
    def problems(self) -> Sequence[ToolsUnavailable]:
        return self._toolset.problems

    @property
    def is_current(self) -> bool:
        return self._toolset.is_current

    def take_credential_uses(self) -> Sequence[CredentialUse]:
        return self._toolset.take_credential_uses()

    def check_input(self, name: str, input: dict[str, JsonValue]) -> str | None:
        return self._toolset.check_input(name, input)

    async def run(self, use: ToolUse, context: ToolContext, sandbox: Sandbox | None) -> ToolResult:
        attributes = {
            "gen_ai.operation.name": "execute_tool",
            "gen_ai.tool.name": use.name,
            "gen_ai.tool.type": "function",
            "gen_ai.tool.call.id": use.id,
            "gen_ai.conversation.id": context.session_id,
        }
        started_at = self._clock.monotonic()
        outcome = "failed"
        try:
            with span(self._tracer, f"execute_tool {use.name}", attributes) as made:
                result = await self._toolset.run(use, context, sandbox)
                outcome = "error" if result.is_error else "ok"
                if made is not None and result.is_error:
                    fail(made, "tool_error")
                return result
        except asyncio.CancelledError:
            outcome = "cut"
            raise
        except SandboxLost:
            outcome = "lost"
            raise
        finally:
            self._metrics.tool_ran(use.name, outcome, self._clock.monotonic() - started_at)


class ObservedVerifier:
    """Counts verdicts and gives each verification a span."""

    def __init__(self, verifier: Verifier, observing: Observing) -> None:
        self.type = verifier.type
        self._verifier = verifier
        self._metrics, self._tracer, self._clock = observing

    async def check(
        self,
        principal: Principal,
        verifier: dict[str, JsonValue],
        *,
        toolchains: Sequence[str] = (),
        has_packages: bool = False,
    ) -> None:
        await self._verifier.check(principal, verifier, toolchains=toolchains, has_packages=has_packages)

    def is_priced(self, verifier: dict[str, JsonValue]) -> bool:
        return self._verifier.is_priced(verifier)

    async def verify(self, request: VerifyRequest, recorder: CallRecorder | None) -> Verdict | Pending:
        attributes = {
            "remit.verifier.type": self.type,
            "remit.stream.id": request.stream_id,
            "remit.verification.id": request.verification_id,
        }
        started_at = self._clock.monotonic()
        said = "none"
        try:
            with span(self._tracer, f"verify {self.type}", attributes) as made:
                answer = await self._verifier.verify(request, recorder)
                said = _said(answer)
                if made is not None:
                    made.set_attribute("remit.verifier.verdict", said)
                return answer
        finally:
            self._metrics.verified(self.type, said, self._clock.monotonic() - started_at)


def _said(answer: Verdict | Pending) -> str:
    if isinstance(answer, Pending):
        return "pending"
    return "passed" if answer.passed else "failed"

"""Metrics, spans and logs of whole sessions: what they show, and what they must never show."""

from __future__ import annotations

import logging
from collections.abc import AsyncGenerator, AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import pytest
import structlog
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from remit.app import Assembled
from remit.cli.logs import log_to_file
from remit.client.asgi import StreamingASGITransport
from remit.client.client import AsyncClient
from remit.clock import SystemClock
from remit.errors import ModelCallFailed
from remit.server.edge.access_log import AccessLog
from remit.stores.sqlite.folder import open_session_store
from remit.telemetry.metrics import Bounded, Metrics
from remit.testing.platform import GivenKey, Options, platform
from remit.values import ModelDelta, ModelInfo, ModelRequest, ModelResponse

pytestmark = pytest.mark.anyio

SECRET = "s3cr3t-that-nobody-may-see"
KEY = f"rk_{SECRET}"
PRICES = {
    "complaining/m": {"input_per_million_usd": 10.0, "output_per_million_usd": 50.0},
    "scripted/work": {"input_per_million_usd": 10.0, "output_per_million_usd": 50.0},
}
WORK = {
    "steps": [
        {
            "text": f"I shall print {SECRET}",
            "tool_uses": [{"name": "bash", "input": {"command": f"echo {SECRET}; echo {SECRET} > f"}}],
        },
        {"tool_uses": [{"name": "read", "input": {"file_path": f"/nowhere/{SECRET}"}}]},
        {"text": f"It says {SECRET}"},
    ]
}


class Complaining:
    """A ModelProvider that refuses every call and quotes what it was asked."""

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        for delta in ():
            yield delta
        raise ModelCallFailed(
            f"no credit for {request.messages}", reason="billing", billed="no", is_retryable=False
        )

    async def models(self) -> Sequence[ModelInfo]:
        return ()

    async def count_tokens(self, request: ModelRequest) -> int | None:
        return None

    async def close(self) -> None:
        pass


@dataclass
class Watched:
    """A platform at work and what can be seen of it."""

    assembled: Assembled
    exporter: InMemorySpanExporter | None

    @property
    def served(self) -> AccessLog:
        """As it is served over TCP."""
        return AccessLog(self.assembled.edge, SystemClock())

    def client(self) -> AsyncClient:
        return AsyncClient.in_process(self.served, api_key=KEY)

    @asynccontextmanager
    async def http(self, key: str | None = KEY) -> AsyncGenerator[httpx2.AsyncClient]:
        headers = {} if key is None else {"authorization": f"Bearer {key}"}
        transport = StreamingASGITransport(self.served)
        async with httpx2.AsyncClient(transport=transport, base_url="http://remit", headers=headers) as http:
            yield http

    async def metrics(self) -> str:
        async with self.http() as http:
            return (await http.get("/metrics")).text

    def spans(self) -> tuple[ReadableSpan, ...]:
        assert self.exporter is not None
        return self.exporter.get_finished_spans()


@asynccontextmanager
async def watched(
    folder: Path,
    *,
    scripts: Mapping[str, Any],
    is_traced: bool = True,
    scopes: tuple[str, ...] = ("*", "operator"),
    **settings: object,
) -> AsyncGenerator[Watched]:
    clock = SystemClock()
    metrics = Metrics()
    sessions = await open_session_store(folder, clock, on_commit=metrics.committed)
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    given: Options = {
        "store": sessions,
        "clock": clock,
        "scripts": scripts,
        "models": {"complaining": Complaining()},
        "prices": PRICES,
        "metrics": metrics,
        "settings": settings,
        "keys": [GivenKey(name=SECRET, scopes=scopes)],
    }
    if is_traced:
        given["tracer"] = provider.get_tracer("remit")
    try:
        async with platform(folder, **given) as here:
            yield Watched(here.assembled, exporter if is_traced else None)
    finally:
        await sessions.close()
        provider.shutdown()


async def a_turn(client: Any, *events: Mapping[str, object], model: str = "scripted/work") -> str:
    """One turn of a new session, to its rest; gives the session's id."""
    agent = await client.agents.create(name="worker", model=model, tools=[{"type": "agent_toolset_20260401"}])
    environment = await client.environments.create(name="plain")
    session = await client.sessions.create(agent=agent["id"], environment_id=environment["id"])
    session_id = str(session["id"])
    given = events or ({"type": "user.message", "content": [{"type": "text", "text": f"do {SECRET}"}]},)
    with anyio.fail_after(30):
        async with client.sessions.stream(session_id, after="0") as stream:
            await client.sessions.send(session_id, events=given)
            async for event in stream:
                if event["type"] == "session.status_idle":
                    break
    return session_id


OUTCOME = {
    "type": "user.define_outcome",
    "description": f"reach {SECRET}",
    "rubric": {"type": "text", "content": f"by {SECRET}"},
}


def value(text: str, series: str) -> float:
    """Of one series, by its whole name with labels."""
    found = [line for line in text.splitlines() if line.startswith(series + " ")]
    assert found, f"{series} is not among:\n{text}"
    return float(found[0].rpartition(" ")[2])


async def test_metrics_tell_of_a_turn(tmp_path: Path) -> None:
    async with watched(tmp_path, scripts={"work": WORK}) as platform, platform.client() as client:
        await a_turn(client)
        text = await platform.metrics()
    assert value(text, 'remit_turns_total{stop_reason="end_turn"}') == 1
    assert value(text, "remit_steps_total") == 3
    answered = 'remit_model_calls_total{model="scripted/work",outcome="answered",provider="scripted"}'
    assert value(text, answered) == 3
    assert value(text, 'remit_tokens_total{kind="output",model="scripted/work"}') > 0
    assert value(text, 'remit_spent_nano_usd_total{model="scripted/work",purpose="work"}') > 0
    assert value(text, 'remit_tool_runs_total{outcome="ok",tool="bash"}') == 1
    assert value(text, 'remit_tool_runs_total{outcome="error",tool="read"}') == 1
    assert value(text, "remit_sandboxes_started_total") == 1
    assert value(text, "remit_sandboxes_live") == 1
    assert value(text, "remit_holds_open") == 0
    assert value(text, "remit_held_nano_usd") == 0
    assert value(text, 'remit_model_calls_active{key="scripted"}') == 0
    assert value(text, "remit_store_commit_seconds_count") > 5
    sent = 'remit_http_request_seconds_count{method="POST",route="/v1/sessions/{session_id}/events",status="200"}'
    assert value(text, sent) == 1


async def test_failed_calls_are_counted_by_their_reason(tmp_path: Path) -> None:
    async with watched(tmp_path, scripts={}) as platform, platform.client() as client:
        await a_turn(client, model="complaining/m")
        text = await platform.metrics()
    assert 'outcome="billing"' in text
    assert value(text, 'remit_session_errors_total{type="billing_error"}') == 1
    assert value(text, 'remit_turns_total{stop_reason="retries_exhausted"}') == 1


async def test_an_event_stream_is_a_reader_while_it_is_read(tmp_path: Path) -> None:
    async with watched(tmp_path, scripts={"work": WORK}) as platform, platform.client() as client:
        session_id = await a_turn(client)
        async with client.sessions.stream(session_id, after="0") as stream:
            await anext(aiter(stream))
            assert value(await platform.metrics(), "remit_sse_readers") == 1
        with anyio.fail_after(5):
            while value(await platform.metrics(), "remit_sse_readers") != 0:
                await anyio.lowlevel.checkpoint()


async def test_metrics_take_an_operator_s_key(tmp_path: Path) -> None:
    async with watched(tmp_path, scripts={}, scopes=("*",)) as platform:
        async with platform.http() as http:
            assert (await http.get("/metrics")).status_code == 403
        async with platform.http(key=None) as http:
            assert (await http.get("/metrics")).status_code == 401


async def test_metrics_may_be_open(tmp_path: Path) -> None:
    async with (
        watched(tmp_path, scripts={}, metrics_open=True) as platform,
        platform.http(key=None) as http,
    ):
        answer = await http.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert (await http.get("/v1/sessions")).status_code == 401


async def test_paths_that_lead_nowhere_make_one_series(tmp_path: Path) -> None:
    async with watched(tmp_path, scripts={}) as platform:
        async with platform.http() as http:
            for number in range(3):
                await http.get(f"/v1/nothing/{number}")
                await http.get(f"/v1/sessions/sesn_{number}")
        text = await platform.metrics()
    assert value(text, 'remit_http_request_seconds_count{method="GET",route="none",status="404"}') == 3
    known = 'remit_http_request_seconds_count{method="GET",route="/v1/sessions/{session_id}",status="404"}'
    assert value(text, known) == 3
    assert "sesn_" not in text


def test_labels_that_callers_influence_are_bounded() -> None:
    labels = Bounded(2)
    assert [labels.of(name) for name in ("a", "b", "c", "a")] == ["a", "b", "other", "a"]


async def test_spans_follow_the_conventions_for_generative_ai(tmp_path: Path) -> None:
    async with watched(tmp_path, scripts={"work": WORK}) as platform, platform.client() as client:
        session_id = await a_turn(client)
        spans = platform.spans()
    [agent] = [one for one in spans if one.name == "invoke_agent worker"]
    chats = [one for one in spans if one.name == "chat scripted/work"]
    tools = [one for one in spans if one.name.startswith("execute_tool ")]
    assert agent.attributes is not None
    assert agent.attributes["gen_ai.operation.name"] == "invoke_agent"
    assert agent.attributes["gen_ai.conversation.id"] == session_id
    assert agent.attributes["remit.turn.end"] == "end_turn"
    assert len(chats) == 3
    assert [one.name for one in tools] == ["execute_tool bash", "execute_tool read"]
    for one in (*chats, *tools):
        assert one.parent is not None
        assert one.parent.span_id == agent.context.span_id
    attributes = chats[0].attributes
    assert attributes is not None
    assert attributes["gen_ai.operation.name"] == "chat"
    assert attributes["gen_ai.provider.name"] == "scripted"
    assert attributes["gen_ai.response.finish_reasons"] == ("tool_use",)
    assert isinstance(attributes["gen_ai.usage.output_tokens"], int)
    assert attributes["gen_ai.usage.output_tokens"] > 0
    assert tools[1].attributes is not None
    assert tools[1].attributes["error.type"] == "tool_error"
    assert "POST /v1/sessions/{session_id}/events" in {one.name for one in spans}


async def test_neither_logs_nor_spans_nor_metrics_show_what_was_said_or_any_key(tmp_path: Path) -> None:
    root = logging.getLogger()
    before = (root.level, list(root.handlers))
    configured = structlog.get_config()
    try:
        log_to_file(tmp_path / "log")
        async with watched(tmp_path, scripts={"work": WORK}) as platform, platform.client() as client:
            await a_turn(client)
            await a_turn(client, OUTCOME)
            await a_turn(client, model="complaining/m")
            async with platform.http(key=f"rk_wrong_{SECRET}") as http:
                assert (await http.get(f"/v1/sessions?page={SECRET}")).status_code == 401
            metrics = await platform.metrics()
            spans = "\n".join(span.to_json() for span in platform.spans())
    finally:
        structlog.configure(**configured)
        for handler in root.handlers:
            if handler not in before[1]:
                handler.close()
        root.handlers[:] = before[1]
        root.setLevel(before[0])
    log = (tmp_path / "log" / "remit.log").read_text()
    # That there is something to look through:
    assert "model_call_failed" in log
    assert "execute_tool bash" in spans
    assert "remit_model_calls_total" in metrics
    assert SECRET not in log
    assert SECRET not in spans
    assert SECRET not in metrics


async def test_without_a_tracer_there_are_no_spans_and_all_else_is_the_same(tmp_path: Path) -> None:
    async with (
        watched(tmp_path, scripts={"work": WORK}, is_traced=False) as platform,
        platform.client() as client,
    ):
        await a_turn(client)
        assert value(await platform.metrics(), 'remit_turns_total{stop_reason="end_turn"}') == 1


async def test_why_is_answered_over_http_and_only_to_those_who_may_look(tmp_path: Path) -> None:
    async with watched(tmp_path, scripts={"work": WORK}) as platform, platform.client() as client:
        session_id = await a_turn(client)
        why = await client.sessions.why(session_id)
        assert (why["type"], why["id"], why["waits_for"]) == ("why", session_id, "message")
        async with platform.http() as http:
            assert (await http.get("/v1/sessions/sesn_nothing/why")).status_code == 404
            assert (await http.get(f"/v1/remits/{session_id}/why")).status_code == 404
            assert (await http.get(f"/v1/sessions/{session_id}/why?x=1")).status_code == 400

"""A tour of everything that is served, made with the official SDK: each method once, and sessions rich in events."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable, Collection
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
from anthropic import AsyncAnthropic

from api.whole import whole_platform
from parity.manifest import served_methods
from parity.recording import Recorder, RecordingTransport
from remit.server.app import App
from support.mcp_forge import serving_forge

MODEL = "scripted/inline"
PRICES = {MODEL: {"input_per_million_usd": 10.0, "output_per_million_usd": 50.0}}
HELLO = {"steps": [{"text": "Hello."}]}
TOUR_SECONDS_MAX = 60
HEARTBEAT_SECONDS = 0.01
"""Of evaluations: less than a verifier takes to start."""

TOOLS: list[Any] = [
    {
        "type": "agent_toolset_20260401",
        "configs": [{"name": "bash", "permission_policy": {"type": "always_ask"}}],
    },
    {
        "type": "custom",
        "name": "lookup",
        "description": "Look something up.",
        "input_schema": {"type": "object", "properties": {"question": {"type": "string"}}},
    },
]
PNG = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="


def said(text: str, *blocks: Any) -> Any:
    """A message of a person."""
    return {"type": "user.message", "content": [{"type": "text", "text": text}, *blocks]}


def script(*steps: Any) -> Any:
    """A message that carries what the scripted model will say."""
    return said(_script_text(*steps))


def _script_text(*steps: Any) -> str:
    return f"```script\n{json.dumps({'steps': steps})}\n```"


_VERDICT = {"verdict": "pass", "explanation": "Yes.", "criteria": [{"criterion": "It greets.", "met": True}]}
_GRADER = _script_text({"text": json.dumps(_VERDICT)})
"""The grader is the agent's model in another context: what it says stands in its own prompt, the rubric."""


def uses(name: str, **input: Any) -> dict[str, Any]:
    """A tool use in a script."""
    return {"name": name, "input": input}


async def make_tour(folder: Path) -> Recorder:
    """The whole platform, its worker at work, and the SDK in front of it."""
    async with (
        serving_forge() as forge,
        whole_platform(
            folder,
            prices=PRICES,
            scripts={"hello": HELLO},
            evaluation_heartbeat_seconds=HEARTBEAT_SECONDS,
            settings={"egress_private_hosts": ("127.0.0.1",), "egress_ports": (forge.port,)},
        ) as platform,
    ):
        assert isinstance(platform.api, App)
        transport = RecordingTransport(platform.asgi)
        async with httpx2.AsyncClient(transport=transport) as http:
            client = AsyncAnthropic(api_key="rk_one", base_url="http://remit", http_client=http)
            recorder = Recorder(client, transport)
            with anyio.fail_after(TOUR_SECONDS_MAX):
                await Tour(recorder, served_methods(platform.api.routes), forge.url).make()
            return recorder


class Tour:
    """In the order of a newcomer's day."""

    def __init__(self, recorder: Recorder, served: Collection[str], mcp_url: str) -> None:
        self._call = recorder.call
        self._refused = recorder.refused
        self._served = served
        self._mcp_url = mcp_url
        self._agent_id = ""
        self._environment_id = ""

    async def make(self) -> None:
        await self.agents()
        await self.environments()
        for session in (
            self.tools,
            self.mcp,
            self.outcome,
            self.interrupt,
            self.overload,
            self.budget,
            self.compaction,
            self.lists,
        ):
            await session()
        for prefix in ("client", "client.beta"):
            await self._where_served(f"{prefix}.files.upload", lambda prefix=prefix: self.files(prefix))
            await self._where_served(f"{prefix}.models.list", lambda prefix=prefix: self.models(prefix))
            await self._where_served(f"{prefix}.messages.create", lambda prefix=prefix: self.messages(prefix))
        await self._where_served("client.beta.sessions.resources.add", self.resources)
        await self.memory()
        await self.deployments()

    async def _where_served(self, method: str, step: Callable[[], Awaitable[None]]) -> None:
        if method in self._served:
            await step()

    # -------------------------------------------------------------------------------------- configuration

    async def agents(self) -> None:
        path = "client.beta.agents"
        agent = await self._call(
            f"{path}.create", name="tourist", model=MODEL, tools=TOOLS, metadata={"a": "b"}
        )
        self._agent_id = agent.id
        await self._call(f"{path}.update", agent.id, description="Looks around.", version=1)
        await self._call(f"{path}.retrieve", agent.id, version=1)
        await self._call(f"{path}.list", limit=1)
        await self._call(f"{path}.versions.list", agent.id)
        other = await self._call(f"{path}.create", name="gone", model={"id": MODEL, "effort": "high"})
        await self._call(f"{path}.archive", other.id)

    async def environments(self) -> None:
        path = "client.beta.environments"
        environment = await self._call(f"{path}.create", name="here", metadata={"a": "b"})
        self._environment_id = environment.id
        await self._call(f"{path}.update", environment.id, description="A place.")
        await self._call(f"{path}.retrieve", environment.id)
        await self._call(f"{path}.list", limit=1)
        other = await self._call(f"{path}.create", name="there")
        await self._call(f"{path}.archive", other.id)
        await self._call(f"{path}.delete", other.id)

    # ------------------------------------------------------------------------------------------- sessions

    async def session(self, **fields: Any) -> Any:
        return await self._call(
            "client.beta.sessions.create", agent=self._agent_id, environment_id=self._environment_id, **fields
        )

    async def send(self, session_id: str, *events: Any) -> Any:
        return await self._call("client.beta.sessions.events.send", session_id, events=list(events))

    @asynccontextmanager
    async def followed(self, session_id: str, *events: Any) -> AsyncIterator[AsyncIterator[Any]]:
        """Open the stream, send, and give what comes until the session is deleted."""
        stream = await self._call(
            "client.beta.sessions.events.stream", session_id, event_deltas=["agent.message", "agent.thinking"]
        )
        async with stream:
            if events:
                await self.send(session_id, *events)
            yield aiter(stream)

    async def until_idle(self, events: AsyncIterator[Any], reason: str = "end_turn") -> Any:
        async for event in events:
            if event.type == "session.status_idle" and event.stop_reason.type == reason:
                return event
        raise AssertionError("the stream ended before the session was idle")

    async def listed(self, session_id: str) -> list[Any]:
        page = await self._call("client.beta.sessions.events.list", session_id)
        return page.data

    async def tools(self) -> None:
        """Custom tools, tools that ask, tools that run; threads; update; the end."""
        session_id = (await self.session(title="Tools", metadata={"a": "b"})).id
        first = script(
            {
                "text": "I look.",
                "tool_uses": [
                    uses("lookup", question="life"),
                    uses("bash", command="echo hi"),
                    uses("bash", command="echo no"),
                    uses("write", file_path="/workspace/a.txt", content="a"),
                ],
            },
            {"thinking": "Is it all done?", "text": "All done."},
            {"text": "And again."},
        )
        async with self.followed(session_id, first) as events:
            idle = await self.until_idle(events, "requires_action")
            waiting = {e.id: e for e in await self.listed(session_id) if e.id in idle.stop_reason.event_ids}
            await self.send(session_id, *_answers(waiting.values()))
            await self.until_idle(events)
            picture = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": PNG}}
            context = {"type": "system.message", "content": [{"type": "text", "text": "Be brief."}]}
            await self.send(session_id, said("Once more.", picture), context)
            await self.until_idle(events)
            await self.threads(session_id)
            tools = [TOOLS[0]]
            await self._call(
                "client.beta.sessions.update",
                session_id,
                title="New",
                metadata={"c": "d"},
                agent={"tools": tools},
            )
            await self.listed(session_id)
            await self._call("client.beta.sessions.archive", session_id)
            await self.listed(session_id)
            await self._call("client.beta.sessions.delete", session_id)
            async for _ in events:
                pass

    async def mcp(self) -> None:
        """A server of tools, one of which asks; then the session does without it."""
        agent = await self._call(
            "client.beta.agents.create",
            name="smith",
            model=MODEL,
            tools=[{"type": "mcp_toolset", "mcp_server_name": "forge", "configs": [{"name": "add"}]}],
            mcp_servers=[{"type": "url", "name": "forge", "url": self._mcp_url}],
        )
        network = {"type": "limited", "allow_mcp_servers": True}
        environment = await self._call(
            "client.beta.environments.create",
            name="forge",
            config={"type": "cloud", "networking": network},
        )
        session_id = (
            await self._call("client.beta.sessions.create", agent=agent.id, environment_id=environment.id)
        ).id
        steps = script({"tool_uses": [uses("mcp__forge__add", a=1, b=2)]}, {"text": "Three."})
        async with self.followed(session_id, steps) as events:
            idle = await self.until_idle(events, "requires_action")
            (use_id,) = idle.stop_reason.event_ids
            await self.send(
                session_id, {"type": "user.tool_confirmation", "tool_use_id": use_id, "result": "allow"}
            )
            await self.until_idle(events)
        await self.listed(session_id)
        await self._call("client.beta.sessions.update", session_id, agent={"tools": [], "mcp_servers": []})

    async def threads(self, session_id: str) -> None:
        path = "client.beta.sessions.threads"
        (thread,) = (await self._call(f"{path}.list", session_id)).data
        await self._call(f"{path}.retrieve", thread.id, session_id=session_id)
        await self._call(f"{path}.events.list", thread.id, session_id=session_id)
        await self._refused(f"{path}.archive", thread.id, session_id=session_id)
        stream = await self._call(f"{path}.events.stream", thread.id, session_id=session_id)
        async with stream:
            await self.send(session_id, said("Thread."))
            async for event in stream:
                if event.type == "session.thread_status_idle":
                    return

    async def outcome(self) -> None:
        """An outcome with a rubric, and one with a verifier of Remit's own that fails once and then holds."""
        session_id = (await self.session()).id
        steps = script(
            {"text": "Hello."},
            {"text": "Done, I say."},
            {"tool_uses": [uses("write", file_path="/workspace/a.txt", content="a")]},
            {"text": "Now it is."},
        )
        graded = {
            "type": "user.define_outcome",
            "description": "A greeting",
            "rubric": {"type": "text", "content": f"It greets.\n{_GRADER}"},
        }
        verified = {
            "type": "user.define_outcome",
            "description": "a.txt is there",
            "verifiers": [{"type": "command", "command": "test -f a.txt"}],
            "max_iterations": 2,
        }
        async with self.followed(session_id, steps, graded) as events:
            await self.until_idle(events)
            await self.send(session_id, verified)
            await self.until_idle(events)
        await self.listed(session_id)
        await self._call("client.beta.sessions.retrieve", session_id)

    async def interrupt(self) -> None:
        session_id = (await self.session()).id
        async with self.followed(session_id, script({"text": "Slow.", "delay_ms": 60_000})) as events:
            async for event in events:
                if event.type == "span.model_request_start":
                    break
            await self.send(session_id, {"type": "user.interrupt"})
            await self.until_idle(events)
        await self.listed(session_id)

    async def overload(self) -> None:
        """A model that is overloaded once, then for ever, then refuses."""
        session_id = (await self.session()).id
        steps = script(
            {"text": "At last.", "fault": {"kind": "overloaded"}},
            {"text": "Never.", "fault": {"kind": "refusal"}},
        )
        async with self.followed(session_id, steps) as events:
            await self.until_idle(events)
            await self.send(session_id, said("And now?"))
            await self.until_idle(events, "refusal")
        await self.listed(session_id)

    async def budget(self) -> None:
        """A cap that is reached, raised and then taken away."""
        session_id = (await self.session(budget=_dollars("1"))).id
        usage = {"input_tokens": 10, "output_tokens": 150}
        steps = script(
            {"text": "One.", "tool_uses": [uses("glob", pattern="*")], "usage": usage},
            {"text": "Two.", "usage": usage},
        )
        async with self.followed(session_id, steps) as events:
            await self.until_idle(events, "budget_reached")
            await self._call("client.beta.sessions.update", session_id, budget=_dollars("500"))
            await self.until_idle(events)
        await self._call("client.beta.sessions.update", session_id, budget=None)
        await self.listed(session_id)

    async def compaction(self) -> None:
        """A context that is nearly full is summarised; the summary carries what the scripted model says next."""
        session_id = (await self.session()).id
        steps = script(
            {"text": "Much.", "usage": {"input_tokens": 100_000, "output_tokens": 10}},
            {"text": _script_text({"text": "Short again."})},
        )
        async with self.followed(session_id, steps) as events:
            await self.until_idle(events)
            await self.send(session_id, said("Go on."))
            await self.until_idle(events)
        await self.listed(session_id)

    async def lists(self) -> None:
        session = await self.session(initial_events=[script({"text": "Hello."})])
        await self._call("client.beta.sessions.list", limit=2, statuses=["idle", "running"])
        for name in ("vaults", "skills"):
            await self._call(f"client.beta.{name}.list", limit=1)
        await self._where_served("client.skills.list", lambda: self._call("client.skills.list", limit=1))
        async with self.followed(session.id) as events:
            if (await self._call("client.beta.sessions.retrieve", session.id)).status == "running":
                await self.until_idle(events)

    async def deployments(self) -> None:
        """One that runs when somebody says so, one that fails, one with all that a deployment can have."""
        path = "client.beta.deployments"
        file = await self._call("client.beta.files.upload", file=("data.csv", b"a,b\n", "text/csv"))
        outcome = {
            "type": "user.define_outcome",
            "description": "done",
            "rubric": {"type": "text", "content": "done"},
        }
        made = await self._call(
            f"{path}.create",
            agent=self._agent_id,
            environment_id=self._environment_id,
            name="every leap day",
            description="Looks around.",
            initial_events=[
                script({"text": "Hello."}),
                {"type": "system.message", "content": [{"type": "text", "text": "Be brief."}]},
            ],
            metadata={"a": "b"},
            budget=_dollars("500"),
            resources=[{"type": "file", "file_id": file.id, "mount_path": "/data.csv"}],
            schedule={"type": "cron", "expression": "0 9 29 2 *", "timezone": "Europe/Berlin"},
        )
        await self._call(f"{path}.retrieve", made.id)
        run = await self._call(f"{path}.run", made.id)
        async with self.followed(run.session_id) as events:
            if (await self._call("client.beta.sessions.retrieve", run.session_id)).status == "running":
                await self.until_idle(events)
        await self._call("client.beta.files.delete", file.id)
        failed = await self._call(f"{path}.run", made.id)
        await self._call("client.beta.deployment_runs.retrieve", failed.id)
        await self._call("client.beta.deployment_runs.list", deployment_id=made.id, limit=2)
        await self._call(f"{path}.pause", made.id)
        await self._call(f"{path}.list", status="paused", agent_id=self._agent_id)
        await self._call(f"{path}.unpause", made.id)
        await self._call(f"{path}.update", made.id, initial_events=[outcome], resources=None, schedule=None)
        await self._call(f"{path}.archive", made.id)
        await self._call(f"{path}.list", include_archived=True, limit=1)

    # -------------------------------------------------------------------------------- files, models, messages

    async def files(self, prefix: str) -> None:
        path = f"{prefix}.files"
        file = await self._call(f"{path}.upload", file=("data.csv", b"a,b\n1,2\n", "text/csv"))
        await self._call(f"{path}.list", limit=1)
        await self._call(f"{path}.list", ids=[file.id])
        await self._call(f"{path}.retrieve_metadata", file.id)
        await self._call(f"{path}.download", file.id)
        await self._call(f"{path}.delete", file.id)

    async def resources(self) -> None:
        upload = await self._call("client.beta.files.upload", file=("data.csv", b"a,b\n", "text/csv"))
        file = {"type": "file", "file_id": upload.id}
        session = await self.session(resources=[{**file, "mount_path": "/data.csv"}])
        path = "client.beta.sessions.resources"
        added = await self._call(f"{path}.add", session.id, **file)
        await self._call(f"{path}.list", session.id)
        await self._call(f"{path}.retrieve", added.id, session_id=session.id)
        await self._refused(f"{path}.update", added.id, session_id=session.id, authorization_token="t")
        await self._call(f"{path}.delete", added.id, session_id=session.id)

    async def memory(self) -> None:
        """A store, its memories and their versions, and a session that mounts it."""
        path = "client.beta.memory_stores"
        store = (
            await self._call(f"{path}.create", name="Notes", description="Ours.", metadata={"a": "b"})
        ).id
        await self._call(f"{path}.update", store, name="Our notes")
        await self._call(f"{path}.retrieve", store)
        await self._call(f"{path}.list", limit=1)
        memory = await self._call(f"{path}.memories.create", store, path="/deep/a.md", content="A.")
        await self._call(f"{path}.memories.update", memory.id, memory_store_id=store, content="B.")
        await self._call(f"{path}.memories.retrieve", memory.id, memory_store_id=store)
        await self._call(f"{path}.memories.list", store, depth=1)
        await self._call(f"{path}.memories.list", store, view="full")
        mounted = {
            "type": "memory_store",
            "memory_store_id": store,
            "access": "read_only",
            "instructions": "Look.",
        }
        session = await self.session(resources=[mounted])
        await self._call("client.beta.sessions.resources.list", session.id)
        await self._call("client.beta.sessions.list", memory_store_id=store)
        await self._call(f"{path}.memories.delete", memory.id, memory_store_id=store)
        versions = (await self._call(f"{path}.memory_versions.list", store)).data
        await self._call(f"{path}.memory_versions.redact", versions[-1].id, memory_store_id=store)
        await self._call(f"{path}.memory_versions.retrieve", versions[-1].id, memory_store_id=store)
        await self._call(f"{path}.archive", store)
        await self._call(f"{path}.delete", store)

    async def models(self, prefix: str) -> None:
        path = f"{prefix}.models"
        page = await self._call(f"{path}.list", limit=1)
        await self._call(f"{path}.retrieve", page.data[0].id)

    async def messages(self, prefix: str) -> None:
        path = f"{prefix}.messages"
        text = _script_text({"text": "Hello, you."})
        asked: dict[str, Any] = {"model": MODEL, "messages": [{"role": "user", "content": text}]}
        await self._call(f"{path}.create", max_tokens=100, **asked)
        stream = await self._call(f"{path}.create", max_tokens=100, stream=True, **asked)
        async with stream:
            async for _ in stream:
                pass
        await self._call(f"{path}.parse", max_tokens=100, **asked)
        await self._where_served(f"{path}.count_tokens", lambda: self._call(f"{path}.count_tokens", **asked))


def _dollars(cents: str) -> Any:
    return {"type": "limit", "max_list_cost": {"amount": cents, "currency": "USD"}}


def _answers(waiting: Collection[Any]) -> list[Any]:
    """Custom tools are answered, the first tool that asks is allowed, the others denied."""
    answers: list[Any] = []
    allowed = False
    for event in waiting:
        if event.type == "agent.custom_tool_use":
            text = [{"type": "text", "text": "42"}]
            answers.append(
                {"type": "user.custom_tool_result", "custom_tool_use_id": event.id, "content": text}
            )
        elif not allowed:
            allowed = True
            answers.append({"type": "user.tool_confirmation", "tool_use_id": event.id, "result": "allow"})
        else:
            answers.append(
                {
                    "type": "user.tool_confirmation",
                    "tool_use_id": event.id,
                    "result": "deny",
                    "deny_message": "Not that one.",
                }
            )
    return answers

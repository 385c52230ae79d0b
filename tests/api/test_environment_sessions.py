"""What an environment says is what its sessions have: network, packages, variables; their verifiers too, but no network."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anthropic
import httpx2
import pytest

from api.running import TOOLSET, running, said, script, send, until_idle, use
from remit.client.asgi import StreamingASGITransport
from remit.egress.proxied_egress import EgressSettings, ProxiedEgress
from remit.ids import Ids
from remit.interfaces import BlobStore
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.testing.platform import PlatformUnderTest
from remit.values import Principal
from support.package_registry import serving

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
KEY = {"authorization": "Bearer rk_one"}
CONFIG: Any = {"type": "cloud", "packages": {"pip": ["greeting==1.0"]}, "variables": {"APP_MODE": "trial"}}
VERIFIES = 'greet && test "$APP_MODE" = trial && test -z "$HTTP_PROXY"'
LOOK = 'greet; echo "mode=$APP_MODE"; curl -sS http://refused.example/; env | grep -c ^HTTPS_PROXY'


@asynccontextmanager
async def with_registry(folder: Path) -> AsyncGenerator[tuple[Any, PlatformUnderTest]]:
    """A platform whose sandboxes reach a package registry of ours, if their environment lets them."""
    async with serving() as (_, place, base):
        egress = ProxiedEgress(EgressSettings(registries=(place.partition(":")[0],), private_hosts=(place,)))

        def make_sandboxes(runtime: Path, blobs: BlobStore, ids: Ids) -> BubblewrapProvider:
            return BubblewrapProvider(runtime, blobs, ids, egress=egress)

        settings = {"pip_index_url": f"{base}/simple"}
        try:
            async with running(folder, sandboxes=make_sandboxes, settings=settings) as running_now:
                yield running_now
        finally:
            await egress.close()


def outcome(task: Any, *commands: str) -> Any:
    """An outcome that carries the scripted model's task."""
    return {
        "type": "user.define_outcome",
        "description": task["content"][0]["text"],
        "verifiers": [{"type": "command", "command": command} for command in commands],
        "max_iterations": 1,
    }


async def test_a_session_has_its_environments_network_packages_and_variables(tmp_path: Path) -> None:
    async with with_registry(tmp_path) as (client, platform):
        agent = await client.beta.agents.create(name="a", model="scripted/inline", tools=[TOOLSET])
        environment = await client.beta.environments.create(name="e", config=CONFIG)
        task = script(use("bash", command=LOOK), {"text": "Seen."}, {"text": "Judged."})
        session = await client.beta.sessions.create(
            agent=agent.id, environment_id=environment.id, initial_events=[outcome(task, VERIFIES)]
        )
        events = await until_idle(client, session.id)
        (result,) = [event for event in events if event.type == "agent.tool_result"]
        said = result.content[0].text
        assert "hello from pip" in said
        assert "mode=trial" in said
        assert "refused.example is not in allowed_hosts" in said
        (ended,) = [event for event in events if event.type == "span.outcome_evaluation_end"]
        assert ended.result == "satisfied", ended
        state, _ = await platform.services.states.load(ONE, session.id)
        assert state.facts is not None
        assert "- Network: only package registries, through the proxy" in state.facts
        assert "- Installed besides: greeting==1.0." in state.facts


@pytest.mark.long
async def test_verifiers_have_the_packages_though_the_agent_needed_no_sandbox(tmp_path: Path) -> None:
    async with with_registry(tmp_path) as (client, _):
        agent = await client.beta.agents.create(name="a", model="scripted/inline", tools=[TOOLSET])
        environment = await client.beta.environments.create(name="e", config=CONFIG)
        session = await client.beta.sessions.create(
            agent=agent.id,
            environment_id=environment.id,
            initial_events=[outcome(script({"text": "Nothing to do."}), VERIFIES)],
        )
        events = await until_idle(client, session.id)
        (ended,) = [event for event in events if event.type == "span.outcome_evaluation_end"]
        assert ended.result == "satisfied", ended


async def test_a_remit_works_in_its_environment_and_is_verified_with_all_of_it_but_the_network(
    tmp_path: Path,
) -> None:
    async with with_registry(tmp_path) as (client, platform):
        environment = await client.beta.environments.create(name="greeter", config=CONFIG)
        task = script(use("bash", command=f"({LOOK}) > seen.txt; cat seen.txt"), {"text": "Seen."})
        verifiers = [{"type": "command", "command": f"{VERIFIES} && grep 'hello from pip' seen.txt"}]
        asked = {
            "outcome": task["content"][0]["text"],
            "verifiers": verifiers,
            "budget": {"tokens": 1_000_000},
            "model": "scripted/inline",
            "environment_id": environment.id,
            "consent": "given",
        }
        created: Any = await client.post("/v1/remits", cast_to=object, body=asked)
        await client.beta.environments.archive(environment.id)  # a remit keeps what it began with
        transport = StreamingASGITransport(platform.asgi)
        async with (
            httpx2.AsyncClient(transport=transport, base_url="http://remit", headers=KEY) as http,
            http.stream("GET", f"/v1/remits/{created['id']}/events/stream?after=0") as live,
        ):
            async for line in live.aiter_lines():
                if line == "event: remit.ended":
                    break
        ended: Any = await client.get(f"/v1/remits/{created['id']}", cast_to=object)
        receipt: Any = await client.get(f"/v1/remits/{created['id']}/receipt", cast_to=object)
    assert created["environment"]["name"] == "greeter"
    assert created["forecast"] is None, "its verifiers look at the input first"
    assert ended["forecast"]["notes"][-1] == (
        "In the environment 'greeter' the agent reaches the package registries; verifiers reach nothing. "
        "greeting==1.0 will be installed for it and for the verifiers."
    )
    assert (ended["status"], ended["verified"]) == ("satisfied", True), ended["explanation"]
    (box,) = receipt["sandboxes"]
    assert box["network"] == "limited"
    assert box["packages_digest"] is not None


@pytest.mark.long
async def test_an_environment_that_cannot_be_used_is_refused_before_a_remit_exists(tmp_path: Path) -> None:
    asked = {
        "outcome": "x",
        "verifiers": [{"type": "command", "command": "true"}],
        "budget": {"tokens": 1_000},
        "model": "scripted/inline",
    }
    async with running(tmp_path) as (client, _):
        gone = await client.beta.environments.create(name="gone")
        await client.beta.environments.archive(gone.id)
        with pytest.raises(anthropic.NotFoundError, match="env_none"):
            await client.post("/v1/remits", cast_to=object, body={**asked, "environment_id": "env_none"})
        with pytest.raises(anthropic.BadRequestError, match="archived"):
            await client.post("/v1/remits", cast_to=object, body={**asked, "environment_id": gone.id})


@pytest.mark.long
@pytest.mark.requirement("packages said")
async def test_an_installation_is_said_once_and_what_is_there_already_is_not(tmp_path: Path) -> None:
    async with with_registry(tmp_path) as (client, _):
        agent = await client.beta.agents.create(name="a", model="scripted/inline", tools=[TOOLSET])  # type: ignore[list-item]
        environment = await client.beta.environments.create(name="e", config=CONFIG)
        told: list[list[Any]] = []
        for _ in range(2):
            session = await client.beta.sessions.create(
                agent=agent.id,
                environment_id=environment.id,
                initial_events=[script(use("bash", command="greet"), {"text": "Done."})],  # type: ignore[list-item]
            )
            events = await until_idle(client, session.id)
            told.append([one for one in events if one.type == "session.packages_installing"])
            assert [one.type for one in events].index("agent.tool_result") > 0
    (first,), again = told
    assert first.packages == {"pip": ["greeting==1.0"]}
    assert again == []


@pytest.mark.long
@pytest.mark.requirement("packages fail")
@pytest.mark.parametrize("uses", [1, 3])
async def test_a_program_that_waits_for_the_end_comes_back_when_packages_cannot_be_installed(
    tmp_path: Path, uses: int
) -> None:
    async with with_registry(tmp_path) as (client, _):
        agent = await client.beta.agents.create(name="a", model="scripted/inline", tools=[TOOLSET])  # type: ignore[list-item]
        config: Any = {"type": "cloud", "packages": {"pip": ["no-such-package"]}}
        environment = await client.beta.environments.create(name="e", config=config)
        steps: list[Any] = [use("bash", command="echo hi") for _ in range(uses)]
        again: Any = [use("bash", command="echo hi"), {"text": "Still not."}]
        session = await client.beta.sessions.create(
            agent=agent.id,
            environment_id=environment.id,
            initial_events=[script(*steps, {"text": "No packages."}, *again)],  # type: ignore[list-item]
        )
        await until_idle(client, session.id)
        await send(client, session.id, said("Try again."))
        events = await until_idle(client, session.id, 2)
    idles = [event.stop_reason.type for event in events if event.type == "session.status_idle"]
    errors = [event.error for event in events if event.type == "session.error"]
    results = [event for event in events if event.type == "agent.tool_result"]
    assert idles == ["end_turn", "end_turn"]
    assert [error.retry_status.type for error in errors] == ["retrying", "retrying"], "once a turn"
    assert all("no-such-package" in error.message for error in errors)
    assert [one.is_error for one in results] == [True] * (uses + 1)
    assert all("no-such-package" in one.content[0].text for one in results)
    assert [event.type for event in events].count("session.packages_installing") == 2

"""What an environment says is what its sessions have: network, packages, variables; their verifiers too, but no network."""

from __future__ import annotations

from pathlib import Path

import pytest

from api.running import TOOLSET, running, script, until_idle, use
from package_registry import serving
from remit.egress.proxied import EgressSettings, ProxiedEgress
from remit.ids import Ids
from remit.interfaces import BlobStore
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.values import Principal

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
CONFIG = {"type": "cloud", "packages": {"pip": ["greeting==1.0"]}, "variables": {"APP_MODE": "trial"}}
LOOK = 'greet; echo "mode=$APP_MODE"; curl -sS http://refused.example/; env | grep -c ^HTTPS_PROXY'


async def test_a_session_has_its_environments_network_packages_and_variables(tmp_path: Path) -> None:
    async with serving() as (_, place, base):
        egress = ProxiedEgress(EgressSettings(registries=(place.partition(":")[0],), private_hosts=(place,)))

        def make_sandboxes(folder: Path, blobs: BlobStore, ids: Ids) -> BubblewrapProvider:
            return BubblewrapProvider(folder, blobs, ids, egress=egress)

        settings = {"pip_index_url": f"{base}/simple"}
        async with running(tmp_path, make_sandboxes=make_sandboxes, settings=settings) as (client, platform):
            agent = await client.beta.agents.create(name="a", model="scripted/inline", tools=[TOOLSET])  # type: ignore[list-item]
            environment = await client.beta.environments.create(name="e", config=CONFIG)  # type: ignore[arg-type]
            task = script(use("bash", command=LOOK), {"text": "Seen."}, {"text": "Judged."})
            outcome = {
                "type": "user.define_outcome",
                "description": task["content"][0]["text"],
                "verifiers": [
                    {
                        "type": "command",
                        "command": 'greet && test "$APP_MODE" = trial && test -z "$HTTP_PROXY"',
                    }
                ],
                "max_iterations": 1,
            }
            session = await client.beta.sessions.create(
                agent=agent.id,
                environment_id=environment.id,
                initial_events=[outcome],  # type: ignore[list-item]
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
        await egress.close()

"""How users test their own agents: one platform in three sizes, and what it is given in place of the usual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

import anyio
import httpx2
import pytest

from remit.app import Parts
from remit.client.client import AsyncClient
from remit.client.errors import AuthenticationError
from remit.clock import rfc3339
from remit.errors import InvalidRequest, ModelCallFailed
from remit.schema.remits import BudgetParams
from remit.schema.verifiers import CommandVerifier
from remit.stores.memory import MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.platform import OPERATOR, TWO, GivenKey, PlatformUnderTest, platform
from remit.testing.up_process import UpProcess
from remit.values import Lease, ModelRequest

pytestmark = pytest.mark.anyio

WRITE = {"name": "write", "input": {"file_path": "/workspace/answer.txt", "content": "42\n"}}
SCRIPTS: Mapping[str, Any] = {"fixer": {"steps": [{"tool_uses": [WRITE]}, {"text": "Done."}]}}
PRICES = {"scripted/fixer": {"input_per_million_usd": 10.0, "output_per_million_usd": 50.0}}
END = "remit.ended"


async def carried_out(client: AsyncClient) -> Any:
    """A remit of the agent under test, when it has ended."""
    made = await client.remits.create(
        outcome="answer.txt holds the answer",
        model="scripted/fixer",
        verifiers=[CommandVerifier(command="grep -qx 42 answer.txt")],
        budget=BudgetParams(usd="1.00"),
        consent="given",
    )
    with anyio.fail_after(30):
        async with client.remits.stream(made["id"]) as events:
            async for event in events:
                if event["type"] == END:
                    break
    return await client.remits.retrieve(made["id"])


@pytest.mark.parametrize("size", ["in_process", "http", pytest.param("process", marks=pytest.mark.slow)])
async def test_the_same_agent_is_verified_on_a_platform_of_every_size(
    size: Literal["in_process", "http", "process"],
) -> None:
    async with platform(size=size, scripts=SCRIPTS, prices=PRICES) as here, here.client() as client:
        remit = await carried_out(client)
        assert (remit["status"], remit["verified"]) == ("satisfied", True)
        assert float(remit["spent"]["usd"]) > 0
        folder = here.folder if isinstance(here, UpProcess) else here.parts.settings.data
    assert not folder.exists()


async def test_over_http_any_program_reaches_it(tmp_path: Path) -> None:
    async with platform(tmp_path, size="http") as here, httpx2.AsyncClient() as program:
        answer = await program.get(f"{here.url}/v1/agents", headers={"authorization": f"Bearer {TWO.secret}"})
        assert answer.json()["data"] == []


async def test_keys_of_ones_own_open_it_and_no_others() -> None:
    reader = GivenKey(name="reader", scopes=("read",))
    async with platform(keys=[reader], is_at_work=False) as here:
        assert await names_of_agents(here, reader) == []
        with pytest.raises(AuthenticationError):
            await names_of_agents(here, OPERATOR)
        await here.give(OPERATOR)
        assert await names_of_agents(here, OPERATOR) == []


async def names_of_agents(here: PlatformUnderTest, key: GivenKey) -> list[str]:
    async with here.client(key) as client:
        return [agent["name"] async for agent in client.agents.list()]


async def test_faults_stand_between_it_and_its_parts_and_what_ends_its_worker_is_told() -> None:
    asked = anyio.Event()

    class Deaf(MemorySessionStore):
        async def claim(self, *_: object, **__: object) -> list[Lease]:
            asked.set()
            raise ZeroDivisionError

    def deaf(parts: Parts) -> Parts:
        return replace(parts, sessions=Deaf(parts.clock))

    async def wait_for_claims() -> None:
        async with platform(faults=deaf):
            await asked.wait()

    with pytest.RaisesGroup(ZeroDivisionError, flatten_subgroups=True):
        await wait_for_claims()


async def test_without_a_worker_nothing_is_begun_and_time_is_what_is_given() -> None:
    clock = FakeClock()
    async with platform(clock=clock, scripts=SCRIPTS, is_at_work=False) as here, here.client() as client:
        made = await client.remits.create(
            outcome="anything",
            model="scripted/fixer",
            verifiers=[CommandVerifier(command="true")],
            budget=BudgetParams(tokens=1000),
            consent="given",
        )
        assert made["status"] == "verifying_input"
        assert made["created_at"] == rfc3339(clock.now_us())


async def test_a_call_that_breaks_a_rule_of_the_protocol_is_told_at_the_end() -> None:
    async def ask_without_messages() -> None:
        async with platform() as here:
            model = here.parts.models["scripted"]
            with pytest.raises(ModelCallFailed):
                _ = [one async for one in model.stream(ModelRequest(model="m", messages=(), max_tokens=1))]

    with pytest.raises(AssertionError, match="messages"):
        await ask_without_messages()


async def test_what_a_platform_does_not_take_is_refused_by_its_name() -> None:
    with pytest.raises(TypeError, match="clock"):
        platform(size="process", clock=FakeClock())  # type: ignore[call-overload]  # that is what is refused
    with pytest.raises(TypeError, match="colour"):
        platform(colour="red")  # type: ignore[call-overload]
    with pytest.raises(InvalidRequest, match="'colour'"):
        async with platform(settings={"colour": "red"}):
            pass
    with pytest.raises(InvalidRequest, match="'colour'"):
        async with platform(size="process", settings={"colour": "red"}):
            pass

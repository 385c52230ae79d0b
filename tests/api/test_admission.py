"""What is more than the server takes on is refused before anything is done for it, with a time to come back."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import anyio
import anyio.lowlevel
import httpx2
import msgspec
import pytest
from anthropic import AsyncAnthropic
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from api.samples import HELLO, new_session
from api.world import KEY_ONE, KEY_TWO, World
from remit.client.asgi import StreamingASGITransport
from remit.server.app import create_app
from remit.server.edge.admission import RETRY_SECONDS, AdmissionSettings
from remit.server.edge.auth import hash_key
from remit.server.operations.services import ServerSettings, services_of
from remit.server.routes.metrics import OpenMetricsRoutes
from remit.server.streams.sse import READERS_PER_STREAM_MAX
from remit.sessions.inbound import PENDING_EVENTS_MAX
from remit.values import KeyRow

pytestmark = pytest.mark.anyio


def limited(world: World, **limits: int) -> World:
    """The same world with a server of these limits."""
    settings = ServerSettings(admission=AdmissionSettings(**limits))
    world.services = services_of(world.services, settings)
    world.app = create_app(world.services)
    return world


class Slow:
    """A request body that does not end before it is let go."""

    def __init__(self) -> None:
        self.let_go = anyio.Event()

    async def pieces(self) -> AsyncIterator[bytes]:
        yield b'{"name": '
        await self.let_go.wait()
        yield b'"e"}'


@asynccontextmanager
async def under_way(world: World, count: int, key: str = KEY_ONE) -> AsyncIterator[list[httpx2.Response]]:
    """So many requests in the middle of their bodies; they end with the block, and their answers are then there."""
    slow, answers = Slow(), list[httpx2.Response]()
    gate = world.services.admission.requests
    before = gate.total

    async def ask(client: httpx2.AsyncClient) -> None:
        answers.append(await client.post("/v1/environments", content=slow.pieces()))

    async with world.http(key) as client, anyio.create_task_group() as tasks:
        for _ in range(count):
            tasks.start_soon(ask, client)
        while gate.total < before + count:
            await anyio.lowlevel.checkpoint()
        yield answers
        slow.let_go.set()


async def get(world: World, key: str = KEY_ONE) -> httpx2.Response:
    async with world.http(key) as client:
        return await client.get("/v1/agents")


async def test_a_key_has_half_of_the_servers_requests_and_is_told_when_to_come_back(world: World) -> None:
    limited(world, requests_max=4)
    with anyio.fail_after(5):
        async with under_way(world, 2) as answers:
            refused = await get(world)
            assert (await get(world, KEY_TWO)).status_code == 200
    assert refused.status_code == 429
    assert refused.json()["error"]["type"] == "rate_limit_error"
    assert "key 'apikey_one'" in refused.json()["error"]["message"]
    assert refused.json()["request_id"] == refused.headers["request-id"]
    assert int(refused.headers["retry-after"]) in RETRY_SECONDS
    assert [answer.status_code for answer in answers] == [200, 200]
    assert (await get(world)).status_code == 200


async def test_a_full_server_is_overloaded_for_everybody(world: World) -> None:
    limited(world, requests_max=2)
    with anyio.fail_after(5):
        async with under_way(world, 1), under_way(world, 1, KEY_TWO):
            (key,) = await world.services.catalog.list_keys("wrkspc_one")
            await world.services.catalog.put_key(third(key))
            refused = await get(world, "rk_three")
    assert refused.status_code == 529
    assert refused.json()["error"]["type"] == "overloaded_error"
    assert "retry-after" in refused.headers


async def test_who_is_refused_together_does_not_come_back_together(world: World) -> None:
    limited(world, requests_max=2)
    with anyio.fail_after(5):
        async with under_way(world, 1):
            waits = {int((await get(world)).headers["retry-after"]) for _ in range(len(RETRY_SECONDS))}
    assert waits == set(RETRY_SECONDS)


async def test_the_official_client_backs_off_and_succeeds(world: World) -> None:
    limited(world, requests_max=2)
    statuses: list[int] = []
    filled, refused = anyio.Event(), anyio.Event()

    async def fill() -> None:
        async with under_way(world, 1):
            filled.set()
            await refused.wait()

    def answered(status: int) -> None:
        statuses.append(status)
        refused.set()

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(fill)
            await filled.wait()
            transport = StreamingASGITransport(watched(world.app, answered))
            async with httpx2.AsyncClient(transport=transport) as http:
                client = AsyncAnthropic(api_key=KEY_ONE, base_url="http://remit", http_client=http)
                agent = await client.beta.agents.create(name="a", model="scripted/echo")
    assert agent.name == "a"
    assert statuses == [429, 200]


async def test_event_streams_have_a_limit_of_their_own(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
    limited(world, readers_max=2)
    path = f"/v1/sessions/{session.id}/events/stream"
    with anyio.fail_after(5):
        async with world.http() as client, client.stream("GET", path) as reading:
            assert reading.status_code == 200
            refused = await client.get(path)
            assert (await client.get("/v1/agents")).status_code == 200
    assert refused.status_code == 429
    assert "Event streams" in refused.json()["error"]["message"]


async def test_one_stream_of_events_has_so_many_readers(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
    async with AsyncExitStack() as stack, world.http() as client:
        for _ in range(READERS_PER_STREAM_MAX):
            await stack.enter_async_context(world.services.bus.subscribe(session.id))
        refused = await client.get(f"/v1/sessions/{session.id}/events/stream")
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "5"


async def test_uploads_have_a_limit_of_their_own(world: World) -> None:
    limited(world, uploads_max=2)
    with anyio.fail_after(5):
        world.services.admission.uploads.enter(world.one)
        async with world.http() as client:
            refused = await client.post("/v1/files", files={"file": ("a.txt", b"x")})
            assert (await client.get("/v1/files")).status_code == 200
    assert refused.status_code == 429


async def test_bodies_in_memory_have_a_limit_and_are_forgotten_with_their_request(world: World) -> None:
    limited(world, body_bytes_max=2_000)
    body = b'{"name": "' + b"x" * 900 + b'"}'
    with anyio.fail_after(5):
        async with world.http() as client:
            for _ in range(3):
                assert (await client.post("/v1/environments", content=body)).status_code in (200, 400)
            refused = await client.post("/v1/environments", content=body * 2)
    assert refused.status_code == 429
    assert world.services.admission.bodies.total == 0


async def test_a_session_that_takes_nothing_up_takes_no_more_messages_but_an_interrupt(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
        await client.beta.sessions.events.send(session.id, events=[HELLO])  # type: ignore[list-item]
    await world.consume_all(session.id)
    hundred: dict[str, Any] = {"events": [HELLO] * 100}
    path = f"/v1/sessions/{session.id}/events"
    async with world.http() as client:
        for _ in range(PENDING_EVENTS_MAX // 100):
            assert (await client.post(path, json=hundred)).status_code == 200
        refused = await client.post(path, json={"events": [HELLO]})
        stopped = await client.post(path, json={"events": [{"type": "user.interrupt"}]})
    assert refused.status_code == 429
    assert refused.headers["retry-after"] == "5"
    assert stopped.status_code == 200


async def test_metrics_can_be_read_while_the_server_is_full(world: World) -> None:
    limited(world, requests_max=2)

    async def render() -> bytes:
        return b"up 1"

    world.app = create_app(world.services, OpenMetricsRoutes(render))
    with anyio.fail_after(5):
        async with under_way(world, 1), world.http() as client:
            assert (await client.get("/metrics")).text == "up 1"


async def test_every_gate_is_empty_when_all_has_ended(world: World) -> None:
    async with world.sdk() as client:
        session = await new_session(client)
    async with (
        world.http() as client,
        client.stream("GET", f"/v1/sessions/{session.id}/events/stream") as reading,
    ):
        assert reading.status_code == 200
        assert world.services.admission.readers.total == 1
    with anyio.fail_after(5):
        while world.services.admission.readers.total:
            await anyio.lowlevel.checkpoint()
    assert world.services.admission.requests.total == 0


def third(key: KeyRow) -> KeyRow:
    """A key of a workspace of its own."""
    return msgspec.structs.replace(
        key, id="apikey_three", workspace_id="wrkspc_three", sha256=hash_key("rk_three")
    )


def watched(app: ASGIApp, answered: Callable[[int], None]) -> ASGIApp:
    """Tells of every answer's status."""

    async def call(scope: Scope, receive: Receive, send: Send) -> None:
        async def watch(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                answered(message["status"])

        await app(scope, receive, watch)

    return call

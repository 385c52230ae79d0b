"""The client against a fake server in this process and over a socket."""

from __future__ import annotations

import socket
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx2
import pytest
import uvicorn
from hypothesis import given, settings
from hypothesis import strategies as st
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from remit import AsyncClient, Client
from remit.client.asgi import StreamingASGITransport
from remit.client.errors import AuthenticationError, BadRequestError, ConnectionLost, NotFoundError
from remit.client.stream import EventStream
from remit.clock import SystemClock
from remit.schema.agents import ModelParams
from remit.schema.remits import BudgetParams
from support.fake_api import KEY, FakeApi

pytestmark = pytest.mark.anyio

ASKED = ["remit.initial_verification_started", "remit.initial_verification_ended", "remit.forecast"]


class HastyClock(SystemClock):
    """Waits for nothing, but lets others run."""

    async def sleep(self, seconds: float) -> None:
        await anyio.lowlevel.checkpoint()


def client_of(api: FakeApi, key: str = KEY) -> AsyncClient:
    return AsyncClient(
        api_key=key, base_url="http://fake", transport=StreamingASGITransport(api.asgi()), clock=HastyClock()
    )


async def made(client: AsyncClient) -> str:
    remit = await client.remits.create(outcome="x", budget=BudgetParams(usd="1"), verifiers=[])
    return remit["id"]


async def read_all(stream: EventStream) -> None:
    async with stream:
        async for _ in stream:
            pass


async def test_an_error_envelope_becomes_a_typed_exception() -> None:
    async with client_of(FakeApi()) as client:
        with pytest.raises(NotFoundError) as caught:
            await client.remits.retrieve("remit_none")
    error = caught.value
    assert (error.status, error.type, error.error_code) == (404, "not_found_error", "some_code")
    assert (error.message, error.request_id) == ("There is no 'remit_none'.", "req_1")


async def test_a_wrong_key_is_an_authentication_error() -> None:
    async with client_of(FakeApi(), key="wrong") as client:
        with pytest.raises(AuthenticationError):
            await made(client)


async def test_an_answer_that_is_no_envelope_is_still_an_error_with_its_status() -> None:
    async def plain(request: Request) -> Response:
        return PlainTextResponse("<html>bad", status_code=400)

    transport = StreamingASGITransport(Starlette(routes=[Route("/v1/doctor", plain)]))
    async with AsyncClient(api_key=KEY, base_url="http://fake", transport=transport) as client:
        with pytest.raises(BadRequestError, match="answered 400"):
            await client.doctor()


async def test_lists_are_read_page_by_page() -> None:
    api = FakeApi()
    async with client_of(api) as client:
        remit_id = await made(client)
        for number in range(5):
            api.append("remit.working", number=number)
        events = [event["id"] async for event in client.remits.events(remit_id)]
    assert events == [f"revt_{number}" for number in range(1, 10)]


@given(cut_after=st.integers(1, 4), count=st.integers(0, 12))
@settings(max_examples=25, deadline=None)
async def test_a_stream_that_breaks_off_anywhere_gives_every_event_once(cut_after: int, count: int) -> None:
    api = FakeApi(cut_after=cut_after)
    async with client_of(api) as client:
        remit_id = await made(client)
        for number in range(count):
            api.append("remit.working", number=number)
        api.append("remit.ended", status="satisfied")
        with anyio.fail_after(5):
            async with client.remits.stream(remit_id) as events:
                seen = [event["id"] async for event in events]
    assert seen == [event["id"] for event in api.remit_log.events]


async def test_a_stream_goes_on_live_and_ends_with_the_remit() -> None:
    api = FakeApi()
    seen: list[str] = []
    async with client_of(api) as client:
        remit_id = await made(client)
        with anyio.fail_after(5):
            async with client.remits.stream(remit_id) as events:
                async for event in events:
                    seen.append(event["type"])
                    if event["type"] == "remit.forecast":
                        api.append("remit.working")
                    if event["type"] == "remit.working":
                        api.append("remit.ended")
    assert seen == ["remit.created", *ASKED, "remit.working", "remit.ended"]


async def test_a_stream_gives_up_after_a_bounded_number_of_attempts() -> None:
    api = FakeApi(cut_after=0)
    async with client_of(api) as client:
        remit_id = await made(client)
        with anyio.fail_after(5), pytest.raises(ConnectionLost):
            await read_all(client.remits.stream(remit_id))
    assert len(api.stream_opens) == 9


async def test_a_stream_from_now_on_that_breaks_before_its_first_event_says_so() -> None:
    api = FakeApi(cut_after=0)
    async with client_of(api) as client:
        remit_id = await made(client)
        with anyio.fail_after(5), pytest.raises(ConnectionLost, match="before its first event"):
            await read_all(client.remits.stream(remit_id, after=None))


async def test_leaving_a_stream_tells_the_application() -> None:
    api = FakeApi()
    async with client_of(api) as client:
        remit_id = await made(client)
        with anyio.fail_after(5):
            async with client.remits.stream(remit_id) as events:
                await events.__anext__()
        assert api.disconnects == 1


async def test_an_application_that_fails_before_its_answer_is_a_lost_connection() -> None:
    async def failing(request: Request) -> Response:
        raise ZeroDivisionError

    async def bare(scope: object, receive: object, send: object) -> None:
        raise ZeroDivisionError

    async with AsyncClient(
        api_key=KEY, base_url="http://x", transport=StreamingASGITransport(bare)
    ) as client:
        with pytest.raises(ConnectionLost):
            await client.doctor()


async def test_an_application_that_fails_in_mid_answer_is_not_taken_for_a_whole_one() -> None:
    async def half(request: Request) -> Response:
        async def body() -> AsyncGenerator[bytes]:
            yield b'{"half":'
            raise ZeroDivisionError

        return StreamingResponse(body())

    transport = StreamingASGITransport(Starlette(routes=[Route("/v1/doctor", half)]))
    async with AsyncClient(api_key=KEY, base_url="http://x", transport=transport) as client:
        with pytest.raises(ConnectionLost):
            await client.doctor()


async def test_an_upload_is_streamed_and_its_own_failure_reaches_the_caller() -> None:
    class OwnError(Exception):
        pass

    async def chunks() -> AsyncGenerator[bytes]:
        yield b"abc"
        raise OwnError

    async with client_of(FakeApi()) as client:
        with pytest.raises(OwnError):
            await client.upload(chunks())


async def test_the_answer_arrives_while_the_application_still_sends() -> None:
    gate = anyio.Event()

    async def slow(request: Request) -> Response:
        async def body() -> AsyncGenerator[bytes]:
            yield b"first"
            await gate.wait()
            yield b"second"

        return StreamingResponse(body())

    async with httpx2.AsyncClient(
        base_url="http://x", transport=StreamingASGITransport(Starlette(routes=[Route("/", slow)]))
    ) as http:
        with anyio.fail_after(5):
            async with http.stream("GET", "/") as response:
                pieces = response.aiter_raw()
                assert await pieces.__anext__() == b"first"
                gate.set()
                assert await pieces.__anext__() == b"second"


@asynccontextmanager
async def served(api: FakeApi, path: Path) -> AsyncGenerator[str]:
    server = uvicorn.Server(uvicorn.Config(api.asgi(), uds=str(path), log_level="critical", lifespan="off"))
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(str(path))
        listening.listen()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(server.serve, [listening])
            yield str(path)
            server.should_exit = True


async def test_the_same_calls_work_over_a_socket(tmp_path: Path) -> None:
    api = FakeApi()
    async with (
        served(api, tmp_path / "api.sock") as path,
        AsyncClient.over_socket(path, api_key=KEY) as client,
    ):
        remit_id = await made(client)
        api.append("remit.ended")
        with anyio.fail_after(5):
            async with client.remits.stream(remit_id) as events:
                types = [event["type"] async for event in events]
    assert types == ["remit.created", *ASKED, "remit.ended"]


async def test_a_socket_without_a_server_is_a_lost_connection(tmp_path: Path) -> None:
    async with AsyncClient.over_socket(str(tmp_path / "none.sock"), api_key=KEY) as client:
        with pytest.raises(ConnectionLost):
            await client.doctor()


def test_the_blocking_client_does_the_same() -> None:
    api = FakeApi()
    with Client(client=client_of(api)) as client:
        remit = client.remits.create(outcome="x", budget=BudgetParams(usd="1"))
        api.append("remit.ended")
        with client.remits.stream(remit["id"]) as events:
            assert [event["type"] for event in events] == ["remit.created", *ASKED, "remit.ended"]
        assert [item["id"] for item in client.remits.list()] == [remit["id"]]
        with client.remits.download(remit["id"], "files.tar") as chunks:
            assert len(b"".join(chunks)) > 0
        with pytest.raises(NotFoundError):
            client.remits.retrieve("remit_none")


def test_a_client_without_a_key_says_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("REMIT_API_KEY", raising=False)
    with pytest.raises(ValueError, match="REMIT_API_KEY"):
        AsyncClient(base_url="http://x")


def test_a_client_is_usable_without_with_and_ends_with_whoever_holds_it() -> None:
    api = FakeApi()
    before = threading.active_count()
    remit = Client(client=client_of(api)).remits.create(outcome="x", budget=BudgetParams(usd="1"))
    client = Client(client=client_of(api))
    assert client.remits.retrieve(remit["id"])["outcome"] == "x"
    assert threading.active_count() == before + 1
    client.close()
    client.close()
    assert threading.active_count() == before
    with pytest.raises(RuntimeError, match="closed"):
        client.remits.retrieve(remit["id"])


def test_a_field_that_a_call_does_not_have_is_refused_before_anything_is_sent() -> None:
    api = FakeApi()
    with Client(client=client_of(api)) as client:
        with pytest.raises(TypeError, match="colour"):
            client.remits.create(outcome="x", budget=BudgetParams(usd="1"), colour="red")  # pyright: ignore
        with pytest.raises(TypeError, match="takes remit_id by position"):
            client.remits.retrieve()  # pyright: ignore
        with pytest.raises(TypeError, match="reason"):
            client.remits.interrupt("remit_1", reason="late")  # pyright: ignore
    assert api.calls == []


async def test_only_what_is_given_is_sent() -> None:
    sent: list[object] = []

    async def keep(request: Request) -> Response:
        sent.append(await request.json())
        return JSONResponse({"id": "agent_1"})

    transport = StreamingASGITransport(
        Starlette(routes=[Route("/v1/agents/{id:path}", keep, methods=["POST"])])
    )
    async with AsyncClient(api_key=KEY, base_url="http://x", transport=transport) as client:
        await client.agents.update("agent_1", description=None, model=ModelParams(id="m", effort="low"))
    assert sent == [{"description": None, "model": {"id": "m", "effort": "low"}}]

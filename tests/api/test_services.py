"""Services that an agent leaves running: they live on, are listed, looked at, and missed when they are gone."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import msgspec
import pytest
from structlog.testing import capture_logs

from api.answers import CheckedAnswers
from api.running import open_session, running, said, script, send, until, until_idle, use
from remit.client.asgi import StreamingASGITransport
from remit.errors import InvalidRequest
from remit.server.edge.access_log import AccessLog
from remit.server.edge.listening import listen_on_port
from remit.session.folding import fold
from remit.testing.platform import PlatformUnderTest
from remit.values import Principal

pytestmark = pytest.mark.anyio

ONE = Principal(workspace_id="wrkspc_one", actor="apikey_one")
SERVER = r"""
import http.server, sys, time
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def answer(self):
        length = int(self.headers.get("content-length") or 0)
        body = self.rfile.read(length)
        if self.path == "/redirect":
            self.send_response(302)
            self.send_header("location", "/a/b?c=1")
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if self.path == "/nowhere":
            self.send_response(302)
            self.send_header("location", "http://[")
            self.send_header("content-length", "0")
            self.end_headers()
            return
        if self.path.startswith("/both"):
            self.send_response(200)
            for name in ("content-length", "transfer-encoding") if self.path == "/both" else ("Transfer-Encoding", "Content-Length"):
                self.send_header(name, "5" if "ength" in name else "chunked")
            self.end_headers()
            self.wfile.write(b"5\r\nhello\r\n0\r\n\r\n")
            return
        if self.path == "/garbage":
            self.wfile.write(b"SSH-2.0-what\r\n")
            self.close_connection = True
            return
        if self.path == "/stream":
            self.send_response(200)
            self.send_header("content-type", "text/event-stream")
            self.end_headers()
            self.wfile.write(b"data: 1\n\n")
            self.wfile.flush()
            time.sleep(60)
        said = f"{self.command} {self.path} {body.decode()}\n{self.headers}".encode()
        self.send_response(201)
        for name, value in {
            "content-type": "text/html", "content-length": str(len(said)), "set-cookie": "a=b",
            "content-security-policy": "default-src *", "clear-site-data": '"*"', "x-frame-options": "DENY",
            "access-control-allow-origin": "http://evil", "www-authenticate": "Basic", "etag": '"1"',
            "cache-control": "public, max-age=600",
        }.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(said)
    do_GET = do_HEAD = do_POST = do_PUT = do_DELETE = do_PATCH = do_OPTIONS = answer
    def log_message(self, *_): pass
http.server.ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Handler).serve_forever()
"""


class World:
    def __init__(
        self, client: Any, platform: PlatformUnderTest, session_id: str, port: int, folder: Path
    ) -> None:
        self.client = client
        self.platform = platform
        self.session_id = session_id
        self.port = port
        self.folder = folder

    @contextlib.asynccontextmanager
    async def http(self, key: str | None = "rk_one") -> AsyncGenerator[httpx2.AsyncClient]:
        headers = {"authorization": f"Bearer {key}"} if key else {}
        async with httpx2.AsyncClient(
            transport=StreamingASGITransport(CheckedAnswers(self.platform.api)),
            base_url="http://remit",
            headers=headers,
        ) as http:
            yield http

    def path(self, rest: str = "/") -> str:
        return f"/v1/sessions/{self.session_id}/preview/{self.port}{rest}"


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


@contextlib.asynccontextmanager
async def world(folder: Path, **given: Any) -> AsyncGenerator[World]:
    """A session whose agent has started a server and gone idle."""
    port = free_port()
    start = f"python3 server.py {port} > log 2>&1 & until (exec 3<>/dev/tcp/127.0.0.1/{port}) 2>/dev/null; do sleep 0.02; done"
    async with running(folder, **given) as (client, platform):
        session = await open_session(
            client,
            initial_events=[
                script(
                    use("write", file_path="/workspace/server.py", content=SERVER),
                    use("bash", command=start),
                    {"text": "It runs."},
                    use("bash", command=f"(exec 3<>/dev/tcp/127.0.0.1/{port}) && echo alive"),
                    {"text": "Still there."},
                )
            ],
        )
        await until_idle(client, session.id)
        yield World(client, platform, session.id, port, folder)


async def test_a_service_lives_across_turns_and_is_listed(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http:
        answer = (await http.get(f"/v1/sessions/{it.session_id}/services")).json()
        (service,) = answer["data"]
        assert answer["is_live"]
        assert (service["port"], service["address"]) == (it.port, "127.0.0.1")
        assert f"server.py {it.port}" in service["command"]
        await send(it.client, it.session_id, said("Go on."))
        events = await until_idle(it.client, it.session_id, 2)
        results = [event for event in events if event.type == "agent.tool_result"]
        assert "alive" in str(results[-1].content)


async def test_a_preview_passes_requests_on_without_anything_of_ours(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http:
        answer = await http.post(
            it.path("/a%20b/c?d=e%2Ff"),
            content=b"body",
            headers={
                "cookie": "ours=1",
                "x-app": "theirs",
                "anthropic-beta": "x",
                "referer": "http://remit/x",
            },
        )
    assert answer.status_code == 201
    first, _, headers = answer.text.partition("\n")
    assert first == "POST /a%20b/c?d=e%2Ff body"
    assert f"host: localhost:{it.port}" in headers.lower()
    assert "x-app: theirs" in headers
    for ours in ("rk_one", "authorization", "cookie", "anthropic", "referer"):
        assert ours not in headers.lower()


async def test_a_preview_hands_out_nothing_that_acts_on_our_origin(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http:
        answer = await http.get(it.path())
        head = await http.head(it.path())
    assert answer.headers["content-security-policy"] == "sandbox allow-scripts allow-forms"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert answer.headers["etag"] == '"1"'
    for theirs in ("set-cookie", "clear-site-data", "www-authenticate", "access-control-allow-origin"):
        assert theirs not in answer.headers
    assert (head.status_code, head.content) == (201, b"")


async def test_a_preview_passes_on_nothing_that_a_proxy_in_front_of_us_says_of_who_asks(
    tmp_path: Path,
) -> None:
    named = dict.fromkeys(
        ("cf-access-jwt-assertion", "x-goog-iap-jwt-assertion", "x-amzn-oidc-data", "x-real-ip"),
        "worth-stealing",
    )
    async with world(tmp_path) as it, it.http() as http:
        answer = await http.get(it.path(), headers=named | {"x-csrf-token": "theirs"})
    assert "worth-stealing" not in answer.text
    assert "x-csrf-token: theirs" in answer.text


async def test_no_cache_may_keep_what_a_key_opened(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http, it.http(key=None) as browser:
        assert (await http.get(it.path())).headers["cache-control"] == "no-store"
        made = (await http.post(f"/v1/sessions/{it.session_id}/previews", json={"port": it.port})).json()
        assert (await browser.get(made["url"])).headers["cache-control"] == "public, max-age=600"


async def test_a_page_of_ours_cannot_be_made_to_run_an_agents_script(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http, it.http(key=None) as browser:
        made = (await http.post(f"/v1/sessions/{it.session_id}/previews", json={"port": it.port})).json()
        script = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "no-cors", "sec-fetch-dest": "script"}
        assert (await browser.get(made["url"], headers=script)).status_code == 403
        followed = {"sec-fetch-site": "same-origin", "sec-fetch-mode": "navigate"}
        assert (await browser.get(made["url"], headers=followed)).status_code == 201
        own = {
            "sec-fetch-site": "cross-site",
            "sec-fetch-mode": "cors",
        }  # of its own page, whose origin is nobody's
        assert (await browser.get(made["url"], headers=own)).status_code == 201


async def test_a_token_written_otherwise_gives_the_service_no_part_of_it(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http, it.http(key=None) as browser:
        made = (await http.post(f"/v1/sessions/{it.session_id}/previews", json={"port": it.port})).json()
        token = made["url"].split("/")[3]
        written = "".join(f"%{byte:02x}" for byte in token.encode())
        answer = await browser.get(f"/v1/previews/{written}/x%20y?a=b")
        assert answer.text.startswith("GET /x%20y?a=b ")


async def test_a_redirect_leads_to_the_preview_again(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http:
        assert (await http.get(it.path("/redirect"))).headers["location"] == it.path("/a/b?c=1")
        without_slash = await http.get(it.path(""))
        assert (without_slash.status_code, without_slash.headers["location"]) == (308, it.path())


async def test_a_stream_is_passed_on_as_it_comes(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http:
        with anyio.fail_after(5):
            async with http.stream("GET", it.path("/stream")) as answer:
                pieces = answer.aiter_bytes()
                assert await pieces.__anext__() == b"data: 1\n\n"


async def test_an_address_with_a_token_needs_no_key_and_opens_one_port_only(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http, it.http(key=None) as browser:
        made = (await http.post(f"/v1/sessions/{it.session_id}/previews", json={"port": it.port})).json()
        url: str = made["url"]
        answer = await browser.get(url + "x")
        assert answer.text.startswith("GET /x")
        assert answer.headers["content-security-policy"].startswith("sandbox")
        assert answer.headers["access-control-allow-origin"] == "*"
        preflight = await browser.options(url, headers={"access-control-request-method": "PUT"})
        assert preflight.status_code == 204
        token = url.split("/")[3]
        assert (await browser.get(f"/v1/previews/{token}x/")).status_code == 401
        opened = await browser.get("/v1/sessions", headers={"x-api-key": token})
        assert opened.status_code == 403
        assert (await browser.get(it.path())).status_code == 401


async def test_no_token_stands_in_the_access_log(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http:
        made = (await http.post(f"/v1/sessions/{it.session_id}/previews", json={"port": it.port})).json()
        logged = AccessLog(it.platform.asgi, it.platform.services.clock)
        async with httpx2.AsyncClient(
            transport=StreamingASGITransport(logged), base_url="http://remit"
        ) as browser:
            with capture_logs() as lines:
                assert (await browser.get(made["url"])).status_code == 201
    (line,) = [line for line in lines if line["event"] == "request_answered"]
    assert line["path"] == "/v1/previews/…/"


async def test_an_address_of_a_redirect_that_is_none_is_left_out(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http:
        answer = await http.get(it.path("/nowhere"))
        assert answer.status_code == 302
        assert "location" not in answer.headers


@pytest.mark.parametrize("path", ["/both", "/both-the-other-way-round"])
async def test_an_answer_whose_end_is_said_in_two_ways_is_a_502_that_says_so(
    tmp_path: Path, path: str
) -> None:
    async with world(tmp_path) as it, it.http() as http:
        answer = await http.get(it.path(path))
        assert answer.status_code == 502
        assert "both a Content-Length and a Transfer-Encoding" in answer.text


@pytest.mark.parametrize("path", ["/nowhere", "/both", "/garbage", "/x", "/%00", "/\u00e9"])
async def test_no_token_stands_in_any_line_whatever_a_service_answers(tmp_path: Path, path: str) -> None:
    async with world(tmp_path) as it, it.http() as http, it.http(key=None) as browser:
        made = (await http.post(f"/v1/sessions/{it.session_id}/previews", json={"port": it.port})).json()
        with capture_logs() as lines:
            await browser.get(made["url"].rstrip("/") + path)
        assert made["url"].split("/")[3] not in str(lines)


async def test_a_token_ends_with_its_time(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http, it.http(key=None) as browser:
        made = (
            await http.post(
                f"/v1/sessions/{it.session_id}/previews", json={"port": it.port, "expires_in_seconds": 60}
            )
        ).json()
        catalog = it.platform.services.catalog
        (row,) = [key for key in await catalog.list_keys("wrkspc_one") if key.id == made["id"]]
        assert row.expires_at_us is not None
        await catalog.drop_expired_keys("preview", before_us=row.expires_at_us + 1)
        assert (await browser.get(made["url"])).status_code == 401


async def test_the_other_workspace_sees_no_service_and_no_preview(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http("rk_two") as stranger:
        assert (await stranger.get(f"/v1/sessions/{it.session_id}/services")).status_code == 404
        assert (await stranger.get(it.path())).status_code == 404
        made = await stranger.post(f"/v1/sessions/{it.session_id}/previews", json={"port": it.port})
        assert made.status_code == 404


async def test_what_cannot_be_looked_at_is_said_clearly(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http:
        nothing = await http.get(f"/v1/sessions/{it.session_id}/preview/{free_port()}/")
        assert nothing.status_code == 404
        assert "services" in nothing.json()["error"]["message"]
        garbage = await http.get(it.path("/garbage"))
        assert garbage.status_code == 502
        socketed = await http.get(it.path(), headers={"upgrade": "websocket", "connection": "upgrade"})
        assert socketed.status_code == 400
        assert "Websockets" in socketed.json()["error"]["message"]
        assert (await http.request("TRACE", it.path())).status_code == 400


async def test_more_requests_at_a_time_than_allowed_are_told_to_wait(tmp_path: Path) -> None:
    async with world(tmp_path) as it, it.http() as http, contextlib.AsyncExitStack() as stack:
        for _ in range(32):
            await stack.enter_async_context(http.stream("GET", it.path("/stream")))
        refused = await http.get(it.path())
        assert refused.status_code == 429


async def test_a_released_sandbox_says_which_services_ended(tmp_path: Path) -> None:
    async with world(tmp_path, settings={"sandbox_idle_seconds": 0.0}) as it, it.http() as http:
        events = await until(it.client, it.session_id, "session.sandbox_lost")
        (lost,) = [event for event in events if event.type == "session.sandbox_lost"]
        (service,) = lost.lost["services"]
        assert service["port"] == it.port
        assert "server.py" in service["command"]
        assert (await http.get(f"/v1/sessions/{it.session_id}/services")).json() == {
            "data": [],
            "is_live": False,
        }
        rows = await it.platform.services.sessions.read(ONE, it.session_id, limit=1_000)
        told = msgspec.json.encode(fold(rows).history)
        assert b"These services ended with it: port " in told  # the agent is told
        gone = await http.get(it.path())
        assert gone.status_code == 400
        assert "no live sandbox" in gone.json()["error"]["message"]


def test_an_empty_address_is_refused_and_does_not_mean_all_of_them() -> None:
    with pytest.raises(InvalidRequest, match="--host"):
        listen_on_port("", 0)


def test_answers_over_tcp_do_not_wait_for_acknowledgements() -> None:
    with listen_on_port("127.0.0.1", 0) as listener:
        client = socket.create_connection(listener.getsockname())
        accepted, _ = listener.accept()
        with client, accepted:
            assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)

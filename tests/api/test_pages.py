"""The pages over the public API: who gets in, what is escaped, and that what is live equals what is loaded."""

from __future__ import annotations

import html
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx2
import msgspec
import pytest

from api.whole import whole_platform
from remit.client.asgi import StreamingASGITransport
from remit.client.html import tag
from remit.clock import SystemClock
from remit.console.app import Console
from remit.testing.platform import PlatformUnderTest

pytestmark = pytest.mark.anyio

URL = "http://pages"
EVIL = "<script>alert(1)</script>\"><img src=x onerror=alert(2)>'\x1b[31m"
SCRIPTS = {
    "work": {
        "steps": [
            {"text": EVIL, "tool_uses": [{"name": "bash", "input": {"command": f"echo '{EVIL[:20]}'"}}]},
            {"text": "done"},
        ]
    },
    "ask": {
        "steps": [{"text": "?", "tool_uses": [{"name": "ask", "input": {"what": EVIL}}]}, {"text": "ok"}]
    },
}


class Pages:
    """A platform at work with its pages in front."""

    def __init__(self, assembled: PlatformUnderTest) -> None:
        self.front = Console(assembled.asgi, SystemClock())

    def browser(self) -> httpx2.AsyncClient:
        return httpx2.AsyncClient(transport=StreamingASGITransport(self.front), base_url=URL)

    def api(self, key: str = "rk_one") -> httpx2.AsyncClient:
        return httpx2.AsyncClient(
            transport=StreamingASGITransport(self.front),
            base_url=URL,
            headers={"authorization": f"Bearer {key}"},
        )

    async def link(self, id: str | None = None) -> str:
        async with self.api() as http:
            answer = await http.post("/v1/links", json={"id": id} if id else {})
            assert answer.status_code == 200, answer.text
            return str(answer.json()["url"]).removeprefix(URL)

    async def session(self, script: str, message: str = "go", **fields: Any) -> str:
        async with self.api() as http:
            tools = [
                {"type": "agent_toolset_20260401"},
                {"type": "custom", "name": "ask", "description": "d", "input_schema": {"type": "object"}},
            ]
            body = {"name": EVIL[:100], "model": f"scripted/{script}", "tools": tools}
            agent = (await http.post("/v1/agents", json=body)).json()
            environment = (await http.post("/v1/environments", json={"name": "e"})).json()
            event = {"type": "user.message", "content": [{"type": "text", "text": message}]}
            fields |= {"agent": agent["id"], "environment_id": environment["id"], "initial_events": [event]}
            answer = await http.post("/v1/sessions", json=fields)
            assert answer.status_code == 200, answer.text
            id = str(answer.json()["id"])
            await self.until(f"/v1/sessions/{id}", {"idle"})
            return id

    async def remit(self, **fields: Any) -> str:
        async with self.api() as http:
            body = {
                "outcome": EVIL,
                "verifiers": [{"type": "command", "command": "test ! -e nothing"}],
                "model": "scripted/work",
                "budget": {"tokens": 50_000},
                **fields,
            }
            answer = await http.post("/v1/remits", json=body)
            assert answer.status_code == 200, answer.text
            return str(answer.json()["id"])

    async def until(self, path: str, statuses: set[str]) -> dict[str, Any]:
        async with self.api() as http:
            while True:
                body = (await http.get(path)).json()
                if body["status"] in statuses:
                    return body
                await anyio.sleep(0.01)


@asynccontextmanager
async def pages(folder: Path) -> AsyncIterator[Pages]:
    async with whole_platform(folder, scripts=SCRIPTS, public_url=URL) as here:
        with anyio.fail_after(30):
            yield Pages(here)


async def test_a_links_token_moves_into_a_cookie_and_out_of_the_address(tmp_path: Path) -> None:
    async with pages(tmp_path) as there, there.browser() as browser:
        session_id = await there.session("work")
        link = await there.link(session_id)
        answer = await browser.get(link)
        assert (answer.status_code, answer.headers["location"]) == (303, f"/sessions/{session_id}")
        cookie = answer.headers["set-cookie"]
        assert f"Path=/sessions/{session_id};" in cookie
        assert "HttpOnly" in cookie
        assert "SameSite=Lax" in cookie
        page = await browser.get(answer.headers["location"])
        assert page.status_code == 200
        assert "rl_" not in page.text
        assert page.headers["referrer-policy"] == "no-referrer"
        assert "unsafe" not in page.headers["content-security-policy"]
        assert "default-src 'none'" in page.headers["content-security-policy"]
        assert page.headers["cache-control"] == "no-store"


async def test_without_a_good_link_there_is_no_page(tmp_path: Path) -> None:
    async with pages(tmp_path) as there:
        session_id, other = await there.session("work"), await there.session("work")
        token = (await there.link(session_id)).partition("token=")[2]
        for path, cookies, status in (
            (f"/sessions/{session_id}", {}, 403),
            ("/", {}, 403),
            ("/?token=rk_one", {}, 403),
            ("/", {"remit_list": token}, 403),
            (f"/sessions/{other}", {"remit_page": token}, 403),
            (f"/sessions/{session_id}", {"remit_page": "rl_" + "x" * 43}, 403),
            (f"/sessions/{session_id}", {"remit_page": "rk_one"}, 403),
            (f"/sessions/{session_id}/live", {}, 403),
            (f"/sessions/{session_id}", {"remit_page": token}, 200),
        ):
            sent = "; ".join(f"{name}={value}" for name, value in cookies.items())
            async with there.browser() as browser:
                answer = await browser.get(path, headers={"cookie": sent} if sent else {})
            assert answer.status_code == status, path
            assert answer.headers["content-type"].startswith("text/html")
        async with there.browser() as browser:
            assert (await browser.post("/", headers={"cookie": f"remit_list={token}"})).status_code == 405


async def test_every_other_path_is_the_apis(tmp_path: Path) -> None:
    async with pages(tmp_path) as there, there.browser() as browser:
        assert (await browser.get("/v1/agents")).json()["error"]["type"] == "authentication_error"
        assert (await browser.get("/sessions")).json()["type"] == "error"
        # A page's cookie opens pages alone.
        token = (await there.link()).partition("token=")[2]
        answer = await browser.get("/v1/agents", headers={"cookie": f"remit_list={token}"})
        assert answer.status_code == 401


async def test_what_users_models_and_tools_say_is_text(tmp_path: Path) -> None:
    async with pages(tmp_path) as there, there.browser() as browser:
        session_id = await there.session("ask", message=EVIL, title=EVIL[:100])
        await there.session("work", message=EVIL)
        remit_id = await there.remit()
        for id in (session_id, remit_id, None):
            first = await browser.get(await there.link(id))
            page = await browser.get(first.headers["location"])
            assert page.status_code == 200
            assert re.findall(r"<script[^>]*>", page.text) == [
                f'<script type="module" src="/assets/console.js?v={there.front._versions["console.js"]}">'
            ]
            assert "<img" not in page.text
            assert "\x1b" not in page.text
            assert "alert(1)" in html.unescape(page.text)


async def test_a_remits_link_shows_it_and_its_working_session(tmp_path: Path) -> None:
    async with pages(tmp_path) as there, there.browser() as browser:
        remit_id = await there.remit(consent="given", despite=["vacuous"], outcome="fold the laundry")
        remit = await there.until(f"/v1/remits/{remit_id}", {"satisfied", "unsatisfied"})
        first = await browser.get(await there.link(remit_id))
        page = await browser.get(first.headers["location"])
        for text in ("fold the laundry", "test ! -e nothing", "vacuous", "of 50,000 tokens", "bash"):
            assert text in page.text, text
        assert "data-live" not in page.text, "it is over"
        (session_id,) = remit["session_ids"]
        below = await browser.get(f"/remits/{remit_id}/sessions/{session_id}")
        assert below.status_code == 200
        assert "fold the laundry" in below.text
        # Not the session of another remit, also not below this one.
        stranger = await there.session("work")
        assert (await browser.get(f"/remits/{remit_id}/sessions/{stranger}")).status_code == 403


async def test_decisions_that_wait_are_shown(tmp_path: Path) -> None:
    async with pages(tmp_path) as there, there.browser() as browser:
        session_id, remit_id = await there.session("ask"), await there.remit()
        await there.until(f"/v1/remits/{remit_id}", {"awaiting_consent"})
        for id, text in (
            (session_id, "waiting for a decision"),
            (remit_id, "waits for consent"),
            (remit_id, "vacuous: a verifier passes already"),
        ):
            first = await browser.get(await there.link(id))
            page = await browser.get(first.headers["location"])
            assert "Waiting for a decision" in page.text
            assert text in page.text


async def test_what_comes_live_is_what_a_new_load_shows(tmp_path: Path) -> None:
    async with pages(tmp_path) as there, there.browser() as browser:
        session_id = await there.session("ask")
        first = await browser.get(await there.link(session_id))
        page = (await browser.get(first.headers["location"])).text
        live = html.unescape(re.search(r'data-live="([^"]+)"', page)[1])  # type: ignore[index]
        patches: dict[str, str] = {}
        async with browser.stream("GET", live) as stream, there.api() as http:
            assert stream.headers["content-type"].startswith("text/event-stream")
            listed = (await http.get(f"/v1/sessions/{session_id}/events")).json()["data"]
            (use,) = [event for event in listed if event["type"] == "agent.custom_tool_use"]
            answer = {
                "type": "user.custom_tool_result",
                "custom_tool_use_id": use["id"],
                "content": [{"type": "text", "text": "the answer"}],
            }
            await http.post(f"/v1/sessions/{session_id}/events", json={"events": [answer]})
            async for line in stream.aiter_lines():
                if line.startswith("data: ") and len(line) > 10:
                    patch = msgspec.json.decode(line.removeprefix("data: "))
                    patches[patch["id"]] = patch["html"]
                elif line == "event: seen" and ">idle<" in patches.get("status", ""):
                    break
        assert "the answer" in patches[f"result-{use['id']}"]
        assert patches["waiting"] == '<section id="waiting" hidden></section>'
        again = (await browser.get(first.headers["location"])).text
        for id, fragment in patches.items():
            assert fragment in again, id


async def test_a_page_that_was_away_gets_what_it_missed_and_no_more(tmp_path: Path) -> None:
    async with pages(tmp_path) as there, there.browser() as browser, there.api() as http:
        session_id = await there.session("work")
        first = await browser.get(await there.link(session_id))
        await browser.get(first.headers["location"])
        listed = (await http.get(f"/v1/sessions/{session_id}/events")).json()["data"]
        messages = [event["id"] for event in listed if event["type"] == "agent.message"]
        seen: list[str] = []
        headers = {"last-event-id": f"{session_id}.{messages[0]}"}
        async with browser.stream("GET", f"/sessions/{session_id}/live", headers=headers) as stream:
            async for line in stream.aiter_lines():
                if line.startswith("data: ") and len(line) > 10:
                    seen.append(msgspec.json.decode(line.removeprefix("data: "))["id"])
                if line == "event: seen":
                    break
        assert f"event-{messages[0]}" not in seen
        assert f"event-{messages[1]}" in seen


def test_markup_escapes_whatever_is_put_into_it() -> None:
    made = tag("p", EVIL, tag("b", "&"), title=EVIL, hidden=True, lang=None)
    assert "<script" not in made
    assert "<img" not in made
    assert made.endswith("<b>&amp;</b></p>")
    assert " hidden" in made
    assert "lang" not in made


def test_writing_of_every_language_is_shown_and_what_could_lie_is_not() -> None:
    for text in (
        "a\u00a0b",
        "日本語\u3000です",
        "می\u200cخواهم",
        "👨\u200d👩\u200d👧",
        "so\u00adft",
        "a\tb\nc",
    ):
        assert tag("p", text) == f"<p>{text}</p>"
    for text in (
        "\x00",
        "\x1b[31m",
        "\x9b31m",
        "\u202egpj.exe",
        "\u2066x",
        "\U000e0041",
        "\ufeffx",
        "\ud800",
    ):
        assert "\N{REPLACEMENT CHARACTER}" in tag("p", text), repr(text)


async def test_an_address_with_too_much_in_it_is_refused_in_words(tmp_path: Path) -> None:
    async with pages(tmp_path) as there, there.browser() as browser:
        answer = await browser.get("/?" + "&".join(f"a{number}=1" for number in range(30)))
    assert answer.status_code == 400
    assert "parameters" in answer.text

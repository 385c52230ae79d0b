"""The pages in a real browser: live, safe, readable without scripts, and never with the token in the address."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anthropic
import anyio.to_thread
import pytest
from playwright.async_api import Browser, Page, async_playwright, expect

from remit.testing.up_process import UpProcess

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
]
IS_REQUIRED = os.environ.get("REMIT_TEST_BROWSER") == "required"
EVIL = "<script>document.title='taken'</script>\"><img src=x onerror=\"document.title='taken'\">"
SCRIPTS: dict[str, Any] = {
    "evil": {
        "steps": [
            {"text": EVIL, "tool_uses": [{"name": "bash", "input": {"command": f"echo '{EVIL[:30]}'"}}]},
            {"text": "Then that.", "tool_uses": [{"name": "ask", "input": {"what": EVIL}}]},
            {"text": "The last words."},
        ]
    },
    "slow": {
        "steps": [
            {
                "text": "First.",
                "tool_uses": [{"name": "bash", "input": {"command": "echo seen"}}],
                "delay_ms": 700,
            },
            {"text": "Second.", "delay_ms": 700},
        ]
    },
}

STICKING_OUT = """
[...document.querySelectorAll(".card *")].filter(
  (one) => one.getBoundingClientRect().right > one.closest(".card").getBoundingClientRect().right + 1 &&
           !one.closest("pre, summary, td")
).map((one) => one.outerHTML.slice(0, 80))
"""

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.slow,
    pytest.mark.browser,
    pytest.mark.skipif(
        CHROMIUM is None and not IS_REQUIRED,
        reason="there is no Chromium; install Debian's `chromium`, or set REMIT_TEST_BROWSER=required to fail",
    ),
]


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UpProcess]:
    with UpProcess(tmp_path_factory.mktemp("up"), SCRIPTS).start() as process:
        yield process
        assert process.stop() == 0


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    assert CHROMIUM is not None, "REMIT_TEST_BROWSER=required, and there is no Chromium"
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


class Watched:
    """A page, and everything that went wrong in it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.troubles: list[str] = []
        page.on("pageerror", lambda error: self.troubles.append(str(error)))
        page.on("console", lambda said: self.troubles.append(said.text) if said.type == "error" else None)
        page.on("dialog", lambda dialog: self.troubles.append(dialog.message))


async def open_page(browser: Browser, link: str, **options: Any) -> Watched:
    context = await browser.new_context(**options)
    watched = Watched(await context.new_page())
    await watched.page.goto(link)
    return watched


async def in_thread(call: Any, *arguments: Any) -> Any:
    return await anyio.to_thread.run_sync(lambda: call(*arguments))


def make_session(up: UpProcess, script: str, title: str, *, agent_name: str = "a") -> str:
    tools: Any = [
        {"type": "agent_toolset_20260401"},
        {"type": "custom", "name": "ask", "description": "d", "input_schema": {"type": "object"}},
    ]
    with anthropic.Anthropic(base_url=up.url, api_key=up.key) as client:
        agent = client.beta.agents.create(name=agent_name, model=f"scripted/{script}", tools=tools)
        environment = client.beta.environments.create(name="e")
        return client.beta.sessions.create(agent=agent.id, environment_id=environment.id, title=title).id


def say(up: UpProcess, session_id: str, event: Any) -> None:
    with anthropic.Anthropic(base_url=up.url, api_key=up.key) as client:
        client.beta.sessions.events.send(session_id, events=[event])


def message(text: str) -> Any:
    return {"type": "user.message", "content": [{"type": "text", "text": text}]}


async def test_a_session_is_followed_live_and_what_is_said_stays_text(
    up: UpProcess, browser: Browser
) -> None:
    session_id = await in_thread(make_session, up, "evil", EVIL)
    watched = await open_page(browser, await in_thread(up.link, session_id))
    page = watched.page
    assert page.url == f"{up.url}/sessions/{session_id}", "the token has left the address"
    await expect(page.locator("#live-state")).to_have_text("live")
    await expect(page.locator("h1")).to_have_text(EVIL)
    await in_thread(say, up, session_id, message(EVIL))
    await expect(page.locator(".speech.user .text")).to_have_text(EVIL)
    await expect(page.locator(".speech.agent .text").first).to_have_text(EVIL)
    await expect(page.locator("#waiting")).to_contain_text("Waiting for a decision")
    use_id = (await page.locator("#waiting details").first.get_attribute("id") or "").removeprefix(
        "fold-wait-"
    )
    use = page.locator(f"#fold-{use_id}")
    await use.locator("summary").click()
    await expect(use.locator("pre")).to_have_text(EVIL)
    answer = {
        "type": "user.custom_tool_result",
        "custom_tool_use_id": use_id,
        "content": [{"type": "text", "text": EVIL}],
    }
    await in_thread(say, up, session_id, answer)
    await expect(page.locator(f"#result-{use_id}")).to_contain_text("done")
    await expect(page.locator(".speech.agent").last).to_contain_text("The last words.")
    await expect(page.locator("#waiting")).to_be_hidden()
    assert await use.get_attribute("open") is not None, "what was opened stays open"
    assert await page.locator("main img, main script").count() == 0
    assert await page.title() != "taken"
    live = await page.locator("main").inner_text()
    await page.reload()
    await expect(page.locator("#live-state")).to_have_text("live")
    assert await page.locator("main .entry").count() >= 5
    assert "The last words." in live
    assert watched.troubles == []


async def test_a_remit_is_followed_from_its_start_to_its_end(up: UpProcess, browser: Browser) -> None:
    import httpx2

    def make() -> str:
        body = {
            "outcome": "do it",
            "verifiers": [{"type": "command", "command": "true"}],
            "model": "scripted/slow",
            "budget": {"tokens": 50_000},
        }
        answer = httpx2.post(f"{up.url}/v1/remits", json=body, headers={"x-api-key": up.key})
        return str(answer.raise_for_status().json()["id"])

    def approve(remit_id: str) -> None:
        httpx2.post(
            f"{up.url}/v1/remits/{remit_id}/approve",
            headers={"x-api-key": up.key},
            json={"despite": ["vacuous"]},
        ).raise_for_status()

    remit_id = await in_thread(make)
    watched = await open_page(browser, await in_thread(up.link, remit_id))
    page = watched.page
    await expect(page.locator("#waiting")).to_contain_text("vacuous: a verifier passes already")
    await expect(page.locator("#status .badge")).to_have_text("waiting for consent")
    await in_thread(approve, remit_id)
    await expect(page.locator("#status .badge")).to_have_text("working")
    await expect(page.locator("#waiting")).to_be_hidden()
    await expect(page.locator(".speech.agent").first).to_contain_text("First.")
    await expect(page.locator("#live-state")).to_have_text("over", timeout=20_000)
    await expect(page.locator("#status")).to_contain_text("completed")
    await expect(page.locator("#verifiers")).to_contain_text("vacuous")
    await expect(page.locator("#money svg.bar")).to_be_visible()
    entries = await page.locator(".entry").all_inner_texts()
    await page.reload()
    assert await page.locator(".entry").all_inner_texts() == entries
    await page.get_by_role("link", name="sesn_").click()
    await expect(page.locator("main")).to_contain_text("Second.")
    assert page.url.startswith(f"{up.url}/remits/{remit_id}/sessions/")
    assert watched.troubles == []


async def test_the_list_leads_to_every_page_and_shows_what_is_new(up: UpProcess, browser: Browser) -> None:
    watched = await open_page(browser, await in_thread(up.link))
    page = watched.page
    assert page.url == f"{up.url}/"
    await in_thread(make_session, up, "evil", "made while the list is open")
    entry = page.get_by_role("link", name="made while the list is open")
    await entry.click(timeout=10_000)
    await expect(page.locator("h1")).to_have_text("made while the list is open")
    await page.get_by_role("link", name="Remit", exact=True).click()
    await expect(page.locator("h1")).to_have_text("Remits and sessions")
    assert watched.troubles == []


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (360, "dark")])
async def test_pages_fit_their_width_in_both_schemes(
    up: UpProcess, browser: Browser, width: int, scheme: str
) -> None:
    session_id = await in_thread(
        lambda: make_session(up, "evil", "x" * 200, agent_name="an agent of " + "n" * 200)
    )
    await in_thread(say, up, session_id, message("wide " + "y" * 400))
    for link in (await in_thread(up.link), await in_thread(up.link, session_id)):
        watched = await open_page(
            browser, link, viewport={"width": width, "height": 800}, color_scheme=scheme
        )
        page = watched.page
        await expect(page.locator("#live-state")).to_have_text("live")
        overflow = await page.evaluate("document.documentElement.scrollWidth - window.innerWidth")
        assert overflow <= 0
        assert await page.evaluate(STICKING_OUT) == []
        paper = await page.evaluate("getComputedStyle(document.documentElement).backgroundColor")
        assert (sum(map(int, paper[4:-1].split(","))) < 200) is (scheme == "dark")
        await page.context.close()


async def test_without_scripts_the_page_says_how_things_are(up: UpProcess, browser: Browser) -> None:
    session_id = await in_thread(make_session, up, "evil", "plain")
    watched = await open_page(browser, await in_thread(up.link, session_id), java_script_enabled=False)
    page = watched.page
    await expect(page.locator("h1")).to_have_text("plain")
    await expect(page.locator("#status .badge")).to_have_text("idle")


async def test_a_browser_without_the_link_is_told_how_to_get_one(up: UpProcess, browser: Browser) -> None:
    session_id = await in_thread(make_session, up, "evil", "secret title")
    page = await (await browser.new_context()).new_page()
    answer = await page.goto(f"{up.url}/sessions/{session_id}")
    assert answer is not None
    assert answer.status == 403
    await expect(page.locator("main")).to_contain_text("remit link")
    assert "secret title" not in await page.content()

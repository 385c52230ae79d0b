"""MCP servers as a source of tools: real ones over HTTP, programs in real sandboxes, and those that mean harm."""

from __future__ import annotations

import asyncio
import gzip
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import anyio
import pytest

from remit.app.web import make_judge
from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.config import load_settings
from remit.ids import Ids
from remit.interfaces import Sandbox, SandboxProvider
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.local import LocalProvider
from remit.values import JsonObject, SandboxSpec
from support.mcp_bench import bench, names, text, url
from support.mcp_forge import forge, serving_forge
from support.web_site import page, silence, site

pytestmark = pytest.mark.anyio

TINY = (Path(__file__).parents[1] / "support" / "mcp_tiny.py").read_bytes()
PROGRAM: JsonObject = {"type": "stdio", "name": "tiny", "command": ["python3", "/tmp/tiny.py"], "env": {}}


# ------------------------------------------------------------------------------------------------- over HTTP


async def test_tools_are_named_after_their_server_and_ask_by_default() -> None:
    async with serving_forge() as served, bench() as it:
        toolset = await it.open(url(served.url))
        assert "mcp__forge__add" in names(toolset)
        assert {tool.permission for tool in toolset.tools} == {"ask"}
        assert toolset.problems == () or list(toolset.problems) == []
        assert toolset.is_current


async def test_single_tools_are_configured_by_the_servers_name_for_them() -> None:
    async with serving_forge() as served, bench() as it:
        toolset = await it.open(
            url(served.url),
            default_config={"enabled": False},
            configs=[{"name": "add", "enabled": True, "permission_policy": {"type": "always_allow"}}],
        )
        by_name = {tool.name: tool.permission for tool in toolset.tools}
        assert by_name.pop("mcp__forge__add") == "allow"
        assert set(by_name.values()) == {"off"}


async def test_a_failing_tool_is_an_error_result() -> None:
    async with serving_forge() as served, bench() as it:
        await it.open(url(served.url))
        result = await it.call("mcp__forge__fail")
        assert result.is_error
        assert not result.may_have_run
        assert "Error executing tool fail" in text(result)


async def test_a_picture_comes_as_one() -> None:
    async with serving_forge() as served, bench() as it:
        await it.open(url(served.url))
        result = await it.call("mcp__forge__picture")
        assert [block["type"] for block in result.content] == ["text", "image"]


async def test_a_call_that_hangs_is_given_up_and_the_next_one_is_made() -> None:
    async with serving_forge() as served, bench(call_seconds=3.0) as it:
        await it.open(url(served.url))
        result = await it.call("mcp__forge__hang")
        assert (result.is_error, result.may_have_run) == (True, True)
        assert "did not answer within 3 s" in text(result)
        assert "\n3\n" in text(await it.call("mcp__forge__add", a=1, b=2))


async def test_a_call_that_is_cut_off_leaves_the_connection_as_it_was() -> None:
    async with serving_forge() as served, bench() as it:
        await it.open(url(served.url))
        calling = asyncio.create_task(it.call("mcp__forge__hang"))
        await asyncio.sleep(0)
        calling.cancel()
        with pytest.raises(asyncio.CancelledError):
            await calling
        assert "\n3\n" in text(await it.call("mcp__forge__add", a=1, b=2))


async def test_an_answer_that_is_too_large_costs_its_call_alone() -> None:
    async with serving_forge() as served, bench(answer_bytes=100_000) as it:
        await it.open(url(served.url))
        result = await it.call("mcp__forge__bytes_of", count=3_000_000)
        assert (result.is_error, result.may_have_run) == (True, True)
        assert len(text(result)) < 5_000
        assert "\n3\n" in text(await it.call("mcp__forge__add", a=1, b=2))


async def test_a_server_that_sends_for_ever_is_cut() -> None:
    async def endless(writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n")
        while True:
            writer.write(b" " * 65_536)
            await writer.drain()

    async with site({"/mcp": endless}) as web, bench(answer_bytes=1_000_000) as it:
        toolset = await it.open(url(f"{web.url}/mcp"))
        (problem,) = toolset.problems
        assert (problem.server, problem.reason) == ("forge", "connection")
        assert "larger than 1,000,000 bytes" in problem.message


async def test_what_is_packed_is_not_unpacked() -> None:
    bomb = gzip.compress(b" " * 10_000_000)
    packed = page(bomb, headers={"Content-Type": "application/json", "Content-Encoding": "gzip"})
    async with site({"/mcp": packed}) as web, bench() as it:
        (problem,) = (await it.open(url(f"{web.url}/mcp"))).problems
        assert "encoding that was not asked for" in problem.message


async def test_a_server_that_is_silent_is_given_up() -> None:
    async with site({"/mcp": silence}) as web, bench(connect_seconds=0.3) as it:
        (problem,) = (await it.open(url(f"{web.url}/mcp"))).problems
        assert "did not answer within 0.3 s" in problem.message


async def test_one_server_that_is_not_there_leaves_the_others() -> None:
    async with serving_forge() as served, bench() as it:
        toolset = await it.open(url("http://127.0.0.1:9/mcp", "gone"), url(served.url))
        assert [problem.server for problem in toolset.problems] == ["gone"]
        assert not toolset.is_current
        assert "mcp__forge__add" in names(toolset)


async def test_a_server_that_changes_its_tools_is_seen_at_the_next_turn() -> None:
    server = forge()
    async with serving_forge(server) as served, bench(listed_seconds=0.0) as it:
        first = await it.open(url(served.url))
        server.remove_tool("add")
        server.add_tool(lambda: "new", name="fresh", description="New.")
        assert "mcp__forge__add" in names(first)
        result = await it.call("mcp__forge__add", a=1, b=2)
        assert (result.is_error, result.may_have_run) == (True, False)
        assert not first.is_current
        second = await it.open(url(served.url))
        assert ("mcp__forge__add" in names(second), "mcp__forge__fresh" in names(second)) == (False, True)


@pytest.mark.parametrize("kind", ["http", "sse"])
async def test_a_server_that_says_that_its_tools_are_others_is_asked_for_them_at_the_next_turn(
    kind: str,
) -> None:
    async with serving_forge(kind=kind) as served, bench(listed_seconds=3_600.0) as it:
        first = await it.open(url(served.url))
        assert names(first) == sorted(names(first))
        assert first.is_current
        assert "learnt" in text(await it.call("mcp__forge__learn", word="melt"))
        assert not first.is_current
        assert "mcp__forge__melt" not in names(first)
        second = await it.open(url(served.url))
        assert second.is_current
        assert "melt is done" in text(await it.call("mcp__forge__melt"))
        assert [one for one in second.tools if one.name != "mcp__forge__melt"] == list(first.tools)


async def test_tools_that_are_left_out_are_told_once_until_others_are() -> None:
    server = forge()
    async with serving_forge(server) as served, bench(listed_seconds=0.0, tools=8) as it:
        (problem,) = (await it.open(url(served.url))).problems
        assert (problem.server, problem.reason) == ("forge", "limits")
        assert "'forge' lists 12 tools, of which 4 are left out" in problem.message
        assert not (await it.open(url(served.url))).problems
        server.remove_tool("add")
        (problem,) = (await it.open(url(served.url))).problems
        assert "lists 11 tools, of which 3 are left out" in problem.message
        for name in ("keep", "recall", "learn"):
            server.remove_tool(name)
        assert not (await it.open(url(served.url))).problems


async def test_a_server_that_was_restarted_is_called_again() -> None:
    async with bench() as it:
        async with serving_forge() as served:
            await it.open(url(served.url))
            port = served.port
        result = await it.call("mcp__forge__add", a=1, b=2)
        assert result.is_error
        assert "cannot be reached" in text(result) or "broke off" in text(result)
        async with serving_forge(port=port):
            for _ in range(2):
                result = await it.call("mcp__forge__add", a=1, b=2)
            assert "\n3\n" in text(result)


async def test_private_addresses_are_refused_unless_the_operator_lists_them(tmp_path: Path) -> None:
    async with serving_forge() as served:
        closed = make_judge(load_settings({}, data=tmp_path))
        async with bench(judge=closed) as it:
            (problem,) = (await it.open(url(served.url))).problems
            assert problem.reason == "connection"
            assert served.requests == []
        listed = load_settings(
            {}, data=tmp_path, egress_private_hosts=("127.0.0.1",), egress_ports=(served.port,)
        )
        async with bench(judge=make_judge(listed)) as it:
            assert list((await it.open(url(served.url))).problems) == []


@pytest.mark.parametrize(
    ("networking", "is_open"),
    [
        ({"type": "limited", "allowed_hosts": []}, False),
        ({"type": "limited", "allowed_hosts": ["other.example"]}, False),
        ({"type": "limited", "allowed_hosts": ["127.0.0.1"]}, True),
        ({"type": "limited", "allowed_hosts": [], "allow_mcp_servers": True}, True),
    ],
)
async def test_a_limited_network_opens_the_hosts_it_names(networking: JsonObject, is_open: bool) -> None:
    async with serving_forge() as served, bench() as it:
        toolset = await it.open(url(served.url), config={"type": "cloud", "networking": networking})
        assert (not toolset.problems) == is_open
        assert bool(served.requests) == is_open


async def test_a_server_that_wants_credentials_gets_those_of_the_operator() -> None:
    async with serving_forge(token="hammer-and-tongs") as served:
        async with bench() as it:
            (problem,) = (await it.open(url(served.url))).problems
            assert (problem.server, problem.reason) == ("forge", "authentication")
        async with bench(headers={"authorization": "Bearer hammer-and-tongs"}) as it:
            assert list((await it.open(url(served.url))).problems) == []


async def test_servers_that_the_agent_no_longer_has_are_let_go() -> None:
    async with serving_forge() as served, bench() as it:
        await it.open(url(served.url), url(served.url, "other"))
        toolset = await it.open(url(served.url, "other"))
        assert {str(tool.use_fields["mcp_server_name"]) for tool in toolset.tools} == {"other"}
        await it.source.forget("sesn_1")
        assert not toolset.is_current


async def test_a_connection_that_nobody_uses_is_closed_and_made_again() -> None:
    async with serving_forge() as served, bench(idle_seconds=0.1) as it:
        toolset = await it.open(url(served.url))
        with anyio.fail_after(10):
            while toolset.is_current:  # noqa: ASYNC110  # nothing tells of it
                await asyncio.sleep(0.02)
        assert "\n3\n" in text(await it.call("mcp__forge__add", a=1, b=2))


# ---------------------------------------------------------------------------------------------- in a sandbox


@pytest.fixture(params=["local", pytest.param("bubblewrap", marks=pytest.mark.sandbox)])
async def provider(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[SandboxProvider]:
    blobs, ids = DirectoryBlobStore(tmp_path / "blobs"), Ids(SystemClock())
    images = Path(os.environ["REMIT_TEST_IMAGES"]) if "REMIT_TEST_IMAGES" in os.environ else None
    made: SandboxProvider = (
        LocalProvider(tmp_path / "run", blobs, ids)
        if request.param == "local"
        else BubblewrapProvider(tmp_path / "run", blobs, ids, images_dir=images)
    )
    try:
        yield made
    finally:
        await made.close()


async def with_tiny(provider: SandboxProvider, key: str) -> Sandbox:
    sandbox = await provider.create(SandboxSpec(key=key, epoch=1))
    await sandbox.write_file("/tmp/tiny.py", TINY, epoch=1)
    return sandbox


async def test_a_program_in_the_sandbox_is_a_server(provider: SandboxProvider) -> None:
    sandbox = await with_tiny(provider, "one")

    async def made() -> Sandbox:
        return sandbox

    async with bench(sandbox=made) as it:
        toolset = await it.open(PROGRAM)
        assert list(toolset.problems) == []
        assert all(tool.needs_sandbox and tool.may_change_files for tool in toolset.tools)
        assert '{"a": 1}' in text(await it.call("mcp__tiny__echo", sandbox, a=1))
        assert "\n2\n" in text(await it.call("mcp__tiny__count", sandbox))
        await it.open(PROGRAM)
        assert "\n3\n" in text(await it.call("mcp__tiny__count", sandbox)), "it is the same program still"


async def test_a_program_that_dies_in_mid_call_may_have_run_it_and_is_started_again(
    provider: SandboxProvider,
) -> None:
    sandbox = await with_tiny(provider, "one")

    async def made() -> Sandbox:
        return sandbox

    async with bench(sandbox=made) as it:
        await it.open(PROGRAM)
        result = await it.call("mcp__tiny__die", sandbox)
        assert (result.is_error, result.may_have_run) == (True, True)
        assert "\n1\n" in text(await it.call("mcp__tiny__count", sandbox))


async def test_a_program_that_writes_without_end_costs_its_call_alone(provider: SandboxProvider) -> None:
    sandbox = await with_tiny(provider, "one")

    async def made() -> Sandbox:
        return sandbox

    async with bench(sandbox=made, answer_bytes=200_000) as it:
        await it.open(PROGRAM)
        result = await it.call("mcp__tiny__flood", sandbox)
        assert (result.is_error, result.may_have_run) == (True, True)
        assert "\n1\n" in text(await it.call("mcp__tiny__count", sandbox))


async def test_a_new_sandbox_gets_the_program_anew(provider: SandboxProvider) -> None:
    live = [await with_tiny(provider, "one")]

    async def made() -> Sandbox:
        return live[-1]

    async with bench(sandbox=made) as it:
        await it.open(PROGRAM)
        assert "\n1\n" in text(await it.call("mcp__tiny__count", live[-1]))
        await live[-1].destroy()
        live.append(await with_tiny(provider, "two"))
        assert "\n1\n" in text(await it.call("mcp__tiny__count", live[-1]))


async def test_a_program_that_cannot_be_started_is_told_of(provider: SandboxProvider) -> None:
    sandbox = await with_tiny(provider, "one")

    async def made() -> Sandbox:
        return sandbox

    async with bench(sandbox=made) as it:
        (problem,) = (await it.open({**PROGRAM, "command": ["no-such-server"]})).problems
        assert "ended with 127: no-such-server: not found" in problem.message


async def test_without_a_sandbox_there_is_no_program() -> None:
    async with bench() as it:
        (problem,) = (await it.open(PROGRAM)).problems
        assert "no sandbox was to be made" in problem.message

"""The protocol's own reference servers, from npm: `npm install @modelcontextprotocol/server-everything
@modelcontextprotocol/server-filesystem` in a folder that REMIT_TEST_MCP_PACKAGES names."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.ids import Ids
from remit.interfaces import Sandbox
from remit.sandboxes.local import LocalProvider
from remit.values import JsonObject, JsonValue, SandboxSpec
from support.mcp_bench import bench, names, text, url

PACKAGES = Path(os.environ.get("REMIT_TEST_MCP_PACKAGES", "/nowhere"))

pytestmark = [
    pytest.mark.anyio,
    pytest.mark.skipif(not PACKAGES.exists(), reason="REMIT_TEST_MCP_PACKAGES names no folder"),
]


def program(name: str) -> str:
    return str(PACKAGES / "node_modules" / ".bin" / f"mcp-server-{name}")


def stdio(name: str, *arguments: str) -> JsonObject:
    return {"type": "stdio", "name": name, "command": list[JsonValue]([program(name), *arguments]), "env": {}}


@pytest.fixture
async def sandbox(tmp_path: Path) -> AsyncGenerator[Sandbox]:
    provider = LocalProvider(tmp_path / "run", DirectoryBlobStore(tmp_path / "blobs"), Ids(SystemClock()))
    yield await provider.create(SandboxSpec(key="one", epoch=1))
    await provider.close()


@asynccontextmanager
async def serving(kind: str) -> AsyncGenerator[int]:
    with socket.create_server(("127.0.0.1", 0)) as found:
        port: int = found.getsockname()[1]
    process = await asyncio.create_subprocess_exec(
        program("everything"),
        kind,
        env={**os.environ, "PORT": str(port)},
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.DEVNULL,
    )
    try:
        with anyio.fail_after(30):
            while True:
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except OSError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    break
        yield port
    finally:
        process.kill()
        await process.wait()


async def test_everything_as_a_program(sandbox: Sandbox) -> None:
    async def made() -> Sandbox:
        return sandbox

    async with bench(sandbox=made) as it:
        toolset = await it.open(stdio("everything"))
        assert list(toolset.problems) == []
        assert "Echo: hello" in text(await it.call("mcp__everything__echo", sandbox, message="hello"))
        sums = next(name for name in names(toolset) if "sum" in name or "add" in name)
        assert "5" in text(await it.call(sums, sandbox, a=2, b=3))


async def test_files_as_a_program(sandbox: Sandbox, tmp_path: Path) -> None:
    async def made() -> Sandbox:
        return sandbox

    folder = tmp_path / "files"
    folder.mkdir()
    async with bench(sandbox=made) as it:
        toolset = await it.open(stdio("filesystem", str(folder)))
        assert list(toolset.problems) == []
        written = await it.call(
            "mcp__filesystem__write_file", sandbox, path=str(folder / "a.txt"), content="iron"
        )
        assert not written.is_error
        assert (folder / "a.txt").read_text() == "iron"


@pytest.mark.parametrize(("kind", "path"), [("streamableHttp", "/mcp"), ("sse", "/sse")])
async def test_everything_over_http(kind: str, path: str) -> None:
    async with serving(kind) as port, bench() as it:
        toolset = await it.open(url(f"http://127.0.0.1:{port}{path}", "everything"))
        assert list(toolset.problems) == []
        assert "Echo: hello" in text(await it.call("mcp__everything__echo", message="hello"))
        picture = next(name for name in names(toolset) if "image" in name.lower())
        assert "image" in [block["type"] for block in (await it.call(picture)).content]

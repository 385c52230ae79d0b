"""A platform as an outsider opens it: the real one on a data folder, served over TCP, with the parts that `extend` gives."""

from __future__ import annotations

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
from anthropic import AsyncAnthropic

from remit import AsyncClient
from remit.app import Extend, load_settings, open_platform

WAIT_SECONDS = 100


@dataclass(frozen=True)
class Opened:
    """What a test has of it."""

    client: AsyncClient
    sdk: AsyncAnthropic
    """The official one, with the same key."""
    url: str
    api_key: str
    data: Path

    async def command(self, *words: str) -> str:
        """What `remit …` prints on this data folder."""
        line = [sys.executable, "-m", "remit.cli", *words, "--data", str(self.data)]
        done = await anyio.run_process(line, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()
        return done.stdout.decode()


@asynccontextmanager
async def opened(folder: Path, extend: Extend, **settings: Any) -> AsyncGenerator[Opened]:
    """Open it and its clients; all that is awaited inside has `WAIT_SECONDS`."""
    given = load_settings({}, data=folder / "data", unsafe_local=True, port=0, **settings)
    with anyio.fail_after(WAIT_SECONDS):
        async with open_platform(given, kind="up", extend=extend) as platform:
            key, url = platform.api_key, str(platform.url)
            async with (
                AsyncClient(api_key=key, base_url=url) as client,
                AsyncAnthropic(api_key=key, base_url=url, max_retries=0) as sdk,
            ):
                yield Opened(client, sdk, url, key, given.data)

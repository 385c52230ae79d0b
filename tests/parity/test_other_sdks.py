"""The older wire generation and the TypeScript SDK, unmodified, over a real socket."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import anyio
import pytest

from parity.other_sdks import old_python, typescript_folder
from parity.serving import Served, served_platform

pytestmark = [pytest.mark.anyio, pytest.mark.slow]

TESTS = Path(__file__).parent.parent
DIFFERENCES = {"beta.environments.create.description: None is no str"}
"""Where the generations disagree, Remit follows the newer one: a description may be null there."""


async def run_tour(served: Served, command: Sequence[str], env: Mapping[str, str]) -> Any:
    """What the program prints last."""
    with anyio.fail_after(60):
        ended = await anyio.run_process(
            [*command, served.url, "rk_one"],
            env={**os.environ, **env},
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
        )
    assert ended.returncode == 0, ended.stderr.decode()
    return json.loads(ended.stdout.decode().splitlines()[-1])


def _is_beta(path: str) -> bool:
    """Messages have a plain twin, which says nothing of betas."""
    return not path.startswith("/v1/messages")


@pytest.mark.requirement("sdk python 0.121")
async def test_older_python_sdk_makes_its_tour(tmp_path: Path) -> None:
    python = old_python()
    async with served_platform(tmp_path) as served:
        command = [str(python), str(TESTS / "sdk_old" / "tour.py")]
        told = await run_tour(served, command, {"PYTHONPATH": str(TESTS)})
    assert told["version"] == "0.121.0"
    assert set(told["findings"]) == DIFFERENCES
    assert len(set(told["called"])) >= 20
    for _, path, query, headers in served.requests:
        assert headers["x-api-key"] == "rk_one"
        assert headers["anthropic-version"] == "2023-06-01"
        assert "beta=true" in query or not _is_beta(path), path


@pytest.mark.requirement("sdk typescript 1.12")
async def test_typescript_sdk_makes_its_tour(tmp_path: Path) -> None:
    folder = typescript_folder()
    async with served_platform(tmp_path) as served:
        command = ["node", str(TESTS / "sdk_ts" / "tour.mjs")]
        told = await run_tour(served, command, {"SDK_FOLDER": str(folder)})
    assert len(set(told["called"])) >= 20
    for _, _, _, headers in served.requests:
        assert headers["authorization"] == "Bearer rk_one"
        assert headers["anthropic-version"] == "2026-10-21"

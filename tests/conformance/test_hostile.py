"""What code in a bubblewrap sandbox may try. Run as root, and (by test_sandboxes.py) as an ordinary user."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.testing.hostile_suite import (
    HOSTILE_CASES,
    HostileCase,
    HostSide,
    check_hostile_case,
    check_planted_files_never_lead_outside,
    host_side,
)
from remit.testing.sandbox_suite import Bench
from remit.values import SandboxLimits

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]


@contextlib.asynccontextmanager
async def make_bench(folder: Path) -> AsyncGenerator[tuple[Bench, HostSide], None]:
    blobs = DirectoryBlobStore(folder / "blobs")
    images = Path(os.environ["REMIT_TEST_IMAGES"]) if "REMIT_TEST_IMAGES" in os.environ else None
    async with host_side(folder) as host:
        provider = BubblewrapProvider(
            folder / "run", blobs, Ids(SystemClock()), SandboxLimits(processes=80), images_dir=images
        )
        async with provider:
            yield Bench(provider, blobs), host


@pytest.mark.parametrize("case", HOSTILE_CASES, ids=lambda case: case.name)
async def test_bubblewrap_holds(case: HostileCase, tmp_path: Path) -> None:
    async with make_bench(tmp_path) as (bench, host):
        await check_hostile_case(case, bench, host)


async def test_bubblewrap_planted_files(tmp_path: Path) -> None:
    async with make_bench(tmp_path) as (bench, host):
        await check_planted_files_never_lead_outside(bench, host)

"""What code in a sandbox may try. Run as root, and (by test_sandboxes.py) as an ordinary user."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path

import msgspec
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.egress.proxied_egress import EgressSettings, ProxiedEgress
from remit.ids import Ids
from remit.interfaces import Egress
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.cgroups import Cgroups
from remit.sandboxes.local import LocalProvider
from remit.testing.hostile_host import Stage, host_side
from remit.testing.hostile_suite import check_table_and_attacks_agree, run_hostile_case
from remit.testing.hostile_table import HOSTILE_TABLE, HostileCase
from remit.testing.sandbox_checks.given import Bench
from remit.values import WALLS, SandboxCapabilities

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

IMAGES = Path(os.environ["REMIT_TEST_IMAGES"]) if "REMIT_TEST_IMAGES" in os.environ else None
MakeStage = Callable[[Path], AbstractAsyncContextManager[Stage]]
SERVER = """
import asyncio, os, sys
from pathlib import Path
from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.values import SandboxSpec, ShellRequest

async def main():
    folder, images, command = sys.argv[1:]
    provider = BubblewrapProvider(
        Path(folder) / "run", DirectoryBlobStore(Path(folder) / "blobs"), Ids(SystemClock()),
        images_dir=Path(images) if images else None,
    )
    sandbox = await provider.create(SandboxSpec(key="one", epoch=1))
    print((await sandbox.shell(ShellRequest(call_id="1", epoch=1, command=command))).output, flush=True)
    await asyncio.Event().wait()

asyncio.run(main())
"""


def bubblewrap(folder: Path, egress: Egress) -> BubblewrapProvider:
    return BubblewrapProvider(
        folder / "run",
        DirectoryBlobStore(folder / "blobs"),
        Ids(SystemClock()),
        images_dir=IMAGES,
        egress=egress,
        cgroups=Cgroups.find(),
    )


@contextlib.asynccontextmanager
async def bubblewrap_stage(folder: Path) -> AsyncGenerator[Stage, None]:
    async with host_side(folder) as (host, upstream):
        listed = (f"127.0.0.1:{upstream.port}", f"localhost:{upstream.port}")
        egress = ProxiedEgress(EgressSettings(private_hosts=listed))
        try:
            async with bubblewrap(folder, egress) as provider:
                yield Stage(
                    bench=Bench(provider, DirectoryBlobStore(folder / "blobs")),
                    host=host,
                    upstream=upstream,
                    server=(sys.executable, "-c", SERVER, str(folder / "killed"), str(IMAGES or "")),
                )
        finally:
            await egress.close()


class Boastful(LocalProvider):
    """Declares what it does not hold."""

    def capabilities(self) -> SandboxCapabilities:
        return msgspec.structs.replace(super().capabilities(), walls=tuple(WALLS))


class Modest(BubblewrapProvider):
    """Holds what it does not declare."""

    def capabilities(self) -> SandboxCapabilities:
        return msgspec.structs.replace(super().capabilities(), walls=())


@contextlib.asynccontextmanager
async def plain_stage(
    folder: Path, kind: type[LocalProvider | BubblewrapProvider] = LocalProvider
) -> AsyncGenerator[Stage, None]:
    blobs = DirectoryBlobStore(folder / "blobs")
    async with host_side(folder) as (host, upstream):
        provider = kind(folder / "run", blobs, Ids(SystemClock()))
        try:
            yield Stage(bench=Bench(provider, blobs), host=host, upstream=upstream)
        finally:
            await provider.close()


@pytest.mark.long
@pytest.mark.parametrize("stage", [bubblewrap_stage, plain_stage], ids=["bubblewrap", "unsafe-local"])
async def test_doctor_names_every_wall_that_is_missing(stage: MakeStage, tmp_path: Path) -> None:
    async with stage(tmp_path) as made:
        told = {probe.name: probe.detail for probe in await made.bench.provider.probe()}
        missing = made.bench.provider.capabilities().missing_walls
        assert [wall for wall in missing if wall not in told["walls"]] == []


def test_every_row_of_the_table_has_one_attack() -> None:
    check_table_and_attacks_agree()


@pytest.mark.long
@pytest.mark.parametrize("case", HOSTILE_TABLE, ids=lambda case: case.name)
async def test_bubblewrap_holds_what_it_declares(case: HostileCase, tmp_path: Path) -> None:
    async with bubblewrap_stage(tmp_path) as stage:
        await run_hostile_case(case, stage)


@pytest.mark.long
@pytest.mark.parametrize(
    "case", [case for case in HOSTILE_TABLE if case.is_harmless], ids=lambda case: case.name
)
async def test_unsafe_local_holds_nothing_that_it_does_not_declare(case: HostileCase, tmp_path: Path) -> None:
    async with plain_stage(tmp_path) as stage:
        await run_hostile_case(case, stage)


HARMLESS = [case for case in HOSTILE_TABLE if case.name in ("files of the host", "processes of the host")]


@pytest.mark.parametrize("case", HARMLESS, ids=lambda case: case.name)
async def test_a_wall_that_is_declared_and_missing_is_found(case: HostileCase, tmp_path: Path) -> None:
    async with plain_stage(tmp_path, Boastful) as stage:
        with pytest.raises(AssertionError, match="got through"):
            await run_hostile_case(case, stage)


@pytest.mark.parametrize("case", HARMLESS, ids=lambda case: case.name)
async def test_a_wall_that_holds_and_is_not_declared_is_found(case: HostileCase, tmp_path: Path) -> None:
    async with plain_stage(tmp_path, Modest) as stage:
        with pytest.raises(AssertionError, match="is stale"):
            await run_hostile_case(case, stage)

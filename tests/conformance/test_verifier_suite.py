"""One suite for every verifier: of commands, and one that waits for something elsewhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from remit.app.kinds import KINDS
from remit.blobs.directory import DirectoryBlobStore
from remit.catalog.blob_owners import BlobOwners
from remit.catalog.owned_blobs import OwnedBlobs
from remit.clock import SystemClock
from remit.ids import Ids
from remit.interfaces import CallRecorder
from remit.sandboxes.local import LocalProvider
from remit.stores.memory import MemoryCatalog, MemorySessionStore
from remit.testing.clock import FakeClock
from remit.testing.verifier_cases import BROKEN, MENDED, store_tree, verify_request
from remit.testing.verifier_suite import (
    CHECKS,
    VerifierCase,
    run_verifier_suite,
    waits_without_holding_anything,
)
from remit.values import JsonObject, Pending, Verdict, VerifyRequest
from remit.verifiers.command import CommandVerifier
from support.waiting_verifier import CheckRuns, CheckRunVerifier

pytestmark = pytest.mark.anyio

Make = Callable[[], Awaitable[VerifierCase]]


@pytest.fixture
async def commands(tmp_path: Path) -> AsyncIterator[Make]:
    clock = SystemClock()
    ids, blobs = Ids(clock), DirectoryBlobStore(tmp_path / "blobs", clock)
    store, catalog = MemorySessionStore(clock), MemoryCatalog(clock)
    kept = OwnedBlobs(blobs, catalog, BlobOwners(store, catalog, KINDS).is_there, clock)
    provider = LocalProvider(tmp_path / "runtime", blobs, ids)

    async def make_case() -> VerifierCase:
        before, after = await store_tree(blobs, BROKEN), await store_tree(blobs, MENDED)
        command: JsonObject = {"type": "command", "command": "grep -q '2 . x' app.py"}
        return VerifierCase(
            make=lambda: CommandVerifier(provider=provider, blobs=kept, ids=ids),
            request=verify_request(command, tree_digest=after, input_tree_digest=before),
            passes=True,
            now_us=clock.now_us,
        )

    yield make_case
    await provider.close()


async def waiting_case() -> VerifierCase:
    clock, runs = FakeClock(), CheckRuns()

    async def come_about() -> None:
        runs.done["ci"] = False

    return VerifierCase(
        make=lambda: CheckRunVerifier(runs, clock),
        request=verify_request(
            {"type": "command", "command": "ci"}, tree_digest="tree", input_tree_digest=None
        ),
        passes=False,
        now_us=clock.now_us,
        come_about=come_about,
    )


async def test_commands_are_judged_as_the_suite_says(commands: Make) -> None:
    await run_verifier_suite(commands)


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_a_verifier_that_waits(check: Callable[[VerifierCase], Awaitable[None]]) -> None:
    await check(await waiting_case())


class Forgetful(CheckRunVerifier):
    """Breaks the contract: what it waits for is known to its process alone."""

    async def verify(self, request: VerifyRequest, recorder: CallRecorder | None) -> Verdict | Pending:
        said = await super().verify(request, recorder)
        self.wait_seconds = -1.0
        return said


async def test_the_suite_notices_one_that_wants_to_be_asked_in_the_past() -> None:
    case = await waiting_case()
    runs, clock = CheckRuns(), FakeClock()
    with pytest.raises(AssertionError, match="in the past"):
        await waits_without_holding_anything(replace(case, make=lambda: Forgetful(runs, clock)))

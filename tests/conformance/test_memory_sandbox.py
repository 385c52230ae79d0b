"""The sandbox in memory is honest: what the suite asks without a real shell holds for it too."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncGenerator

import anyio
import pytest

from remit.clock import SystemClock
from remit.ids import Ids
from remit.testing.blob_suite import BLOB_CHECKS, BlobCheck
from remit.testing.memory_blobs import MemoryBlobStore
from remit.testing.memory_sandbox import MemorySandboxes
from remit.testing.sandbox_checks import (
    calls,
    files,
    grounds,
    lives,
    processes,
    programs,
    records,
    shared,
    shell,
    trees,
)
from remit.testing.sandbox_checks.given import Bench, a_sandbox, store_tree
from remit.testing.sandbox_suite import SandboxCheck
from remit.values import TreeRecord

pytestmark = pytest.mark.anyio

CHECKS: list[SandboxCheck] = [
    shell.check_commands_queue_and_each_gets_its_own_output,
    programs.check_exec_timeout_and_unknown_program_are_results,
    processes.check_a_program_is_spoken_with_until_its_input_ends,
    processes.check_two_programs_are_spoken_with_beside_each_other,
    processes.check_an_interrupt_ends_a_program_that_is_spoken_with,
    processes.check_a_program_that_cannot_be_started_has_ended,
    processes.check_a_program_is_started_once_and_by_the_newest_epoch_alone,
    processes.check_a_program_that_is_spoken_with_ends_with_its_sandbox,
    calls.check_a_call_id_runs_once_and_is_remembered,
    calls.check_interrupt_ends_a_call_without_an_exit_code,
    calls.check_stale_epoch_is_refused_and_changes_nothing,
    files.check_grep_finds_lines_and_refuses_bad_patterns,
    trees.check_tree_and_fetch_give_back_what_was_restored,
    trees.check_read_only_trees_can_be_read_and_are_no_part_of_the_tree,
    trees.check_uploads_change_while_the_sandbox_lives,
    trees.check_outputs_stand_again_and_uploads_are_read_only,
    shared.check_a_writable_shared_folder_is_written_and_seen,
    shared.check_a_read_only_shared_folder_changes_from_outside_alone,
    shared.check_a_file_is_exchanged_only_where_it_is_as_expected,
    grounds.check_files_of_the_ground_can_be_read_alone,
    records.check_nothing_is_recorded_where_nothing_happens,
    records.check_without_a_ground_the_record_says_that_nobody_looked,
    records.check_our_own_looks_are_not_recorded_and_end_the_recording,
    records.check_a_destroyed_sandbox_has_no_record,
    lives.check_one_sandbox_per_key,
    lives.check_missing_blob_is_named_and_nothing_is_left,
    lives.check_probe_says_it_works,
]
"""The others need processes, pipes, links or a real shell."""


@contextlib.asynccontextmanager
async def make_bench() -> AsyncGenerator[Bench, None]:
    clock, blobs = SystemClock(), MemoryBlobStore()
    provider = MemorySandboxes(blobs=blobs, clock=clock, ids=Ids(clock))
    yield Bench(provider, blobs)
    await provider.close()


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
async def test_memory(check: SandboxCheck) -> None:
    async with make_bench() as bench:
        with anyio.fail_after(10):
            await check(bench)


@contextlib.asynccontextmanager
async def make_blobs() -> AsyncGenerator[MemoryBlobStore, None]:
    yield MemoryBlobStore()


async def test_memory_records_what_its_programs_do_and_holds_its_ground() -> None:
    async with make_bench() as bench:
        digest = await store_tree(
            bench.blobs, {"t/check": b"judge\n", "work": b"x\n", "run.sh": b"cat work\n"}
        )
        async with a_sandbox(bench, tree_digest=digest, ground={"read_only": ["t/check"]}) as hands:
            for command in ("bash run.sh", "rm work", "echo y > n", "cat n", "echo z > m"):
                assert (await hands.exec("bash", "-c", command)).exit_code == 0, command
            for command in ("echo x > t/check", "rm t/check", "touch t/check"):
                ended = await hands.exec("bash", "-c", command)
                assert (ended.exit_code, b"Read-only" in ended.output) == (1, True), command
            record = await hands.sandbox.take_record()
    assert record == TreeRecord(
        mechanism="memory",
        is_complete=True,
        opened=("run.sh", "t/check", "work"),
        changed=("work",),
        created=("m", "n"),
        created_opened=("n",),
    )


@pytest.mark.parametrize("check", BLOB_CHECKS, ids=lambda check: check.__name__)
async def test_memory_blobs(check: BlobCheck) -> None:
    with anyio.fail_after(10):
        await check(make_blobs)

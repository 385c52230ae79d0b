"""One run of a command on a tree, in a sandbox in which nothing has run; with what was seen of it."""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from anyio import CancelScope

from remit.errors import SandboxLost, SandboxRefused
from remit.ids import Ids
from remit.interfaces import Sandbox, SandboxProvider
from remit.schema.verifiers import CommandVerifier
from remit.values import ExecRequest, ExecResult, Ground, SandboxSpec, Tree, TreeRecord, VerifyRequest
from remit.verifiers.isolation import (
    Isolated,
    WorkIsolation,
    how_isolated,
    judge_files,
    merged,
    run_isolated,
)
from remit.verifiers.junit import is_junit_path
from remit.verifiers.reports import RunReport, collect_reports, read_reports, reporter_environment
from remit.verifiers.spoken import with_spoken

OUTPUT_BYTES_MAX = 1 << 20
SANDBOXES_MAX = 3
"""For one run of a command."""
JUNIT_FILES_MAX = 256
JUNIT_BYTES_MAX = 8 << 20
"""Of one file."""
ROOT = "/workspace"
_EPOCH = 0
"""A verification's sandbox is nobody's but this call's; there is no other writer to fence off."""


@dataclass(frozen=True)
class Trial:
    """The end of a run of the command, and what it did to the tree it was laid."""

    ended: ExecResult
    record: TreeRecord
    changed: frozenset[str]
    """Files and links of the tree as laid that were written, replaced or removed; by their content where nobody could
    look while it ran."""
    report: RunReport | None
    isolated: Isolated | None = None
    """Of a run in two sandboxes."""


class Trials:
    """Runs commands where the agent cannot reach."""

    def __init__(self, provider: SandboxProvider, ids: Ids) -> None:
        self._provider = provider
        self._ids = ids

    async def run(
        self,
        request: VerifyRequest,
        specification: CommandVerifier,
        *,
        tree: Tree,
        tree_digest: str,
        ground: Ground,
        environment: dict[str, str],
        isolation: WorkIsolation | None = None,
    ) -> Trial:
        """Run it once; with `isolation` the work on this tree in a sandbox of its own. A sandbox that dies is no verdict on the work: the next one is asked. Raises SandboxLost when they
        all die, as those of a command that kills its sandbox do; SandboxUnavailable."""
        reports = None
        # Without isolation its folders are the machine's, where no report should be left.
        if self._provider.capabilities().isolation != "none":
            reports = f"/tmp/remit-reports-{secrets.token_hex(8)}"
            environment = environment | reporter_environment(reports, {**request.environment, **environment})
        for number in range(1, SANDBOXES_MAX + 1):
            async with AsyncExitStack() as sandboxes:
                try:
                    laid, digest, judge_ground, work = tree, tree_digest, ground, None
                    if isolation is not None:
                        work = await self._fresh_sandbox(
                            sandboxes, request, tree_digest, ground, side=":work"
                        )
                        laid, digest = isolation.stubbed.tree, isolation.tree_digest
                        files = {**ground.files, **judge_files(environment, request.environment)}
                        judge_ground = Ground(read_only=ground.read_only, files=files)
                    judge = await self._fresh_sandbox(sandboxes, request, digest, judge_ground)
                    return await self._run(
                        specification, judge, laid, environment, reports, work=work, isolation=isolation
                    )
                except SandboxLost:
                    if number == SANDBOXES_MAX:
                        raise
        raise AssertionError("the last attempt returns or raises")

    async def _fresh_sandbox(
        self,
        sandboxes: AsyncExitStack,
        request: VerifyRequest,
        tree_digest: str,
        ground: Ground,
        *,
        side: str = "",
    ) -> Sandbox:
        """A sandbox that nothing has run in: what an interrupted try of the same verification left is removed first."""
        key = f"verification:{request.verification_id}{side}"
        leftover = await self._provider.attach(key)
        if leftover is not None:
            await leftover.destroy()
        sandbox = await self._provider.create(
            SandboxSpec(
                key=key,
                epoch=_EPOCH,
                tree_digest=tree_digest,
                outputs_digest=request.outputs_digest,
                mounts=request.mounts,
                environment=request.environment,
                path=request.path,
                toolchains=request.toolchains,
                ground=ground,
            )
        )
        sandboxes.push_async_callback(_destroy, sandbox)
        return sandbox

    async def _run(
        self,
        specification: CommandVerifier,
        sandbox: Sandbox,
        tree: Tree,
        environment: dict[str, str],
        reports: str | None,
        *,
        work: Sandbox | None,
        isolation: WorkIsolation | None,
    ) -> Trial:
        run = ExecRequest(
            call_id=self._ids.new("vrun"),
            epoch=_EPOCH,
            argv=("bash", "--norc", "--noprofile", "-c", specification.command),
            environment=environment,
            timeout_seconds=specification.timeout_seconds,
            output_bytes_max=OUTPUT_BYTES_MAX,
        )
        isolated: Isolated | None = None
        if work is None or isolation is None:
            ended = await sandbox.exec(run)
            record = await sandbox.take_record()
        else:
            ended, calls = await run_isolated(sandbox, work, run, self._ids)
            seen, stubs = await sandbox.take_record(), isolation.stubbed.stubs.keys()
            isolated = how_isolated(stubs, seen.opened, calls)
            record = merged(seen, await work.take_record(), stubs)
        changed = frozenset(record.changed)
        if not record.is_complete:
            changed |= await _changed_by_content(sandbox, tree)
        written = (*record.created, *record.changed)
        report = None
        if reports is not None:
            report = read_reports(
                await collect_reports(sandbox, reports, epoch=_EPOCH),
                await _fetch(sandbox, _junit_files(written)),
            )
            if (report is None or not report.runs) and not ended.is_truncated:
                report = with_spoken(report, ended.output)
        return Trial(ended=ended, record=record, changed=changed, report=report, isolated=isolated)


async def _destroy(sandbox: Sandbox) -> None:
    with CancelScope(shield=True):
        await sandbox.destroy()


async def _changed_by_content(sandbox: Sandbox, tree: Tree) -> frozenset[str]:
    """Paths that are not what they were before the command ran. Hashed anew, inside the sandbox."""
    after = {entry.path: (entry.sha256, entry.target) for entry in (await _tree(sandbox, ROOT)).entries}
    return frozenset(
        entry.path
        for entry in tree.entries
        if entry.kind != "dir" and after.get(entry.path) != (entry.sha256, entry.target)
    )


async def _tree(sandbox: Sandbox, root: str) -> Tree:
    try:
        return await sandbox.tree(root)
    except SandboxRefused as error:
        raise SandboxLost(error.message, code="too_large") from error


def _junit_files(written: Sequence[str]) -> list[str]:
    return [path for path in dict.fromkeys(written) if is_junit_path(path)][:JUNIT_FILES_MAX]


async def _fetch(sandbox: Sandbox, paths: Sequence[str]) -> dict[str, bytes]:
    """Contents by path, of those that are still there and not too large."""
    if not paths:
        return {}
    return {
        path: content async for path, content in sandbox.fetch(ROOT, paths) if len(content) <= JUNIT_BYTES_MAX
    }


def in_words(ended: ExecResult, specification: CommandVerifier) -> str:
    """Describe in a few words how a command ended."""
    if ended.is_timed_out:
        return f"timed out after {specification.timeout_seconds:g} s"
    if ended.exceeded is not None:
        return f"ran out of {ended.exceeded}"
    return "was killed" if ended.exit_code is None else f"exit code {ended.exit_code}"

"""One run of a command on a tree, in a sandbox in which nothing has run; with what was seen of it."""

from __future__ import annotations

import posixpath
import re
import secrets
from collections.abc import Sequence
from dataclasses import dataclass

from anyio import CancelScope

from remit.errors import SandboxLost, SandboxRefused
from remit.ids import Ids
from remit.interfaces import Sandbox, SandboxProvider
from remit.schema.verifiers import CommandVerifier
from remit.values import ExecRequest, ExecResult, Ground, SandboxSpec, Tree, TreeRecord, VerifyRequest
from remit.verifiers.reports import RunReport, collect_reports, read_reports, reporter_environment

OUTPUT_BYTES_MAX = 1 << 20
SANDBOXES_MAX = 3
"""For one run of a command."""
JUNIT_FILES_MAX = 256
JUNIT_BYTES_MAX = 8 << 20
"""Of one file."""
ROOT = "/workspace"
_JUNIT = re.compile(
    r"(^|/)(test-[^/]*|[^/]*(junit|test|result|report)[^/]*)\.xml$|(^|/)(surefire-reports|test-results)/.*\.xml$",
    re.IGNORECASE,
)
_EPOCH = 0
"""A verification's sandbox is nobody's but this call's; there is no other writer to fence off."""


@dataclass(frozen=True)
class Trial:
    """How the command ended, and what it did to the tree it was laid."""

    ended: ExecResult
    record: TreeRecord
    changed: frozenset[str]
    """Files and links of the tree as laid that were written, replaced or removed; by their content where nobody could
    look while it ran."""
    report: RunReport | None


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
    ) -> Trial:
        """Run it once. A sandbox that dies is no verdict on the work: the next one is asked. Raises SandboxLost when they
        all die, as those of a command that kills its sandbox do; SandboxUnavailable."""
        for number in range(1, SANDBOXES_MAX + 1):
            sandbox = await self._fresh_sandbox(request, tree_digest, ground)
            try:
                return await self._run(request, specification, sandbox, tree, environment)
            except SandboxLost:
                if number == SANDBOXES_MAX:
                    raise
            finally:
                with CancelScope(shield=True):
                    await sandbox.destroy()
        raise AssertionError("the last attempt returns or raises")

    async def _fresh_sandbox(self, request: VerifyRequest, tree_digest: str, ground: Ground) -> Sandbox:
        """A sandbox that nothing has run in: what an interrupted try of the same verification left is removed first."""
        key = f"verification:{request.verification_id}"
        leftover = await self._provider.attach(key)
        if leftover is not None:
            await leftover.destroy()
        return await self._provider.create(
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

    async def _run(
        self,
        request: VerifyRequest,
        specification: CommandVerifier,
        sandbox: Sandbox,
        tree: Tree,
        environment: dict[str, str],
    ) -> Trial:
        # Without isolation its folders are the machine's, where no report should be left.
        has_isolation = self._provider.capabilities().isolation != "none"
        reports = f"/tmp/remit-reports-{secrets.token_hex(8)}" if has_isolation else None
        if reports is not None:
            environment = environment | reporter_environment(reports, {**request.environment, **environment})
        ended = await sandbox.exec(
            ExecRequest(
                call_id=self._ids.new("vrun"),
                epoch=_EPOCH,
                argv=("bash", "--norc", "--noprofile", "-c", specification.command),
                environment=environment,
                timeout_seconds=specification.timeout_seconds,
                output_bytes_max=OUTPUT_BYTES_MAX,
            )
        )
        record = await sandbox.take_record()
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
        return Trial(ended=ended, record=record, changed=changed, report=report)


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
    return [path for path in dict.fromkeys(written) if _JUNIT.search(posixpath.normpath(path))][
        :JUNIT_FILES_MAX
    ]


async def _fetch(sandbox: Sandbox, paths: Sequence[str]) -> dict[str, bytes]:
    """Contents by path, of those that are still there and not too large."""
    found: dict[str, bytes] = {}
    if paths:
        async for path, content in sandbox.fetch(ROOT, paths):
            if len(content) <= JUNIT_BYTES_MAX:
                found[path] = content
    return found


def in_words(ended: ExecResult, specification: CommandVerifier) -> str:
    """How a command ended, in a few words."""
    if ended.is_timed_out:
        return f"timed out after {specification.timeout_seconds:g} s"
    if ended.exceeded is not None:
        return f"ran out of {ended.exceeded}"
    return "was killed" if ended.exit_code is None else f"exit code {ended.exit_code}"

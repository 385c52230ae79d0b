"""Judges work as a remit does: the command first runs on the untouched input, then on the work. `unguarded` is a verifier
as one would naively write it: it runs the command in the agent's own sandbox, on what the agent left there."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import msgspec

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.ids import Ids
from remit.interfaces import Sandbox
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.testing.verifier_cases import store_tree, verify_request
from remit.values import ConsentReason, JsonObject, SandboxSpec, ShellRequest, Verdict, VerifyRequest
from remit.verifiers.command import CommandVerifier
from support.kept import kept

Files = Mapping[str, str | bytes]
OUTCOME = "Make the check pass."


class Court:
    """Runs a command where the agent worked, and lets the real verifier judge the same work."""

    def __init__(self, provider: BubblewrapProvider, blobs: DirectoryBlobStore, ids: Ids) -> None:
        self.provider = provider
        self.blobs = blobs
        self._ids = ids
        self._verifier = CommandVerifier(provider, kept(blobs), ids)

    async def agent_sandbox(self, files: Files) -> Sandbox:
        """Where the agent worked; lives until the provider is closed."""
        spec = SandboxSpec(
            key=self._ids.new("agent"), epoch=1, tree_digest=await store_tree(self.blobs, files)
        )
        return await self.provider.create(spec)

    async def unguarded(self, work: Files, command: str, *, left_behind: str = "true") -> int | None:
        """Exit code of the command in the shell of the agent, after what it left behind."""
        sandbox = await self.agent_sandbox(work)
        for number, line in enumerate((left_behind, f"( {command}\n)")):
            result = await sandbox.shell(
                ShellRequest(call_id=f"call_{number}", epoch=1, command=line, timeout_seconds=60)
            )
        await sandbox.destroy()
        return result.exit_code

    async def carry(
        self,
        start: Files,
        work: Files,
        command: str,
        *,
        outcome: str = OUTCOME,
        despite: tuple[ConsentReason, ...] = (),
        around: Mapping[str, object] | None = None,
        **options: object,
    ) -> tuple[Verdict, Verdict]:
        """The verdicts on the untouched input and on the work. `around`: other fields of the requests."""
        verifier: JsonObject = {"type": "command", "command": command, **options}  # type: ignore[dict-item]
        given = await store_tree(self.blobs, start)
        with anyio.fail_after(100):
            asked = verify_request(
                verifier,
                tree_digest=given,
                input_tree_digest=given,
                verification_id=self._ids.new("verif"),
                outcome=outcome,
            )
            untouched = await self.verify(msgspec.structs.replace(asked, **(around or {})))
            asked = verify_request(
                verifier,
                tree_digest=await store_tree(self.blobs, work),
                input_tree_digest=given,
                verification_id=self._ids.new("verif"),
                outcome=outcome,
                baseline_digest=str(untouched.evidence["baseline_digest"]),
                despite=despite,
            )
            verdict = await self.verify(msgspec.structs.replace(asked, **(around or {})))
        return untouched, verdict

    async def verify(self, request: VerifyRequest) -> Verdict:
        """What the real verifier says to this."""
        return await self._verifier.verify(request, None)

    async def store(self, files: Files) -> str:
        """The digest of a tree with these files."""
        return await store_tree(self.blobs, files)

    async def judge(self, start: Files, work: Files, command: str) -> Verdict:
        """The verdict on the work."""
        return (await self.carry(start, work, command))[1]


@asynccontextmanager
async def make_court(folder: Path) -> AsyncIterator[Court]:
    """A court in real sandboxes below this folder."""
    blobs, ids = DirectoryBlobStore(folder / "blobs"), Ids(SystemClock())
    provider = BubblewrapProvider(folder / "run", blobs, ids)
    try:
        yield Court(provider, blobs, ids)
    finally:
        await provider.close()

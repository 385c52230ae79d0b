"""Runs a project's command where nothing guards it, and lets the real verifier judge the same work."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import msgspec

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.errors import RemitError
from remit.ids import Ids
from remit.interfaces import BlobStore
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.testing.verifier_cases import PRINCIPAL, verify_request
from remit.values import ExecRequest, JsonObject, SandboxSpec, Tree, TreeEntry, Verdict
from remit.verifiers.command import CommandVerifier
from support.kept import kept
from zoo.fetch import cache_folder
from zoo.project import File, Files

RUN_SECONDS = 120
"""For one run of a command; the longest here takes a tenth of it on an idle machine."""


@dataclass(frozen=True)
class Ended:
    """How an unguarded run ended."""

    exit_code: int | None
    output: str
    seconds: float


class Court:
    """One provider and one verifier for a whole trial."""

    def __init__(self, provider: BubblewrapProvider, blobs: BlobStore, ids: Ids, known: Path) -> None:
        self._provider = provider
        self._blobs = blobs
        self._ids = ids
        self._known = known
        self._stored: set[str] = set()
        """Contents that the blob store has."""
        self._verifier = CommandVerifier(provider, kept(blobs), ids)

    async def is_green_unguarded(self, files: Files, command: str) -> bool:
        """Return whether the command ends with 0 where nothing guards it. What is known of this tree is not run again."""
        digest = await self._store(files)
        image = await self._provider.image()
        key = hashlib.sha256(f"{image.digest} {digest} {command}".encode()).hexdigest()
        known = self._known / key
        if not known.exists():
            ended = await self.unguarded(files, command)
            if ended.exit_code is None:
                return False
            known.parent.mkdir(parents=True, exist_ok=True)
            known.write_text(str(ended.exit_code))
        return known.read_text() == "0"

    async def unguarded(self, files: Files, command: str) -> Ended:
        """Run the command on what the agent left, in a sandbox like the agent's, as one would naively do it."""
        spec = SandboxSpec(key=self._ids.new("agent"), epoch=1, tree_digest=await self._store(files))
        try:
            return await self._run(spec, command)
        except RemitError as error:  # a cheat may end its own sandbox
            return Ended(None, error.message, 0.0)

    async def _run(self, spec: SandboxSpec, command: str) -> Ended:
        sandbox = await self._provider.create(spec)
        try:
            ended = await sandbox.exec(
                ExecRequest(
                    call_id="call_0",
                    epoch=1,
                    argv=("bash", "--norc", "--noprofile", "-c", command),
                    timeout_seconds=RUN_SECONDS,
                )
            )
        finally:
            with anyio.CancelScope(shield=True):
                await sandbox.destroy()
        return Ended(ended.exit_code, ended.output.decode(errors="replace"), ended.duration_seconds)

    async def baseline(self, start: Files, command: str) -> Verdict:
        """The verdict on the untouched input."""
        return await self._verify(start, start, command, None)

    async def judge(self, start: Files, work: Files, command: str, baseline: Verdict) -> Verdict:
        """The verdict on the work, with what the untouched input showed."""
        digest = baseline.evidence.get("baseline_digest")
        return await self._verify(start, work, command, digest if isinstance(digest, str) else None)

    async def _verify(self, start: Files, work: Files, command: str, baseline: str | None) -> Verdict:
        verifier: JsonObject = {"type": "command", "command": command, "timeout_seconds": RUN_SECONDS}
        request = verify_request(
            verifier,
            tree_digest=await self._store(work),
            input_tree_digest=await self._store(start),
            verification_id=self._ids.new("verif"),
        )
        request = msgspec.structs.replace(request, baseline_digest=baseline)
        try:
            await self._verifier.check(PRINCIPAL, verifier)
            return await self._verifier.verify(request, None)
        except RemitError as error:
            return Verdict(
                verifier=verifier, passed=False, summary=f"{type(error).__name__}: {error.message}"
            )

    async def _store(self, files: Files) -> str:
        entries: dict[str, TreeEntry] = {}
        for path, file in files.items():
            parts = path.split("/")
            for depth in range(1, len(parts)):
                folder = "/".join(parts[:depth])
                entries[folder] = TreeEntry(path=folder, kind="dir", mode=0o755)
            if isinstance(file, File):
                sha256 = hashlib.sha256(file.content).hexdigest()
                entries[path] = TreeEntry(
                    path=path,
                    kind="file",
                    mode=0o755 if file.is_executable else 0o644,
                    size=len(file.content),
                    sha256=sha256,
                )
                if sha256 not in self._stored:
                    await self._blobs.put(file.content)
                    self._stored.add(sha256)
            else:
                entries[path] = TreeEntry(path=path, kind="symlink", target=file.target)
        return await self._blobs.put(Tree(entries=tuple(entries[path] for path in sorted(entries))).encode())


@asynccontextmanager
async def open_court(folder: Path) -> AsyncGenerator[Court]:
    """A court whose blobs and sandboxes are below a folder."""
    blobs, ids = DirectoryBlobStore(folder / "blobs"), Ids(SystemClock())
    provider = BubblewrapProvider(folder / "run", blobs, ids)
    try:
        yield Court(provider, blobs, ids, cache_folder() / "unguarded")
    finally:
        await provider.close()


def is_verified(verdict: Verdict, baseline: Verdict) -> bool:
    """Return whether a user would read *verified*: the input was red, nobody has to be asked, the work passed."""
    return verdict.passed and not verdict.tampered and not baseline.passed and not baseline.reasons

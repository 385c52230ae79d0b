"""The last step of the work: what is handed over is stored, and written down."""

from __future__ import annotations

from remit.catalog.owned_blobs import BlobPuts, OwnedBlobs
from remit.catalog.trees import read_tree
from remit.clock import rfc3339
from remit.errors import BlobMissing
from remit.interfaces import SandboxProvider
from remit.remits.deliverables import Handover, hand_over
from remit.remits.events import RemitDeliverablesReady
from remit.remits.git_files import GitInput
from remit.remits.kind import RemitWriter


class HandingOver:
    """May be repeated after a crash at any await."""

    def __init__(self, *, blobs: OwnedBlobs, sandboxes: SandboxProvider) -> None:
        self._blobs = blobs
        self._sandboxes = sandboxes

    async def prepare(self, tree_digest: str | None, log: RemitWriter) -> None:
        """Write down what the work comes to."""
        created = log.state.created
        assert created is not None, "what ends was created"
        digest = tree_digest or created.tree_digest
        async with self._blobs.puts(log.principal, log.stream_id) as puts:
            try:
                handover = await self._hand_over(digest, log, puts)
                await puts.need(await self._needed(digest, handover))
                await puts.commit()
            except BlobMissing as error:
                handover = Handover(changed=(), files=(), notes=(error.message,))
        await log.append(
            RemitDeliverablesReady(
                tree_digest=digest,
                changed=handover.changed,
                folders=handover.folders,
                removed=tuple(file.path for file in handover.changed if file.kind == "removed"),
                files=handover.files,
                notes=handover.notes,
            )
        )

    async def _needed(self, digest: str | None, handover: Handover) -> set[str]:
        """What was handed over, and the whole result: it can be verified again."""
        changed = {file.sha256 for file in handover.changed if file.sha256 is not None}
        if digest is None:
            return changed
        result = await read_tree(self._blobs, digest)
        return {digest, *changed, *(entry.sha256 for entry in result.entries if entry.sha256 is not None)}

    async def _hand_over(self, digest: str | None, log: RemitWriter, puts: BlobPuts) -> Handover:
        created = log.state.created
        assert created is not None, "what ends was created"
        git = None
        if created.history_digest is not None and created.tree_digest is not None and digest is not None:
            git = GitInput(
                remit_id=log.stream_id,
                epoch=log.epoch,
                history_digest=created.history_digest,
                message=f"{created.outcome.strip()[:2000]}\n\nRemit: {log.stream_id}",
                date=rfc3339(log.state.created_at_us),
                toolchains=created.toolchains,
            )
        return await hand_over(
            blobs=self._blobs,
            puts=puts,
            sandboxes=self._sandboxes,
            base=await read_tree(self._blobs, created.tree_digest),
            result=await read_tree(self._blobs, digest),
            git=git,
        )

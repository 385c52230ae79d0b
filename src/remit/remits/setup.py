"""What stands around the work of a remit, found and made once, before its verifiers first look at the input."""

from __future__ import annotations

import hashlib

from remit.errors import RemitError, StoreUnavailable
from remit.interfaces import SandboxProvider
from remit.remits.deliverables import read_tree
from remit.remits.events import RemitCreated, RemitSetupEnded
from remit.resources.kept_blobs import KeptBlobs
from remit.resources.source_roots import SourceRoots, metadata_files, source_roots
from remit.values import InstalledPython, Principal, ReadOnlyTree, Tree, TreeEntry

WORKING_TREE = "/workspace"
METADATA = "/mnt/project-metadata"
"""Where `importlib.metadata` finds what is told of projects that are not installed."""


class Setup:
    """Finds where the input's packages lie."""

    def __init__(self, *, sandboxes: SandboxProvider, blobs: KeptBlobs) -> None:
        self._sandboxes = sandboxes
        self._blobs = blobs

    async def set_up(self, principal: Principal, remit_id: str, created: RemitCreated) -> RemitSetupEnded:
        """What there is to tell; a failure is told in it. May be cut and repeated. Raises StoreUnavailable."""
        try:
            return await self._set_up(principal, remit_id, created)
        except StoreUnavailable:
            raise
        except RemitError as error:
            return RemitSetupEnded(error=f"The work could not be set up: {error.message}")

    async def _set_up(self, principal: Principal, remit_id: str, created: RemitCreated) -> RemitSetupEnded:
        tree = await read_tree(self._blobs, created.tree_digest)
        installed = (await self._sandboxes.image(created.toolchains)).python
        roots = await self._roots(tree, installed)
        metadata = await self._metadata(principal, remit_id, roots)
        return RemitSetupEnded(
            mounts=metadata,
            python_path=(
                *(f"{WORKING_TREE}/{path}".rstrip("/") for path in roots.paths),
                *(mount.path for mount in metadata),
            ),
            notes=roots.notes,
        )

    async def _roots(self, tree: Tree, installed: InstalledPython) -> SourceRoots:
        async def read(entry: TreeEntry) -> str | None:
            if entry.sha256 is None:
                return None
            return (await self._blobs.read(entry.sha256)).decode("utf-8", "replace")

        return await source_roots(tree, read, installed)

    async def _metadata(
        self, principal: Principal, remit_id: str, roots: SourceRoots
    ) -> tuple[ReadOnlyTree, ...]:
        """A read-only tree that tells of the projects, owned by the remit."""
        texts = {path: text.encode() for path, text in metadata_files(roots.distributions).items()}
        if not texts:
            return ()
        entries = [TreeEntry(path=path.partition("/")[0], kind="dir", mode=0o755) for path in texts]
        entries += [
            TreeEntry(path=path, kind="file", size=len(text), sha256=hashlib.sha256(text).hexdigest())
            for path, text in texts.items()
        ]
        tree = Tree(
            entries=tuple({entry.path: entry for entry in sorted(entries, key=lambda e: e.path)}.values())
        )
        async with self._blobs.keeping(principal, remit_id) as keeping:
            await keeping.put_many(list(texts.values()))
            digest = await keeping.put(tree.encode())
            await keeping.commit()
        return (ReadOnlyTree(path=METADATA, tree_digest=digest),)

"""The surroundings of a remit's work, found and made once, before its verifiers first look at the input."""

from __future__ import annotations

import hashlib

from remit.catalog.environment_config import variables_of
from remit.catalog.owned_blobs import OwnedBlobs
from remit.catalog.trees import read_tree
from remit.clock import Clock
from remit.errors import RemitError, SandboxUnavailable, StoreUnavailable
from remit.interfaces import SandboxProvider
from remit.orchestrator.setup_layers import SetupLayer, SetupLayers, SetupRequest
from remit.remits.events import RemitCreated, RemitSetupEnded
from remit.remits.source_roots import SourceRoots, metadata_files, source_roots
from remit.remits.verification import history_mounts
from remit.values import InstalledPython, Principal, ReadOnlyTree, Tree, TreeEntry

WORKING_TREE = "/workspace"
METADATA = "/mnt/project-metadata"
"""Where `importlib.metadata` finds what is told of projects that are not installed."""


class RemitSetup:
    """Finds where the input's packages lie, and lets the setup command run."""

    def __init__(
        self,
        *,
        sandboxes: SandboxProvider,
        blobs: OwnedBlobs,
        clock: Clock,
        layers: SetupLayers | None = None,
    ) -> None:
        self._sandboxes = sandboxes
        self._blobs = blobs
        self._clock = clock
        self._layers = layers

    async def set_up(self, principal: Principal, remit_id: str, created: RemitCreated) -> RemitSetupEnded:
        """Set up; the row tells of a failure too. May be cut and repeated. Raises StoreUnavailable."""
        try:
            return await self._set_up(principal, remit_id, created)
        except StoreUnavailable:
            raise
        except RemitError as error:
            return RemitSetupEnded(error=f"The work could not be set up: {error.message}")

    async def _set_up(self, principal: Principal, remit_id: str, created: RemitCreated) -> RemitSetupEnded:
        began = self._clock.monotonic()
        layer = await self._layer(principal, remit_id, created)
        tree = await read_tree(self._blobs, created.tree_digest)
        installed = (await self._sandboxes.image(created.toolchains)).python
        roots = await self._roots(tree, installed if layer is None else installed.joined([layer.python]))
        metadata = await self._metadata(principal, remit_id, roots)
        return RemitSetupEnded(
            command=created.setup,
            layer_digest=layer.digest if layer is not None else None,
            mounts=(*(layer.mounts if layer is not None else ()), *metadata),
            python_path=(
                *(f"{WORKING_TREE}/{path}".rstrip("/") for path in roots.paths),
                *(layer.python_path if layer is not None else ()),
                *(mount.path for mount in metadata),
            ),
            path=layer.path if layer is not None else (),
            notes=(*(layer.notes if layer is not None else ()), *roots.notes),
            duration_seconds=round(self._clock.monotonic() - began, 3),
        )

    async def _layer(self, principal: Principal, remit_id: str, created: RemitCreated) -> SetupLayer | None:
        if created.setup is None or created.tree_digest is None:
            return None
        if self._layers is None:
            raise SandboxUnavailable("a setup command is given, and nothing here runs it")
        config = created.environment.config if created.environment is not None else {}
        request = SetupRequest(
            command=created.setup,
            tree_digest=created.tree_digest,
            toolchains=created.toolchains,
            variables=variables_of(config),
            mounts=history_mounts(created.history_digest),
        )
        return await self._layers.layer(principal, remit_id, request)

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
        async with self._blobs.puts(principal, remit_id) as puts:
            await puts.put_many(list(texts.values()))
            digest = await puts.put(tree.encode())
            await puts.commit()
        return (ReadOnlyTree(path=METADATA, tree_digest=digest),)

"""Layers of a remit's setup command (`npm ci`): made once in a sandbox that reaches the package registries
alone, kept as a tree, and read-only at its place for the agent and for every verifier."""

from __future__ import annotations

import asyncio
import posixpath
from collections.abc import Sequence

from remit.catalog.owned_blobs import BlobPuts, OwnedBlobs
from remit.catalog.trees import read_tree
from remit.errors import SandboxLost, SandboxRefused, SandboxUnavailable
from remit.ids import Ids
from remit.interfaces import Sandbox, SandboxProvider
from remit.orchestrator.kept_layers import KeptLayers, Layer
from remit.orchestrator.packages import registry_variables
from remit.orchestrator.setup_additions import Additions, additions, is_lock_or_manifest, without_place
from remit.orchestrator.stored_files import store_files
from remit.values import (
    ExecRequest,
    InstalledPython,
    NetworkPolicy,
    Principal,
    ReadOnlyTree,
    SandboxSpec,
    Tree,
    TreeEntry,
    Value,
    installed_python,
)
from remit.wording import listed

LAYOUT = 1
"""Raised when what stands where in a layer changes: layers of before are not used then."""
SETUP_SECONDS = 900.0
LAYER_BYTES_MAX = 4 << 30
OUTPUT_CHARACTERS_MAX = 2_000
PYTHON_USER_FOLDER = ".python-packages"
"""Where `pip install` puts what would go beside the interpreter, which is read-only."""
SCRATCH_FOLDERS = (".cache", ".vite", ".vite-temp", ".vitest")
"""Of `node_modules`: what tools write there while they run."""
_EPOCH = 0
LEFT_OUT_NAMED_MAX = 5
PATH_SHOWN_MAX = 300
_ROOT = "/workspace"
_ASIDE = "/mnt/session/outputs"
"""A folder on the disk that is no part of the working tree."""


class SetupRequest(Value, frozen=True, kw_only=True):
    """The request for a setup."""

    command: str
    tree_digest: str
    toolchains: tuple[str, ...] = ()
    variables: dict[str, str]
    """Of the environment."""
    mounts: tuple[ReadOnlyTree, ...] = ()


class SetupLayer(Value, frozen=True, kw_only=True):
    """A layer as sandboxes get it."""

    digest: str
    mounts: tuple[ReadOnlyTree, ...]
    python_path: tuple[str, ...]
    path: tuple[str, ...]
    python: InstalledPython
    notes: tuple[str, ...]


class SetupLayers:
    """Makes layers, each once per workspace."""

    def __init__(
        self,
        *,
        provider: SandboxProvider,
        layers: KeptLayers,
        blobs: OwnedBlobs,
        ids: Ids,
        pip_index_url: str,
        npm_registry: str,
    ) -> None:
        self._provider = provider
        self._layers = layers
        self._blobs = blobs
        self._ids = ids
        self._pip_index_url = pip_index_url
        self._npm_registry = npm_registry

    async def layer(self, principal: Principal, owner_id: str, request: SetupRequest) -> SetupLayer:
        """Return what the command adds to this input; run it now if need be (minutes). It stays as long as
        this stream. May be cut at any await and asked for again. Raises SandboxUnavailable that says what the
        command said, BlobMissing."""
        if "limited" not in self._provider.capabilities().network_modes:
            raise SandboxUnavailable(
                "these sandboxes have no network of their own through which a setup could reach the package registries"
            )
        image = await self._provider.image(request.toolchains)
        given = await read_tree(self._blobs, request.tree_digest)
        made_of = [
            "setup",
            LAYOUT,
            request.command,
            image.digest,
            self._pip_index_url,
            self._npm_registry,
            sorted(request.variables.items()),
        ]
        locks = [
            [entry.path, entry.sha256]
            for entry in given.entries
            if is_lock_or_manifest(entry, request.command)
        ]
        layer = await self._layers.find(principal, owner_id, [*made_of, "locks", locks])
        if layer is None:
            layer = await self._layers.layer(
                principal,
                owner_id,
                [*made_of, "tree", request.tree_digest],
                lambda puts: self._make(puts, request, given, image.digest),
            )
            if layer.is_of_locks:
                known = layer
                await self._layers.layer(
                    principal,
                    owner_id,
                    [*made_of, "locks", locks],
                    lambda puts: self._again(puts, known),
                )
        return _as_mounted(layer, await read_tree(self._blobs, layer.tree_digest))

    async def _again(self, puts: BlobPuts, layer: Layer) -> Layer:
        """The same layer under another key, with needs of its own."""
        tree = await read_tree(self._blobs, layer.tree_digest)
        await puts.need([layer.tree_digest, *_digests(tree)])
        return layer

    async def _make(self, puts: BlobPuts, request: SetupRequest, given: Tree, image_digest: str) -> Layer:
        sandbox = await self._provider.create(
            SandboxSpec(
                key=self._ids.new("setup"),
                epoch=_EPOCH,
                tree_digest=request.tree_digest,
                toolchains=request.toolchains,
                mounts=request.mounts,
                environment=request.variables,
                network=NetworkPolicy(mode="limited", has_registries=True),
            )
        )
        try:
            await self._run(sandbox, request.command)
            found = await sandbox.tree(_ROOT)
            added = additions(given, found)
            size = sum(entry.size for entry in added.entries)
            if size > LAYER_BYTES_MAX:
                raise SandboxUnavailable(
                    f"the setup command adds {size >> 20} MiB; at most {LAYER_BYTES_MAX >> 20} MiB can be kept"
                )
            files = [entry.path for entry in added.entries if entry.kind == "file"]
            await store_files(puts, sandbox, _ROOT, files)
        except (SandboxLost, SandboxRefused) as error:
            raise SandboxUnavailable(f"the setup command did not end: {error.message}") from error
        finally:
            await asyncio.shield(sandbox.destroy())
        tree = _with_scratch(added)
        await puts.need(_digests(tree))
        return Layer(
            tree_digest=await puts.put(tree.encode()),
            image_digest=image_digest,
            files=len(tree.entries),
            bytes=size,
            parts=added.parts,
            is_of_locks=added.is_of_locks,
            notes=(*added.notes, *_unheld_notes(found)),
        )

    async def _run(self, sandbox: Sandbox, command: str) -> None:
        ended = await sandbox.exec(
            ExecRequest(
                call_id=self._ids.new("setup"),
                epoch=_EPOCH,
                argv=("bash", "--norc", "--noprofile", "-c", command),
                environment=self._environment(),
                working_directory=_ROOT,
                timeout_seconds=SETUP_SECONDS,
            )
        )
        if ended.exit_code == 0:
            return
        if ended.is_timed_out:
            how = f"took longer than {SETUP_SECONDS:g} s"
        elif ended.exit_code is None:
            how = f"ran out of {ended.exceeded}" if ended.exceeded else "was killed"
        else:
            how = f"ended with exit code {ended.exit_code}"
        said = ended.output.decode("utf-8", "replace").strip()[-OUTPUT_CHARACTERS_MAX:] or "(nothing)"
        raise SandboxUnavailable(
            f"the setup command {command!r} {how}. Nothing was spent. It ran on a copy of the input, and reached the package "
            f"registries alone: mend the command or the files that it reads, and start again. It said: {said}"
        )

    def _environment(self) -> dict[str, str]:
        return {
            **registry_variables(self._pip_index_url, self._npm_registry, cache=f"{_ASIDE}/cache"),
            "TMPDIR": _ASIDE,  # /tmp is small
            "PIP_CACHE_DIR": f"{_ASIDE}/cache/pip",
            "PIP_BREAK_SYSTEM_PACKAGES": "1",
            "PYTHONUSERBASE": f"{_ROOT}/{PYTHON_USER_FOLDER}",
            "YARN_CACHE_FOLDER": f"{_ASIDE}/cache/yarn",
            "npm_config_store_dir": f"{_ASIDE}/cache/pnpm",
            "COREPACK_ENABLE_DOWNLOAD_PROMPT": "0",
            "CI": "true",
        }


def _unheld_notes(tree: Tree) -> tuple[str, ...]:
    if not tree.left_out:
        return ()
    paths = [f"{one.path[:PATH_SHOWN_MAX]} ({one.why})" for one in tree.left_out]
    named = listed(paths, LEFT_OUT_NAMED_MAX, len(paths) + tree.left_out_more)
    return (f"what the setup command left and a snapshot cannot hold is not there: {named}",)


def _digests(tree: Tree) -> list[str]:
    return [entry.sha256 for entry in tree.entries if entry.sha256 is not None]


def _with_scratch(added: Additions) -> Tree:
    """The tree of what was added, with empty folders where tools write beside what they read."""
    entries = {entry.path: entry for entry in added.entries}
    for part in added.parts:
        if posixpath.basename(part) == "node_modules":
            for name in SCRATCH_FOLDERS:
                path = f"{part}/{name}"
                entries.setdefault(path, TreeEntry(path=path, kind="dir", mode=0o755))
    return Tree(entries=tuple(entries[path] for path in sorted(entries)))


def _as_mounted(layer: Layer, tree: Tree) -> SetupLayer:
    kinds = {entry.path: entry.kind for entry in tree.entries}
    above = {posixpath.dirname(path) for path in kinds}
    mounts: list[ReadOnlyTree] = []
    path: list[str] = []
    python_path: list[str] = []
    for part in sorted(layer.parts, key=lambda part: (part.count("/"), part)):
        is_modules = posixpath.basename(part) == "node_modules"
        scratch = tuple(
            name
            for name in SCRATCH_FOLDERS
            if is_modules and kinds.get(f"{part}/{name}") == "dir" and f"{part}/{name}" not in above
        )
        mounts.append(
            ReadOnlyTree(path=f"{_ROOT}/{part}", tree_digest=layer.tree_digest, part=part, scratch=scratch)
        )
        programs, modules = _places(part, kinds)
        path += [f"{_ROOT}/{place}" for place in programs]
        python_path += [f"{_ROOT}/{place}" for place in modules]
    return SetupLayer(
        digest=layer.tree_digest,
        mounts=tuple(mounts),
        python_path=tuple(python_path),
        path=tuple(path),
        python=installed_python(kinds),
        notes=layer.notes,
    )


def _places(part: str, kinds: dict[str, str]) -> tuple[Sequence[str], Sequence[str]]:
    """Folders of programs, and folders of Python modules, that a part brings."""
    if kinds.get(part) != "dir":
        return (), ()
    if posixpath.basename(part) == "node_modules":
        return ([f"{part}/.bin"] if f"{part}/.bin" in kinds else []), ()
    bin_folder = [f"{part}/bin"] if kinds.get(f"{part}/bin") == "dir" else []
    if f"{part}/pyvenv.cfg" in kinds:
        return bin_folder, ()
    sites = sorted({site for path in kinds if (site := without_place(path, part)) is not None})
    return (bin_folder if sites else ()), sites

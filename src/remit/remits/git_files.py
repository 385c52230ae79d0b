"""The patch and the bundle of a git input. git reads contents that an agent wrote, so it never runs on the host: a fresh
sandbox has the contents as numbered files and the history read-only, and the two files are fetched back from it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence

from remit.catalog.owned_blobs import BlobPuts
from remit.catalog.trees import read_tree
from remit.errors import RemitError, SandboxLost, SandboxRefused, SandboxUnavailable, TooLarge
from remit.interfaces import BlobReader, Sandbox, SandboxProvider
from remit.remits.changes import changed_files
from remit.remits.events import ChangedFile, DeliverableFile
from remit.remits.git_index import (
    GitHistory,
    IndexPlanner,
    encode_edits,
    link_key,
    read_head,
    read_hidden,
)
from remit.remits.git_script import CONTENTS, CONVERSION_FAILED, GIT_SCRIPT, OUT, RULES
from remit.values import ExecRequest, ReadOnlyTree, SandboxSpec, Tree, TreeEntry, Value

HISTORY_PATH = "/workspace/.git"
UNCOMMITTED = "info/remit-uncommitted"
"""In the history, by whom it was packed: every path (each ended by a NUL) at which the input is other than HEAD."""
PIECE_BYTES = 262_144
GIT_TIMEOUT_SECONDS = 300.0
GIT_FILE_BYTES_MAX = 1 << 30


class GitInput(Value, frozen=True, kw_only=True):
    """The input of the git step."""

    remit_id: str
    epoch: int
    history_digest: str
    message: str
    date: str
    toolchains: tuple[str, ...] = ()


class GitFailed(RemitError):
    """git did not make what was asked; the message holds its last words."""


class GitSandbox:
    """One sandbox for the git steps of one result."""

    def __init__(self, puts: BlobPuts, sandbox: Sandbox, git: GitInput, numbers: Mapping[str, int]) -> None:
        self._puts = puts
        self._sandbox = sandbox
        self._git = git
        self._numbers = numbers
        self._steps = 0

    async def open(self) -> tuple[GitHistory, dict[str, str]]:
        """Open the history; what HEAD is, and git's hash of every content."""
        await self._run("open", stdin="".join(f"{CONTENTS}/{n}\n" for n in self._numbers.values()).encode())
        oids = (await self._read("oids")).decode("ascii").split()
        history = GitHistory(
            head=read_head(await self._read("head")), hidden=read_hidden(await self._read("flags"))
        )
        return history, dict(zip(self._numbers, oids, strict=True))

    async def ignored(self, paths: Sequence[str]) -> frozenset[str]:
        """Return those of the paths that git ignores."""
        if not paths:
            return frozenset()
        # With `./` in front a path that begins with a colon is no pattern.
        await self._run("ignored", stdin=_nul_ended([f"./{path}" for path in paths]))
        names = (await self._read("ignored")).split(b"\0")
        return frozenset(name.decode().removeprefix("./") for name in names if name)

    async def convert(self, contents: Sequence[tuple[str, str]]) -> dict[str, str]:
        """Convert paths with their SHA-256 to git's hash of each as it would be committed there."""
        if not contents:
            return {}
        pairs = [part for path, sha256 in contents for part in (path, str(self._numbers[sha256]))]
        await self._run("convert", stdin=_nul_ended(pairs))
        oids = (await self._read("converted")).decode("ascii").split()
        found = {path: oid for (path, _), oid in zip(contents, oids, strict=True)}
        return {path: oid for path, oid in found.items() if oid != CONVERSION_FAILED}

    async def make(self, start: bytes, result: bytes) -> tuple[DeliverableFile, ...]:
        """The patch and the bundle, from edits of HEAD and edits of the start."""
        await self._run("tree", "input_tree", stdin=start)
        await self._run("tree", "result_tree", stdin=result)
        await self._run("make", self._git.remit_id, self._git.message, self._git.date)
        return tuple([await self._fetch(name) for name in ("result.patch", "result.bundle")])

    async def _run(self, step: str, *arguments: str, stdin: bytes = b"") -> None:
        self._steps += 1
        result = await self._sandbox.exec(
            ExecRequest(
                call_id=f"{self._git.remit_id}:git:{self._steps}",
                epoch=self._git.epoch,
                argv=("bash", "-c", GIT_SCRIPT, "git", step, *arguments),
                stdin=stdin,
                timeout_seconds=GIT_TIMEOUT_SECONDS,
            )
        )
        if result.exit_code != 0:
            words = result.output.decode("utf-8", "replace").strip().splitlines()
            raise GitFailed(f"git failed ({words[-1] if words else 'no output'})")

    async def _read(self, name: str) -> bytes:
        content = bytearray()
        async for piece in self._pieces(name):
            content += piece
        return bytes(content)

    async def _fetch(self, name: str) -> DeliverableFile:
        size = 0

        async def counted() -> AsyncIterator[bytes]:
            nonlocal size
            async for piece in self._pieces(name):
                size += len(piece)
                yield piece

        digest = await self._puts.put(counted(), size_bytes_max=GIT_FILE_BYTES_MAX)
        return DeliverableFile(name=name, size_bytes=size, sha256=digest)

    async def _pieces(self, name: str) -> AsyncIterator[bytes]:
        offset = 0
        while True:
            read = await self._sandbox.read_file(
                f"{OUT}/{name}", epoch=self._git.epoch, offset=offset, limit=PIECE_BYTES
            )
            if read.content:
                yield read.content
            offset += len(read.content)
            if offset >= read.size or not read.content:
                return


class GitWork:
    """Makes the patch and the bundle of one result, in two steps: what is ignored is to be known before it is decided
    what is handed over."""

    def __init__(self, blobs: BlobReader, puts: BlobPuts, git: GitInput, base: Tree, result: Tree) -> None:
        self._blobs = blobs
        self._puts = puts
        self._git = git
        self._base = base
        self._result = result
        self._contents: dict[str, int] = {}
        self._uncommitted: frozenset[str] | None = None
        self._sandbox: Sandbox | None = None
        self._opened: tuple[GitSandbox, GitHistory, dict[str, str]] | None = None
        self.note: str | None = None
        """Why there are no files."""

    async def ignored(self, sandboxes: SandboxProvider) -> frozenset[str]:
        """New files that git ignores."""
        try:
            image = await sandboxes.image(self._git.toolchains)
            if "git" not in image.programs:
                return self._without("the image has no git")
            self._uncommitted = await self._read_uncommitted()
            changed = changed_files(self._base, self._result)
            tree = await self._numbered(changed)
            self._sandbox = await sandboxes.create(self._spec(await self._puts.put(tree.encode())))
            sandbox = GitSandbox(self._puts, self._sandbox, self._git, self._contents)
            self._opened = (sandbox, *await sandbox.open())
            return await sandbox.ignored([file.path for file in changed if file.kind == "added"])
        except (SandboxUnavailable, SandboxLost, SandboxRefused, TooLarge, GitFailed) as error:
            return self._without(error.message)

    async def files(
        self, changed: Sequence[ChangedFile]
    ) -> tuple[tuple[DeliverableFile, ...], tuple[str, ...]]:
        """The patch and the bundle of these changes, and what is to be said of them."""
        if self._opened is None:
            return (), (self.note,) if self.note is not None else ()
        sandbox, history, oids = self._opened
        planner = IndexPlanner(history, self._base, changed, uncommitted=self._uncommitted, oids=oids)
        try:
            asked = planner.to_convert()
            as_committed = await sandbox.convert([(path, entry.sha256 or "") for path, entry in asked])
            after = {file.path: file.sha256 for file in changed if file.sha256 is not None}
            wanted = [(path, sha256) for path in as_committed if (sha256 := after.get(path)) is not None]
            plan = planner.plan(as_committed, await sandbox.convert(wanted))
            files = await sandbox.make(encode_edits(plan.start), encode_edits(plan.result))
        except (SandboxLost, SandboxRefused, TooLarge, GitFailed) as error:
            self._without(error.message)
            return (), (self.note or "",)
        return files, plan.notes

    async def close(self) -> None:
        """Let the sandbox go."""
        if self._sandbox is not None:
            await self._sandbox.destroy()

    def _without(self, why: str) -> frozenset[str]:
        self.note = f"result.patch and result.bundle were left out: {why}"
        self._opened = None
        return frozenset()

    def _spec(self, digest: str) -> SandboxSpec:
        return SandboxSpec(
            key=f"{self._git.remit_id}:deliverables:{self._git.epoch}",
            epoch=self._git.epoch,
            tree_digest=digest,
            mounts=(ReadOnlyTree(path=HISTORY_PATH, tree_digest=self._git.history_digest),),
            toolchains=self._git.toolchains,
        )

    async def _read_uncommitted(self) -> frozenset[str] | None:
        history = await read_tree(self._blobs, self._git.history_digest)
        entry = next((entry for entry in history.entries if entry.path == UNCOMMITTED), None)
        if entry is None or entry.sha256 is None:
            return None
        content = await self._blobs.read(entry.sha256)
        return frozenset(path.decode("utf-8", "surrogateescape") for path in content.split(b"\0") if path)

    async def _numbered(self, changed: Iterable[ChangedFile]) -> Tree:
        """The contents that git must know, as numbered files, and the rules of what it ignores and converts."""
        base = {entry.path: entry for entry in self._base.entries}
        result = {entry.path: entry for entry in self._result.entries}
        paths = [file.path for file in changed]
        wanted = [base.get(path) for path in (paths if self._uncommitted is not None else base)]
        wanted += [base.get(path) for path in self._uncommitted or ()]
        wanted += [result.get(path) for path in paths]
        entries: dict[str, TreeEntry] = {}
        for entry in wanted:
            if entry is None or entry.kind == "dir":
                continue
            key = entry.sha256 if entry.target is None else link_key(entry.target)
            if key is None or key in self._contents:
                continue
            sha256, size = entry.sha256, entry.size
            if entry.target is not None:
                content = entry.target.encode()
                sha256, size = await self._puts.put(content), len(content)
            number = self._contents[key] = len(self._contents)
            path = f"{CONTENTS}/{number}"
            entries[path] = TreeEntry(path=path, kind="file", sha256=sha256, size=size)
        for name, tree in ((".gitignore", result), (".gitattributes", base)):
            for path, entry in tree.items():
                if entry.kind == "file" and path.rpartition("/")[2] == name:
                    inside = f"{RULES}/{path}"
                    entries[inside] = TreeEntry(
                        path=inside, kind="file", sha256=entry.sha256, size=entry.size
                    )
        return Tree(entries=tuple(entries[path] for path in sorted(entries)))


def _nul_ended(names: Iterable[str]) -> bytes:
    return "".join(f"{name}\0" for name in names).encode()

"""The patch and the branch of a git input hold the agent's changes and nothing else, whatever kind of checkout it is."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.catalog.trees import read_tree
from remit.client.folders.pack import packed, plan_input
from remit.clock import SystemClock
from remit.ids import Ids
from remit.remits.deliverables import Handover, hand_over
from remit.remits.git_files import GitInput
from remit.remits.inputs import Inputs
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.stores.memory_catalog import MemoryCatalog
from remit.values import LeftOut, Principal, Tree, TreeEntry
from support.kept import kept
from support.remit_bench import in_pieces

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]


def git(folder: Path, *arguments: str, content: bytes | None = None) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main")
    options = ("-c", "protocol.file.allow=always")
    done = subprocess.run(
        ["git", *identity, *options, *arguments], cwd=folder, check=True, capture_output=True, input=content
    )
    return done.stdout.decode("utf-8", "backslashreplace")


@pytest.fixture
async def sandboxes(tmp_path: Path) -> AsyncIterator[BubblewrapProvider]:
    provider = BubblewrapProvider(
        tmp_path / "runtime", DirectoryBlobStore(tmp_path / "blobs"), Ids(SystemClock())
    )
    yield provider
    await provider.close()


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A repository with one commit: a/, b/ and c/ with a file each, and a script."""
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "-q")
    for folder in "abc":
        (project / folder).mkdir()
        (project / folder / "f1.txt").write_text(f"{folder}\n")
    (project / "run.sh").write_text("true\n")
    (project / "run.sh").chmod(0o755)
    commit(project)
    return project


def commit(project: Path, message: str = "first") -> None:
    git(project, "add", "-A")
    git(project, "commit", "-qm", message)


class Bench:
    """Sends a repository as `remit do` does, and hands a result over."""

    def __init__(self, tmp_path: Path, principal: Principal, sandboxes: BubblewrapProvider) -> None:
        self._tmp_path = tmp_path
        self._principal = principal
        self._sandboxes = sandboxes
        self._clock = SystemClock()
        self._catalog = MemoryCatalog(self._clock)
        self._blobs = DirectoryBlobStore(tmp_path / "blobs")
        self._kept = kept(self._blobs, self._catalog, self._clock)

    async def result(
        self,
        project: Path,
        agent: dict[str, bytes | str | None],
        left_out: tuple[LeftOut, ...] = (),
        *,
        raw: bool = False,
    ) -> Handover:
        """`agent`: what it wrote (bytes: a file, text: a symlink, None: removed). The bundle is fetched as FETCH_HEAD."""
        inputs = Inputs(catalog=self._catalog, blobs=self._kept, clock=self._clock, ids=Ids(self._clock))
        if raw:
            resource = await inputs.store(self._principal, in_pieces(raw_tar(project), 65_536))
        else:
            async with packed(plan_input(project)) as chunks:
                resource = await inputs.store(self._principal, chunks)
        body = resource.config
        base = await read_tree(self._blobs, body.tree_digest)
        entries = {entry.path: entry for entry in base.entries}
        for path, content in agent.items():
            mode = entries[path].mode if path in entries else 0o644
            entries.pop(path, None)
            if isinstance(content, str):
                entries[path] = TreeEntry(path=path, kind="symlink", target=content)
            elif content is not None:
                digest = await self._blobs.put(content)
                entries[path] = TreeEntry(path=path, kind="file", mode=mode, sha256=digest, size=len(content))
        result = Tree(entries=tuple(entries[path] for path in sorted(entries)), left_out=left_out)
        assert body.history_digest is not None
        async with self._kept.puts(self._principal, "remit_1") as puts:
            handover = await hand_over(
                blobs=self._blobs,
                puts=puts,
                sandboxes=self._sandboxes,
                base=base,
                result=result,
                git=GitInput(
                    remit_id="remit_1",
                    epoch=1,
                    history_digest=body.history_digest,
                    message="The work",
                    date="2026-01-01T00:00:00Z",
                ),
            )
            await puts.commit()
        for file in handover.files[1:]:
            (self._tmp_path / file.name).write_bytes(await self._blobs.read(file.sha256))
        assert [file.name for file in handover.files[1:]] == ["result.patch", "result.bundle"], handover.notes
        git(project, "fetch", "-q", str(self._tmp_path / "result.bundle"), "remit/remit_1")
        return handover


def raw_tar(project: Path) -> bytes:
    """As a client of the API may send it: the folder as it is, with its own `.git`."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path in sorted(project.rglob("*")):
            inside = path.relative_to(project).as_posix()
            if path.is_file():
                part = inside.removeprefix(".") if inside.startswith(".git/") else f"files/{inside}"
                tar.add(path, part)
    return buffer.getvalue()


@pytest.fixture
def bench(tmp_path: Path, principal: Principal, sandboxes: BubblewrapProvider) -> Bench:
    return Bench(tmp_path, principal, sandboxes)


def differing(project: Path) -> str:
    return (
        git(project, "diff", "--name-status", "--no-renames", "HEAD..FETCH_HEAD").replace("\t", " ").strip()
    )


def sparse(project: Path) -> None:
    git(project, "sparse-checkout", "set", "a")


def submodule(project: Path) -> None:
    other = project.parent / "other"
    other.mkdir()
    git(other, "init", "-q")
    (other / "x").write_text("x\n")
    commit(other)
    git(project, "submodule", "--quiet", "add", str(other), "sub")
    commit(project, "with a submodule")


def line_ends(project: Path) -> None:
    git(project, "config", "core.autocrlf", "true")
    for path in ("a/f1.txt", "b/f1.txt"):
        (project / path).unlink()
    git(project, "checkout", "-q", "--", "a", "b")
    assert (project / "b/f1.txt").read_bytes() == b"b\r\n"


def attributes(project: Path) -> None:
    (project / ".gitattributes").write_text("*.txt text eol=crlf\n")
    commit(project, "line ends by attribute")
    line_ends(project)


def large_files(project: Path) -> None:
    """A filter that is a program: HEAD has pointers, the working tree contents."""
    git(project, "config", "filter.lfs.clean", "tr b-d x-z")
    git(project, "config", "filter.lfs.smudge", "tr x-z b-d")
    (project / ".gitattributes").write_text("b/* filter=lfs\n")
    (project / "b/f1.txt").write_text("bcd\n")
    commit(project, "behind a filter")
    assert git(project, "show", "HEAD:b/f1.txt") == "xyz\n"
    git(project, "config", "filter.lfs.clean", "false")  # whoever runs it fails
    git(project, "config", "filter.lfs.required", "true")


def assume_unchanged(project: Path) -> None:
    git(project, "update-index", "--assume-unchanged", "b/f1.txt")
    (project / "b/f1.txt").write_text("mine alone\n")


def skip_worktree(project: Path) -> None:
    git(project, "update-index", "--skip-worktree", "b/f1.txt")
    (project / "b/f1.txt").write_text("mine alone\n")


def file_modes(project: Path) -> None:
    git(project, "config", "core.fileMode", "false")
    for path in ("a/f1.txt", "b/f1.txt"):
        (project / path).chmod(0o755)
    (project / "run.sh").chmod(0o644)


def nothing(project: Path) -> None:
    pass


def strange_names(project: Path) -> None:
    for name in (b"caf\xe9", b'tab\t"quoted"', b"line\nend", b":(top)x", b"back\\slash"):
        (project / os.fsdecode(name)).write_bytes(b"x\n")
    commit(project, "names")


KINDS: list[Callable[[Path], None]] = [
    nothing,
    sparse,
    submodule,
    line_ends,
    attributes,
    large_files,
    assume_unchanged,
    skip_worktree,
    file_modes,
    strange_names,
]


@pytest.mark.parametrize("prepare", KINDS, ids=lambda kind: kind.__name__)
async def test_the_branch_differs_from_head_by_the_agents_file_alone(
    bench: Bench, project: Path, prepare: Callable[[Path], None]
) -> None:
    prepare(project)
    clean = git(project, "status", "--porcelain") if prepare is not large_files else ""
    content = (project / "a/f1.txt").read_bytes()
    await bench.result(project, {"a/f1.txt": content + content.replace(b"a", b"more"), "a/new": b"new\n"})
    assert differing(project) == "M a/f1.txt\nA a/new"
    assert git(project, "log", "--format=%s", "HEAD..FETCH_HEAD").strip() == "The work"
    assert git(project, "show", "FETCH_HEAD:a/f1.txt") == "a\nmore\n"
    if prepare is not large_files:
        assert git(project, "status", "--porcelain") == clean == ""
        git(project, "apply", str(project.parent / "result.patch"))


@pytest.mark.parametrize("prepare", [sparse, line_ends, attributes], ids=lambda kind: kind.__name__)
async def test_so_it_is_where_a_client_sends_its_own_repository(
    bench: Bench, project: Path, prepare: Callable[[Path], None]
) -> None:
    """Nobody says what was not committed: bits of the index and git's own conversions do."""
    prepare(project)
    await bench.result(project, {"a/f1.txt": b"a\nmore\n", "a/new": b"new\n"}, raw=True)
    assert differing(project) == "M a/f1.txt\nA a/new"


async def test_what_was_not_committed_stands_in_a_commit_of_its_own(bench: Bench, project: Path) -> None:
    (project / "b/f1.txt").unlink()
    (project / "c/f1.txt").write_text("not committed\n")
    (project / "untracked").write_text("u\n")
    await bench.result(project, {"c/f1.txt": b"not committed\nmore\n", "untracked": None})
    assert git(project, "diff", "--name-status", "HEAD..FETCH_HEAD~").split() == [
        *("D", "b/f1.txt"), *("M", "c/f1.txt"), *("A", "untracked")
    ]  # fmt: skip
    assert git(project, "diff", "--name-status", "FETCH_HEAD~..FETCH_HEAD").split() == [
        *("M", "c/f1.txt"), *("D", "untracked")
    ]  # fmt: skip


async def test_files_become_folders_and_links_in_the_branch_too(bench: Bench, project: Path) -> None:
    agent: dict[str, bytes | str | None] = {
        "a/f1.txt": None, "a": b"flat\n", "run.sh": None, "run.sh/x": b"x\n", "b/f1.txt": "../c/f1.txt",
    }  # fmt: skip
    await bench.result(project, {"a/f1.txt": None, **agent})
    assert differing(project).splitlines() == [
        "A a", "D a/f1.txt", "T b/f1.txt", "D run.sh", "A run.sh/x"
    ]  # fmt: skip
    git(project, "apply", str(project.parent / "result.patch"))
    assert (project / "run.sh/x").read_text() == "x\n"


async def test_contents_behind_a_filter_are_shown_and_said(bench: Bench, project: Path) -> None:
    large_files(project)
    handover = await bench.result(project, {"b/f1.txt": b"bcd\nmore\n"})
    assert git(project, "diff", "--name-only", "HEAD..FETCH_HEAD").split() == ["b/f1.txt"]
    assert "+more" in (project.parent / "result.patch").read_text()
    assert "-bcd" not in (project.parent / "result.patch").read_text()
    assert any("needs no filter): b/f1.txt" in note for note in handover.notes)


async def test_nothing_in_the_branch_takes_the_place_of_what_was_not_sent(
    bench: Bench, project: Path
) -> None:
    submodule(project)
    sparse(project)
    agent: dict[str, bytes | str | None] = {
        "sub/file": b"x\n", "b": b"a file where a folder is\n", "a/ok": b"ok\n", ".git/hooks/x": b"evil\n",
        "nested/.git/config": b"[core]\n", "nested/code": b"code\n",
    }  # fmt: skip
    handover = await bench.result(project, agent, left_out=(LeftOut(path="a/f1.txt", why="a named pipe"),))
    assert differing(project) == "A a/ok\nA nested/code"
    blocked = next(note for note in handover.notes if note.startswith("not in the patch"))
    assert blocked.endswith(": b, sub/file")
    assert "2 files of git's own were left out, nobody can land them: .git, nested/.git" in handover.notes
    assert "left out, for a snapshot cannot hold it: a/f1.txt (a named pipe)" in handover.notes
    assert [file.path for file in handover.changed] == ["a/ok", "b", "nested/code", "sub/file"]

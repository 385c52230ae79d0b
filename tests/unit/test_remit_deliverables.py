"""What is handed over: changed files, and for a git input a patch and a bundle made inside a sandbox."""

from __future__ import annotations

import subprocess
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.catalog.trees import read_tree
from remit.clock import SystemClock
from remit.ids import Ids
from remit.remits.changes import changed_files, changes_between, without_leftovers
from remit.remits.deliverables import hand_over, write_tar
from remit.remits.git_files import GitInput
from remit.remits.inputs import Inputs
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.stores.memory_catalog import MemoryCatalog
from remit.values import LeftOut, Principal, Tree, TreeEntry
from support.kept import kept
from support.remit_bench import in_pieces

pytestmark = pytest.mark.anyio


def entry(path: str, sha256: str = "a", **fields: object) -> TreeEntry:
    return TreeEntry(path=path, kind="file", sha256=sha256, **fields)  # type: ignore[arg-type]


def tree(*entries: TreeEntry) -> Tree:
    return Tree(entries=entries)


def test_changes_are_by_content_and_mode_and_not_by_time() -> None:
    base = tree(entry("gone"), entry("mode"), entry("same"), entry("text"))
    result = tree(entry("mode", mode=0o755), entry("new"), entry("same", mtime_ns=5), entry("text", "b"))
    changed = [(file.path, file.kind) for file in changed_files(base, result)]
    assert changed == [("gone", "removed"), ("mode", "modified"), ("new", "added"), ("text", "modified")]


BIT = "its set-user-ID, set-group-ID or sticky bit alone"


def test_below_a_folder_that_is_held_without_a_bit_what_was_removed_is_removed() -> None:
    """`chmod 1777 d; rm d/old`, and a whole folder below it."""
    folders = tuple(TreeEntry(path=path, kind="dir") for path in ("d", "d/sub"))
    base = tree(*folders, entry("d/kept"), entry("d/old"), entry("d/sub/f"))
    result = Tree(entries=(folders[0], entry("d/kept")), left_out=(LeftOut(path="d", why=BIT),))
    changes = changes_between(base, result, frozenset())
    assert [(file.path, file.kind) for file in changes.files] == [
        ("d/old", "removed"),
        ("d/sub/f", "removed"),
    ]
    assert [(one.path, one.kind) for one in changes.folders] == [("d/sub", "removed")]
    assert changes.notes == (f"left out, for a snapshot cannot hold it: d ({BIT})",)


@pytest.mark.parametrize("path", ["d/", "d/old", "d"])
def test_what_may_be_there_and_is_not_held_is_not_removed(path: str) -> None:
    base = tree(TreeEntry(path="d", kind="dir"), entry("d/old"))
    there = base.entries[:1] if path != "d" else ()  # a folder that nobody could look into is held itself
    result = Tree(entries=there, left_out=(LeftOut(path=path, why="Permission denied"),))
    assert changed_files(base, result) == ()


def test_new_names_of_one_file_are_said_to_become_files_of_their_own() -> None:
    base = tree(entry("a"), entry("x"), entry("y"))
    result = Tree(
        entries=(entry("a"), entry("b"), entry("x"), entry("y"), entry("z/c")),
        links=(("a", "b", "z/c"), ("x", "y")),
    )
    notes = changes_between(base, result, frozenset()).notes
    assert notes == ("names of one file (hard links) are handed over as files of their own: a = b = z/c",)


def test_a_name_cannot_look_like_a_line_of_a_note_of_its_own() -> None:
    result = Tree(entries=(), left_out=(LeftOut(path="f\nNote: all is well", why="a named pipe"),))
    (note,) = changes_between(tree(), result, frozenset()).notes
    assert "\n" not in note
    assert "f\\nNote" in note


def test_what_running_leaves_behind_is_left_out_unless_it_was_there() -> None:
    base = tree(entry("pkg/__pycache__/old.pyc"))
    result = tree(
        entry("build/out"),
        entry("pkg/__pycache__/new.pyc"),
        entry("pkg/__pycache__/old.pyc", "b"),
        entry("pkg/x"),
    )
    kept, left_out = without_leftovers(changed_files(base, result), frozenset({"build/out"}))
    assert [file.path for file in kept] == ["pkg/__pycache__/old.pyc", "pkg/x"]
    assert left_out == 2


async def test_the_same_changes_give_the_same_tar(tmp_path: Path, principal: Principal) -> None:
    blobs = DirectoryBlobStore(tmp_path)
    digest = await blobs.put(b"hello")
    changed = changed_files(tree(), tree(entry("a", digest, size=5)))
    async with kept(blobs).puts(principal, "remit_1") as puts:
        first = await write_tar(blobs, puts, changed, {"a": 5})
        assert first == await write_tar(blobs, puts, changed, {"a": 5})
        assert first.size_bytes == len(await blobs.read(first.sha256))


@pytest.fixture
async def sandboxes(tmp_path: Path) -> AsyncIterator[BubblewrapProvider]:
    blobs = DirectoryBlobStore(tmp_path / "blobs")
    provider = BubblewrapProvider(tmp_path / "runtime", blobs, Ids(SystemClock()))
    yield provider
    await provider.close()


async def test_symlinks_that_lead_out_are_left_out_by_name_and_spoil_nothing_else(
    sandboxes: BubblewrapProvider, tmp_path: Path, principal: Principal
) -> None:
    """A virtual environment in the working tree has them; the rest of the result must still be written."""
    blobs = DirectoryBlobStore(tmp_path)
    digest = await blobs.put(b"hello")

    def link(path: str, target: str) -> TreeEntry:
        return TreeEntry(path=path, kind="symlink", target=target)

    result = tree(
        entry("a", digest, size=5),
        link("in", "a"),
        link("up", ".."),
        link("venv/bin/python", "/usr/bin/python3"),
        link("venv/lib64", "lib"),
        link("venv/up", "../a"),
    )
    async with kept(blobs).puts(principal, "remit_1") as puts:
        handover = await hand_over(
            blobs=blobs, puts=puts, sandboxes=sandboxes, base=tree(), result=result, git=None
        )
    assert [file.path for file in handover.changed] == ["a", "in", "venv/lib64", "venv/up"]
    assert handover.notes == (
        "2 symlinks were left out, for they lead out of the folder: up, venv/bin/python",
    )


def git(folder: Path, *arguments: str) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@localhost", "-c", "init.defaultBranch=main")
    done = subprocess.run(
        ["git", *identity, *arguments], cwd=folder, check=True, capture_output=True, text=True
    )
    return done.stdout


@pytest.mark.sandbox
@pytest.mark.slow
async def test_a_git_input_gives_a_patch_and_a_branch_that_apply(
    tmp_path: Path, principal: Principal, sandboxes: BubblewrapProvider
) -> None:
    project = tmp_path / "project"
    project.mkdir()
    git(project, "init", "-q")
    (project / "code.py").write_text("x = 1\n")
    (project / ".gitignore").write_text("*.log\n")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "first")
    (project / "code.py").write_text("x = 2  # not committed\n")

    blobs = DirectoryBlobStore(tmp_path / "blobs")
    clock = SystemClock()
    catalog = MemoryCatalog(clock)
    blobs_kept = kept(blobs, catalog, clock)
    inputs = Inputs(catalog=catalog, blobs=blobs_kept, clock=clock, ids=Ids(clock))
    packed = tmp_path / "input.tar"
    subprocess.run(
        ["tar", "cf", packed, "--exclude=project/.git", "--transform=s,^project/,files/,", "project/code.py",
         "project/.gitignore"], cwd=tmp_path, check=True
    )  # fmt: skip
    subprocess.run(
        ["tar", "rf", packed, "--transform=s,^project/.git,git,", "project/.git"], cwd=tmp_path, check=True
    )
    body = (await inputs.store(principal, in_pieces(packed.read_bytes(), 65_536))).config
    base = await read_tree(blobs, body.tree_digest)
    new, noise = await blobs.put_many([b"x = 3\n", b"noise"])
    by_path = {one.path: one for one in base.entries}
    by_path["code.py"] = entry("code.py", new, size=6)
    by_path["run.log"] = entry("run.log", noise, size=5)
    result = Tree(entries=tuple(by_path[path] for path in sorted(by_path)))
    assert body.history_digest is not None
    async with blobs_kept.puts(principal, "remit_1") as puts:
        handover = await hand_over(
            blobs=blobs,
            puts=puts,
            sandboxes=sandboxes,
            base=base,
            result=result,
            git=GitInput(
                remit_id="remit_1",
                epoch=1,
                history_digest=body.history_digest,
                message="Make it three",
                date="2026-01-01T00:00:00Z",
            ),
        )
        await puts.commit()
    assert [file.name for file in handover.files] == ["files.tar", "result.patch", "result.bundle"], (
        handover.notes
    )
    assert [file.path for file in handover.changed] == ["code.py"]
    (tmp_path / "result.patch").write_bytes(await blobs.read(handover.files[1].sha256))
    (tmp_path / "result.bundle").write_bytes(await blobs.read(handover.files[2].sha256))
    git(project, "apply", str(tmp_path / "result.patch"))
    assert (project / "code.py").read_text() == "x = 3\n"
    git(project, "fetch", "-q", str(tmp_path / "result.bundle"), "remit/remit_1")
    assert git(project, "log", "--format=%s", "FETCH_HEAD").splitlines() == [
        "Make it three",
        "The input of remit_1, with changes that were not committed",
        "first",
    ]

"""`remit apply` makes of any input any result, or leaves the folder as it was; and nothing outside is touched."""

from __future__ import annotations

import hashlib
import io
import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from errno import ENOSPC
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from remit.cli.apply_changes import apply_changes, plan_changes
from remit.cli.failure import CommandFailed
from remit.client.folders.changes import changes_of, folders_of
from remit.remits.changes import changes_between
from remit.values import Tree, TreeEntry

MANY = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
Described = dict[str, Any]

NAMES = st.sampled_from(["a", "b", "c d", "\n", "é", "-x"])
LEAVES = st.one_of(
    st.tuples(st.just("file"), st.sampled_from([0o644, 0o755, 0o600, 0o000, 0o444]), st.binary(max_size=3)),
    st.tuples(
        st.just("symlink"), st.just(0o777), st.sampled_from(["a", "b/a", "../a", "a/../b", ".", "gone"])
    ),
)
FOLDER_MODES = st.sampled_from([0o755, 0o700, 0o500, 0o000])
TREES = st.recursive(
    st.dictionaries(NAMES, LEAVES, max_size=3),
    lambda below: st.dictionaries(
        NAMES, st.one_of(LEAVES, st.tuples(st.just("dir"), FOLDER_MODES, below)), max_size=3
    ),
    max_leaves=10,
)


def entries_of(described: Described, prefix: str = "") -> Iterator[tuple[TreeEntry, bytes]]:
    for name, (kind, mode, what) in described.items():
        path = prefix + name
        if kind == "dir":
            yield TreeEntry(path=path, kind="dir", mode=mode), b""
            yield from entries_of(what, f"{path}/")
        elif kind == "symlink":
            yield TreeEntry(path=path, kind="symlink", mode=0o777, target=what), b""
        else:
            digest = hashlib.sha256(what).hexdigest()
            yield TreeEntry(path=path, kind="file", mode=mode, sha256=digest, size=len(what)), what


def tree_of(described: Described) -> Tree:
    return Tree(entries=tuple(sorted((one for one, _ in entries_of(described)), key=lambda one: one.path)))


def build(folder: Path, described: Described) -> None:
    made = sorted(entries_of(described), key=lambda one: one[0].path)
    for entry, content in made:
        path = folder / entry.path
        if entry.kind == "dir":
            path.mkdir()
        elif entry.kind == "symlink":
            path.symlink_to(entry.target or "")
        else:
            path.write_bytes(content)
            path.chmod(entry.mode)
    for entry, _ in reversed(made):
        if entry.kind == "dir":
            (folder / entry.path).chmod(entry.mode)


def read(folder: Path) -> Tree:
    """What is there, without the times."""
    entries: list[TreeEntry] = []
    for root, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = Path(root) / name
            found = path.lstat()
            inside, mode = path.relative_to(folder).as_posix(), stat.S_IMODE(found.st_mode)
            if stat.S_ISLNK(found.st_mode):
                target = str(path.readlink())
                entries.append(TreeEntry(path=inside, kind="symlink", mode=0o777, target=target))
            elif stat.S_ISDIR(found.st_mode):
                entries.append(TreeEntry(path=inside, kind="dir", mode=mode))
            else:
                content = path.read_bytes()
                digest = hashlib.sha256(content).hexdigest()
                entries.append(
                    TreeEntry(path=inside, kind="file", mode=mode, sha256=digest, size=len(content))
                )
    return Tree(entries=tuple(sorted(entries, key=lambda one: one.path)))


class Result:
    """What a remit would hand over for these two trees, as the API gives it."""

    def __init__(self, before: Described, after: Described, folder: Path) -> None:
        changes = changes_between(tree_of(before), tree_of(after), frozenset())
        listing = {
            "changed": msgspec.to_builtins(changes.files), "folders": msgspec.to_builtins(changes.folders)
        }  # fmt: skip
        self.notes = changes.notes
        self.changes, self.folders = changes_of(listing), folders_of(listing)
        self.archive = folder / "files.tar"
        contents = {entry.path: content for entry, content in entries_of(after)}
        with tarfile.open(self.archive, "w") as tar:
            for file in changes.files:
                info = tarfile.TarInfo(file.path)
                if file.target is not None:
                    info.type, info.linkname = tarfile.SYMTYPE, file.target
                    tar.addfile(info)
                elif file.kind != "removed":
                    info.size = len(contents[file.path])
                    tar.addfile(info, io.BytesIO(contents[file.path]))

    def apply(self, folder: Path) -> tuple[str, ...]:
        return apply_changes(plan_changes(folder, self.changes, self.folders), self.archive)


@pytest.fixture
def ground(tmp_path: Path) -> Callable[[Described], Path]:
    def made(described: Described) -> Path:
        folder = tmp_path / os.urandom(6).hex() / "folder"
        folder.mkdir(parents=True)
        build(folder, described)
        return folder

    return made


@pytest.mark.skipif(os.geteuid() != 0, reason="an ordinary user is refused, by name, what it may not write")
@given(before=TREES, after=TREES)
@MANY
def test_any_input_becomes_any_result(
    ground: Callable[[Described], Path], before: Described, after: Described
) -> None:
    folder = ground(before)
    result = Result(before, after, folder.parent)
    assume(not result.notes)  # a link that leads out: it is named and not handed over
    result.apply(folder)
    assert read(folder) == tree_of(after)
    again = plan_changes(folder, result.changes, result.folders)
    assert (again.steps, again.folders, again.conflicts) == ((), (), ())


@contextmanager
def failing_at(number: int) -> Iterator[list[str]]:
    """The system call of this number that changes something in a folder fails, once: the disk is full."""
    names = ("rename", "mkdir", "link", "chmod")
    real = {name: getattr(os, name) for name in names}
    calls: list[str] = []

    def wrapped(name: str) -> Callable[..., object]:
        def call(*arguments: Any, **options: Any) -> object:
            calls.append(name)
            if len(calls) == number:
                raise OSError(ENOSPC, os.strerror(ENOSPC), str(arguments[0]))
            return real[name](*arguments, **options)

        return call

    for name in names:
        setattr(os, name, wrapped(name))
    try:
        yield calls
    finally:
        for name in names:
            setattr(os, name, real[name])


BEFORE: Described = {
    "keep": ("file", 0o640, b"k"),
    "edit": ("file", 0o644, b"1"),
    "gone": ("file", 0o644, b"g"),
    "settings": ("file", 0o644, b"s"),
    "conf": (
        "dir",
        0o750,
        {"x": ("file", 0o600, b"x"), "deep": ("dir", 0o755, {"y": ("file", 0o644, b"y")})},
    ),
    "link": ("symlink", 0o777, "keep"),
}
AFTER: Described = {
    "keep": ("file", 0o640, b"k"),
    "edit": ("file", 0o755, b"2"),
    "settings": ("dir", 0o700, {"base": ("file", 0o644, b"b")}),
    "conf": ("symlink", 0o777, "settings"),
    "link": ("file", 0o644, b"no link"),
    "new": ("dir", 0o500, {"z": ("symlink", 0o777, "../edit")}),
}


def test_a_failure_at_any_step_leaves_the_folder_as_it_was(ground: Callable[[Described], Path]) -> None:
    number = 0
    while True:
        number += 1
        folder = ground(BEFORE)
        result = Result(BEFORE, AFTER, folder.parent)
        inodes = {path: (folder / path).lstat().st_ino for path in ("edit", "gone", "conf/x", "conf", "link")}
        is_refused = False
        with failing_at(number) as calls:
            try:
                result.apply(folder)
            except CommandFailed:
                is_refused = True
        if is_refused:
            assert read(folder) == tree_of(BEFORE)
            assert inodes == {path: (folder / path).lstat().st_ino for path in inodes}
            continue
        assert read(folder) == tree_of(AFTER)  # there was another way
        if number > len(calls):
            break
    assert number > 15


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ({"settings": ("file", 0o644, b"s")}, {"settings": ("dir", 0o755, {"base": ("file", 0o644, b"b")})}),
        ({"conf": ("dir", 0o755, {"x": ("file", 0o644, b"x")})}, {"conf": ("file", 0o644, b"flat")}),
        ({"l": ("symlink", 0o777, "a")}, {"l": ("symlink", 0o777, "b")}),
        ({"l": ("symlink", 0o777, "a")}, {}),
        ({}, {"empty": ("dir", 0o711, {})}),
        (
            {"d": ("dir", 0o755, {"f": ("file", 0o644, b"")})},
            {"d": ("dir", 0o000, {"f": ("file", 0o644, b"")})},
        ),
    ],
)
def test_a_change_of_kind_has_no_conflict(
    ground: Callable[[Described], Path], before: Described, after: Described
) -> None:
    """Also where the list says nothing of folders: older results do not."""
    folder = ground(before)
    result = Result(before, after, folder.parent)
    assert plan_changes(folder, result.changes).conflicts == ()
    result.apply(folder)
    assert read(folder) == tree_of(after)


def test_a_folder_with_something_of_ones_own_in_it_is_in_the_way(ground: Callable[[Described], Path]) -> None:
    before: Described = {"conf": ("dir", 0o755, {"x": ("file", 0o644, b"x")})}
    folder = ground(before)
    (folder / "conf/mine").write_text("mine")
    result = Result(before, {"conf": ("file", 0o644, b"flat")}, folder.parent)
    with pytest.raises(CommandFailed, match="'conf/mine' in it is not the result's to remove"):
        result.apply(folder)
    assert (folder / "conf/x").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("links", "target"),
    [
        ({"up": "../outside"}, "up/x"),
        ({"p": "."}, "p/../../x"),
        ({"node_modules": "/somewhere/deep"}, "node_modules/.."),
        ({"q": "q2", "q2": "/"}, "q/etc"),
    ],
)
def test_a_link_that_leads_out_by_what_is_in_the_folder_is_refused(
    ground: Callable[[Described], Path], links: dict[str, str], target: str
) -> None:
    """The words alone stay inside; what git ignores is in the folder and was not sent."""
    folder = ground({})
    for name, where in links.items():
        (folder / name).symlink_to(where)
    listing = {
        "changed": [{"path": "new", "kind": "added", "mode": 0o777, "base_sha256": None, "sha256": None, "target": target}]
    }  # fmt: skip
    landing = plan_changes(folder, changes_of(listing))
    assert landing.conflicts == (f"new: is a symlink to {target!r}, which points outside the folder",)


def test_owner_permissions_and_names_are_kept_or_it_is_said(ground: Callable[[Described], Path]) -> None:
    before: Described = dict.fromkeys(("one", "two", "half", "other", "own", "suid"), ("file", 420, b"1"))
    folder = ground(before)
    for first, second in (("one", "two"), ("half", "other")):
        (folder / second).unlink()
        os.link(folder / first, folder / second)
    (folder / "own").chmod(0o664)
    if os.geteuid() == 0:
        os.chown(folder / "own", 1234, 2345)
        os.chown(folder, 1000, 1000)
    (folder / "suid").chmod(0o4755)
    after = {**before, **dict.fromkeys(("one", "two", "half", "own", "suid"), ("file", 420, b"2"))}
    after["added"] = ("file", 0o600, b"a")
    notes = Result(before, after, folder.parent).apply(folder)
    assert (folder / "one").samefile(folder / "two")
    assert not (folder / "half").samefile(folder / "other")
    assert (folder / "other").read_bytes() == b"1"
    assert stat.S_IMODE((folder / "own").stat().st_mode) == 0o664
    assert stat.S_IMODE((folder / "suid").stat().st_mode) == 0o755
    if os.geteuid() == 0:
        assert ((folder / "own").stat().st_uid, (folder / "own").stat().st_gid) == (1234, 2345)
        assert (folder / "added").stat().st_uid == 1000
    assert sorted(notes) == [
        "half: was one of 2 names of a file (hard links) and is a file of its own now",
        "suid: its set-user-ID or set-group-ID bit was taken away",
    ]


def test_a_repositorys_own_files_are_left_out_of_what_is_written(tmp_path: Path) -> None:
    paths = [".git/hooks/x", "sub/.git", "sub/.GIT/config", "git~1/x", ".g\u200cit/x", "code"]
    listing = {
        "changed": [
            {"path": path, "kind": "added", "mode": 0o644, "base_sha256": None, "sha256": hashlib.sha256(b"").hexdigest()}
            for path in paths
        ]
    }  # fmt: skip
    assert [change.path for change in changes_of(listing)] == ["code"]
    with tarfile.open(tmp_path / "files.tar", "w") as tar:
        for path in paths:
            tar.addfile(tarfile.TarInfo(path))
    folder = tmp_path / "folder"
    folder.mkdir()
    apply_changes(plan_changes(folder, changes_of(listing)), tmp_path / "files.tar")
    assert [path.name for path in folder.iterdir()] == ["code"]

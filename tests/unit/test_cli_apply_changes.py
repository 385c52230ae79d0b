"""`remit apply`: wholly or not at all, and never outside the folder."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from remit.cli.apply_changes import apply_changes, plan_changes
from remit.client.folders.changes import FileChange, changes_of
from remit.errors import LocalFailure
from support.fake_api import sha256


def change(path: str, before: bytes | None, after: bytes | None, mode: int = 0o644) -> FileChange:
    kind = "added" if before is None else "removed" if after is None else "modified"
    entry = {"path": path, "kind": kind, "mode": mode}
    entry |= {"base_sha256": before and sha256(before), "sha256": after and sha256(after)}
    return changes_of({"changed": [entry]})[0]


def archive(folder: Path, contents: dict[str, bytes]) -> Path:
    path = folder / "files.tar"
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "folder"
    folder.mkdir()
    (folder / "a").write_bytes(b"old")
    (folder / "b").write_bytes(b"doomed")
    return folder


def listing(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


CHANGES = [change("a", b"old", b"new"), change("b", b"doomed", None), change("deep/er/c", None, b"c", 0o755)]


def test_modified_added_and_removed_files_land_with_their_modes(folder: Path, tmp_path: Path) -> None:
    apply_changes(plan_changes(folder, CHANGES), archive(tmp_path, {"a": b"new", "deep/er/c": b"c"}))
    assert listing(folder) == {"a": b"new", "deep/er/c": b"c"}
    assert (folder / "deep/er/c").stat().st_mode & 0o777 == 0o755


def test_a_second_time_there_is_nothing_to_do(folder: Path, tmp_path: Path) -> None:
    apply_changes(plan_changes(folder, CHANGES), archive(tmp_path, {"a": b"new", "deep/er/c": b"c"}))
    again = plan_changes(folder, CHANGES)
    assert again.steps == again.conflicts == ()


def test_what_a_broken_off_apply_left_half_done_is_finished(folder: Path, tmp_path: Path) -> None:
    (folder / "a").write_bytes(b"new")
    apply_changes(plan_changes(folder, CHANGES), archive(tmp_path, {"a": b"new", "deep/er/c": b"c"}))
    assert listing(folder) == {"a": b"new", "deep/er/c": b"c"}


def test_every_conflict_is_named_and_nothing_is_touched(folder: Path, tmp_path: Path) -> None:
    (folder / "a").write_bytes(b"mine")
    (folder / "b").write_bytes(b"mine too")
    (folder / "deep").write_bytes(b"a file")
    before = listing(folder)
    with pytest.raises(LocalFailure) as caught:
        apply_changes(plan_changes(folder, CHANGES), archive(tmp_path, {}))
    for words in ("a: changed here", "b: the remit removed it", "'deep' is not a folder"):
        assert words in caught.value.message
    assert listing(folder) == before


def test_nothing_is_written_through_a_symlink(folder: Path, tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / "deep").symlink_to(outside)
    plan = plan_changes(folder, [change("deep/x", None, b"x")])
    assert plan.conflicts == ("deep/x: 'deep' is a symlink here",)


def test_a_failure_in_the_middle_puts_everything_back(folder: Path, tmp_path: Path) -> None:
    plan = plan_changes(folder, [*CHANGES, change("z", b"was", b"is")])
    assert plan.conflicts
    (folder / "z").write_bytes(b"was")
    plan = plan_changes(folder, [*CHANGES, change("z", b"was", b"is")])
    (folder / "z").write_bytes(b"moved on between the look and the leap")
    before = listing(folder)
    with pytest.raises(LocalFailure, match="the folder is as it was"):
        apply_changes(plan, archive(tmp_path, {"a": b"new", "deep/er/c": b"c", "z": b"is"}))
    assert listing(folder) == before
    assert not (folder / "deep").exists()


def test_contents_that_are_not_what_the_list_says_are_refused(folder: Path, tmp_path: Path) -> None:
    before = listing(folder)
    with pytest.raises(LocalFailure, match="another hash"):
        apply_changes(plan_changes(folder, CHANGES), archive(tmp_path, {"a": b"evil", "deep/er/c": b"c"}))
    assert listing(folder) == before


@pytest.mark.parametrize("path", ["../x", "/etc/x", "a/../../x", "a//x", "./x", ""])
def test_a_path_that_leaves_the_folder_is_refused(path: str) -> None:
    with pytest.raises(LocalFailure, match="not a path inside"):
        change(path, None, b"x")


def test_permission_bits_alone_are_a_change(folder: Path, tmp_path: Path) -> None:
    (folder / "a").chmod(0o644)
    plan = plan_changes(folder, [change("a", b"old", b"old", 0o755)])
    apply_changes(plan, archive(tmp_path, {"a": b"old"}))
    assert (folder / "a").stat().st_mode & 0o777 == 0o755


def test_symlinks_land_as_symlinks_and_never_point_out(folder: Path, tmp_path: Path) -> None:
    def link_to(target: str) -> Path:
        path = tmp_path / "files.tar"
        with tarfile.open(path, "w") as tar:
            info = tarfile.TarInfo("link")
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
        return path

    entry = {"path": "link", "kind": "added", "mode": 0o777, "base_sha256": None, "sha256": None}
    inside = changes_of({"changed": [{**entry, "target": "a"}]})
    apply_changes(plan_changes(folder, inside), link_to("a"))
    assert (folder / "link").readlink() == Path("a")
    (folder / "link").unlink()
    outside = changes_of({"changed": [{**entry, "target": "../x"}]})
    with pytest.raises(LocalFailure, match="points outside"):
        apply_changes(plan_changes(folder, outside), link_to("../x"))


def test_whoever_ends_the_command_while_a_result_lands_waits_for_it(folder: Path, tmp_path: Path) -> None:
    """In a process of its own: the signal is to end it."""
    archive(tmp_path, {"a": b"new", "deep/er/c": b"c"})
    program = f"""
import os, signal, sys
from pathlib import Path
sys.path[:0] = {[str(Path(__file__).parent), str(Path(__file__).parents[1])]!r}
from test_cli_apply_changes import CHANGES
from remit.cli.apply_changes import apply_changes, plan_changes, signals_wait
folder, number = Path(sys.argv[1]), int(sys.argv[2])
signal.signal(number, signal.SIG_DFL)  # whoever started the tests with `nohup` ignores one of them
rename = os.rename
def slow(*arguments, **keywords):
    os.kill(os.getpid(), number)  # before each step
    return rename(*arguments, **keywords)
with signals_wait():
    os.rename = slow
    apply_changes(plan_changes(folder, CHANGES), Path(sys.argv[3]))
print("went on")
"""
    for number in (signal.SIGTERM, signal.SIGHUP):
        process = subprocess.run(
            [sys.executable, "-c", program, str(folder), str(int(number)), str(tmp_path / "files.tar")],
            capture_output=True,
            check=False,
        )
        assert (process.returncode, process.stdout) == (-number, b""), process.stderr
        assert listing(folder) == {"a": b"new", "deep/er/c": b"c"}
        (folder / "a").write_bytes(b"old")
        (folder / "b").write_bytes(b"doomed")
        (folder / "deep/er/c").unlink()

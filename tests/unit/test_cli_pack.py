"""A folder as an input: what goes, what is refused by name, and that the folder is only read."""

from __future__ import annotations

import io
import os
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from remit.cli.failure import BadUsage, CommandFailed
from remit.cli.pack import packed, plan_input

pytestmark = pytest.mark.anyio


def git(folder: Path, *arguments: str) -> str:
    command = ["git", "-c", "user.name=a", "-c", "user.email=a@example.com", *arguments]
    return subprocess.run(command, cwd=folder, check=True, capture_output=True, text=True).stdout


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "repository"
    folder.mkdir()
    git(folder, "init", "-q", "-b", "main")
    (folder / "kept.txt").write_text("kept")
    (folder / "gone.txt").write_text("gone")
    (folder / ".gitignore").write_text("*.log\n")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "first")
    return folder


async def tar_of(folder: Path) -> tarfile.TarFile:
    async with packed(plan_input(folder)) as chunks:
        content = b"".join([chunk async for chunk in chunks])
    return tarfile.open(fileobj=io.BytesIO(content), mode="r:")


def names(tar: tarfile.TarFile, prefix: str) -> set[str]:
    return {member.name.removeprefix(prefix) for member in tar if member.name.startswith(prefix)}


def everything(folder: Path) -> dict[str, tuple[int, int]]:
    return {str(path): (path.lstat().st_mtime_ns, path.lstat().st_ctime_ns) for path in folder.rglob("*")}


async def test_tracked_and_unignored_files_go_and_deleted_and_ignored_ones_do_not(repository: Path) -> None:
    (repository / "gone.txt").unlink()
    (repository / "new.txt").write_text("new")
    (repository / "noise.log").write_text("noise")
    with await tar_of(repository) as tar:
        assert names(tar, "files/") == {".gitignore", "kept.txt", "new.txt"}


async def test_the_history_answers_git_and_holds_nothing_of_the_users_machine(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "remote", "add", "origin", "https://user:secret@example.com/x.git")
    git(repository, "config", "core.fsmonitor", "touch /tmp/never")
    (repository / ".git" / "hooks" / "post-checkout").write_text("#!/bin/sh\n")
    (repository / "kept.txt").write_text("changed")
    with await tar_of(repository) as tar:
        tar.extractall(tmp_path / "out", filter="fully_trusted")
    copy = tmp_path / "out" / "files"
    (tmp_path / "out" / "git").rename(copy / ".git")
    assert git(copy, "log", "--format=%s").split() == ["first"]
    assert git(copy, "status", "--short").split() == ["M", "kept.txt"]
    assert "secret" not in (copy / ".git" / "config").read_text()
    assert not (copy / ".git" / "hooks").exists()


async def test_the_folder_is_only_read(repository: Path) -> None:
    before = everything(repository)
    with await tar_of(repository):
        pass
    assert everything(repository) == before


async def test_modes_and_symlinks_that_stay_inside_are_kept(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    (folder / "bin").mkdir(parents=True)
    (folder / "bin" / "run").write_text("#!/bin/sh\n")
    (folder / "bin" / "run").chmod(0o755)
    (folder / "link").symlink_to("bin/run")
    with await tar_of(folder) as tar:
        assert tar.getmember("files/bin/run").mode == 0o755
        assert tar.getmember("files/link").linkname == "bin/run"


@pytest.mark.parametrize("target", ["../outside", "/etc/passwd", "a/../../outside"])
async def test_a_symlink_that_leads_out_is_refused_by_name(tmp_path: Path, target: str) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    (folder / "leak").symlink_to(target)
    with pytest.raises(BadUsage, match="leak"):
        plan_input(folder)


async def test_a_symlink_that_leads_out_through_another_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "short").symlink_to("deep/er")
    (folder / "deep" / "er" / "out").symlink_to("../../x")
    (folder / "trick").symlink_to("short/../../../y")
    with pytest.raises(BadUsage, match="trick"):
        plan_input(folder)


async def test_sockets_and_pipes_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("sock")
        with pytest.raises(BadUsage, match=r"'pipe'.*'sock'"):
            plan_input(folder)


async def test_a_tracked_file_below_what_is_a_symlink_now_does_not_leak_another_folder(
    repository: Path, tmp_path: Path
) -> None:
    (repository / "sub").mkdir()
    (repository / "sub" / "file").write_text("ours")
    git(repository, "add", ".")
    (repository / "sub" / "file").unlink()
    (repository / "sub").rmdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "file").write_text("secret")
    (repository / "sub").symlink_to("../elsewhere")
    with pytest.raises(BadUsage, match="sub"):
        plan_input(repository)


async def test_submodules_and_histories_inside_are_named_as_left_out(
    repository: Path, tmp_path: Path
) -> None:
    git(repository, "-c", "protocol.file.allow=always", "submodule", "add", "-q", str(repository), "module")
    notes = " ".join(plan_input(repository).notes)
    assert "submodules are not included: 'module'" in notes
    plain = tmp_path / "plain"
    plain.mkdir()
    (repository).rename(plain / "nested")
    plan = plan_input(plain)
    assert "'nested/.git'" in " ".join(plan.notes)
    assert not any(".git/" in member.path for member in plan.members)


async def test_a_part_of_a_repository_goes_without_history_and_says_so(repository: Path) -> None:
    (repository / "part").mkdir()
    (repository / "part" / "a").write_text("a")
    plan = plan_input(repository / "part")
    assert [member.path for member in plan.members] == ["a"]
    assert not plan.has_history
    assert "history is not included" in plan.notes[0]


async def test_a_repository_without_a_commit_goes_without_history(tmp_path: Path) -> None:
    git(tmp_path, "init", "-q")
    (tmp_path / "a").write_text("a")
    plan = plan_input(tmp_path)
    assert not plan.has_history
    assert "no commit yet" in plan.notes[0]


async def test_a_file_that_shrinks_meanwhile_stops_the_upload(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("long enough")
    plan = plan_input(tmp_path)
    (tmp_path / "a").write_text("short")
    async with packed(plan) as chunks:
        with pytest.raises(CommandFailed, match="changed while"):
            b"".join([chunk async for chunk in chunks])


async def test_long_and_odd_names_survive(tmp_path: Path) -> None:
    name = "ü" * 60 + " \n'quote\""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    (deep / name).write_text("x")
    with await tar_of(tmp_path) as tar:
        assert f"files/{'d' * 100}/{name}" in tar.getnames()

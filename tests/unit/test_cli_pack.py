"""A folder as an input: what goes, what is refused by name, and that the folder is only read."""

from __future__ import annotations

import io
import os
import re
import socket
import subprocess
import tarfile
from pathlib import Path

import pytest

from remit.client.folders.pack import packed, plan_input
from remit.errors import BadInput, LocalFailure
from support.ordinary_user import as_nobody, given_to_nobody

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
    with pytest.raises(BadInput, match="leak"):
        plan_input(folder)


async def test_a_symlink_that_leads_out_through_another_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "plain"
    (folder / "deep" / "er").mkdir(parents=True)
    (folder / "short").symlink_to("deep/er")
    (folder / "deep" / "er" / "out").symlink_to("../../x")
    (folder / "trick").symlink_to("short/../../../y")
    with pytest.raises(BadInput, match="trick"):
        plan_input(folder)


async def test_sockets_and_pipes_are_refused_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "plain"
    folder.mkdir()
    os.mkfifo(folder / "pipe")
    monkeypatch.chdir(folder)
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind("sock")
        with pytest.raises(BadInput, match=r"'pipe'.*'sock'"):
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
    with pytest.raises(BadInput, match="sub"):
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
        with pytest.raises(LocalFailure, match="changed while"):
            b"".join([chunk async for chunk in chunks])


async def test_long_and_odd_names_survive(tmp_path: Path) -> None:
    name = "ü" * 60 + " \n'quote\""
    deep = tmp_path / ("d" * 100)
    deep.mkdir()
    (deep / name).write_text("x")
    with await tar_of(tmp_path) as tar:
        assert f"files/{'d' * 100}/{name}" in tar.getnames()


# ------------------------------------------------------------------------------ what git ignores, and secrets


def ignoring(repository: Path, *globs: str) -> None:
    (repository / ".gitignore").write_text("".join(f"{glob}\n" for glob in globs))


def modules(repository: Path, *files: str) -> None:
    for name in files:
        path = repository / "node_modules" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("1" * 100)


async def sent(folder: Path, *include: str) -> set[str]:
    async with packed(plan_input(folder, include)) as chunks:
        content = b"".join([chunk async for chunk in chunks])
    with tarfile.open(fileobj=io.BytesIO(content), mode="r:") as tar:
        return {name for name in names(tar, "files/") if not tar.getmember(f"files/{name}").isdir()}


def test_what_git_ignores_is_named_with_its_size_and_the_way_to_send_it(repository: Path) -> None:
    ignoring(repository, "node_modules", "dist", "_version.py", "__pycache__", "*.log")
    modules(repository, "a/index.js", "b/index.js")
    (repository / "src").mkdir()
    (repository / "src" / "_version.py").write_text("v = 1\n")
    (repository / "src" / "__pycache__").mkdir()
    (repository / "src" / "__pycache__" / "x.pyc").write_text("noise")
    (repository / "x.log").write_text("noise")
    (repository / "dist").mkdir()  # nothing in it
    assert plan_input(repository).notes == (
        "not included (git ignores them): node_modules (200 bytes, 2 files), src/_version.py (6 bytes); "
        "send one with --include node_modules",
    )


def test_a_huge_ignored_folder_is_counted_only_so_far(
    repository: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("remit.client.folders.left_out.COUNTED_MAX", 3)
    ignoring(repository, "node_modules")
    modules(repository, *(f"{number}.js" for number in range(9)))
    assert "node_modules (more than 300 bytes, more than 3 files)" in plan_input(repository).notes[0]


async def test_what_is_included_goes_with_its_links_and_is_told(repository: Path) -> None:
    ignoring(repository, "node_modules", "dist")
    modules(repository, "a/cli.js", "b/index.js")
    (repository / "node_modules" / ".bin").mkdir()
    (repository / "node_modules" / ".bin" / "a").symlink_to("../a/cli.js")
    (repository / "packages" / "own").mkdir(parents=True)
    (repository / "node_modules" / "own").symlink_to("../packages/own")
    plan = plan_input(repository, ["node_modules"])
    assert plan.included == ("node_modules (226 bytes, 4 files)",)
    assert plan.notes == ()
    assert await sent(repository, "node_modules") >= {
        "node_modules/a/cli.js",
        "node_modules/b/index.js",
        "node_modules/.bin/a",
        "node_modules/own",
    }
    assert "node_modules/b/index.js" not in await sent(repository, "node_modules/a/")


@pytest.mark.parametrize("glob", ["nodemodules", "kept.tx", "lib/node_modules"])
def test_a_glob_that_takes_nothing_is_an_error_that_names_what_is_left_out(
    repository: Path, glob: str
) -> None:
    ignoring(repository, "node_modules")
    modules(repository, "a.js")
    with pytest.raises(BadInput, match="matches nothing") as failure:
        plan_input(repository, [glob])
    assert "'node_modules'" in str(failure.value.mend)


@pytest.mark.parametrize("glob", ["../other", "!x", " "])
def test_what_is_no_glob_below_the_input_is_refused(repository: Path, glob: str) -> None:
    with pytest.raises(BadInput, match="no glob below the input"):
        plan_input(repository, [glob])


def test_a_virtual_environment_is_no_input(repository: Path) -> None:
    ignoring(repository, ".venv")
    (repository / ".venv" / "bin").mkdir(parents=True)
    (repository / ".venv" / "pyvenv.cfg").write_text("home = /usr/bin\n")
    (repository / ".venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    with pytest.raises(BadInput, match="virtual environment") as failure:
        plan_input(repository, [".venv"])
    assert "--toolchain" in str(failure.value.mend)


SECRETS = {
    ".env": "TOKEN=1",
    ".env.production": "TOKEN=1",
    "config/.env.local": "TOKEN=1",
    "id_rsa": "x",
    "server.pem": "-----BEGIN RSA PRIVATE KEY-----\n",
    ".npmrc": "//registry.example/:_authToken=1\n",
}
NO_SECRETS = {
    ".env.example": "TOKEN=",
    ".env.test": "TOKEN=test",
    "ca.pem": "-----BEGIN CERTIFICATE-----\n",
    "deep/.npmrc": "registry=https://registry.example/\n",
    "environment.env.py": "x",
}


def written(folder: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


@pytest.mark.parametrize("has_git", [True, False])
@pytest.mark.parametrize("is_ignored", [True, False])
async def test_secrets_outside_of_git_go_only_by_their_own_name(
    repository: Path, tmp_path: Path, has_git: bool, is_ignored: bool
) -> None:
    folder = repository if has_git else tmp_path / "plain"
    folder.mkdir(exist_ok=True)
    written(folder, {**SECRETS, **NO_SECRETS})
    if is_ignored:
        ignoring(folder, *(f"/{name}" for name in SECRETS))
    assert await sent(folder) & {*SECRETS, *NO_SECRETS} == {*NO_SECRETS}
    assert await sent(folder, "*") & {*SECRETS, *NO_SECRETS} == {*NO_SECRETS}
    notes = " ".join(plan_input(folder).notes)
    assert all(name in notes for name in SECRETS)
    for name in SECRETS:
        assert await sent(folder, name) & {*SECRETS} == {name}


async def test_a_secret_that_git_has_is_sent_as_all_that_it_has(repository: Path) -> None:
    written(repository, {".env": "TOKEN=1"})
    git(repository, "add", "-f", ".env")
    assert ".env" in await sent(repository)
    assert plan_input(repository).notes == ()


async def test_what_others_published_is_no_secret(repository: Path) -> None:
    ignoring(repository, "node_modules")
    modules(repository, "tls/key.pem", "tls/.env")
    (repository / "node_modules" / "tls" / "key.pem").write_text("-----BEGIN PRIVATE KEY-----\n")
    assert {"node_modules/tls/key.pem", "node_modules/tls/.env"} <= await sent(repository, "node_modules")


@pytest.mark.parametrize(
    "table",
    [
        '[tool.setuptools_scm]\nwrite_to = "src/pkg/_version.py"',
        '[tool.setuptools_scm]\nversion_file = "src/pkg/_version.py"',
        '[tool.hatch.build.hooks.vcs]\nversion-file = "src/pkg/_version.py"',
        '[tool.pdm.version]\nwrite_to = "src/pkg/_version.py"',
    ],
)
async def test_a_generated_version_that_the_manifest_names_goes_with_the_package(
    repository: Path, table: str
) -> None:
    ignoring(repository, "_version.py")
    written(repository, {"pyproject.toml": table, "src/pkg/_version.py": "v", "other/_version.py": "v"})
    assert {path for path in await sent(repository) if path.endswith("_version.py")} == {
        "src/pkg/_version.py"
    }
    assert plan_input(repository).included == ("src/pkg/_version.py (1 byte)",)


@pytest.mark.parametrize(
    ("spoilt", "reason"),
    [
        (("config", "extensions.refStorage", "reftable"), "refstorage"),
        (("config", "core.repositoryFormatVersion", "99"), "version"),
        (("config", "core.bare", "perhaps"), "core.bare"),
    ],
    ids=["another store of refs", "a format of the future", "a broken setting"],
)
def test_a_repository_that_git_refuses_is_no_folder_without_one(
    repository: Path, spoilt: tuple[str, ...], reason: str
) -> None:
    """What it ignores would go out with the rest."""
    git(repository, "config", "core.repositoryFormatVersion", "1")
    git(repository, *spoilt)
    (repository / "noise.log").write_text("noise")
    with pytest.raises(BadInput) as caught:
        plan_input(repository)
    assert "what it ignores is not known" in caught.value.message
    assert reason in caught.value.message.lower()


@pytest.mark.parametrize("name", ["plain", "a=b", "a.b", 'quo"ted', "clean"])
async def test_no_filter_runs_whatever_it_is_called(repository: Path, tmp_path: Path, name: str) -> None:
    (repository / "f.t").write_text("t")
    (repository / ".gitattributes").write_text(f"*.t filter={name}\n")
    git(repository, "add", ".")
    git(repository, "commit", "-qm", "second")
    for program in ("clean", "smudge", "process"):
        git(repository, "config", f"filter.{name}.{program}", f"touch '{tmp_path}/ran'; cat")
    git(repository, "config", f"filter.{name}.required", "true")
    (repository / "f.t").write_text("other")
    (await tar_of(repository)).close()
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("depth", [(), ("--depth=2",)], ids=["whole", "shallow"])
@pytest.mark.parametrize("is_detached", [False, True], ids=["branch", "detached"])
async def test_of_a_partial_clone_goes_what_is_here_and_nothing_is_fetched(
    repository: Path, tmp_path: Path, depth: tuple[str, ...], is_detached: bool
) -> None:
    for number in range(3):
        (repository / "kept.txt").write_text(f"kept {number}")
        git(repository, "commit", "-qam", f"change {number}")
    git(repository, "tag", "-am", "a tag", "v1")
    git(repository, "config", "uploadpack.allowFilter", "true")
    partial = tmp_path / "partial"
    git(tmp_path, "clone", "-q", "--filter=blob:none", *depth, f"file://{repository}", str(partial))
    git(partial, "remote", "set-url", "origin", "ssh://nowhere/x")
    git(partial, "config", "core.sshCommand", f"touch '{tmp_path}/fetched'; false")
    if is_detached:
        git(partial, "checkout", "-q", "--detach")
    assert any("partial clone" in note for note in plan_input(partial).notes)
    with await tar_of(partial) as tar:
        tar.extractall(tmp_path / "sent", filter="data")
    assert not (tmp_path / "fetched").exists()
    sent = tmp_path / "sent/git"
    command = (f"--git-dir={sent}", f"--work-tree={tmp_path / 'sent/files'}")
    assert (
        git(tmp_path, *command, "rev-parse", "HEAD", "v1^{commit}").split()
        == [git(partial, "rev-parse", "HEAD").strip()] * 2
    )
    count = git(tmp_path, *command, "rev-list", "--count", "HEAD").strip()
    assert count == ("2" if depth else "4")
    assert git(tmp_path, *command, "status", "--porcelain") == ""


async def test_settings_for_clones_from_elsewhere_stand_in_no_ones_way(
    repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    git(repository, "commit", "-qam", "second", "--allow-empty")
    shallow = tmp_path / "shallow"
    git(tmp_path, "clone", "-q", "--depth=1", f"file://{repository}", str(shallow))
    (tmp_path / "config").write_text(
        "[clone]\nrejectShallow = true\n[protocol]\nallow = never\n[transfer]\nfsckObjects = true\n"
    )
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", str(tmp_path / "config"))
    monkeypatch.setenv("GIT_NAMESPACE", "another")  # as in a hook
    with await tar_of(shallow) as tar:
        assert "git/shallow" in {member.name for member in tar}


@pytest.mark.parametrize("has_history", [False, True], ids=["plain", "git"])
@pytest.mark.parametrize("is_tracked", [False, True], ids=["new", "tracked"])
@pytest.mark.parametrize("mode", [0o000, 0o200, 0o644], ids=oct)
@pytest.mark.parametrize("path", ["d/x", "d/e/x", "d/.env"])
def test_what_its_sender_is_shut_out_of_is_refused_by_name(
    tmp_path_factory: pytest.TempPathFactory, path: str, mode: int, is_tracked: bool, has_history: bool
) -> None:
    ground = tmp_path_factory.mktemp("ground")
    for folder in (ground, *list(ground.parents)[:3]):
        if folder.stat().st_uid == os.geteuid() and folder != Path("/"):
            folder.chmod(folder.stat().st_mode | 0o711)
    (ground / path).parent.mkdir(parents=True)
    (ground / path).write_text("secret")
    if has_history:
        git(ground, "init", "-q")
        git(ground, "add", "-f", path)
        git(ground, "commit", "-qm", "first", "--allow-empty")
        if not is_tracked:
            git(ground, "rm", "-q", "--cached", path)
            git(ground, "commit", "-qm", "second")
    given_to_nobody(ground)
    (ground / "d").chmod(mode)

    def planned() -> list[str]:
        os.environ["HOME"] = str(ground)
        try:
            return [one.path for one in plan_input(ground).members]
        except BadInput as error:
            return ["refused", error.message]

    told = as_nobody(planned, list[str])
    (ground / "d").chmod(0o755)
    if told[0] == "refused":
        assert re.search(r"cannot be read: '?d\b|/d(/e)?'? cannot be read", told[1]), told[1]
    else:  # it may be read whoever owns it
        assert path in told


@pytest.mark.parametrize("part", [".git", ".git/objects", ".git/HEAD"])
def test_a_repository_that_is_shut_or_lacks_a_part_is_no_folder_without_one(
    repository: Path, part: str
) -> None:
    (repository / part).rename(repository.parent / "aside")
    if part == ".git":
        (repository / part).mkdir()
        (repository / part / "config").touch()
    with pytest.raises(BadInput, match="what it ignores is not known"):
        plan_input(repository)

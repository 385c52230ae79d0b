"""The ground of a judge's sandbox: what stands still while the work and its judge run in it. Why: design/sandbox.md.

Nothing that a later step would load as code or configuration may come from a place that an earlier step can write:
the home is empty and read-only, and caches, which tools must write, are elsewhere, with what would configure a tool
closed in them.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

import msgspec

from remit.errors import SandboxUnavailable
from remit.sandboxes.bubblewrap import bytecode
from remit.values import GROUND_FILES, Ground

HOME = "/mnt/home"
"""Empty and read-only."""
CACHES = "/mnt/caches"
BINDS_MAX = 2_900
"""bwrap takes 9,000 arguments, three for each."""
SECONDS_A_BIND = 0.01
"""What a start may take longer for each: bwrap reads its table of mounts after every one."""

_CLOSED_FOLDERS = ("gradle/init.d", "npm/_npx")
_CLOSED_FILES = (
    "cargo/config",
    "cargo/config.toml",
    "gradle/init.gradle",
    "gradle/init.gradle.kts",
    "gradle/gradle.properties",
)
"""In caches: what their tools run or obey."""


class Laid(msgspec.Struct, frozen=True):
    """A ground on the host, ready to be bound."""

    before: tuple[str, ...]
    """Arguments for bwrap: home, caches, files."""
    tree: tuple[str, ...]
    """Arguments for bwrap, once the working tree is there: what is read-only in it, and the mounts given."""
    passwd: Path


def lay_ground(
    ground: Ground,
    folder: Path,
    mounts: Sequence[tuple[str, Path]],
    passwd: str,
    links: Path,
    owner: tuple[int, int] | None,
) -> Laid:
    """Write what stands beside the working tree in a sandbox's folder, and say what is bound where. Blocking.

    `mounts`: read-only trees by their path inside; `passwd`: the image's; `links`: to its bytecode. Raises SandboxUnavailable.
    """
    own, caches = folder / "ground", folder / "caches"
    files, empty, nothing, users = own / "files", own / "empty", own / "nothing", own / "passwd"
    for made in (own, files, empty):
        made.mkdir(mode=0o755)
    for name, text in ground.files.items():
        assert name not in ("", ".", ".."), name
        assert "/" not in name, name
        (files / name).write_text(text)
    nothing.touch()
    users.write_text(passwd.replace(":/tmp/home:", f":{HOME}:"))
    parents = sorted({path.split("/")[0] for path in (*_CLOSED_FOLDERS, *_CLOSED_FILES)})
    for made in (caches, *(caches / name for name in parents)):
        made.mkdir(mode=0o755)
        if owner is not None:
            os.chown(made, *owner)
    before = [
        "--dir",
        HOME,
        "--ro-bind",
        str(links),
        bytecode.INSIDE,
        "--ro-bind",
        str(files),
        GROUND_FILES,
        "--bind",
        str(caches),
        CACHES,
    ]
    for name in parents:
        before += ["--bind", str(caches / name), f"{CACHES}/{name}"]
    for name in _CLOSED_FOLDERS:
        before += ["--ro-bind", str(empty), f"{CACHES}/{name}"]
    for name in _CLOSED_FILES:
        before += ["--ro-bind", str(nothing), f"{CACHES}/{name}"]
    for path in (own, *own.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    return Laid(before=tuple(before), tree=_tree(ground, folder / "workspace", mounts, owner), passwd=users)


def _tree(
    ground: Ground, workspace: Path, mounts: Sequence[tuple[str, Path]], owner: tuple[int, int] | None
) -> tuple[str, ...]:
    """Parents first: what is bound later lies on top. A folder above something read-only is bound on itself, so that it
    is a mount point, which nobody can move or remove."""
    binds: dict[tuple[str, ...], tuple[str, Path, str]] = {}
    for path in sorted(ground.read_only):
        parts = tuple(path.split("/"))
        assert not {"", ".", ".."} & {*parts}, path
        above = [parts[:count] for count in range(1, len(parts))]
        if any(part in binds and binds[part][0] == "--ro-bind" for part in above):
            continue
        for part in above:
            source = workspace.joinpath(*part)
            assert stat.S_ISDIR(source.lstat().st_mode), f"{path}: a folder above it is none"
            binds[part] = ("--bind", source, "/workspace/" + "/".join(part))
        source = workspace.joinpath(*parts)
        assert not source.is_symlink(), f"{path}: a link"
        assert source.exists(), f"{path}: missing"
        binds[parts] = ("--ro-bind", source, f"/workspace/{path}")
    for path, source in mounts:
        inside = (
            tuple(path.removeprefix("/workspace/").split("/")) if path.startswith("/workspace/") else None
        )
        if inside is not None:
            _make_mount_point(workspace, inside, owner)
        binds[inside or ("", path)] = ("--ro-bind", source, path)
    if len(binds) > BINDS_MAX:
        raise SandboxUnavailable(
            f"{len(binds):,} files and folders would have to be bound read-only one by one; {BINDS_MAX:,} can be. "
            "Protect whole folders."
        )
    ordered = sorted(binds.items(), key=lambda bind: bind[0])
    return tuple(word for _, (how, source, target) in ordered for word in (how, str(source), target))


def _make_mount_point(workspace: Path, inside: tuple[str, ...], owner: tuple[int, int] | None) -> None:
    """Before anyone records: bwrap would make it itself, and what it makes would count as created."""
    for count in range(1, len(inside) + 1):
        folder = workspace.joinpath(*inside[:count])
        if not folder.exists():
            folder.mkdir(mode=0o755)
            if owner is not None:
                os.chown(folder, *owner)

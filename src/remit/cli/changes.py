"""What a remit changed: its list of paths, and the files themselves, checked against the list."""

from __future__ import annotations

import hashlib
import os
import shutil
import tarfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from remit.cli.failure import CommandFailed
from remit.client.client import AsyncClient
from remit.client.stream import JsonObject

CHANGED_FILES = "files.tar"
READ_BYTES = 1 << 20
_LINK = "link to "


@dataclass(frozen=True, kw_only=True)
class Change:
    """One path that is other than it was."""

    path: str
    kind: Literal["added", "modified", "removed"]
    before: str | None
    """Digest of what was there, as `digest_of` gives it; None for an added path."""
    after: str | None
    """Digest of what shall be there; None for a removed path."""
    mode: int


def changes_of(deliverables: JsonObject) -> tuple[Change, ...]:
    """The list as the API gives it. Raises CommandFailed for a path that would leave the folder."""
    return tuple(_change(entry) for entry in deliverables["changed"])


def _change(entry: JsonObject) -> Change:
    path = str(entry["path"])
    parts = PurePosixPath(path).parts
    if not parts or path.startswith("/") or ".." in parts or ".git" in parts or "\0" in path:
        raise CommandFailed(
            f"The result names {path!r}, which is not a path inside the folder; nothing was written."
        )
    return Change(
        path=path,
        kind=entry["kind"],
        before=_digest(entry.get("base_sha256"), entry.get("base_target")),
        after=_digest(entry.get("sha256"), entry.get("target")),
        mode=int(entry.get("mode") or 0o644) & 0o777,
    )


def _digest(sha256: object, target: object) -> str | None:
    if isinstance(sha256, str):
        return sha256
    return _LINK + target if isinstance(target, str) else None


async def download(client: AsyncClient, remit_id: str, name: str, target: Path) -> None:
    """Fetch one deliverable into a file."""
    with target.open("wb") as file:
        async with client.remits.download(remit_id, name) as chunks:
            async for chunk in chunks:
                file.write(chunk)


def unpack(archive: Path, changes: Iterable[Change], folder: Path) -> None:
    """Write the changed files below an empty folder. Only what the list names, and only if it hashes to the list."""
    wanted = {change.path: change for change in changes if change.kind != "removed"}
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            if member.isdir():
                continue
            change = wanted.pop(member.name.removeprefix("./"), None)
            if change is None:
                raise CommandFailed(f"The result holds {member.name!r}, which its list does not name.")
            _unpack_one(tar, member, change, folder / change.path)
    if wanted:
        raise CommandFailed(f"The result lacks {sorted(wanted)[0]!r}, which its list names.")


def _unpack_one(tar: tarfile.TarFile, member: tarfile.TarInfo, change: Change, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        if link_leaves(change.path, member.linkname):
            raise CommandFailed(f"The result's symlink {change.path!r} points outside the folder.")
        target.symlink_to(member.linkname)
    elif member.isreg():
        source = tar.extractfile(member)
        assert source is not None  # of a regular member
        with source, target.open("xb") as file:
            shutil.copyfileobj(source, file, READ_BYTES)
        target.chmod(change.mode)
    else:
        raise CommandFailed(f"The result's {change.path!r} is neither a file nor a symlink.")
    if digest_of(target) != change.after:
        raise CommandFailed(f"The result's {change.path!r} is not what its list says (another hash).")


def digest_of(path: Path) -> str | None:
    """What stands at a path: the hash of a file's content, or a symlink's target; None if nothing does.
    Anything else (a folder, a socket) gives a word that equals no digest."""
    try:
        if path.is_symlink():
            return _LINK + os.fsdecode(path.readlink())
        if not path.exists():
            return None
        if not path.is_file():
            return "not a file"
        with path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except NotADirectoryError:
        return None


def link_leaves(path: str, target: str) -> bool:
    """Whether a symlink at this path inside a folder would point out of the folder."""
    written = os.path.normpath(f"{path}/../{target}")
    return target.startswith("/") or written == ".." or written.startswith("../")

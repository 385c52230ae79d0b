"""The changes of a remit: its list of paths, and the files themselves, checked against the list."""

from __future__ import annotations

import hashlib
import os
import tarfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from remit import wording
from remit.client.calls import InLoop
from remit.client.resources import Everything
from remit.client.stream import JsonObject
from remit.client.tree_links import is_in_repository, leads_out
from remit.errors import LocalFailure

CHANGED_FILES = "files.tar"
LINK = "link to "
"""What stands before the target in the digest of a symlink."""
READ_BYTES = 1 << 20
STRAYS_NAMED_MAX = 5
Kind = Literal["added", "modified", "removed"]


@dataclass(frozen=True, kw_only=True)
class FileChange:
    """One file or symlink that is other than it was."""

    path: str
    kind: Kind
    before: str | None
    """Digest of what was there, as `Beneath.digest` gives it; None for an added path."""
    after: str | None
    """Digest of what shall be there; None for a removed path."""
    mode: int
    before_mode: int | None = None
    """None: nothing was there, or the result does not tell."""

    @property
    def target(self) -> str | None:
        """Return the target of the symlink that shall be there; None for any other change."""
        is_link = self.after is not None and self.after.startswith(LINK)
        return self.after.removeprefix(LINK) if is_link and self.after is not None else None


@dataclass(frozen=True, kw_only=True)
class FolderChange:
    """One folder that is there or not, or whose permissions are others, than before."""

    path: str
    kind: Kind
    mode: int
    before_mode: int | None


def changes_of(deliverables: JsonObject) -> tuple[FileChange, ...]:
    """The list as the API gives it, without what lies in a repository of its own (`strays_of`). Raises LocalFailure
    for a path that would leave the folder, or that lies below a file."""
    found = [_change(entry) for entry in deliverables["changed"]]
    changes = tuple(change for change in found if not is_in_repository(change.path))
    written = {change.path for change in changes if change.kind != "removed"}
    for path in sorted(written):
        for above in PurePosixPath(path).parents:
            if str(above) in written:
                raise LocalFailure(f"The result has {path!r} below {str(above)!r}, which is no folder.")
    return changes


def folders_of(deliverables: JsonObject) -> tuple[FolderChange, ...]:
    """The list of folders; older results have none. Raises LocalFailure for a path that would leave the folder."""
    found = [
        FolderChange(
            path=_path(entry),
            kind=entry["kind"],
            mode=int(entry.get("mode") or 0) & 0o777,
            before_mode=entry.get("base_mode"),
        )
        for entry in deliverables.get("folders") or ()
    ]
    return tuple(folder for folder in found if not is_in_repository(folder.path))


def strays_of(deliverables: JsonObject) -> tuple[str, ...]:
    """List the paths that lie in a repository of their own and are not written: whoever writes there chooses
    programs that git runs."""
    paths = (str(entry["path"]) for entry in deliverables["changed"])
    return tuple(path for path in paths if is_in_repository(path))


def strays_text(strays: Sequence[str]) -> str:
    """Say which strays were left out, by name."""
    named = ", ".join(map(wording.printable_name, strays[:STRAYS_NAMED_MAX]))
    more = ", …" if len(strays) > STRAYS_NAMED_MAX else ""
    return (
        f"{wording.counted(len(strays), 'file')} of git's own left out, nobody can land them: {named}{more}"
    )


def _change(entry: JsonObject) -> FileChange:
    return FileChange(
        path=_path(entry),
        kind=entry["kind"],
        before=_digest(entry.get("base_sha256"), entry.get("base_target")),
        after=_digest(entry.get("sha256"), entry.get("target")),
        mode=int(0o644 if entry.get("mode") is None else entry["mode"]) & 0o777,
        before_mode=entry.get("base_mode"),
    )


def _path(entry: JsonObject) -> str:
    path = str(entry["path"])
    if any(part in ("", ".", "..") for part in path.split("/")) or "\0" in path:
        raise LocalFailure(
            f"The result names {path!r}, which is not a path inside the folder; nothing was written."
        )
    return path


def _digest(sha256: object, target: object) -> str | None:
    if isinstance(sha256, str):
        return sha256
    return LINK + target if isinstance(target, str) else None


async def download(client: Everything[InLoop], remit_id: str, name: str, target: Path) -> None:
    """Fetch one deliverable into a file."""
    with target.open("wb") as file:
        async with client.remits.download(remit_id, name) as chunks:
            async for chunk in chunks:
                file.write(chunk)


def unpack(archive: Path, changes: Iterable[FileChange], folder: Path) -> None:
    """Write the changed files below an empty folder. Only what the list names, and only if it hashes to the list."""
    wanted = {change.path: change for change in changes if change.kind != "removed"}
    links = {path: change.target for path, change in wanted.items() if change.target is not None}
    for path, target in links.items():
        if leads_out(path, target, links.get):
            raise LocalFailure(f"The result's symlink {path!r} points outside the folder.")
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            name = member.name.removeprefix("./")
            if member.isdir() or is_in_repository(name):
                continue
            change = wanted.pop(name, None)
            if change is None:
                raise LocalFailure(f"The result holds {member.name!r}, which its list does not name.")
            _unpack_one(tar, member, change, folder / change.path)
    if wanted:
        raise LocalFailure(f"The result lacks {sorted(wanted)[0]!r}, which its list names.")


def _unpack_one(tar: tarfile.TarFile, member: tarfile.TarInfo, change: FileChange, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if member.issym():
        target.symlink_to(member.linkname)
        digest = LINK + member.linkname
    elif member.isreg():
        source = tar.extractfile(member)
        assert source is not None  # of a regular member
        seen = hashlib.sha256()
        with source, target.open("xb") as file:
            while piece := source.read(READ_BYTES):
                seen.update(piece)
                file.write(piece)
            os.fchmod(file.fileno(), change.mode)
        digest = seen.hexdigest()
    else:
        raise LocalFailure(f"The result's {change.path!r} is neither a file nor a symlink.")
    if digest != change.after:
        raise LocalFailure(f"The result's {change.path!r} is not what its list says (another hash).")

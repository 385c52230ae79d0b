"""A folder as a remit's input: which files go, what is refused, and the tar that is made while it is sent."""

from __future__ import annotations

import os
import stat
import tarfile
import tempfile
from collections.abc import AsyncGenerator, Generator, Iterable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio.to_thread

from remit.client.folders import history, left_out
from remit.client.folders.left_out import (
    Includes,
    generated_versions,
    human_bytes,
    ignored_note,
    may_be_secret,
    secrets_note,
)
from remit.errors import BadInput, LocalFailure
from remit.wording import listed

INPUT_BYTES_MAX = 2 << 30
MEMBERS_MAX = 200_000
READ_BYTES = 1 << 20
NAMED_MAX = 10
"""How many paths a message names before it says how many more there are."""
HEAVY_BYTES = 50 << 20
"""A top-level folder from this size on is named, so that an environment is not sent unnoticed."""

_FILES = "files"
_HISTORY = "git"
_BLOCK = tarfile.BLOCKSIZE


@dataclass(frozen=True, kw_only=True)
class Member:
    """One path to send."""

    path: str
    source: Path
    status: os.stat_result
    target: str | None = None
    """Of a symlink."""

    @property
    def size(self) -> int:
        """Bytes of content."""
        return self.status.st_size if stat.S_ISREG(self.status.st_mode) else 0


@dataclass(frozen=True, kw_only=True)
class InputPlan:
    """The parts of a folder that will be sent, and what a person should know about them."""

    folder: Path
    members: tuple[Member, ...]
    has_history: bool
    notes: tuple[str, ...]
    included: tuple[str, ...] = ()
    """What --include added, with sizes, for people."""

    @property
    def size_bytes(self) -> int:
        """Bytes of content, without history."""
        return sum(member.size for member in self.members)

    @property
    def files(self) -> int:
        """Files and symlinks."""
        return sum(1 for member in self.members if not stat.S_ISDIR(member.status.st_mode))


@dataclass
class _Survey:
    """What is found while walking; refusals are collected so that all are named at once."""

    folder: Path
    members: list[Member] = field(default_factory=list[Member])
    special: list[str] = field(default_factory=list[str])
    escaping: list[str] = field(default_factory=list[str])
    unreadable: list[str] = field(default_factory=list[str])
    unnamed: list[str] = field(default_factory=list[str])
    """With a name, or a symlink's target, that is not UTF-8."""
    plain_folders: dict[str, bool] = field(default_factory=dict[str, bool])

    def add(self, path: str) -> None:
        """Take a path as a member, or note why it cannot be one. A path that is gone is left out."""
        source = self.folder / path
        try:
            status = source.lstat()
        except (FileNotFoundError, NotADirectoryError):
            return
        except PermissionError:
            self.unreadable.append(path)
            return
        if not _is_text(path):
            self.unnamed.append(path)
        elif stat.S_ISLNK(status.st_mode):
            target = source.readlink().as_posix()
            if not _is_text(target):
                self.unnamed.append(path)
            elif _escapes(self.folder, path, target):
                self.escaping.append(f"{path} -> {target}")
            else:
                self.members.append(Member(path=path, source=source, status=status, target=target))
        elif stat.S_ISREG(status.st_mode):
            if os.access(source, os.R_OK):
                self.members.append(Member(path=path, source=source, status=status))
            else:
                self.unreadable.append(path)
        elif stat.S_ISDIR(status.st_mode):
            self.members.append(Member(path=path, source=source, status=status))
        else:
            self.special.append(path)

    def has_plain_parents(self, path: str) -> bool:
        """Whether every folder above is a real one; git lists what it tracked, also where a symlink stands now."""
        parent = path.rpartition("/")[0]
        if not parent:
            return True
        if parent not in self.plain_folders:
            self.plain_folders[parent] = self._may_be_folder(parent) and self.has_plain_parents(parent)
        return self.plain_folders[parent]

    def _may_be_folder(self, path: str) -> bool:
        try:
            return stat.S_ISDIR((self.folder / path).lstat().st_mode)
        except PermissionError:
            return True  # whoever looks into it finds out
        except OSError:
            return False

    def unnamed_note(self) -> tuple[str, ...]:
        """What is left out, in words."""
        if not self.unnamed:
            return ()
        shown = [os.fsencode(path).decode("utf-8", "backslashreplace") for path in self.unnamed]
        return (f"not included (names that are not UTF-8): {_named(shown)}",)

    def refuse(self) -> None:
        """Raise BadInput for everything that cannot be sent."""
        if self.special:
            raise BadInput(
                f"The input has sockets, devices or pipes: {_named(self.special)}.",
                mend="Remove them, or let git ignore them.",
            )
        if self.escaping:
            raise BadInput(
                f"The input has symlinks that point outside of it: {_named(self.escaping)}.",
                mend="Make them relative and pointing inside, replace them by files, or let git ignore them.",
            )
        if self.unreadable:
            raise BadInput(
                f"The input has files that cannot be read: {_named(self.unreadable)}.",
                mend="Give read permission, or let git ignore them.",
            )
        if len(self.members) > MEMBERS_MAX:
            raise BadInput(
                f"The input has {len(self.members):,} files; at most {MEMBERS_MAX:,} can be sent.",
                mend="Choose a smaller folder, or let git ignore what is not needed.",
            )


def plan_input(folder: Path, include: Sequence[str] = ()) -> InputPlan:
    """Look at a folder; reads names and sizes, and the beginning of what may be a secret. `include` are globs of what is
    sent though git ignores it. Raises BadInput naming what cannot be sent."""
    includes = Includes(include)
    if not folder.is_dir():
        raise BadInput(
            f"The input {str(folder)!r} is not a folder.", mend="Give an existing folder to --input."
        )
    folder = folder.resolve()
    if history.is_installed() and history.is_inside(folder):
        plan = _plan_git(folder, includes)
    else:
        plan = _plan_plain(folder, includes)
    if plan.size_bytes > INPUT_BYTES_MAX:
        raise BadInput(
            f"The input has {human_bytes(plan.size_bytes)}; at most {human_bytes(INPUT_BYTES_MAX)} can be sent.",
            mend="Choose a smaller folder, or let git ignore what is not needed.",
        )
    return plan


@asynccontextmanager
async def packed(plan: InputPlan) -> AsyncGenerator[AsyncGenerator[bytes]]:
    """The plan as a tar stream, to be read once. The folder is only read; history is made in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="remit-input-") as temporary:
        extra: tuple[Member, ...] = ()
        if plan.has_history:
            target = Path(temporary) / "git"
            sent = [one.path for one in plan.members if not stat.S_ISDIR(one.status.st_mode)]
            await anyio.to_thread.run_sync(history.copy_history, plan.folder, target, sent)
            survey = _Survey(target)
            for path in _walk(target, []):
                survey.add(path)
            survey.refuse()
            extra = tuple(survey.members)
        async with aclosing(_stream(_tar(plan.members, extra))) as chunks:
            yield chunks


def _plan_git(folder: Path, includes: Includes) -> InputPlan:
    found = history.list_files(folder)
    survey = _Survey(folder)
    secrets: list[str] = []
    for path in found.paths:
        if not survey.has_plain_parents(path):
            continue
        is_secret = path not in found.tracked and may_be_secret(path, folder / path)
        if is_secret and not includes.takes(path, is_secret=True):
            secrets.append(path)
            continue
        includes.takes(path)
        survey.add(path)
    ignored = history.list_ignored(folder)
    manifests = [path for path in found.paths if path.rpartition("/")[2] == "pyproject.toml"]
    wanted = dict.fromkeys(path for path in generated_versions(folder, manifests) if _is_below(path, ignored))
    added = _Included(folder, survey, includes, wanted, secrets)
    added.add(ignored)
    if includes.unused:
        raise _takes_nothing(includes, [one.path for one in left_out.survey(folder, ignored)] + secrets)
    survey.refuse()
    notes = [*survey.unnamed_note()]
    if note := ignored_note([one for one in left_out.survey(folder, ignored) if one.path not in added.tops]):
        notes.append(note)
    if note := secrets_note(secrets):
        notes.append(note)
    if found.submodules:
        notes.append(f"submodules are not included: {_named(found.submodules)}")
    if found.nested:
        notes.append(f"repositories inside are not included: {_named(found.nested)}")
    is_root = history.is_root(folder)
    if not is_root:
        notes.append("part of a git repository: its history is not included")
    elif not found.has_commit:
        notes.append("the git repository has no commit yet: there is no history")
    elif history.is_partial(folder):
        notes.append("a partial clone: of its history only what is here is included")
    return InputPlan(
        folder=folder,
        members=tuple(survey.members),
        has_history=is_root and found.has_commit,
        notes=tuple(notes),
        included=added.texts(),
    )


class _Included:
    """Adds to a survey what is sent though git ignores it."""

    def __init__(
        self, folder: Path, survey: _Survey, includes: Includes, wanted: Iterable[str], secrets: list[str]
    ) -> None:
        self.tops: set[str] = set()
        """What git ignores and something was taken of."""
        self._folder = folder
        self._survey = survey
        self._includes = includes
        self._wanted = frozenset(wanted)
        self._secrets = secrets
        self._taken: dict[str, list[int]] = {}

    def add(self, ignored: Iterable[str]) -> None:
        """Take of these (folders end with a slash) what is wanted."""
        for top in ignored:
            is_above = any(path.startswith(top) for path in self._wanted)
            if not top.endswith("/"):
                self._add(top, top)
            elif self._includes or is_above:
                self._refuse_environment(top)
                is_whole = self._includes.takes(top)
                for path in _walk(self._folder / top, []):
                    self._add(top, top + path, is_whole=is_whole)

    def _add(self, top: str, path: str, *, is_whole: bool = False) -> None:
        source = self._folder / path
        is_secret = may_be_secret(path, source)
        is_taken = (is_whole and not is_secret) or path in self._wanted
        if not (is_taken or self._includes.takes(path, is_secret=is_secret)):
            if is_secret:
                self._secrets.append(path)
                self.tops.add(path)
            return
        if source.is_dir() and not source.is_symlink():
            return  # its files bring it
        self._survey.add(path)
        self.tops.add(top.rstrip("/"))
        self._taken.setdefault(top.rstrip("/"), []).append(source.lstat().st_size)

    def _refuse_environment(self, top: str) -> None:
        place = self._folder / top
        if (place / "pyvenv.cfg").is_file() and self._includes.takes(f"{top}pyvenv.cfg"):
            raise BadInput(
                f"{top.rstrip('/')!r} is a virtual environment: its links lead to this machine's interpreter.",
                mend=f"Put it into the sandbox as it is: --toolchain {place}",
            )

    def texts(self) -> tuple[str, ...]:
        """What was taken, with sizes."""
        return tuple(
            f"{top} ({human_bytes(sum(sizes))}, {len(sizes):,} files)"
            if len(sizes) > 1
            else f"{top} ({human_bytes(sum(sizes))})"
            for top, sizes in self._taken.items()
        )


def _is_below(path: str, ignored: Iterable[str]) -> bool:
    return any(path == top or (top.endswith("/") and path.startswith(top)) for top in ignored)


def _takes_nothing(includes: Includes, left: Sequence[str]) -> BadInput:
    there = f"What is left out here: {_named(left)}." if left else "Nothing is left out here."
    return BadInput(
        f"--include {', '.join(map(repr, includes.unused))} matches nothing in the input.",
        mend=f"Write it as in a .gitignore, relative to the input. {there}",
    )


def _plan_plain(folder: Path, includes: Includes) -> InputPlan:
    survey = _Survey(folder)
    histories: list[str] = []
    secrets: list[str] = []
    for path in _walk(folder, histories):
        is_secret = may_be_secret(path, folder / path)
        if includes.takes(path, is_secret=is_secret) or not is_secret:
            survey.add(path)
        else:
            secrets.append(path)
    if includes.unused:
        raise _takes_nothing(includes, secrets)
    survey.refuse()
    notes = [f"{name} is {human_bytes(size)}" for name, size in _heavy_folders(survey.members)]
    notes += survey.unnamed_note()
    if histories:
        notes.append(f"not included: {_named(histories)}")
    if note := secrets_note(secrets):
        notes.append(note)
    return InputPlan(folder=folder, members=tuple(survey.members), has_history=False, notes=tuple(notes))


def _walk(folder: Path, histories: list[str]) -> Iterator[str]:
    """Every path below, folders before what is in them; the folders named `.git` are put aside."""

    def refuse(error: OSError) -> None:
        raise BadInput(
            f"The folder {str(error.filename)!r} cannot be read: {error.strerror}.",
            mend="Give read permission.",
        ) from error

    for root, folders, files in os.walk(folder, onerror=refuse):
        base = Path(root).relative_to(folder).as_posix()
        prefix = "" if base == "." else f"{base}/"
        if ".git" in folders or ".git" in files:
            histories.append(f"{prefix}.git")
        folders[:] = sorted(name for name in folders if name != ".git")
        yield from (f"{prefix}{name}" for name in folders)
        yield from (f"{prefix}{name}" for name in sorted(files) if name != ".git")


def _heavy_folders(members: Iterable[Member]) -> list[tuple[str, int]]:
    sizes: dict[str, int] = {}
    for member in members:
        top, slash, _ = member.path.partition("/")
        if slash:
            sizes[top] = sizes.get(top, 0) + member.size
    heavy = [(name, size) for name, size in sizes.items() if size >= HEAVY_BYTES]
    return sorted(heavy, key=lambda item: -item[1])


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _escapes(folder: Path, path: str, target: str) -> bool:
    """Whether a symlink leads out, as it is written or as it resolves now. Absolute ones mean another place there."""
    if target.startswith("/"):
        return True
    written = os.path.normpath(f"{path}/../{target}")
    if written == ".." or written.startswith("../"):
        return True
    resolved = Path(os.path.realpath(folder / path))
    return not resolved.is_relative_to(folder)


async def _stream(tar: Generator[bytes]) -> AsyncGenerator[bytes]:
    """The tar in pieces of about READ_BYTES, each made in a thread."""
    try:
        while chunk := await anyio.to_thread.run_sync(_take, tar):
            yield chunk
    finally:
        tar.close()


def _take(tar: Iterator[bytes]) -> bytes:
    parts: list[bytes] = []
    size = 0
    for part in tar:
        parts.append(part)
        size += len(part)
        if size >= READ_BYTES:
            break
    return b"".join(parts)


def _tar(files: Iterable[Member], history_files: Iterable[Member]) -> Generator[bytes]:
    for prefix, members in ((_FILES, files), (_HISTORY, history_files)):
        for member in members:
            info = _header(prefix, member)
            yield info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")
            if info.size:
                yield from _content(member)
                yield b"\0" * (-info.size % _BLOCK)
    yield b"\0" * (2 * _BLOCK)


def _header(prefix: str, member: Member) -> tarfile.TarInfo:
    info = tarfile.TarInfo(f"{prefix}/{member.path}")
    info.mode = stat.S_IMODE(member.status.st_mode) & 0o777
    info.mtime = int(member.status.st_mtime)
    if stat.S_ISDIR(member.status.st_mode):
        info.type = tarfile.DIRTYPE
    elif member.target is not None:
        info.type, info.linkname = tarfile.SYMTYPE, member.target
    else:
        info.size = member.size
    return info


def _content(member: Member) -> Generator[bytes]:
    """Exactly the planned bytes: the header has been written by then."""
    left = member.size
    try:
        # O_NOFOLLOW: a file that has become a symlink since must not lead elsewhere.
        descriptor = os.open(member.source, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        raise _changed(member) from error
    try:
        while left:
            chunk = os.read(descriptor, min(left, READ_BYTES))
            if not chunk:
                raise _changed(member)
            left -= len(chunk)
            yield chunk
    finally:
        os.close(descriptor)


def _changed(member: Member) -> LocalFailure:
    return LocalFailure(
        f"{member.path!r} changed while the input was read; nothing was started.",
        mend="Run the command again.",
    )


def _named(paths: Iterable[str]) -> str:
    return listed([repr(path) for path in paths], NAMED_MAX)

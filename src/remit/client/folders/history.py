"""A git folder as an input: which of its files count, and its history without anything of the user's machine."""

from __future__ import annotations

import itertools
import os
import shutil
import subprocess
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from remit.errors import LocalFailure

GIT_SECONDS_MAX = 600.0

# A repository may be someone else's: nothing in its configuration may run a program, and nothing is written to it.
_CAUTION = ("-c", "core.fsmonitor=false", "-c", "core.hooksPath=/dev/null", "-c", "core.untrackedCache=false")
_INHERITED_NAMES = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY", "GIT_COMMON_DIR")
_GITLINK_MODE = b"160000"
UNCOMMITTED = "info/remit-uncommitted"
"""Every path (each ended by a NUL) at which what is sent is other than HEAD: who makes the patch reads it."""
_CONFIG = "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = false\n"
_SHA256_CONFIG = "[extensions]\n\tobjectformat = sha256\n"


@dataclass(frozen=True, kw_only=True)
class GitFiles:
    """What git says of a folder."""

    paths: tuple[str, ...]
    """Tracked and unignored files, also those that were deleted since."""
    tracked: frozenset[str]
    submodules: tuple[str, ...]
    nested: tuple[str, ...]
    """Untracked repositories inside."""
    has_commit: bool


def is_installed() -> bool:
    """Whether there is a git to ask."""
    return shutil.which("git") is not None


def is_root(folder: Path) -> bool:
    """Whether the folder itself (not one above it) is a git working tree."""
    return (folder / ".git").exists()


def is_inside(folder: Path) -> bool:
    """Whether the folder lies in a git working tree."""
    result = _run(folder, "rev-parse", "--is-inside-work-tree")
    return result.returncode == 0 and result.stdout.strip() == b"true"


def list_files(folder: Path) -> GitFiles:
    """Ask git which files count. Raises LocalFailure with git's own words."""
    staged = _run_checked(folder, "ls-files", "--stage", "-z")
    entries = [entry for entry in staged.split(b"\0") if entry]
    submodules = {
        os.fsdecode(entry.split(b"\t", 1)[1]) for entry in entries if entry.startswith(_GITLINK_MODE)
    }
    listed = _run_checked(
        folder, "ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "-z"
    )
    paths = {os.fsdecode(path) for path in listed.split(b"\0") if path} - submodules
    nested = {path for path in paths if path.endswith("/")}
    head = _run(folder, "rev-parse", "--quiet", "--verify", "HEAD^{commit}")
    return GitFiles(
        paths=tuple(sorted(paths - nested)),
        tracked=frozenset(os.fsdecode(entry.split(b"\t", 1)[1]) for entry in entries) - submodules,
        submodules=tuple(sorted(submodules)),
        nested=tuple(sorted(nested)),
        has_commit=head.returncode == 0,
    )


def list_ignored(folder: Path) -> tuple[str, ...]:
    """What git ignores: whole folders with a slash at the end, and single files. Looks into no ignored folder."""
    listed = _run_checked(
        folder, "ls-files", "--others", "--ignored", "--exclude-standard", "--directory", "-z"
    )
    paths = sorted({os.fsdecode(path) for path in listed.split(b"\0")} - {"./", ""})
    # A folder that is not ignored itself, but all that is in it, is listed beside what is in it.
    return tuple(
        path
        for path, following in itertools.zip_longest(paths, paths[1:], fillvalue="")
        if not (path.endswith("/") and following.startswith(path))
    )


def copy_history(folder: Path, target: Path, sent: Iterable[str]) -> None:
    """Make a clean `.git` at `target`: branches, tags and their commits; an index of HEAD; no remotes, hooks or
    configuration of the user. `sent` are the paths that go with it: what is not sent though HEAD has it (outside a
    sparse checkout, submodules) is marked in that index, and at which paths the rest is other than HEAD is written
    down. Reads the folder, writes only to the target."""
    # --no-local packs what can be reached; the default would link the user's own object files.
    _run_checked(
        folder, "clone", "--quiet", "--bare", "--no-local", "--template=", "--", str(folder), str(target)
    )
    object_format = _run_checked(folder, "rev-parse", "--show-object-format").decode().strip()
    is_sha256 = object_format == "sha256"
    config = _CONFIG.format(version=1 if is_sha256 else 0) + (_SHA256_CONFIG if is_sha256 else "")
    (target / "config").write_text(config, encoding="utf-8")
    for name in ("hooks", "branches", "FETCH_HEAD", "description"):
        _remove(target / name)
    _run_checked(target, f"--git-dir={target}", "read-tree", "HEAD")
    _note_differences(folder, target, frozenset(os.fsencode(path) for path in sent))


def _note_differences(folder: Path, target: Path, sent: frozenset[bytes]) -> None:
    staged = _run_checked(target, f"--git-dir={target}", "ls-files", "--stage", "-z").split(b"\0")
    head = {entry.split(b"\t", 1)[1]: entry.startswith(_GITLINK_MODE) for entry in staged if entry}
    flags = _run_checked(folder, "ls-files", "-t", "-z").split(b"\0")
    hidden = {entry[2:] for entry in flags if entry.startswith(b"S ")}
    not_sent = {path for path, is_link in head.items() if is_link or (path in hidden and path not in sent)}
    nameless = {path for path in head if not _is_text(path)}
    # git's own word for what was changed: it knows of filters, line ends and bits that are switched off. No filter runs.
    options = (
        "--name-only",
        "--no-ext-diff",
        "--no-textconv",
        "--no-renames",
        "--ignore-submodules=all",
        "-z",
    )
    listed = _run_checked(folder, *_without_filters(folder), "diff", *options, "HEAD", "--")
    differing = {path for path in listed.split(b"\0") if path} - not_sent - nameless
    differing -= _filtered(folder, differing)
    differing |= sent - head.keys()
    uncommitted = target / UNCOMMITTED
    uncommitted.parent.mkdir(exist_ok=True)
    uncommitted.write_bytes(_nul_ended(differing))
    _run_checked(
        target,
        f"--git-dir={target}",
        "update-index",
        "--skip-worktree",
        "-z",
        "--stdin",
        stdin=_nul_ended(not_sent),
    )


def _filtered(folder: Path, paths: Iterable[bytes]) -> set[bytes]:
    """Those that a filter stands before: without running it nobody can tell whether they were changed, and what HEAD has
    is not what is in the folder."""
    said = _run_checked(folder, "check-attr", "-z", "--stdin", "filter", stdin=_nul_ended(paths)).split(b"\0")
    answers = zip(said[0::3], said[2::3], strict=False)
    return {path for path, value in answers if value not in (b"unspecified", b"unset", b"set")}


def _nul_ended(paths: Iterable[bytes]) -> bytes:
    return b"".join(path + b"\0" for path in sorted(paths))


def _without_filters(folder: Path) -> list[str]:
    """Options that switch every configured filter off: each is a program of the repository's choosing."""
    names = _run(
        folder, "config", "--name-only", "-z", "--get-regexp", r"^filter\..*\.(clean|process|required)$"
    )
    found = [name.decode("utf-8", "surrogateescape") for name in names.stdout.split(b"\0") if name]
    return [
        part for name in found for part in ("-c", f"{name}={'false' if name.endswith('.required') else ''}")
    ]


def _is_text(path: bytes) -> bool:
    try:
        path.decode()
    except UnicodeDecodeError:
        return False
    return True


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _run(folder: Path, *arguments: str, stdin: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in _INHERITED_NAMES}
    environment |= {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C",
    }
    return subprocess.run(
        ["git", *_CAUTION, *arguments],
        cwd=folder,
        env=environment,
        input=stdin,
        capture_output=True,
        timeout=GIT_SECONDS_MAX,
        check=False,
    )


def _run_checked(folder: Path, *arguments: str, stdin: bytes = b"") -> bytes:
    result = _run(folder, *arguments, stdin=stdin)
    if result.returncode != 0:
        reason = result.stderr.decode(errors="replace").strip() or f"exit code {result.returncode}"
        raise LocalFailure(f"git could not read {str(folder)!r}: {reason}")
    return result.stdout

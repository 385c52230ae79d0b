"""A git folder as an input: which of its files count, and its history without anything of the user's machine."""

from __future__ import annotations

import itertools
import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from remit.errors import BadInput, LocalFailure

GIT_SECONDS_MAX = 600.0
REASON_SHOWN_MAX = 500

# A repository may be someone else's: nothing in its configuration may run a program, and nothing is written to it.
# What its user set up for clones from elsewhere would only stand in the way of this one.
_SETTINGS = {
    "core.fsmonitor": "false",
    "core.hooksPath": "/dev/null",
    "core.untrackedCache": "false",
    "clone.rejectShallow": "false",
    "fetch.fsckObjects": "false",
    "transfer.fsckObjects": "false",
    "protocol.file.allow": "always",
}
# A command that runs in a hook has those of the hook's repository.
_INHERITED_NAMES = (
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_GRAFT_FILE",
    "GIT_IMPLICIT_WORK_TREE",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_REPLACE_REF_BASE",
    "GIT_SHALLOW_FILE",
    "GIT_WORK_TREE",
)
_SHUT = re.compile(rb"could not open directory '(.*?)/?':")
_NO_REPOSITORY = b"not a git repository (or any"
_GITLINK_MODE = b"160000"
UNCOMMITTED = "info/remit-uncommitted"
"""Every path (each ended by a NUL) at which what is sent is other than HEAD: who makes the patch reads it."""
_CONFIG = "[core]\n\trepositoryformatversion = {version}\n\tfilemode = true\n\tbare = false\n\tlogallrefupdates = false\n"
_SHA256_CONFIG = "[extensions]\n\tobjectformat = sha256\n"


@dataclass(frozen=True, kw_only=True)
class GitFiles:
    """The files of a folder as git tells of them."""

    paths: tuple[str, ...]
    """Tracked and unignored files, also those that were deleted since."""
    tracked: frozenset[str]
    submodules: tuple[str, ...]
    nested: tuple[str, ...]
    """Untracked repositories inside."""
    has_commit: bool


def is_installed() -> bool:
    """Return whether git is installed."""
    return shutil.which("git") is not None


def is_root(folder: Path) -> bool:
    """Return whether the folder itself (not one above it) is a git working tree."""
    return (folder / ".git").exists()


def is_inside(folder: Path) -> bool:
    """Return whether the folder lies in a git working tree. Raises BadInput where there is one that git
    refuses to read: what it ignores is then not known, and must not be sent."""
    result = _run(folder, "rev-parse", "--is-inside-work-tree")
    if result.returncode != 0 and (_NO_REPOSITORY not in result.stderr or _has_git_folder(folder)):
        reason = " ".join(result.stderr.decode(errors="replace").split())[:REASON_SHOWN_MAX]
        raise BadInput(
            f"The input {str(folder)!r} is a git checkout that git cannot read here, so what it ignores is not known: "
            f"{reason}",
            mend="Let git read it (`git -C FOLDER status` says what is missing), or give a copy without its .git.",
        )
    return result.returncode == 0 and result.stdout.strip() == b"true"


def _has_git_folder(folder: Path) -> bool:
    """Whether there is something that git takes for no repository: it may be shut, or lack a part."""
    try:
        return any((folder / ".git").iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return False
    except OSError:
        return True


def is_partial(folder: Path) -> bool:
    """Return whether objects of the folder's history are elsewhere (`git clone --filter`)."""
    found = _run(folder, "config", "--get-regexp", r"^(extensions\.partialclone|remote\..*\.promisor)$")
    return found.returncode == 0


def list_files(folder: Path) -> GitFiles:
    """Ask git which files count. Raises LocalFailure with git's own words."""
    staged = _run_checked(folder, "ls-files", "--stage", "-z")
    entries = [entry for entry in staged.split(b"\0") if entry]
    submodules = {
        os.fsdecode(entry.split(b"\t", 1)[1]) for entry in entries if entry.startswith(_GITLINK_MODE)
    }
    asked = ("ls-files", "--cached", "--others", "--exclude-standard", "--deduplicate", "-z")
    result = _run_checked_result(folder, *asked)
    if shut := _SHUT.findall(result.stderr):
        raise BadInput(
            f"The input has folders that cannot be read: {', '.join(map(os.fsdecode, shut))}.",
            mend="Give read permission, or let git ignore them.",
        )
    listed = result.stdout
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
    """List what git ignores: folders with a slash at the end, and files. Looks into no ignored folder."""
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
    object_format = _run_checked(folder, "rev-parse", "--show-object-format").decode().strip()
    if is_partial(folder):
        _copy_what_is_here(folder, target, object_format)
    else:
        # --no-local packs what can be reached; the default would link the user's own object files.
        _run_checked(
            folder, "clone", "--quiet", "--bare", "--no-local", "--template=", "--", str(folder), str(target)
        )
    is_sha256 = object_format == "sha256"
    config = _CONFIG.format(version=1 if is_sha256 else 0) + (_SHA256_CONFIG if is_sha256 else "")
    (target / "config").write_text(config, encoding="utf-8")
    for name in ("hooks", "branches", "FETCH_HEAD", "description"):
        _remove(target / name)
    _run_checked(target, f"--git-dir={target}", "read-tree", "HEAD")
    _note_differences(folder, target, frozenset(os.fsencode(path) for path in sent))


def _copy_what_is_here(folder: Path, target: Path, object_format: str) -> None:
    """As a clone would, of a repository that lacks objects: nothing is fetched for it."""
    _run_checked(
        folder, "init", "--quiet", "--bare", "--template=", f"--object-format={object_format}", str(target)
    )
    listed = _run_checked(
        folder, "for-each-ref", "--format=%(objectname) %(refname)", "refs/heads", "refs/tags"
    )
    refs = [line.split(b" ", 1) for line in listed.splitlines()]
    head = _run_checked(folder, "rev-parse", "HEAD").strip()
    branch = _run(folder, "symbolic-ref", "--quiet", "HEAD").stdout.strip()
    _run_checked(
        folder,
        *(
            "pack-objects",
            "--quiet",
            "--revs",
            "--missing=allow-any",
            str(target / "objects" / "pack" / "pack"),
        ),
        stdin=b"".join(oid + b"\n" for oid in {head, *(oid for oid, _ in refs)}),
    )
    shallow = folder / os.fsdecode(_run_checked(folder, "rev-parse", "--git-path", "shallow").rstrip(b"\n"))
    if shallow.is_file():
        shutil.copy(shallow, target / "shallow")
    (target / "HEAD").write_bytes((b"ref: " + branch if branch else head) + b"\n")
    updates = b"".join(b"create %s %s\n" % (name, oid) for oid, name in refs)
    _run_checked(target, f"--git-dir={target}", "update-ref", "--stdin", stdin=updates)


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
    listed = _run_checked(folder, "diff", *options, "HEAD", "--", settings=_without_filters(folder))
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


def _without_filters(folder: Path) -> dict[str, str]:
    """Settings that switch every configured filter off: each is a program of the repository's choosing."""
    names = _run(
        folder,
        "config",
        "--name-only",
        "-z",
        "--get-regexp",
        r"^filter\..*\.(clean|smudge|process|required)$",
    )
    found = [os.fsdecode(name) for name in names.stdout.split(b"\0") if name]
    return {name: "false" if name.endswith(".required") else "" for name in found}


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


def _run(
    folder: Path, *arguments: str, stdin: bytes = b"", settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    environment = {name: value for name, value in os.environ.items() if name not in _INHERITED_NAMES}
    environment |= {
        "GIT_OPTIONAL_LOCKS": "0",
        "GIT_TERMINAL_PROMPT": "0",
        "GIT_NO_LAZY_FETCH": "1",
        "LC_ALL": "C",
    }
    environment |= _as_environment({**_SETTINGS, **(settings or {})})
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env=environment,
        input=stdin,
        capture_output=True,
        timeout=GIT_SECONDS_MAX,
        check=False,
    )


def _as_environment(settings: Mapping[str, str]) -> dict[str, str]:
    """After those that the environment has already. Not as `-c`: a name may hold an equals sign."""
    given = os.environ.get("GIT_CONFIG_COUNT", "")
    before = int(given) if given.isdigit() else 0
    environment = {"GIT_CONFIG_COUNT": str(before + len(settings))}
    for number, (name, value) in enumerate(settings.items(), start=before):
        environment |= {f"GIT_CONFIG_KEY_{number}": name, f"GIT_CONFIG_VALUE_{number}": value}
    return environment


def _run_checked(
    folder: Path, *arguments: str, stdin: bytes = b"", settings: Mapping[str, str] | None = None
) -> bytes:
    return _run_checked_result(folder, *arguments, stdin=stdin, settings=settings).stdout


def _run_checked_result(
    folder: Path, *arguments: str, stdin: bytes = b"", settings: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[bytes]:
    result = _run(folder, *arguments, stdin=stdin, settings=settings)
    if result.returncode != 0:
        reason = result.stderr.decode(errors="replace").strip() or f"exit code {result.returncode}"
        raise LocalFailure(f"git could not read {str(folder)!r}: {reason}")
    return result

"""The image: the host's /usr, the toolchain folder, and the folders an operator named; all read-only."""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import stat
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from remit.errors import SandboxUnavailable
from remit.sandboxes.image_folder import ImageFolder
from remit.sandboxes.toolchain import INSIDE, Toolchain, library_folder, make_toolchain
from remit.values import ImageInfo, InstalledPython, installed_python, normalised

_SYSTEM_PATH = ("/usr/local/bin", "/usr/bin", "/bin")
_PACKAGE_RECORDS = ("/var/lib/dpkg/status", "/var/lib/rpm/rpmdb.sqlite", "/lib/apk/db/installed")
_NAMED = (
    "bash",
    "git",
    "gcc",
    "make",
    "node",
    "npm",
    "go",
    "cargo",
    "java",
    "ruby",
    "perl",
    "curl",
    "jq",
    "rg",
)
"""Programs worth a word in the description when they are there."""
_NEVER = (
    "/",
    "/usr",
    "/bin",
    "/etc",
    "/proc",
    "/sys",
    "/dev",
    "/tmp",
    "/var",
    "/home",
    "/root",
    "/run",
    "/opt",
    "/workspace",
)


class Bind(msgspec.Struct, frozen=True):
    """A host folder or file, and where it is in the sandbox."""

    source: str
    target: str


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """The image on which a sandbox is launched."""

    info: ImageInfo
    binds: tuple[Bind, ...]
    path: tuple[str, ...]
    """The folders of PATH, inside."""


class _Manifest(msgspec.Struct, frozen=True, kw_only=True):
    """What a toolchain folder has."""

    digest: str
    python: InstalledPython


class ImageBuilder:
    """Makes images in `images`; blocking, and safe in several processes at once.

    With `is_shared` sandboxes run as other users: what they cannot read is copied. `secret_folders` (the data folder,
    the runtime folder) may not lie in a toolchain.
    """

    def __init__(self, images: ImageFolder, *, is_shared: bool, secret_folders: Sequence[Path]) -> None:
        self._images = images
        self._is_shared = is_shared
        self._secret_folders = [folder.resolve() for folder in secret_folders]

    def build(self, toolchains: Sequence[str]) -> Image:
        """The image with these folders. Raises SandboxUnavailable."""
        folders = [self._checked(toolchain) for toolchain in toolchains]
        toolchain = make_toolchain(self._images)
        binds = [Bind(str(toolchain.folder), INSIDE)]
        prefix = Path(sys.base_prefix)
        # Where virtual environments point, and where the interpreter may look for its shared library.
        places = [place for place in (prefix, library_folder().parent) if not place.is_relative_to("/usr")]
        binds += [Bind(str(toolchain.folder), str(place)) for place in places]
        manifests: list[_Manifest] = []
        for folder in folders:
            manifests.append(_manifest(folder))
            binds.append(Bind(str(self._readable(folder, manifests[-1].digest)), str(folder)))
            base = _base_prefix(folder)
            if base is not None and base != prefix and not base.is_relative_to("/usr"):
                self._check_place(base, f"{str(folder)!r} needs its base interpreter, and that")
                manifests.append(_manifest(base))
                binds.append(Bind(str(self._readable(base, manifests[-1].digest)), str(base)))
        path = (*(f"{folder}/bin" for folder in folders), f"{INSIDE}/bin", *_SYSTEM_PATH)
        return Image(
            info=self._describe(toolchain, folders, manifests, binds),
            binds=tuple(dict.fromkeys(binds)),
            path=path,
        )

    def _checked(self, toolchain: str) -> Path:
        if not toolchain.startswith("/"):
            raise SandboxUnavailable(f"toolchain {toolchain!r} is not an absolute path")
        folder = Path(os.path.normpath(toolchain))
        if not folder.is_dir():
            raise SandboxUnavailable(f"toolchain {toolchain!r} is no folder on this machine")
        self._check_place(folder.resolve(), f"toolchain {toolchain!r}")
        return folder

    def _check_place(self, folder: Path, what: str) -> None:
        if str(folder) in _NEVER or folder == Path.home() or (folder.parent == Path("/home")):
            raise SandboxUnavailable(
                f"{what} is {str(folder)!r}: that could hold secrets; name one folder of programs"
            )
        for secret in (*self._secret_folders, Path.home()):
            if secret.is_relative_to(folder):
                raise SandboxUnavailable(f"{what} contains {str(secret)!r}; name one folder of programs")

    def _readable(self, folder: Path, digest: str) -> Path:
        """The folder itself, or a copy where the sandbox's user could not read it."""
        if not self._is_shared or _is_open_to_all(folder):
            return folder
        name = f"copy-{digest[:32]}"
        try:
            copy = self._images.use(name)
            if copy is None:
                with self._images.making(name) as new:
                    shutil.copytree(folder, new, symlinks=True, dirs_exist_ok=True)
                    for path in [new, *_walk(new)]:
                        if not path.is_symlink():
                            is_program = path.is_dir() or path.stat().st_mode & 0o100
                            path.chmod(0o755 if is_program else 0o644)
                copy = self._images.use(name)
        except (OSError, shutil.Error) as error:
            raise SandboxUnavailable(f"toolchain {str(folder)!r} cannot be copied: {error}") from error
        if copy is None:
            raise SandboxUnavailable(f"the copy of toolchain {str(folder)!r} was removed while it was made")
        return copy

    def _describe(
        self,
        toolchain: Toolchain,
        folders: Sequence[Path],
        manifests: Sequence[_Manifest],
        binds: Sequence[Bind],
    ) -> ImageInfo:
        programs = _programs([f"{bind.source}/bin" for bind in reversed(binds)] + list(_SYSTEM_PATH))
        release = platform.freedesktop_os_release()
        words = [
            release.get("PRETTY_NAME", "Linux"),
            platform.machine(),
            f"Python {platform.python_version()}",
        ]
        words += [
            f"{name} {version}"
            for name, version in sorted(toolchain.packages.items())
            if name in ("pip", "pytest")
        ]
        if "bash" not in programs:
            raise SandboxUnavailable("bash is missing on this machine; install it: apt install bash")
        words += [name for name in _NAMED if name in programs]
        if "git" not in programs:
            words.append("no git")
        if folders:
            words.append("toolchains " + " ".join(str(folder) for folder in folders))
        digests = [manifest.digest for manifest in manifests]
        python = InstalledPython(distributions=tuple(sorted(map(normalised, toolchain.packages))))
        digest = hashlib.sha256(
            repr([toolchain.digest, _host_identity(), [str(folder) for folder in folders], digests]).encode()
        ).hexdigest()
        return ImageInfo(
            digest=digest,
            description=", ".join(words),
            programs=programs,
            toolchains=tuple(str(folder) for folder in folders),
            python=python.joined(manifest.python for manifest in manifests),
        )


def _base_prefix(folder: Path) -> Path | None:
    """Where a virtual environment's interpreter was installed; None if the folder is none."""
    try:
        lines = (folder / "pyvenv.cfg").read_text().splitlines()
    except OSError:
        return None
    settings = dict(line.split("=", 1) for line in lines if "=" in line)
    home = next((value.strip() for key, value in settings.items() if key.strip() == "home"), None)
    if home is None:
        return None
    python = folder / "bin" / "python"
    # `home` may itself be a virtual environment's or a link's folder: the interpreter's real place counts.
    return (python.resolve() if python.exists() else Path(home) / "python").parent.parent


def _is_open_to_all(folder: Path) -> bool:
    """Whether any user may enter, and read what is directly in it."""
    resolved = folder.resolve()
    for parent in resolved.parents:
        if not parent.stat().st_mode & stat.S_IXOTH:
            return False
    return resolved.stat().st_mode & 0o005 == 0o005


def _manifest(folder: Path) -> _Manifest:
    """Names, sizes and times: enough to tell a changed folder; hashing gigabytes of packages would not be."""
    digest = hashlib.sha256(str(folder).encode())
    paths: list[str] = []
    for path in _walk(folder):
        found = path.lstat()
        paths.append(str(path))
        digest.update(
            f"{path}\0{found.st_mode}\0{found.st_size}\0{found.st_mtime_ns}\n".encode(
                "utf-8", "surrogateescape"
            )
        )
    return _Manifest(digest=digest.hexdigest(), python=installed_python(paths))


def _host_identity() -> str:
    """What the host's /usr is, as far as that can be told in milliseconds. See design/sandbox.md."""
    digest = hashlib.sha256(repr(sorted(platform.freedesktop_os_release().items())).encode())
    for record in _PACKAGE_RECORDS:
        if os.path.isfile(record) and os.access(record, os.R_OK):
            digest.update(Path(record).read_bytes())
            return digest.hexdigest()
    for entry in sorted(os.scandir("/usr/bin"), key=lambda entry: entry.name):
        found = entry.stat(follow_symlinks=False)
        digest.update(f"{entry.name}\0{found.st_size}\0{found.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def _programs(folders: Sequence[str]) -> tuple[str, ...]:
    names: set[str] = set()
    for folder in folders:
        if os.path.isdir(folder):
            names.update(entry.name for entry in os.scandir(folder) if os.access(entry.path, os.X_OK))
    return tuple(sorted(names))


def _walk(folder: Path) -> Iterator[Path]:
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        yield Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(Path(entry.path))

"""Fetch projects from the registries by their ordinary clients, into a cache outside of the repository."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from zoo.project import Files, Project, Source, read_files

FETCH_SECONDS = 120.0
CLIENT = Path(__file__).with_name("pypi_client.py")


class NotFetched(Exception):
    """A project cannot be had now: the reason in words."""


def cache_folder() -> Path:
    """Where fetched projects stay: `$XDG_CACHE_HOME/remit-zoo`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "remit-zoo"


def project_files(project: Project) -> Files:
    """Return the project as it was published. Raises NotFetched."""
    files = read_files(_folder_of(project.source), project.leave_out)
    for source in project.dependencies:
        inside = f"node_modules/{source.package}"
        files |= {f"{inside}/{path}": file for path, file in read_files(_folder_of(source)).items()}
    return files


def _folder_of(source: Source) -> Path:
    name = re.sub(r"[^A-Za-z0-9.+-]", "_", f"{source.package}-{source.version}")
    folder = cache_folder() / f"{name}-{source.sha256[:16]}"
    if not folder.is_dir():
        _fetch(source, folder)
    return folder / source.folder


def _fetch(source: Source, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        downloads = Path(scratch) / "downloads"
        downloads.mkdir(mode=0o755)
        why = _CLIENTS[source.registry](source, downloads)
        archive = _wanted(source, downloads, why)
        unpacked = Path(scratch) / "unpacked"
        unpacked.mkdir()
        _unpack(archive, unpacked)
        try:
            unpacked.rename(folder)
        except OSError:
            if not folder.is_dir():  # else another process was first
                raise


def _wanted(source: Source, downloads: Path, why: str) -> Path:
    found = {
        hashlib.sha256(path.read_bytes()).hexdigest(): path for path in downloads.iterdir() if path.is_file()
    }
    if source.sha256 in found:
        return found[source.sha256]
    served = ", ".join(f"{path.name} {digest}" for digest, path in found.items()) or "nothing"
    raise NotFetched(
        f"{source.package} {source.version} with sha256 {source.sha256} is not served: got {served}. {why.strip()[-300:]}"
    )


def _pypi(source: Source, folder: Path) -> str:
    python = shutil.which("python3", path="/usr/local/bin:/usr/bin") or "python3"
    for interpreter in (sys.executable, python):
        if _said([interpreter, "-m", "pip", "--version"], folder)[0] == 0:
            return _said([interpreter, str(CLIENT), source.package, source.version, str(folder)], folder)[1]
    return "no interpreter here has pip"


def _npm(source: Source, folder: Path) -> str:
    return _said(["npm", "pack", "--silent", f"{source.package}@{source.version}"], folder)[1]


def _debian_source(source: Source, folder: Path) -> str:
    """The upstream archive alone: it needs neither dpkg-dev nor Debian's changes."""
    wanted = f"{source.package}={source.version}"
    return _said(
        ["apt-get", *_apt_options(), "-qq", "source", "--download-only", "--tar-only", wanted], folder
    )[1]


def _debian_package(source: Source, folder: Path) -> str:
    wanted = f"{source.package}={source.version}"
    return _said(["apt-get", *_apt_options(), "-qq", "download", wanted], folder)[1]


_CLIENTS = {
    "pypi": _pypi,
    "npm": _npm,
    "debian-source": _debian_source,
    "debian-package": _debian_package,
}


def _apt_options() -> Sequence[str]:
    """apt with lists of its own, sources included, so that neither root nor the machine's settings are needed."""
    home = cache_folder() / "apt"
    options = [
        f"-oDir::State={home}/state",
        "-oDir::State::status=/var/lib/dpkg/status",
        f"-oDir::Cache={home}/cache",
        f"-oDir::Etc::sourceparts={home}/sources",
        "-oDir::Etc::sourcelist=/dev/null",
        "-oAPT::Sandbox::User=",
    ]
    if not (home / "updated").exists():
        for each in ("state/lists/partial", "cache/archives/partial", "sources"):
            (home / each).mkdir(parents=True, exist_ok=True)
        _copy_sources(home / "sources")
        code, why = _said(["apt-get", *options, "-qq", "update"], home)
        if code:
            raise NotFetched(f"apt-get update: {why.strip()[-300:]}")
        (home / "updated").touch()
    return options


def _copy_sources(folder: Path) -> None:
    """Debian's own entries of this machine, each for packages and for sources."""
    lines = Path("/etc/apt/sources.list")
    text = lines.read_text() if lines.exists() else ""
    plain = [line for line in text.splitlines() if re.match(r"deb\s", line)]
    (folder / "zoo.list").write_text(
        "".join(f"{line}\n{line.replace('deb', 'deb-src', 1)}\n" for line in plain)
    )
    for path in sorted(Path("/etc/apt/sources.list.d").glob("debian*.sources")):
        text = re.sub(r"(?m)^Types:.*$", "Types: deb deb-src", path.read_text())
        (folder / path.name).write_text(text)


def _said(argv: Sequence[str], folder: Path) -> tuple[int, str]:
    """Exit code, and what was printed. A client that is not there or does not end in time is an exit code too."""
    try:
        ended = subprocess.run(
            argv,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=FETCH_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return 124, str(error)
    return ended.returncode, ended.stdout + ended.stderr


def _unpack(archive: Path, folder: Path) -> None:
    if archive.suffix == ".deb":
        code, why = _said(["dpkg-deb", "-x", str(archive), str(folder)], folder)
        if code:
            raise NotFetched(f"dpkg-deb: {why}")
        return
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    top = list(folder.iterdir())
    if len(top) == 1 and top[0].is_dir():
        for path in list(top[0].iterdir()):
            path.rename(folder / path.name)
        top[0].rmdir()

"""The toolchain folder of the image: a copy of the running CPython with pip and pytest, made once, read-only, hashed.

It lies outside any home, so that a sandbox's own unprivileged user can read it. In a sandbox it is at /opt/remit.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import msgspec

from remit.errors import SandboxUnavailable
from remit.sandboxes.image_folder import ImageFolder

INSIDE = "/opt/remit"
PYTHON = f"{INSIDE}/bin/python3"
HOST_NAME = "sandbox"
"""Of every sandbox; programs look for its address in /etc/hosts."""
_DISTRIBUTIONS = ("pip", "pytest")
_LEFT_OUT = shutil.ignore_patterns(
    "site-packages",
    "dist-packages",
    "test",
    "tests",
    "idlelib",
    "turtledemo",
    "tkinter",
    "config-*",
    "*.opt-?.pyc",
)
_NO_CACHES = shutil.ignore_patterns("__pycache__")
_REPORTS_ALSO = (
    f"import os; p = '{INSIDE}/reporters/python/sitecustomize.py'; os.environ.get('REMIT_REPORTS') and "
    "exec(compile(open(p).read(), p, 'exec'), {'__file__': p, '__name__': 'remit_reports'})\n"
)
"""This interpreter's runners report also where a command sets PYTHONPATH itself."""
_ETC = {
    "passwd": "root:x:0:0:root:/root:/usr/sbin/nologin\nagent:x:1000:1000:agent:/tmp/home:/bin/bash\n",
    "group": "root:x:0:\nagent:x:1000:\n",
    "hosts": f"127.0.0.1 localhost {HOST_NAME}\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files dns\n",
    "resolv.conf": "",
}


class Toolchain(msgspec.Struct, frozen=True, kw_only=True):
    """A made toolchain folder."""

    folder: Path
    digest: str
    """Over names and contents, without caches."""
    packages: dict[str, str]
    """Distributions in it, with versions."""


def make_toolchain(images: ImageFolder) -> Toolchain:
    """The toolchain for this interpreter and these packages, made if it is not there. Blocking.

    Several processes may do so at once: each builds aside, the first rename wins. Raises SandboxUnavailable.
    """
    packages = {name: each.version for name, each in _distributions().items()}
    identity = [sys.version, sys.base_prefix, repr(sorted(packages.items())), _source_digest()]
    name = f"toolchain-{hashlib.sha256(repr(identity).encode()).hexdigest()[:16]}"
    try:
        folder = images.use(name)
        if folder is None:
            with images.making(name) as new:
                _build(new, packages)
            folder = images.use(name)
        if folder is None:
            raise SandboxUnavailable(
                f"the toolchain was removed while it was made; look who tidies {str(images.path)!r}"
            )
        stored = msgspec.json.decode((folder / "image.json").read_bytes(), type=dict[str, str])
    except (OSError, shutil.Error, msgspec.DecodeError) as error:
        raise SandboxUnavailable(f"the toolchain cannot be made in {str(images.path)!r}: {error}") from error
    return Toolchain(folder=folder, digest=stored["digest"], packages=packages)


def _build(new: Path, packages: dict[str, str]) -> None:
    _copy_interpreter(new)
    site = _site_packages(new)
    for distribution in _distributions().values():
        _copy_distribution(distribution, site)
    _write_launchers(new / "bin")
    _try_out(new)
    shutil.copytree(Path(__file__).parent / "guest", new / "guest", ignore=_LEFT_OUT)
    shutil.copytree(Path(__file__).parent / "reporters", new / "reporters", ignore=_NO_CACHES)
    for program in (new / "reporters" / "text").glob("*_exec.py"):
        program.chmod(0o755)
    (site / "remit_reports.pth").write_text(_REPORTS_ALSO)
    (new / "etc").mkdir(mode=0o755)
    for name, text in _ETC.items():
        (new / "etc" / name).write_text(text)
    _compile(new)
    digest = _open_up_and_hash(new)
    (new / "image.json").write_bytes(msgspec.json.encode({"digest": digest, **packages}))
    (new / "image.json").chmod(0o644)


def _copy_interpreter(new: Path) -> None:
    version = _version()
    library = new / "lib" / f"python{version}"
    paths = sysconfig.get_paths(vars={"base": sys.base_prefix, "platbase": sys.base_exec_prefix})
    shutil.copytree(paths["stdlib"], library, ignore=_LEFT_OUT, symlinks=False, ignore_dangling_symlinks=True)
    platform_library = Path(paths["platstdlib"])
    if platform_library != Path(paths["stdlib"]) and (platform_library / "lib-dynload").is_dir():
        shutil.copytree(platform_library / "lib-dynload", library / "lib-dynload", dirs_exist_ok=True)
    (library / "site-packages").mkdir(mode=0o755, exist_ok=True)
    binaries = new / "bin"
    binaries.mkdir(mode=0o755)
    shutil.copy2(Path(sys.executable).resolve(), binaries / f"python{version}")
    for name in ("python3", "python"):
        (binaries / name).symlink_to(f"python{version}")
    shared = sysconfig.get_config_var("INSTSONAME")
    if sysconfig.get_config_var("Py_ENABLE_SHARED") and isinstance(shared, str):
        folders = [library_folder(), Path(sys.base_prefix) / "lib"]
        source = next((folder / shared for folder in folders if os.access(folder / shared, os.R_OK)), None)
        if source is None:
            raise SandboxUnavailable(f"{shared}, which this interpreter needs, is not in {folders[0]}")
        shutil.copy2(source, new / "lib" / shared)
        _make_relocatable(binaries / f"python{version}")


def _site_packages(new: Path) -> Path:
    """Where the copied interpreter looks for packages: Debian's says dist-packages, others site-packages."""
    answer = _run(new, "import site; print(*site.getsitepackages(), sep='\\n')")
    own = [Path(line) for line in answer.splitlines() if Path(line).is_relative_to(new)]
    if not own:
        raise SandboxUnavailable(
            f"the copied interpreter has no folder for packages of its own (it says {answer!r})"
        )
    return own[0]


def _try_out(new: Path) -> None:
    """A toolchain whose pytest does not start would fail every verifier: better no image."""
    _run(new, "import pytest")


def _compile(new: Path) -> None:
    """By a process of its own, so that it may use every core; what cannot be compiled is left as it is."""
    command = [str(new / "bin" / "python3"), "-I", "-m", "compileall", "-qq", "-j", "0", "-r", "20", str(new)]
    subprocess.run(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=300, env={}, check=False
    )


def _run(new: Path, code: str) -> str:
    """What the copied interpreter prints. Raises SandboxUnavailable when it fails."""
    command = [str(new / "bin" / "python3"), "-I", "-B", "-c", code]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, env={}, check=False)
    if done.returncode != 0:
        raise SandboxUnavailable(
            f"the copied interpreter does not work ({done.stderr.strip().splitlines()[-1:]}); use another Python for Remit"
        )
    return done.stdout.strip()


def library_folder() -> Path:
    """Return the folder where the interpreter looks for its shared library, if it has one."""
    return Path(str(sysconfig.get_config_var("LIBDIR")))


def _make_relocatable(binary: Path) -> None:
    """Let a copied interpreter look for its library beside itself: overwrite the run path, where the new one fits.

    Where it does not, the sandbox has the copy at the old place as well.
    """
    old = b"\0" + os.fsencode(library_folder()) + b"\0"
    new = b"\0$ORIGIN/../lib\0"
    content = binary.read_bytes()
    if content.count(old) == 1 and len(new) <= len(old):
        binary.write_bytes(content.replace(old, new.ljust(len(old), b"\0")))


def _copy_distribution(distribution: importlib.metadata.Distribution, site: Path) -> None:
    for file in distribution.files or ():
        if ".." in file.parts or file.suffix == ".pyc":
            continue
        source = Path(str(distribution.locate_file(file)))
        if source.is_file():
            target = site / str(file)
            target.parent.mkdir(parents=True, exist_ok=True, mode=0o755)
            shutil.copy2(source, target)
            if file.suffix == ".py":
                _copy_bytecode(source, target)


def _copy_bytecode(source: Path, target: Path) -> None:
    """What was compiled already holds for the copy: it has the same time, and an import corrects the place in it."""
    compiled = Path(importlib.util.cache_from_source(str(source)))
    if compiled.is_file():
        new = Path(importlib.util.cache_from_source(str(target)))
        new.parent.mkdir(exist_ok=True, mode=0o755)
        shutil.copy2(compiled, new)


def _write_launchers(binaries: Path) -> None:
    for distribution in _distributions().values():
        for entry in distribution.entry_points:
            if entry.group == "console_scripts" and entry.name in _DISTRIBUTIONS:
                launcher = binaries / entry.name
                code = f"from {entry.module} import {entry.attr} as main\n\nsys.exit(main())\n"
                launcher.write_text(f"#!{PYTHON}\nimport sys\n\n{code}")
                launcher.chmod(0o755)


def _distributions() -> dict[str, importlib.metadata.Distribution]:
    """pip and pytest with what they need, as installed beside Remit."""
    found: dict[str, importlib.metadata.Distribution] = {}
    waiting = list[str](_DISTRIBUTIONS)
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            found[name] = importlib.metadata.distribution(name)
        except importlib.metadata.PackageNotFoundError:
            continue  # needed elsewhere only (its marker), or pip in an environment made without it
        for requirement in found[name].requires or ():
            if "extra ==" not in requirement:
                match = re.match(r"[\w.-]+", requirement)
                if match:
                    waiting.append(match[0].lower())
    return found


def _source_digest() -> str:
    digest = hashlib.sha256(Path(__file__).read_bytes())
    here = Path(__file__).parent
    for path in sorted([*(here / "guest").glob("*.py"), *(here / "reporters").rglob("*.*")]):
        if "__pycache__" not in path.parts and path.is_file():
            digest.update(path.read_bytes())
    return digest.hexdigest()


def _open_up_and_hash(folder: Path) -> str:
    """Make everything readable by anyone and writable by nobody else; the hash of names and contents."""
    digest = hashlib.sha256()
    for path in _walk(folder):
        if path.is_symlink():
            digest.update(f"{path.relative_to(folder)} -> {path.readlink()}\n".encode())
            continue
        is_program = path.is_dir() or bool(path.stat().st_mode & 0o111)
        path.chmod(0o755 if is_program else 0o644)
        if path.is_file() and path.suffix != ".pyc":
            content = hashlib.sha256(path.read_bytes()).hexdigest()
            digest.update(f"{path.relative_to(folder)} {int(is_program)} {content}\n".encode())
    return digest.hexdigest()


def _walk(folder: Path) -> Iterator[Path]:
    for name in sorted(os.listdir(folder)):
        path = folder / name
        yield path
        if path.is_dir() and not path.is_symlink():
            yield from _walk(path)


def _version() -> str:
    return f"{sys.version_info.major}.{sys.version_info.minor}"

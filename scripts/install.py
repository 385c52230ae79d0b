"""Installs Remit into a virtual environment, or finds it installed and says nothing. `make` runs it before all else.

    python scripts/install.py [--venv .venv] [--extra dev] [--exactly]

Whatever state the folder is in, the end is a working installation or the reason why there is none: an environment
whose interpreter, pip or place does not fit, or whose installation did not finish, is made anew. Needs nothing but
the standard library. `--exactly`: an environment of another Python than this one is made anew too.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
import sysconfig
import time
import tomllib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

LOG = "install.log"
PIP = "pip==26.3"
"""Fetched before all else: what comes with Python 3.11 takes twice as long to choose among so many wheels."""
UNFINISHED = ".installing"
"""Stands in the environment while it is made and filled."""
STATED_LINES_MAX = 25
LINE_LENGTH_MAX = 400
COUNTED = 10
"""A line of progress for so many packages."""
ASK = """
import json, os, runpy, sys
print(json.dumps({
    "version": list(sys.version_info[:3]),
    "base": os.path.realpath(getattr(sys, "_base_executable", sys.executable)),
    "is_venv": sys.prefix != sys.base_prefix,
}), flush=True)
sys.argv = ["pip", "--version"]
runpy.run_module("pip", run_name="__main__")
"""
"""What an environment's Python is, in a line of JSON; fails after it when its pip does not work."""
NO_SETTINGS = ("PYTHONPATH", "PYTHONHOME", "PIP_TARGET", "PIP_PREFIX", "PIP_ROOT", "PIP_USER", "PIP_QUIET")
"""Variables that would lead pip elsewhere, or silence it."""
NOISE = re.compile(r"\s*(?:Collecting|Downloading|Using cached|Requirement already|Looking in|\[notice\])")
TROUBLE = re.compile(r"\s*(?:ERROR|error|×|Traceback|OSError|WARNING: Retrying)")


class NotInstalled(Exception):
    """Why, and what to do about it."""


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--venv", type=Path, default=Path(".venv"))
    parser.add_argument("--extra", choices=["dev"])
    parser.add_argument("--exactly", action="store_true", help="insist on the Python that runs this")
    options = parser.parse_args()
    venv: Path = options.venv
    try:
        with _alone() as lock:
            _install(venv, options.extra, lock, is_exact=options.exactly)
    except KeyboardInterrupt:
        print("\ninterrupted; the next make begins the installation anew", flush=True)
        return 130
    except (NotInstalled, OSError) as error:
        print(f"Remit is not installed: {error}", flush=True)
        return 1
    return 0


def _install(venv: Path, extra: str | None, lock: int, *, is_exact: bool) -> None:
    began = time.monotonic()
    target = f".[{extra}]" if extra else "."
    stamps = [venv / ".installed", *([venv / f".installed-{extra}"] if extra else [])]
    wanted = _wanted()
    fault = fault_of(venv, is_exact=is_exact)
    if fault is None and all(stamp.is_file() and stamp.read_text() == wanted for stamp in stamps):
        return
    what = "Remit and the tools of its tests" if extra else "Remit"
    print(f"installing {what} into {venv} (the log: {venv / LOG})", flush=True)
    if fault is not None:
        _make(venv, fault)
    for stamp in stamps:
        stamp.unlink(missing_ok=True)
    (venv / UNFINISHED).touch()
    _run_pip(venv, target, lock)
    for stamp in stamps:
        stamp.write_text(wanted)
    (venv / UNFINISHED).unlink()
    print(f"  installed in {time.monotonic() - began:.0f} s", flush=True)


@contextmanager
def _alone() -> Iterator[int]:
    """Hold the project's folder against another make. pip inherits the lock: it may outlive us."""
    lock = os.open(".", os.O_RDONLY)
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("waiting for another make, which is installing here …", flush=True)
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield lock
    finally:
        os.close(lock)


def _wanted() -> str:
    """The digest of what is to be installed."""
    names = ("pyproject.toml", "constraints.txt")
    return hashlib.sha256(b"\0".join(Path(name).read_bytes() for name in names)).hexdigest()


def fault_of(venv: Path, *, is_exact: bool) -> str | None:
    """Why the environment must be made anew, "" where there is none, None if it can stay. Every make asks."""
    if not os.path.lexists(venv) or (venv.is_dir() and not any(venv.iterdir())):
        return ""
    if (venv / UNFINISHED).exists():
        return "the last installation did not finish"
    python = venv / "bin" / "python"
    if not os.access(python, os.X_OK):
        return f"{python} is missing, or leads nowhere"
    asked = _ask(python, "-c", ASK)
    if not asked.stdout.startswith("{"):
        return f"{python} does not run"
    told = json.loads(asked.stdout.splitlines()[0])
    if not told["is_venv"]:
        return f"{python} is no virtual environment's"
    if told["version"] < [3, 11]:
        return f"it has Python {'.'.join(map(str, told['version']))}, and Remit needs 3.11 or newer"
    if is_exact and told["base"] != os.path.realpath(_base()):
        return f"it has the Python of {told['base']}, and {_base()} was asked for"
    if asked.returncode != 0:
        return "its pip does not work"
    if f"{venv.absolute()}/" not in _launcher(venv):
        return "its folder was moved"
    return None


def _launcher(venv: Path) -> str:
    """The program `pip`, whose first lines say for which folder it was made."""
    try:
        with (venv / "bin" / "pip").open(encoding="utf-8", errors="replace") as launcher:
            return launcher.read(1000)
    except FileNotFoundError:
        return ""


def _make(venv: Path, fault: str) -> None:
    if fault:
        print(f"  {venv} is made anew: {fault}", flush=True)
        _remove(venv)
    parts = {name: importlib.util.find_spec(name) for name in ("venv", "ensurepip")}
    if missing := [name for name, part in parts.items() if part is None or part.origin is None]:
        raise NotInstalled(
            f"Python {_version()} ({_base()}) cannot make virtual environments, since it lacks {missing[0]}.\n"
            f"{_mend_of_venv()}"
        )
    venv.mkdir(parents=True, exist_ok=True)
    (venv / UNFINISHED).touch()
    print(f"  making a virtual environment with Python {_version()} ({_base()})", flush=True)
    if _make_quickly(venv):
        return
    made = _ask(Path(_base()), "-m", "venv", str(venv))
    if made.returncode == 0:
        made = _ask(venv / "bin" / "python", "-m", "pip", "--version")
    if made.returncode != 0:
        said = made.stdout + made.stderr
        (venv / LOG).write_text(said)
        raise NotInstalled(f"no virtual environment could be made.\n{_stated(said, venv / LOG)}")


def _make_quickly(venv: Path) -> bool:
    """Fetch a newer pip, and what builds Remit, with the pip that Python brings along; False: to be made with that one."""
    import ensurepip  # looked for before

    folders = (Path(ensurepip.__file__).parent / "_bundled", sysconfig.get_config_var("WHEEL_PKG_DIR"))
    wheel = next((found for folder in folders if folder for found in Path(folder).glob("pip-*.whl")), None)
    if wheel is None or _ask(Path(_base()), "-m", "venv", "--without-pip", str(venv)).returncode != 0:
        return False
    options = [
        "--disable-pip-version-check",
        "--no-input",
        "--no-compile",
        "--retries",
        "1",
        "-c",
        "constraints.txt",
    ]
    python = venv / "bin" / "python"
    fetched = _ask(python, "-m", "pip", "install", *options, PIP, *_builders(), PYTHONPATH=str(wheel))
    return fetched.returncode == 0 and _ask(python, "-m", "pip", "--version").returncode == 0


def _builders() -> list[str]:
    """What pyproject.toml wants to build Remit with."""
    return list(tomllib.loads(Path("pyproject.toml").read_text(encoding="utf-8"))["build-system"]["requires"])


def _has_builders(venv: Path) -> bool:
    """Whether they are in the environment, so that none must be made for them alone."""
    names = [re.split(r"[^\w.-]", each)[0] for each in _builders()]
    look = "import sys; from importlib.metadata import version; [version(name) for name in sys.argv[1:]]"
    return _ask(venv / "bin" / "python", "-c", look, *names).returncode == 0


def _remove(venv: Path) -> None:
    """Only what looks like an environment goes."""
    if venv.is_symlink() or not venv.is_dir():
        raise NotInstalled(f"{venv} is {'a link' if venv.is_symlink() else 'no folder'}; remove it yourself")
    names = {each.name for each in venv.iterdir()}
    if not names & {"pyvenv.cfg", "bin", UNFINISHED, ".installed"}:
        raise NotInstalled(
            f"{venv} is no virtual environment (in it: {', '.join(sorted(names)[:5])}); move it away"
        )
    try:
        shutil.rmtree(venv)
    except PermissionError as error:
        raise NotInstalled(f"{error}; remove {venv} as the user who made it") from error


def _mend_of_venv() -> str:
    own = Path("/usr/bin/python3")
    is_own = own.exists() and own.resolve() == Path(_base()).resolve()
    package = "python3-venv" if is_own else f"python{sys.version_info[0]}.{sys.version_info[1]}-venv"
    sudo = "" if os.geteuid() == 0 else "sudo "
    if Path("/etc/debian_version").exists() and Path(_base()).resolve().is_relative_to("/usr/bin"):
        return f"Run `{sudo}apt install {package}` and make again, or name another Python: PYTHON=/path/to/python3.11"
    return "Install that part of it (Debian and Ubuntu: `apt install python3-venv`), or name another: PYTHON=/path/to/python3.11"


def _run_pip(venv: Path, target: str, lock: int) -> None:
    options = ["--disable-pip-version-check", "--no-warn-script-location", "--no-input"]
    options += ["--no-color", "--progress-bar", "off", "--no-compile", "-c", "constraints.txt"]
    options += ["--no-build-isolation"] if _has_builders(venv) else []
    options += ["-e", target]
    command = [str(venv / "bin" / "python"), "-m", "pip", "install", *options]
    said: list[str] = []
    print("  asking the package index", flush=True)
    with (
        (venv / LOG).open("w", encoding="utf-8") as log,
        subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            env=_environment(),
            encoding="utf-8",
            errors="replace",
            pass_fds=[lock],
        ) as pip,
    ):
        assert pip.stdout is not None
        found = 0
        for line in pip.stdout:
            log.write(line)
            log.flush()
            said.append(line)
            if line.startswith("Collecting "):
                found += 1
                if found % COUNTED == 0:
                    print(f"  {found} packages found", flush=True)
            elif line.startswith("Installing collected packages:"):
                count = line.count(",") + 1
                print(f"  unpacking {count} package{'s' if count > 1 else ''}", flush=True)
    if pip.returncode != 0:
        raise NotInstalled(
            f"pip ended with exit code {pip.returncode}.\n{_stated(''.join(said), venv / LOG)}"
        )
    # On all processors, which pip does not use. What some package brings for another Python may not compile.
    _ask(venv / "bin" / "python", "-m", "compileall", "-q", "-j", "0", str(venv / "lib"))


def _stated(said: str, log: Path) -> str:
    """The lines that tell the cause, from the first that speaks of trouble, and where all of them are."""
    lines = [line[:LINE_LENGTH_MAX] for line in said.splitlines() if line.strip() and not NOISE.match(line)]
    first = next((index for index, line in enumerate(lines) if TROUBLE.match(line)), len(lines))
    cause = lines[first:] or lines
    if len(cause) > STATED_LINES_MAX:
        half = STATED_LINES_MAX // 2
        cause = [*cause[:half], "…", *cause[-half:]]
    return "\n".join([*(f"  {line}" for line in cause), f"All that was said: {log}"])


def _ask(python: Path, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            [str(python), *words],
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            stdin=subprocess.DEVNULL,
            env={**_environment(), **variables},
            check=False,
        )
    except OSError as error:
        return subprocess.CompletedProcess([str(python)], 127, "", str(error))


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if name not in NO_SETTINGS}
    return {**kept, "PYTHONUNBUFFERED": "1"}


def _base() -> str:
    """The interpreter itself, also where an environment's runs this."""
    return str(getattr(sys, "_base_executable", sys.executable))


def _version() -> str:
    return ".".join(map(str, sys.version_info[:3]))


if __name__ == "__main__":
    sys.exit(main())

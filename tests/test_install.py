"""`make` comes to a working installation from whatever state `.venv` is in, or says what is missing; no network.

The project that is installed here is a small one with a build backend of its own, so that nothing is fetched.
"""

from __future__ import annotations

import os
import runpy
import shutil
import subprocess
import sys
import venv
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PYPROJECT = """
[build-system]
requires = []
build-backend = "backend"
backend-path = ["."]
[project]
name = "small"
version = "1"
{dependencies}
[project.optional-dependencies]
dev = []
"""
BACKEND = """
import zipfile
def build_editable(folder, config_settings=None, metadata_directory=None):
    name = "small-1-py3-none-any.whl"
    with zipfile.ZipFile(f"{folder}/{name}", "w") as wheel:
        wheel.writestr("small.py", "")
        wheel.writestr("small-1.dist-info/METADATA", "Metadata-Version: 2.1\\nName: small\\nVersion: 1\\nProvides-Extra: dev\\n")
        wheel.writestr("small-1.dist-info/WHEEL", "Wheel-Version: 1.0\\nRoot-Is-Purelib: true\\nTag: py3-none-any\\n")
        wheel.writestr("small-1.dist-info/RECORD", "")
    return name
"""
WORKS = "import small, sys; print('the demo runs', sys.prefix)"


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """A clone, but for what is installed."""
    folder = tmp_path / "project"
    (folder / "scripts").mkdir(parents=True)
    for name in ("Makefile", "scripts/install.py"):
        shutil.copy2(ROOT / name, folder / name)
    (folder / "pyproject.toml").write_text(PYPROJECT.format(dependencies=""))
    (folder / "constraints.txt").write_text("")
    (folder / "backend.py").write_text(BACKEND)
    (folder / "scripts" / "demo.py").write_text(WORKS)
    return folder


def make(
    project: Path, *words: str, path: str = "/usr/bin:/bin", python: str | None = sys.executable
) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": path, "HOME": str(project.parent), "PIP_NO_INDEX": "1"}
    # In the environment of a user a Python is found by its name.
    if python is not None:
        named = project.parent / "named"
        named.mkdir(exist_ok=True)
        if not (named / "python3.11").exists():
            (named / "python3.11").symlink_to(Path(python).resolve())
        environment["PATH"] = f"{named}:{path}"
    return subprocess.run(
        ["make", "--no-print-directory", *words],
        cwd=project,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        check=False,
        timeout=100,
    )


def an_environment(project: Path) -> Path:
    venv.create(project / ".venv", symlinks=True)
    return project / ".venv"


def without_pip(project: Path) -> None:
    an_environment(project)


def without_an_interpreter(project: Path) -> None:
    for python in (an_environment(project) / "bin").glob("python*"):
        python.unlink()
        python.symlink_to("/nowhere/python3.11")


def with_an_interpreter_that_does_not_start(project: Path) -> None:
    python = an_environment(project) / "bin" / "python"
    python.unlink()
    python.write_text("#!/bin/sh\nexit 1\n")
    python.chmod(0o755)


def with_a_pip_that_does_not_start(project: Path) -> None:
    site = next(an_environment(project).glob("lib/python*/site-packages"))
    (site / "pip").mkdir()
    (site / "pip" / "__main__.py").write_text("raise ImportError('half of pip')\n")


def with_an_older_python(project: Path) -> None:
    python = an_environment(project) / "bin" / "python"
    python.unlink()
    told = '{"version": [3, 9, 2], "base": "/usr/bin/python3.9", "is_venv": true}'
    python.write_text(f"#!/bin/sh\necho '{told}'\n")
    python.chmod(0o755)


def without_anything(project: Path) -> None:
    (project / ".venv").mkdir()


def interrupted(project: Path) -> None:
    (an_environment(project) / ".installing").touch()


WOUNDS: dict[Callable[[Path], None], str] = {
    without_anything: "",
    without_pip: "its pip does not work",
    without_an_interpreter: "is missing, or leads nowhere",
    with_an_interpreter_that_does_not_start: "does not run",
    with_a_pip_that_does_not_start: "its pip does not work",
    with_an_older_python: "it has Python 3.9.2, and Remit needs 3.11 or newer",
    interrupted: "the last installation did not finish",
}


@pytest.mark.parametrize("wound", WOUNDS, ids=lambda wound: wound.__name__)
def test_a_half_made_environment_is_seen(wound: Callable[[Path], None], project: Path) -> None:
    wound(project)
    fault = runpy.run_path(str(ROOT / "scripts" / "install.py"))["fault_of"](
        project / ".venv", is_exact=False
    )
    assert fault is not None
    assert WOUNDS[wound] in fault
    assert bool(WOUNDS[wound]) == bool(fault)


def test_an_environment_of_another_python_than_was_asked_for_is_seen(project: Path) -> None:
    an_environment(project)
    told = '{"version": [3, 12, 1], "base": "/usr/bin/python3.12", "is_venv": true}'
    python = project / ".venv" / "bin" / "python"
    python.unlink()
    python.write_text(f"#!/bin/sh\necho '{told}'\n")
    python.chmod(0o755)
    (project / ".venv" / "bin" / "pip").write_text(f"#!{project}/.venv/bin/python\n")
    fault_of = runpy.run_path(str(ROOT / "scripts" / "install.py"))["fault_of"]
    assert fault_of(project / ".venv", is_exact=False) is None
    assert "it has the Python of /usr/bin/python3.12, and " in fault_of(project / ".venv", is_exact=True)


@pytest.mark.long
@pytest.mark.slow
def test_a_half_made_environment_is_made_anew_and_then_found_in_silence(project: Path) -> None:
    without_an_interpreter(project)
    first = make(project, "demo")
    assert first.returncode == 0, first.stdout
    assert ".venv is made anew: .venv/bin/python is missing, or leads nowhere" in first.stdout
    assert "unpacking 1 package" in first.stdout
    assert make(project, "demo").stdout == f"the demo runs {project / '.venv'}\n"
    # A clone that was moved, or whose Python is another than the one that was asked for.
    moved = project.rename(project.parent / "elsewhere")
    fault_of = runpy.run_path(str(ROOT / "scripts" / "install.py"))["fault_of"]
    assert fault_of(moved / ".venv", is_exact=False) == "its folder was moved"


@pytest.mark.long
@pytest.mark.slow
def test_what_pip_said_of_the_cause_is_shown_and_its_whole_log_kept(project: Path) -> None:
    text = PYPROJECT.format(dependencies='dependencies = ["no-such-package==4.1.2"]')
    (project / "pyproject.toml").write_text(text)
    (project / "backend.py").write_text(
        BACKEND.replace(
            "Provides-Extra: dev\\n", "Provides-Extra: dev\\nRequires-Dist: no-such-package==4.1.2\\n"
        )
    )
    failed = make(project, "demo")
    assert failed.returncode != 0
    assert "No matching distribution found for no-such-package==4.1.2" in failed.stdout
    assert "All that was said: .venv/install.log" in failed.stdout
    assert "Obtaining file:" in (project / ".venv" / "install.log").read_text()
    assert "the demo runs" not in failed.stdout


def test_a_python_without_ensurepip_is_told_the_package_that_brings_it(project: Path) -> None:
    code = (
        "import importlib.util as u, runpy, sys\n"
        "find = u.find_spec\n"
        "u.find_spec = lambda name, *rest: None if name == 'ensurepip' else find(name, *rest)\n"
        "sys.argv = ['install.py']\n"
        "runpy.run_path('scripts/install.py', run_name='__main__')\n"
    )
    told = subprocess.run(
        [sys.executable, "-c", code], cwd=project, capture_output=True, encoding="utf-8", check=False
    )
    assert told.returncode == 1
    assert "cannot make virtual environments, since it lacks ensurepip" in told.stdout
    assert "apt install python3" in told.stdout
    assert not (project / ".venv").exists()


def test_no_python_at_all_is_named_with_the_mend(project: Path, tmp_path: Path) -> None:
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("make", "sh"):
        (programs / name).symlink_to(shutil.which(name) or name)
    (programs / "python3").write_text("#!/bin/sh\nexit 1\n")
    (programs / "python3").chmod(0o755)
    told = make(project, "demo", path=str(programs), python=None)
    assert told.returncode != 0
    assert "Remit needs Python 3.11 or newer" in told.stdout
    assert "PYTHON=" in told.stdout


@pytest.mark.parametrize("kind", ["a folder of something else", "a file", "a link"])
def test_what_is_no_environment_is_not_removed(kind: str, project: Path, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "notes.txt").write_text("mine")
    if kind == "a folder of something else":
        elsewhere.rename(project / ".venv")
    elif kind == "a file":
        (project / ".venv").write_text("mine")
    else:
        (project / ".venv").symlink_to(elsewhere)
    told = make(project, "demo")
    assert told.returncode != 0
    assert "Remit is not installed: .venv is " in told.stdout
    assert os.path.lexists(project / ".venv")
    assert kind == "a file" or (project / ".venv" / "notes.txt").read_text() == "mine"

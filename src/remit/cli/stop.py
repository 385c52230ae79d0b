"""`remit stop`: interrupt what runs on a data folder, then end the process that owns it."""

from __future__ import annotations

import signal

import anyio
from rich.text import Text

from remit import wording
from remit.cli import render
from remit.cli.connect import Invocation, settings_of
from remit.cli.failure import EXIT_NOT_VERIFIED, EXIT_VERIFIED, CommandFailed
from remit.cli.owners import END_SECONDS_MAX, leave, over_socket
from remit.client.errors import ConnectionLost, NotFoundError
from remit.client.stream import JsonObject
from remit.ownership import Owner, find_owner

REST_SECONDS_MAX = 30.0
"""How long what was interrupted may take to come to a rest."""


async def stop(invocation: Invocation) -> int:
    """Stop the platform's work, keeping everything: `remit do --resume` goes on."""
    data = settings_of(invocation.platform).data
    owner = await anyio.to_thread.run_sync(find_owner, data)
    if owner is None:
        return _tell_unowned(invocation)
    ids = await _interrupt_all(owner)
    await leave(owner, signal.SIGTERM, seconds_max=END_SECONDS_MAX)
    if invocation.is_json:
        invocation.print_json({"type": "stopped", "pid": owner.pid, "interrupted": ids})
        return EXIT_VERIFIED
    pairs = [("interrupted", id) for id in ids]
    pairs.append(("ended", owner.name()))
    pairs += [("next", f"remit do --resume {id}") for id in ids if id.startswith("remit_")][:1]
    invocation.console.print(render.rows(pairs))
    return EXIT_VERIFIED


async def stop_all(invocation: Invocation) -> int:
    """Interrupt everything of the workspace, and report within two seconds whether anything runs, is billed or is held. The
    owner lives on; where there is none, none is begun. Gives 0 when nothing is left."""
    owner = await anyio.to_thread.run_sync(find_owner, settings_of(invocation.platform).data)
    if owner is None:
        return _tell_unowned(invocation)
    async with over_socket(owner.socket_path) as client:
        report = await client.stop()
    if invocation.is_json:
        invocation.print_json(report)
    else:
        for line in report_lines(report):
            invocation.console.print(Text(line), soft_wrap=True)
    return EXIT_VERIFIED if report["nothing_runs"] else EXIT_NOT_VERIFIED


def report_lines(report: JsonObject) -> list[str]:
    """Put the server's report of a stop into words."""
    interrupted, calls = wording.as_list(report["interrupted"]), report["calls_cut"]
    lines = [f"Interrupted {wording.printable(str(id))}." for id in interrupted]
    if calls:
        lines.append(f"Cut {calls} direct model {'call' if calls == 1 else 'calls'}.")
    if report["nothing_runs"]:
        went_on = " What was interrupted goes on with `remit do --resume ID`." if interrupted else ""
        return [*lines, f"Nothing runs, nothing is billed, nothing is held.{went_on}"]
    held = report["held"]
    assert isinstance(held, dict), "an amount by unit"
    lines += [f"Still ending: {wording.printable(str(id))}." for id in wording.as_list(report["running"])]
    if report["calls_running"]:
        lines.append(f"Direct model calls still ending: {report['calls_running']}.")
    lines.append(f"Still held: ${held['usd']}, {held['tokens']:,} tokens. Ask again in a moment.")
    return lines


def _tell_unowned(invocation: Invocation) -> int:
    if invocation.is_json:
        invocation.print_json({"type": "stopped", "pid": None, "interrupted": []})
    else:
        data = settings_of(invocation.platform).data
        invocation.console.print(Text(f"No process owns the data folder {data}; nothing runs there."))
    return EXIT_VERIFIED


async def _interrupt_all(owner: Owner) -> list[str]:
    """What was interrupted. An owner that is gone meanwhile has nothing running."""
    interrupted: dict[str, None] = {}
    left: list[str] | None = None
    try:
        async with over_socket(owner.socket_path) as client:
            with anyio.fail_after(REST_SECONDS_MAX):
                while True:
                    report = await client.stop()
                    interrupted |= dict.fromkeys(map(str, wording.as_list(report["interrupted"])))
                    left = [str(id) for id in wording.as_list(report["running"])]
                    if report["nothing_runs"]:
                        break
    except (ConnectionLost, NotFoundError):  # or it is of a version that does not know this
        pass
    except TimeoutError as error:
        what = "it does not answer" if left is None else ", ".join(left) or "a model call"
        raise CommandFailed(
            f"The owner of the data folder, {owner.name()}, has not come to a rest in {REST_SECONDS_MAX:.0f} s: {what}.",
            mend=f"`kill -9 {owner.pid}` loses nothing that is in the log.",
        ) from error
    return list(interrupted)

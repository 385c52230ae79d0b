"""The workloads of docs/performance.md, through the public HTTP API of a server in its own process.

python scripts/bench [--only W1,W2] [--scale 0.1] [--json FILE]

The scripted model answers at once, so this is what Remit itself costs. `--scale 1` runs every workload at its full
size (W3: 10,000 sessions, W6: 20 crashes among 1,000 sessions, W7: 500 streams); the default takes some minutes.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

from crashes import crashes
from limits import echo_ms, echo_rate, shell_ms, start_ms, sync_ms
from on_postgres import on_postgres
from processes import Process, Server, model_server, raw_server
from sessions import SCRIPTS, SESSIONS, idle_sessions, long_history, many_turns, one_turn
from streams import model_streams, watchers
from table import HEADER, Report, plot_of
from wire import Target

WORKLOADS = ("W1", "W2", "W3", "W4", "W5", "W6", "W7", "postgres", "sandbox", "help")
SCALE = 0.1
SANDBOX_ROWS = (
    ("cold start to first output", "cold start to first output", 100, 50),
    ("held shell, 'echo hi'", "a command in a held one", 5, 3),
    ("tree, one file changed", "snapshot after a small change", 200, 100),
    ("restore of 10,000 files, 200 MB, from blobs on disk", "restore of 200 MB in 10,000 files", 3000, 1300),
)


async def run(report: Report, wanted: set[str], folder: Path) -> None:
    """Every wanted workload, in order."""
    raw_process = raw_server(folder)
    try:
        raw = Target(*await raw_process.address())
        for name in WORKLOADS:
            if name in wanted:
                place = folder / name
                place.mkdir()
                await _one(name, report, raw, place)
    finally:
        raw_process.stop()


async def _one(name: str, report: Report, raw: Target, folder: Path) -> None:
    if name == "sandbox":
        _sandboxes(report)
    elif name == "help":
        _help(report)
    elif name == "postgres":
        await on_postgres(folder, report)
    elif name == "W6":
        await crashes(folder, report)
    else:
        await _served(name, report, raw, folder)


async def _served(name: str, report: Report, raw: Target, folder: Path) -> None:
    """A workload on a server with an empty data folder."""
    paced: Process | None = model_server(folder) if name in ("W5", "W7") else None
    model = Target(*await paced.address()) if paced is not None else None
    url = f"http://{model.host}:{model.port}" if model is not None else None
    server = Server(folder, SCRIPTS, anthropic_url=url)
    try:
        target = await server.start()
        await server.settle()
        if name == "W1":
            echo = await echo_ms(raw)
            floor = echo + 2 * sync_ms(folder) + shell_ms()
            await one_turn(server, target, report, floor_ms=floor, echo_ms=echo)
        elif name == "W2":
            ceilings = {count: await echo_rate(raw, count) for count in SESSIONS}
            await many_turns(target, report, ceilings=ceilings)
        elif name == "W3":
            await idle_sessions(server, target, report, echo_ms=await echo_ms(raw))
        elif name == "W4":
            await long_history(target, report, page_ms=await echo_ms(raw, "/bytes/300000", samples=30))
        elif name == "W5":
            await watchers(server, target, raw, report)
        else:
            assert model is not None
            await model_streams(server, target, model, report)
    finally:
        server.stop()
        if paced is not None:
            paced.stop()


def _sandboxes(report: Report) -> None:
    script = Path(__file__).parent.parent / "bench_sandbox.py"
    printed = subprocess.run([sys.executable, str(script)], check=True, capture_output=True, text=True).stdout
    for line, what, gate, aim in SANDBOX_ROWS:
        found = re.search(re.escape(line) + r" +p50 +([\d.]+) ms", printed)
        assert found is not None, printed
        raw = {"raw": shell_ms(), "raw_is": "a shell outside"} if "held" in line else {}
        report.add("sandbox", what, float(found[1]), "ms", gate=gate, aim=aim, **raw)


def _help(report: Report) -> None:
    report.add(
        "help",
        "remit --help",
        start_ms("-m", "remit.cli", "--help"),
        "ms",
        gate=400,
        aim=150,
        raw=start_ms("-c", "pass"),
        raw_is="an empty Python program",
    )


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--only", default="", help=f"some of {','.join(WORKLOADS)}")
    parser.add_argument("--scale", type=float, default=SCALE)
    parser.add_argument("--json", type=Path, default=Path("bench.json"))
    options = parser.parse_args()
    wanted = set(options.only.split(",")) if options.only else set(WORKLOADS)
    if unknown := wanted - set(WORKLOADS):
        parser.error(f"no such workload: {', '.join(sorted(unknown))}")
    machine = {
        "cores": os.cpu_count(),
        "python": platform.python_version(),
        "load_before": os.getloadavg()[0],
    }
    report = Report(scale=options.scale, machine=machine)
    print(
        f"{machine['cores']} cores, load {machine['load_before']:.1f} before; scale {options.scale}\n{HEADER}"
    )
    try:
        with tempfile.TemporaryDirectory(prefix="remit-bench-") as folder:
            asyncio.run(run(report, wanted, Path(folder)))
    finally:
        report.machine["load_after"] = os.getloadavg()[0]
        report.write(options.json)
    for name, points in report.plots.items():
        print(f"\n{plot_of(name, points)}")
    print(f"\n{options.json} has the figures and the points of the plots")


if __name__ == "__main__":
    main()

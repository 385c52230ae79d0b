"""Instructions of a turn of W1, which neither a loaded machine nor its clock can blur: counted by valgrind, over the public
API, with the models of `scripts/bench`.

python scripts/count_turn.py [--source OTHER/src] [--turns 30] [--warm 5] [--plain]

`--plain`: turns without a tool. `--warm 180 --plain` counts turns after 2,500 events. Counted are all threads of the server,
in user mode; no snapshot is taken meanwhile, as none is in turns that follow each other quickly.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
sys.path.append(str(HERE / "bench"))

import processes  # noqa: E402
from processes import Server, model_server  # noqa: E402
from sessions import MODEL, make_agent, make_session  # noqa: E402

START_SECONDS = 600
"""Under valgrind all takes some fifty times as long."""
SERVE = """
import runpy, sys
import remit.orchestrator.snapshots as snapshots
snapshots.QUIET_SECONDS = 1e6
sys.argv = ["remit", "up"]
runpy.run_module("remit.cli", run_name="__main__")
"""
TOTALS = re.compile(r"^(?:totals|summary): (\d+)", re.MULTILINE)


async def count(source: Path, *, turns: int, warm: int, has_tools: bool) -> float:
    """Return millions of instructions a turn, after so many."""
    with tempfile.TemporaryDirectory(prefix="remit-count-") as name:
        folder = Path(name)
        models = model_server(folder)
        host, port = await models.address()
        counter = [
            "valgrind",
            "--tool=callgrind",
            "--instr-atstart=no",
            f"--callgrind-out-file={folder / 'counts'}",
        ]
        server = Server(
            folder,
            model_url=f"http://{host}:{port}",
            program=[*counter, sys.executable, "-c", SERVE],
            environment={"PYTHONPATH": str(source)},
        )
        try:
            target = await server.start()
            await server.settle()
            connection = await target.connect()
            given = await make_agent(target, connection, MODEL, has_tools=has_tools)
            speaker = await make_session(target, connection, given)
            await speaker.attach()
            for _ in range(warm):
                await speaker.turn()
            _control(server.process.pid, "--instr=on")
            for _ in range(turns):
                await speaker.turn()
            _control(server.process.pid, "--dump")
            speaker.detach()
        finally:
            server.stop()
            models.stop()
        return _total(folder / "counts.1") / turns / 1e6


def _total(dump: Path) -> int:
    return max(map(int, TOTALS.findall(dump.read_text())))


def _control(pid: int, what: str) -> None:
    subprocess.run(["callgrind_control", what, str(pid)], check=True, stdout=subprocess.DEVNULL)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=HERE.parent / "src")
    parser.add_argument("--turns", type=int, default=30)
    parser.add_argument("--warm", type=int, default=5)
    parser.add_argument("--plain", action="store_true")
    options = parser.parse_args()
    if shutil.which("valgrind") is None:
        parser.error("valgrind is not installed (apt install valgrind)")
    processes.START_SECONDS = START_SECONDS
    found = asyncio.run(
        count(options.source, turns=options.turns, warm=options.warm, has_tools=not options.plain)
    )
    print(f"{found:.1f} million instructions a turn")

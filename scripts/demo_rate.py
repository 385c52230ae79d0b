"""How often a small local model carries out ten fixed tasks: real remits, each verified by a command in a fresh sandbox.

`make demo-rate` prints the figure for one model; docs/local-models.md has what was measured. Nothing is left out of it:
a run that ends in any other way than verified counts as a failure.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import logging
import os
import statistics
import sys
import tarfile
import tempfile
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import structlog

from remit.app import load_settings, model_folder, open_platform
from remit.client.client import AsyncClient
from remit.errors import RemitError

RUNS = 20
BUDGET_TOKENS = 15_000
RUN_SECONDS_MAX = 900
DATA_LINES = 17
SQUARES = "1\n4\n9\n16\n25"

Json = dict[str, Any]  # Any: JSON of the API


@dataclass(frozen=True, kw_only=True)
class Task:
    """One thing to do, and the command that tells whether it was done."""

    name: str
    outcome: str
    files: Mapping[str, str]
    verify: str


TASKS = (
    Task(
        name="create",
        outcome="Create a file hello.txt that contains exactly: Hello world",
        files={"readme.txt": "An empty project.\n"},
        verify='test "$(cat hello.txt)" = "Hello world"',
    ),
    Task(
        name="count",
        outcome="Count the lines of data.txt and write only the number into count.txt",
        files={"data.txt": "".join(f"line {n}\n" for n in range(1, DATA_LINES + 1))},
        verify=f'test "$(cat count.txt)" = "{DATA_LINES}"',
    ),
    Task(
        name="rename",
        outcome="Rename the file old.txt to new.txt",
        files={"old.txt": "keep me\n"},
        verify='test ! -e old.txt && test "$(cat new.txt)" = "keep me"',
    ),
    Task(
        name="copy",
        outcome="Make a folder named backup and copy notes.txt into it",
        files={"notes.txt": "milk\nbread\n"},
        verify="test -f notes.txt && cmp notes.txt backup/notes.txt",
    ),
    Task(
        name="grep",
        outcome="Write the lines of log.txt that contain ERROR into errors.txt",
        files={"log.txt": "INFO start\nERROR disk full\nINFO retry\nERROR no route\nINFO end\n"},
        verify='test "$(cat errors.txt)" = "$(printf \'ERROR disk full\\nERROR no route\')"',
    ),
    Task(
        name="script",
        outcome=(
            "Write a Python script squares.py that prints the squares of the numbers 1 to 5, one per line. "
            "Run it and save what it prints in squares.txt"
        ),
        files={"readme.txt": "An empty project.\n"},
        verify=f'test "$(python3 squares.py)" = "{SQUARES}" && test "$(cat squares.txt)" = "{SQUARES}"',
    ),
    Task(
        name="edit",
        outcome="In config.ini change the port from 8080 to 9090 and change nothing else",
        files={"config.ini": "[server]\nhost = localhost\nport = 8080\n\n[log]\nlevel = info\n"},
        verify=(
            'test "$(cat config.ini)" = '
            "\"$(printf '[server]\\nhost = localhost\\nport = 9090\\n\\n[log]\\nlevel = info')\""
        ),
    ),
    Task(
        name="sum",
        outcome="numbers.txt has one number per line. Write the sum of the numbers into sum.txt",
        files={"numbers.txt": "137\n48\n905\n26\n"},
        verify='test "$(cat sum.txt)" = "1116"',
    ),
    Task(
        name="delete",
        outcome="Delete every file that ends in .tmp and keep all other files",
        files={"a.tmp": "x\n", "b.tmp": "x\n", "keep.txt": "x\n", "tmp.md": "x\n"},
        verify="test ! -e a.tmp && test ! -e b.tmp && test -e keep.txt && test -e tmp.md",
    ),
    Task(
        name="fix",
        outcome="`python3 check.py` fails because of a bug in calc.py. Fix calc.py so that it passes",
        files={
            "calc.py": "def add(a, b):\n    return a - b\n",
            "check.py": 'from calc import add\n\nassert add(2, 3) == 5\nassert add(-1, 1) == 0\nprint("ok")\n',
        },
        verify="python3 check.py",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """How one remit ended."""

    task: str
    status: str
    is_verified: bool
    iterations: int
    output_tokens: int
    tokens: int
    model_seconds: float
    seconds: float


def quiet_logs() -> None:
    """The platform's own log lines have no place in a table."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.WARNING))


async def main(model: str, tasks: Sequence[Task], runs: int, max_iterations: int) -> list[Run]:
    """Carry the tasks out, one after the other, and print the table."""
    done: list[Run] = []
    with tempfile.TemporaryDirectory(prefix="remit-rate-") as folder:
        # The weights are the user's own; everything else is thrown away.
        models = model_folder(load_settings())
        known = models.known(model)
        if known is not None and not models.is_installed(known):
            raise SystemExit(f"{model} is not installed: remit model install {model} --with-runtime")
        weights = models.folder
        settings = load_settings(data=Path(folder), local_models=weights)
        async with (
            open_platform(settings) as platform,
            AsyncClient.in_process(platform.asgi, api_key=platform.api_key) as client,
        ):
            began = time.monotonic()
            for number in range(1, runs + 1):
                for task in tasks:
                    run = await carry_out(client, model, task, max_iterations)
                    done.append(run)
                    sign = "✓" if run.is_verified else "✗"
                    print(
                        f"{sign} run {number:2} {task.name:7} {run.status:14} {run.iterations} iterations "
                        f"{run.tokens:6,} tokens {run.seconds:5.1f} s",
                        flush=True,
                    )
            memory = peak_memory_bytes()
            print_table(model, tasks, done, time.monotonic() - began, memory, max_iterations)
    return done


async def carry_out(client: AsyncClient, model: str, task: Task, max_iterations: int) -> Run:
    """One remit, to its end."""
    began = time.monotonic()
    uploaded = await client.upload(packed(task.files))
    remit = await client.remits.create(
        outcome=task.outcome,
        budget={"tokens": BUDGET_TOKENS},
        verifiers=[{"type": "command", "command": task.verify, "timeout_seconds": 60}],
        input_id=str(uploaded["id"]),
        model=model,
        max_iterations=max_iterations,
        consent="given",
        despite=["vacuous", "cannot_run", "work_unclear", "unseen"],  # nobody is there to be asked
    )
    remit_id = str(remit["id"])
    async with asyncio.timeout(RUN_SECONDS_MAX), client.remits.stream(remit_id) as events:
        async for event in events:
            if event["type"] == "remit.ended":
                break
    ended: Json = await client.remits.retrieve(remit_id)
    receipt: Json = await client.remits.receipt(remit_id)
    calls: list[Json] = receipt["calls"]
    return Run(
        task=task.name,
        status=ended["status"],
        is_verified=ended["verified"],
        iterations=len(ended["iterations"]),
        tokens=ended["spent"]["tokens"],
        output_tokens=sum(call["usage"]["output_tokens"] for call in calls if call.get("usage")),
        model_seconds=sum(seconds_of(call) for call in calls),
        seconds=time.monotonic() - began,
    )


def seconds_of(call: Json) -> float:
    """How long a call took; none if it never ended."""
    if not call.get("ended_at") or not call.get("started_at"):
        return 0.0
    return (
        datetime.fromisoformat(call["ended_at"]) - datetime.fromisoformat(call["started_at"])
    ).total_seconds()


async def packed(files: Mapping[str, str]) -> AsyncIterator[bytes]:
    """The files as the input's tar."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, text in files.items():
            member = tarfile.TarInfo(f"files/{name}")
            member.size = len(text.encode())
            tar.addfile(member, io.BytesIO(text.encode()))
    yield buffer.getvalue()


def print_table(
    model: str, tasks: Sequence[Task], done: Sequence[Run], seconds: float, memory: int, max_iterations: int
) -> None:
    """The figures, as they are."""
    print(f"\n{model}, at most {max_iterations} iterations, {BUDGET_TOKENS:,} tokens a remit")
    print("| task | verified | of them at the first attempt | median seconds |")
    print("|---|---|---|---|")
    for task in tasks:
        runs = [run for run in done if run.task == task.name]
        print(
            f"| {task.name} | {verified(runs)} of {len(runs)} | {verified_at_once(runs)} | "
            f"{statistics.median(run.seconds for run in runs):.1f} |"
        )
    model_seconds = sum(run.model_seconds for run in done)
    speed = sum(run.output_tokens for run in done) / model_seconds if model_seconds else 0.0
    print(
        f"| all | {verified(done)} of {len(done)} | {verified_at_once(done)} | "
        f"{statistics.median(run.seconds for run in done):.1f} |"
    )
    print(
        f"\n{seconds:.0f} s in all; {speed:.1f} output tokens a second of model time (prompts included); "
        f"at most {memory / 1e9:.2f} GB in the model's process; {len(os.sched_getaffinity(0))} processor cores."
    )


def verified(runs: Sequence[Run]) -> int:
    return sum(run.is_verified for run in runs)


def verified_at_once(runs: Sequence[Run]) -> int:
    return sum(run.is_verified and run.iterations == 1 for run in runs)


def peak_memory_bytes() -> int:
    """The most that a process of a local model ever took; 0 where none runs."""
    peaks = [0]
    for status in Path("/proc").glob("[0-9]*/status"):
        try:
            fields = dict(line.split(":\t", 1) for line in status.read_text().splitlines() if ":\t" in line)
            command = (status.parent / "cmdline").read_bytes()
        except OSError:
            continue
        if fields.get("PPid") == str(os.getpid()) and b"server_process.py" in command:
            peaks.append(int(fields["VmHWM"].split()[0]) * 1024)
    return max(peaks)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="local/qwen2.5-coder-1.5b")
    parser.add_argument("--runs", type=int, default=RUNS)
    parser.add_argument("--max-iterations", type=int, default=1, help="how often a result may be revised")
    parser.add_argument(
        "--task", action="append", choices=[task.name for task in TASKS], help="only this one"
    )
    parser.add_argument("--json", type=Path, help="write every run to this file")
    chosen = parser.parse_args()
    wanted = [task for task in TASKS if chosen.task is None or task.name in chosen.task]
    quiet_logs()
    try:
        ended = asyncio.run(main(chosen.model, wanted, chosen.runs, chosen.max_iterations))
        if chosen.json is not None:
            chosen.json.write_text(json.dumps([asdict(run) for run in ended], indent=1))
    except RemitError as error:
        sys.exit(f"demo_rate: {error.message}")

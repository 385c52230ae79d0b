"""Runs the attacks of `hostile_table` against a provider. For each row: does what the table says come of it?

After every attack by a program, the sandbox and its neighbour must still answer.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import msgspec

from remit.testing.hostile_checks import CHECKS
from remit.testing.hostile_host import Stage
from remit.testing.hostile_programs import PRELUDE, PROGRAMS, HostileProgram
from remit.testing.hostile_table import HOSTILE_TABLE, HostileCase, Outcome
from remit.testing.sandbox_checks.given import Hands, a_sandbox
from remit.values import ExecResult

MakeStage = Callable[[], AbstractAsyncContextManager[Stage]]
_SECONDS = 25.0
_ENDLESS_SECONDS = 1.0
_USABLE_SECONDS = 20.0

_NEIGHBOUR = """
import os, socket, sys, time
name = sys.argv[1]
for folder in (".", "/tmp", "/dev/shm"): open(f"{folder}/{name}", "w").close()
unix = socket.socket(socket.AF_UNIX)
unix.bind("\\0" + name)
unix.listen()
print("ready", flush=True)
try: time.sleep(1000)
finally:
    for folder in (".", "/tmp", "/dev/shm"): os.unlink(f"{folder}/{name}")
"""


async def run_hostile_case(case: HostileCase, stage: Stage) -> Outcome | None:
    """Attack, and compare with the table. The outcome; None where it was not run, being harmful and not held.

    Raises AssertionError: it got through although the provider declares the wall, or it was held although the provider
    does not, so that what is declared is stale.
    """
    expected = case.expected(stage.bench.provider.capabilities(), is_root=os.geteuid() == 0)
    if expected == "not provided" and not case.is_harmless:
        return None
    check = CHECKS.get(case.name)
    if check is not None:
        got = await check(stage)
    else:
        got = await _attack(PROGRAMS[case.name], stage, is_held=expected != "not provided")
    if expected == "not provided":
        assert got, f"{case.name}: declared as not provided, and yet it is held: {case.wall} is stale"
    else:
        assert not got, f"{case.name}: the table says {expected}, and it got through: {got}"
    return expected


async def run_hostile_suite(make_stage: MakeStage) -> dict[str, Outcome | None]:
    """Run every attack on a fresh stage; the first that gets through is raised. Outcomes by case."""
    outcomes: dict[str, Outcome | None] = {}
    for case in HOSTILE_TABLE:
        async with make_stage() as stage:
            outcomes[case.name] = await run_hostile_case(case, stage)
    return outcomes


async def _attack(program: HostileProgram, stage: Stage, *, is_held: bool) -> list[str]:
    name = f"neighbour-{os.urandom(6).hex()}"
    host = stage.host
    arguments = (host.secret, host.file, host.port, host.abstract, host.pid, host.segment, name)
    words = [str(word) for word in arguments]
    limits = msgspec.to_builtins(program.limits)
    async with (
        _neighbour(stage, name) as neighbour,
        a_sandbox(stage.bench, key="hostile", limits=limits) as hands,
    ):
        if program.language == "python":
            await hands.write("/workspace/attack.py", (PRELUDE + program.text).encode())
            argv = ("python3", "attack.py", *words)
            command = " ".join(argv)
        else:
            await hands.write("/workspace/attack.sh", program.text.encode())
            argv = ("bash", "attack.sh")
            command = ". ./attack.sh"
        seconds = _ENDLESS_SECONDS if program.ends == "by its time-out" else _SECONDS
        got = _judged(program, await hands.exec(*argv, seconds=seconds), "as a program", is_held=is_held)
        got += await _unusable(hands)
        if got:
            return got
        await hands.shell("rm -rf [0-9]* many x big")
        got = _judged(program, await hands.shell(command, seconds=seconds), "in the shell", is_held=is_held)
        got += await _unusable(hands)
        alive = await neighbour.shell("kill -0 $! && echo alive")
        return got if alive.output == b"alive\n" else [*got, "the neighbour was hit"]


@asynccontextmanager
async def _neighbour(stage: Stage, name: str) -> AsyncGenerator[Hands, None]:
    """Another sandbox, with things that the attacker would like to find."""
    async with a_sandbox(stage.bench, key="neighbour") as hands:
        await hands.write("/workspace/neighbour.py", _NEIGHBOUR.encode())
        ready = await hands.shell(
            f"python3 neighbour.py {name} > log & until grep -q ready log; do :; done", seconds=_SECONDS
        )
        assert ready.exit_code == 0, ready.output
        try:
            yield hands
        finally:
            await hands.shell("kill -INT $!")


def _judged(program: HostileProgram, result: ExecResult, where: str, *, is_held: bool) -> list[str]:
    said = result.output.decode("utf-8", "replace")
    got = [f"{line} ({where})" for line in said.splitlines() if line.startswith("BROKE")]
    if not is_held or got:
        return got
    if "Traceback" in said:
        return [f"it did not get to its end ({where}): {said[-1000:]}"]
    if result.is_timed_out != (program.ends == "by its time-out"):
        return [f"timed out: {result.is_timed_out} ({where}): {said[-500:]}"]
    if program.ends in ("memory", "disk") and result.exceeded != program.ends:
        return [f"it was not told to be out of {program.ends} ({where}): {said[-500:]}"]
    return []


async def _unusable(hands: Hands) -> list[str]:
    async with asyncio.timeout(_USABLE_SECONDS):
        result = await hands.exec("bash", "-c", "echo exec works | cat")
        got = [] if result.output == b"exec works\n" else [f"afterwards: {result.output[-500:]!r}"]
        result = await hands.shell("echo shell works | cat")
        got += [] if b"shell works\n" in result.output else [f"afterwards: {result.output[-500:]!r}"]
        await hands.sandbox.tree()
        return got


def check_table_and_attacks_agree() -> None:
    """Check that every row has exactly one attack, and every attack a row."""
    names = [case.name for case in HOSTILE_TABLE]
    assert len(set(names)) == len(names), "a case stands in the table twice"
    assert not PROGRAMS.keys() & CHECKS.keys(), "a case has two attacks"
    assert set(names) == PROGRAMS.keys() | CHECKS.keys(), set(names) ^ (PROGRAMS.keys() | CHECKS.keys())

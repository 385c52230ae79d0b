"""The demo: real remits on a scripted model, under a minute, no account and no key.

Everything below is done by `remit` commands in their own processes, as a user would type them; this program only
chooses when to pull a plug, and says in plain words what happened.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import os
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from remit.client.client import AsyncClient
from remit.client.errors import ConnectionLost
from remit.models.local.local_servers import discover_local

ROOT = Path(__file__).resolve().parent.parent
EXAMPLE = ROOT / "examples" / "demo"
STEP_SECONDS = 45
"""No single wait may last longer."""
REAL_MODEL_SECONDS = 900
"""For a remit that a real model carries out."""
LOCAL = "local"
LOCAL_MODEL = "local/qwen2.5-coder-1.5b"
"""What MODEL=local stands for."""
VERIFY = "pytest -q"
OUTCOME = "make the tests pass"
DATA_VERIFY = "pytest -q tests/test_orders.py"
SMALL_VERIFY = 'test "$(cat hello.txt)" = "Hello world"'
SMALL_OUTCOME = "Create a file hello.txt that contains exactly: Hello world"
"""The tests of the demo are beyond a model of 1.5 billion parameters: see docs/local-models.md."""

Event = dict[str, Any]  # Any: events as the API gives them


class Screen:
    """Plain words on a terminal, in colour where that is wanted."""

    def __init__(self) -> None:
        self._is_coloured = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._started = time.monotonic()

    def title(self, text: str) -> None:
        print(f"\n{self._paint('1', text)}", flush=True)

    def say(self, text: str) -> None:
        print(f"  {text}", flush=True)

    def good(self, text: str) -> None:
        print(f"  {self._paint('32', '✓')} {text}", flush=True)

    def end(self) -> None:
        print(f"\n{self._paint('2', f'{time.monotonic() - self._started:.0f} seconds in all.')}", flush=True)

    def _paint(self, code: str, text: str) -> str:
        return f"\x1b[{code}m{text}\x1b[0m" if self._is_coloured else text


class Demo:
    """One data folder, one project, a few remits."""

    def __init__(self, screen: Screen, folder: Path) -> None:
        self.screen = screen
        self.project = folder / "shop"
        self.data = folder / "data"
        self.out = folder / "out"
        shutil.copytree(EXAMPLE / "project", self.project)
        self.data.mkdir(mode=0o700, parents=True)
        shutil.copy(EXAMPLE / "remit.toml", self.data / "remit.toml")
        self._environment = {
            **os.environ,
            "REMIT_DATA": str(self.data),
            "REMIT_SCRIPTED": str(EXAMPLE / "scripts"),
            "NO_COLOR": "1",
            # Each command is the whole platform, so that a plug can be pulled on all of it; nothing stays behind.
            "REMIT_OWNER": "foreground",
        }

    async def start(self, *arguments: str) -> asyncio.subprocess.Process:
        """A `remit` command in a process of its own."""
        return await asyncio.create_subprocess_exec(
            str(Path(sys.executable).parent / "remit"),
            *arguments,
            env=self._environment,
            cwd=self.project.parent,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 24,
        )

    async def run(self, *arguments: str) -> tuple[int, str]:
        """A `remit` command to its end: exit code and output."""
        process = await self.start(*arguments)
        out, err = await process.communicate()
        assert process.returncode is not None
        return process.returncode, (out + err).decode()

    def do(
        self, model: str, budget: str, *more: str, outcome: str = OUTCOME, verify: str = VERIFY
    ) -> list[str]:
        """The words of a `remit do`."""
        return [
            *("do", outcome, "--input", str(self.project), "--verify", verify, "--budget", budget),
            *("--model", model, "--yes", "--json", "--out", str(self.out / model.replace("/", "-")), *more),
        ]

    async def watch(self, session_id: str, is_it: Callable[[Event], bool], *, count: int = 1) -> Event:
        """The count-th event of a session that fits. Follows the session from one owner of the data folder to the
        next."""
        async with asyncio.timeout(STEP_SECONDS):
            while True:
                try:
                    return await self._watch_once(session_id, is_it, count)
                except (OSError, ConnectionLost):
                    await asyncio.sleep(0.05)  # the next owner is not there yet

    async def _watch_once(self, session_id: str, is_it: Callable[[Event], bool], count: int) -> Event:
        key = (self.data / "key").read_text().strip()
        async with (
            AsyncClient.over_socket(
                str(self.data / "api.sock"), api_key=key, stream_reconnects_max=0
            ) as client,
            client.sessions.stream(session_id, after="0") as events,
        ):
            seen = 0
            async for event in events:
                seen += is_it(event)
                if seen == count:
                    return event
        raise ConnectionError("the stream ended")


class Lines:
    """The JSON lines of a `remit do`, read as they come."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process

    async def next(self, type: str, *, seconds: float = STEP_SECONDS) -> Event:
        """The next event of this type."""
        assert self.process.stdout is not None
        async with asyncio.timeout(seconds):
            async for line in self.process.stdout:
                event: Event = json.loads(line)
                if event["type"] == type:
                    return event
        assert self.process.stderr is not None
        words = (await self.process.stderr.read()).decode()
        raise SystemExit(f"the command ended before {type}.\n{words}\nrun `remit doctor`")

    async def end(self) -> int:
        """Wait for the command's end; its exit code."""
        await self.process.communicate()
        assert self.process.returncode is not None
        return self.process.returncode


def runs(text: str) -> Callable[[Event], bool]:
    """A command with this text, asked for by the agent."""
    return lambda event: event["type"] == "agent.tool_use" and text in str(event["input"].get("command", ""))


def has_type(type: str) -> Callable[[Event], bool]:
    """Any event of this type."""
    return lambda event: event["type"] == type


async def sandbox_of(server: int) -> int:
    """The process id of the sandbox below a server: its spawner's first child."""
    async with asyncio.timeout(STEP_SECONDS):
        while True:
            for spawner in children_of(server):
                for sandbox in children_of(spawner):
                    return sandbox
            await asyncio.sleep(0.05)


def children_of(pid: int) -> list[int]:
    """Direct children, from /proc."""
    found: list[int] = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            fields = status.read_text().rpartition(")")[2].split()
            if int(fields[1]) == pid:
                found.append(int(status.parent.name))
    return sorted(found)


def dollars(text: str) -> str:
    """A decimal string as dollars, to four places."""
    return f"${float(text):.4f}".rstrip("0").rstrip(".")


# ------------------------------------------------------------------------------------------------ the steps


async def show_sandbox(demo: Demo) -> None:
    """1."""
    screen = demo.screen
    screen.title("1. A sandbox")
    code, output = await demo.run("doctor", "--json")
    probes = {probe["name"]: probe for probe in json.loads(output)["probes"]}
    broken = [probe for name, probe in probes.items() if not probe["ok"] and name != "models"]
    if broken:
        for probe in broken:
            screen.say(f"{probe['name']}: {probe['detail']}")
            screen.say(f"mend: {probe['mend']}")
        raise SystemExit(1)
    screen.good(f"{probes['bubblewrap']['detail']}")
    screen.good(f"it runs on {probes['image']['detail']}")
    del code


async def show_work(demo: Demo) -> str:
    """2 to 6: revision, kill -9, a dropped sandbox, verified. Returns the remit's id."""
    screen = demo.screen
    screen.title("2. An outcome and a budget go in")
    screen.say(f'$ remit do "{OUTCOME}" --input shop --verify "{VERIFY}" --budget 2 --model scripted/honest')
    lines = Lines(await demo.start(*demo.do("scripted/honest", "2")))
    remit_id = (await lines.next("remit.created"))["remit_id"]
    before = await lines.next("remit.initial_verification_ended")
    screen.good(
        f"the verifier fails on the untouched input ({before['verdicts'][0]['summary']}), so it can prove something"
    )
    forecast = await lines.next("remit.forecast")
    usd = forecast["usd"]
    screen.say(
        f"Forecast, before anything is spent: likely {dollars(usd['likely'])}, "
        f"between {dollars(usd['low'])} and {dollars(usd['high'])}; never more than the budget of $2."
    )
    session_id = (await lines.next("remit.working"))["session_id"]

    screen.title("3. A verifier says no; the work is revised")
    iteration = await lines.next("remit.iteration_ended")
    screen.say("The agent fixed one of two bugs and said it was done. Its word does not count.")
    screen.say(f"The verifier ran where the agent cannot reach: {iteration['verdicts'][0]['summary']}.")
    screen.good("its output went back to the agent as a revision")

    screen.title("4. kill -9 in the middle of a command")
    await demo.watch(session_id, runs("sleep 20"))
    await demo.watch(session_id, has_type("span.model_request_end"), count=4)
    lines.process.kill()
    await lines.process.wait()
    screen.say(
        f"$ kill -9 {lines.process.pid}        # agent, worker, store, API: all of it was in that process"
    )
    screen.say(f"$ remit do --resume {remit_id}")
    lines = Lines(
        await demo.start("do", "--resume", remit_id, "--yes", "--json", "--out", str(demo.out / "honest"))
    )
    await demo.watch(session_id, lambda event: bool(event.get("may_have_run")))
    screen.good("the cut command is not silently repeated: the agent is told that it may have run")
    lost = await demo.watch(session_id, has_type("session.sandbox_lost"))
    taken_at = lost["restored_from"]["taken_at"][11:19]
    screen.good(f"the sandbox died too; its files are back as of {taken_at}, and the log says what was lost")

    screen.title("5. A dropped sandbox")
    await demo.watch(session_id, runs("sleep 20"), count=2)
    pid = await sandbox_of(lines.process.pid)
    await demo.watch(session_id, has_type("span.model_request_end"), count=7)
    os.kill(pid, signal.SIGKILL)
    screen.say(f"$ kill -9 {pid}        # only the sandbox this time, in the middle of a command")
    await demo.watch(session_id, has_type("session.sandbox_lost"), count=2)
    screen.good("announced to people and to the agent, restored from the last snapshot, and the work goes on")

    screen.title("6. The end")
    ended = await lines.next("remit.ended")
    code = await lines.end()
    screen.good(f"completed: {yes(ended['completed'])} (the agent says so)")
    screen.good(
        f"verified:  {yes(ended['verified'])} (every verifier passed on untampered inputs); exit code {code}"
    )
    require(ended["verified"] and code == 0, "the honest remit was not verified")
    return str(remit_id)


async def show_refusal(screen: Screen, lines: Lines) -> None:
    """7."""
    screen.title("7. A call that does not fit the budget is not made")
    screen.say(
        "$ remit do … --budget 1.20 --model scripted/dear        # a demo price of $1,500 per million tokens"
    )
    ended = await lines.next("remit.ended")
    code = await lines.end()
    screen.say(ended["explanation"])
    screen.good(
        f"spent {dollars(ended['spent']['usd'])} of $1.20, not a cent more; status {ended['status']}, exit code {code}"
    )
    require(ended["status"] == "budget_reached" and code == 1, "the budget was not reached")


async def show_cheats(screen: Screen, cheat: Lines, forger: Lines) -> None:
    """8."""
    screen.title("8. Two cheats")
    screen.say("$ remit do … --model scripted/cheat        # it edits the tests until they agree")
    await show_cheat(screen, cheat)
    screen.say(
        f'$ remit do … --verify "{DATA_VERIFY}" --model scripted/forger        # no test, no code: it edits the data'
    )
    await show_cheat(screen, forger)
    screen.say("orders.csv is no test and no command names it. The run on the untouched input saw it opened:")
    screen.good("what a verdict rests on is the judge's, and the work cannot rewrite it")


async def show_cheat(screen: Screen, lines: Lines) -> None:
    """One remit whose agent does not do the work."""
    iteration = await lines.next("remit.iteration_ended")
    reads = iteration["verdicts"][0]["evidence"]["reads"]
    ended = await lines.next("remit.ended")
    code = await lines.end()
    screen.good(
        f"tampered: {', '.join(ended['tampered'])}; judged on the original, "
        f"with {reads['given_count']} files read as they were given"
    )
    screen.good(f"completed: {yes(ended['completed'])}, verified: {yes(ended['verified'])}; exit code {code}")
    require(bool(ended["tampered"]) and not ended["verified"] and code == 1, "the cheat was not caught")


async def show_receipt(demo: Demo, remit_id: str) -> None:
    """9."""
    screen = demo.screen
    screen.title("9. The receipt of the honest one")
    _, output = await demo.run("receipt", remit_id)
    for line in output.rstrip().splitlines():
        screen.say(line.rstrip())
    code, output = await demo.run("check", "--all")
    screen.good(output.strip().splitlines()[-1])
    require(code == 0, output)


async def do_for_real(demo: Demo, model: str) -> None:
    """One further remit, carried out by a model the user named."""
    screen = demo.screen
    is_local = model.startswith("local/")
    budget = "20000tokens" if is_local else "0.50"
    outcome, verify = (SMALL_OUTCOME, SMALL_VERIFY) if is_local else (OUTCOME, VERIFY)
    screen.title(
        f"10. One more outcome, carried out by {model}, for at most {budget.replace('tokens', ' tokens')}"
    )
    screen.say(f"$ remit do \"{outcome}\" --input shop --verify '{verify}' --budget {budget} --model {model}")
    lines = Lines(await demo.start(*demo.do(model, budget, outcome=outcome, verify=verify)))
    ended = await lines.next("remit.ended", seconds=REAL_MODEL_SECONDS)
    await lines.end()
    screen.say(
        f"{ended['status']}; completed: {yes(ended['completed'])}, verified: {yes(ended['verified'])}; "
        f"spent {dollars(ended['spent']['usd'])} and {ended['spent']['tokens']:,} tokens"
    )


async def install(screen: Screen, model: str, *, is_agreed: bool) -> None:
    """Fetch a local model first, having said its size and asked; nothing is done when it is here. The weights go to the
    user's own folder and stay there."""
    from remit.app import load_settings, model_folder

    folder = model_folder(load_settings())
    if folder.known(model) is None:
        return  # of a server of the user's own
    os.environ["REMIT_LOCAL_MODELS"] = str(folder.folder)
    screen.title(f"0. {model}")
    process = await asyncio.create_subprocess_exec(
        str(Path(sys.executable).parent / "remit"),
        *("model", "install", model, "--with-runtime", *(["--yes"] if is_agreed else [])),
    )
    if await process.wait() != 0:
        raise SystemExit("the model is not installed; `make demo` does without it")


async def name_models(screen: Screen) -> None:
    """Say what could be used, and use nothing unasked."""
    named = [
        f"{variable} is set"
        for variable in (
            "ANTHROPIC_API_KEY",
            "REMIT_ANTHROPIC_API_KEY",
            "OPENAI_API_KEY",
            "REMIT_OPENAI_API_KEY",
        )
        if os.environ.get(variable)
    ]
    named += [f"{server.name} answers at {server.base_url}" for server in await discover_local()]
    if named:
        screen.say(
            f"Noticed, and not used: {'; '.join(named)}. `make demo MODEL=ID` would use a model you name."
        )


def yes(value: bool) -> str:
    return "yes" if value else "no"


def require(is_true: bool, what: str) -> None:
    """The demo proves what it shows."""
    if not is_true:
        raise SystemExit(f"the demo did not show what it should: {what}")


async def main(model: str | None, *, is_agreed: bool) -> None:
    screen = Screen()
    model = LOCAL_MODEL if model == LOCAL else model
    if model is not None and model.startswith("local/"):
        await install(screen, model, is_agreed=is_agreed)
    screen.say(
        "Everything here is real but the model: it is scripted, deterministic, and needs no key. Its price is a"
    )
    screen.say("demo price, set by an ordinary override in remit.toml, so that holds and refusals are real.")
    await name_models(screen)
    with tempfile.TemporaryDirectory(prefix="remit-demo-") as folder:
        demo = Demo(screen, Path(folder))
        await show_sandbox(demo)
        remit_id = await show_work(demo)
        # Each in a data folder of its own, so that they need not wait for each other.
        others = [Demo(screen, Path(folder) / name) for name in ("dear", "cheat", "forger")]
        dear, cheat, forger = await asyncio.gather(
            others[0].start(*others[0].do("scripted/dear", "1.20")),
            others[1].start(*others[1].do("scripted/cheat", "2", "--max-iterations", "1")),
            others[2].start(
                *others[2].do("scripted/forger", "2", "--max-iterations", "1", verify=DATA_VERIFY)
            ),
        )
        await show_refusal(screen, Lines(dear))
        await show_cheats(screen, Lines(cheat), Lines(forger))
        await show_receipt(demo, remit_id)
        if model is not None:
            await do_for_real(demo, model)
    screen.end()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", help="carry out one further remit with this model, for a stated budget")
    parser.add_argument("--yes", action="store_true", help="fetch a local model without asking")
    chosen = parser.parse_args()
    asyncio.run(main(chosen.model, is_agreed=chosen.yes))

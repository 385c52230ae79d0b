"""Reads what test runners say of themselves: each run in one command wrote its own report, whatever started it.

How they are made to is in `sandboxes/reporters`; the verdict on what they say is in `case_verdict`. Pure, but for `collect_reports`.
"""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec

from remit.errors import SandboxRefused
from remit.interfaces import Sandbox
from remit.values import Value
from remit.verifiers.junit import read_junit

REPORTERS = "/opt/remit/reporters"
"""Where the image has them."""
REPORT_BYTES_MAX = 64 << 20
"""Of one command, all files together."""
REPORT_FILES_MAX = 2_000
SCRIPT_FILES_MAX = 500
CASES_MAX = 200_000
NAME_CHARACTERS_MAX = 1_000

_CARGO_TARGETS = tuple(
    f"{machine}_UNKNOWN_LINUX_{library}" for machine in ("X86_64", "AARCH64") for library in ("GNU", "MUSL")
)
_PASSED_BY_TOX = "PYTHONPATH,NODE_OPTIONS,GOFLAGS,REMIT_REPORTS"

_SCRIPT = ".script"
"""Files of programs that no test runner runs."""

Status = Literal["passed", "failed", "skipped", "xfailed", "xpassed", "error"]


class Case(Value, frozen=True, array_like=True):
    """One case that a runner ran, or something that holds cases (`error`: a module that could not be imported)."""

    name: str
    status: Status
    where: str | None = None
    """Of a skip or xfail that code raised: the file that did, relative to the working tree if it is in it."""


class RunnerRun(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The report of one process of a test runner."""

    reporter: str
    """pytest, unittest, node, jest, vitest, mocha, go, cargo, junit."""
    argv: tuple[str, ...] = ()
    working_directory: str = ""
    cases: tuple[Case, ...] = ()
    collected: int | None = None
    """How many cases it was to run; None: it does not know."""
    unreported: tuple[str, ...] = ()
    """Collected, and never heard of again."""
    loaded: tuple[str, ...] | None = None
    """Files of the working tree that the process that judges loaded; None: not known."""
    ended: Literal["normally", "stopped", "cut"] = "normally"
    """`stopped`: it was told to stop (pytest.exit); `cut`: its process ended before it did."""
    exit_code: int | None = None
    why: str | None = None
    """Of `stopped`: what it was told."""


class ScriptRun(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The ends of programs without a test runner: one of each kind. Its members: remit_script.py."""

    main: str
    """The program, relative to the tree; `-c` or `-`: its text came with the command."""
    how: Literal[
        "finished", "exit", "os._exit", "exec", "raised", "system_exit", "system_exit_at_import", "native"
    ]
    where: str | None = None
    """The file that ended it."""
    function: str | None = None
    code: int | None = None
    hook: str | None = None
    """The file whose code has the last word when the program fails."""
    loaded: tuple[str, ...] | None = None
    """Files of the tree; None: not known."""
    exits: tuple[str, ...] = ()
    """Functions in them that name a way to exit: `file:name`."""
    raises: tuple[str, ...] = ()
    """Of those, the ones that name SystemExit."""
    run: str = ""
    """The same in all that a process said that loaded machine code."""


class RunReport(Value, frozen=True, kw_only=True, omit_defaults=True):
    """The report of all programs of one command, runs of test runners in the order of their starts."""

    runs: tuple[RunnerRun, ...]
    scripts: tuple[ScriptRun, ...] = ()
    is_truncated: bool = False
    """There was more than is read; nothing can be said of what is missing."""


class _Record(msgspec.Struct, frozen=True):
    """A line of a report, of any kind."""

    t: str
    run: str = ""
    reporter: str = ""
    at: int = 0
    argv: list[str] = []
    cwd: str | None = None
    tree: str = ""
    names: list[str] = []
    files: list[str] = []
    name: str = ""
    status: Status = "error"
    where: str | None = None
    code: int | None = None
    how: str = "normally"
    why: str | None = None
    main: str = ""
    function: str | None = None
    hook: str | None = None
    exits: list[str] = []
    raises: list[str] = []


_record = msgspec.json.Decoder(_Record)


def reporter_environment(reports_folder: str, given: Mapping[str, str]) -> dict[str, str]:
    """The variables that make test runners report into this folder, which nobody else writes to and the command may.

    `given`: what the environment sets already; what it says goes on holding.
    """

    def joined(name: str, ours: str, separator: str) -> str:
        return f"{ours}{separator}{given[name]}" if given.get(name) else ours

    exec_flag = f"-exec={REPORTERS}/text/go_exec.py"
    runners = {
        f"CARGO_TARGET_{target}_RUNNER": f"{REPORTERS}/text/cargo_exec.py" for target in _CARGO_TARGETS
    }
    return {
        "REMIT_REPORTS": reports_folder,
        "PYTHONPATH": joined("PYTHONPATH", f"{REPORTERS}/python", ":"),
        "NODE_OPTIONS": joined("NODE_OPTIONS", f"--require={REPORTERS}/node/preload.cjs", " "),
        "GOFLAGS": joined("GOFLAGS", exec_flag, " "),
        **{name: runner for name, runner in runners.items() if name not in given},
        "TOX_OVERRIDE": joined("TOX_OVERRIDE", f"testenv.pass_env+={_PASSED_BY_TOX}", ";"),
    }


async def collect_reports(sandbox: Sandbox, reports_folder: str, *, epoch: int) -> dict[str, bytes]:
    """The files that runners wrote. Raises SandboxLost."""
    paths: list[str] = []
    for pattern, limit in (("*.jsonl", REPORT_FILES_MAX), (f"*{_SCRIPT}", SCRIPT_FILES_MAX)):
        try:
            paths += sorted(await sandbox.glob(pattern, reports_folder, epoch=epoch, limit=limit))
        except SandboxRefused:
            return {}  # no such folder: nobody wrote
    files: dict[str, bytes] = {}
    room = REPORT_BYTES_MAX + 1
    for path in paths:
        try:
            read = await sandbox.read_file(path, epoch=epoch, limit=room)
        except SandboxRefused:
            continue
        files[path] = read.content
        room -= len(read.content)
        if room <= 0:
            break
    return files


def read_reports(files: Mapping[str, bytes], junit: Mapping[str, bytes]) -> RunReport | None:
    """Read these reports; None when no runner said anything.

    `files`: by name, what was written into the folder for reports. `junit`: by path, XML files that the run left or changed
    in the working tree.
    """
    reading = _Reading()
    for name in sorted(files):
        reading.read(files[name])
    runs = reading.runs()
    for path in sorted(junit):
        cases = [Case(name, status) for name, status in read_junit(junit[path])[: reading.room()]]
        if cases and not _are_known(cases, runs):
            reading.cases += len(cases)
            runs.append(RunnerRun(reporter="junit", argv=(path,), cases=tuple(cases)))
    if not runs and not reading.scripts:
        return None
    return RunReport(runs=tuple(runs), scripts=tuple(reading.scripts), is_truncated=reading.is_truncated)


def pack_report(report: RunReport) -> bytes:
    """The report in few bytes: names are long and alike."""
    return zlib.compress(msgspec.msgpack.encode(report), 6)


def unpack_report(packed: bytes) -> RunReport:
    """Return what `pack_report` was given. Raises ValueError for anything else."""
    try:
        inflater = zlib.decompressobj()
        content = inflater.decompress(packed, 4 * REPORT_BYTES_MAX)
        return msgspec.msgpack.decode(content, type=RunReport)
    except (zlib.error, msgspec.DecodeError) as error:
        raise ValueError(f"no packed report: {error}") from error


class _Reading:
    """Reports as they are read, bounded over all of them."""

    def __init__(self) -> None:
        self.cases = 0
        self.is_truncated = False
        self.scripts: list[ScriptRun] = []
        self._bytes = 0
        self._started: list[tuple[int, str, RunnerRun]] = []
        self._by_workers: dict[str, list[str]] = {}

    def room(self) -> int:
        """How many more cases are taken."""
        return CASES_MAX - self.cases

    def runs(self) -> list[RunnerRun]:
        """In the order of their starts, with what their workers loaded."""
        found: list[RunnerRun] = []
        for _, run_id, run in sorted(self._started, key=lambda each: each[:2]):
            loaded = self._by_workers.get(run_id, [])
            if loaded:
                run = msgspec.structs.replace(run, loaded=tuple(sorted({*(run.loaded or ()), *loaded})))
            found.append(run)
        return found

    def read(self, content: bytes) -> None:
        """One file: one run, or what a worker of one loaded. A last line that was cut off is no line."""
        room = REPORT_BYTES_MAX - self._bytes
        self._bytes += len(content)
        if len(content) > room:
            self.is_truncated, content = True, content[: max(0, room)]
        records = [record for line in content.split(b"\n") if (record := _read_line(line)) is not None]
        for record in records:
            if record.t == "worker":
                self._by_workers.setdefault(record.run, []).extend(record.files)
            elif record.t == "script" and (script := _script_of(record)) is not None:
                self.scripts.append(script)
        start = next((record for record in records if record.t == "start"), None)
        if start is None:
            return
        end = next((record for record in reversed(records) if record.t == "end"), None)
        if end is None or end.how != "nothing":
            self._started.append((start.at, start.run, self._run(start, records, end)))

    def _run(self, start: _Record, records: Sequence[_Record], end: _Record | None) -> RunnerRun:
        cases: list[Case] = []
        collected = [_shorten(name) for record in records if record.t == "collected" for name in record.names]
        loaded = [file for record in records if record.t == "loaded" for file in record.files]
        has_collected = any(record.t == "collected" for record in records)
        for record in records:
            if record.t == "case":
                if self.room() <= 0:
                    self.is_truncated = True
                    break
                self.cases += 1
                cases.append(Case(_shorten(record.name), record.status, _relative(record.where, start.tree)))
        reported = {case.name for case in cases}
        return RunnerRun(
            reporter=start.reporter,
            argv=tuple(start.argv),
            working_directory=_relative(start.cwd, start.tree) or "",
            cases=tuple(cases),
            collected=len(collected) if has_collected else None,
            unreported=tuple(name for name in collected if name not in reported),
            loaded=tuple(loaded) if end is not None and start.reporter in ("pytest", "unittest") else None,
            ended="cut" if end is None else "stopped" if end.how == "stopped" else "normally",
            exit_code=end.code if end is not None else None,
            why=end.why if end is not None else None,
        )


def _read_line(line: bytes) -> _Record | None:
    """None for what is no record: a report is written by a process that the work may share."""
    try:
        return _record.decode(line)
    except msgspec.DecodeError:
        return None


def _script_of(record: _Record) -> ScriptRun | None:
    """None for a way to end that is not known."""
    members = {
        "main": record.main,
        "how": record.how,
        "where": record.where,
        "function": record.function,
        "code": record.code,
        "hook": record.hook,
        "loaded": record.files or None,
        "exits": record.exits,
        "raises": record.raises,
        "run": record.run,
    }
    try:
        return msgspec.convert(members, ScriptRun)
    except msgspec.ValidationError:
        return None


def _shorten(name: str) -> str:
    return name if len(name) <= NAME_CHARACTERS_MAX else f"{name[:NAME_CHARACTERS_MAX]}…"


def _relative(path: str | None, tree: str) -> str | None:
    """Without the working tree before it, and without the line after it."""
    if path is None:
        return None
    file = path.rpartition(":")[0] if path.rpartition(":")[2].isdigit() else path
    inside = file.removeprefix(f"{tree.rstrip('/')}/")
    return "" if file == tree.rstrip("/") else inside


def _are_known(cases: Sequence[Case], runs: Sequence[RunnerRun]) -> bool:
    """Whether a runner that reported by itself wrote this XML too: most of its names end names of that runner's."""
    ends = {
        end
        for run in runs
        for case in run.cases
        for end in (
            case.name.rpartition("::")[2],
            case.name.rpartition(" > ")[2],
            case.name.rpartition(".")[2],
        )
    }
    return sum(case.name.rpartition(" > ")[2] in ends for case in cases) * 2 > len(cases)

# pyright: basic, reportMissingImports=false
"""Runs one program of tests, of go or of cargo, and reports its cases from what it prints.

`go test -exec` and cargo's `runner` start `go_exec.py` and `cargo_exec.py` in its place. Output and exit code are the program's;
what it prints only because it was asked to say more is left out.
"""

import os
import re
import signal
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "python"))
import remit_log

GO_CASE = re.compile(r"^(.*?)--- (PASS|FAIL|SKIP): (.+?) \([\d.]+s\)\s*$")
GO_MORE = re.compile(r"^=== (RUN|PAUSE|CONT|NAME)\s+(\S.*?)\s*$")
GO_LOG = re.compile(r"^\s+\S+\.go:\d+: ")
CARGO_CASE = re.compile(r"^test (.+?) \.\.\. (ok|FAILED|ignored)\b")
CARGO_END = re.compile(r"^test result: (ok|FAILED)\.")
STATUS = {
    "PASS": "passed",
    "FAIL": "failed",
    "SKIP": "skipped",
    "ok": "passed",
    "FAILED": "failed",
    "ignored": "skipped",
}


class Go:
    """The reader of Go's test output. Without -v its programs print failures alone, with it each case: it is
    asked for, and hidden where the command did not."""

    reporter = "go"

    def __init__(self, argv):
        self.is_run = argv[0].endswith(".test") and not any(word.startswith("-test.list") for word in argv)
        self.wants_all = any(re.match(r"--?test\.v(=true|=test2json)?$", word) for word in argv)
        self.argv = argv if self.wants_all else [argv[0], "-test.v", *argv[1:]]
        self.name = _go_package(argv[0])
        self.has_ended = False
        self._started = set()
        self._current = ""
        self._logs = {}
        self._is_in_log = False

    def read(self, line, log):
        """Read a line; return what is shown of it."""
        bare = line.lstrip("\x16")
        self.has_ended = self.has_ended or bare.rstrip() in ("PASS", "FAIL")
        more = GO_MORE.match(bare)
        if more:
            self._started.add(more.group(2))
            self._current, self._is_in_log = more.group(2), False
            return line if self.wants_all else ""
        case = GO_CASE.match(bare)
        if case and case.group(3) in self._started:
            self._is_in_log = False
            log.case("%s %s" % (self.name, case.group(3)), STATUS[case.group(2)])
            said = "".join(self._logs.pop(case.group(3), []))
            if self.wants_all:
                return line
            return line + said if case.group(2) == "FAIL" else case.group(1).strip()
        if self.wants_all:
            return line
        if GO_LOG.match(line) or (self._is_in_log and line.startswith("        ")):
            self._is_in_log = True
            self._logs.setdefault(self._current, []).append(line)
            return ""
        self._is_in_log = False
        return line


class Cargo:
    """The reader of cargo's test output. Its programs print each case, but where they are to be quiet."""

    reporter = "cargo"

    def __init__(self, argv):
        self.is_run = os.path.basename(os.path.dirname(argv[0])) == "deps" and "--list" not in argv
        self.argv = [word for word in argv if word not in ("--quiet", "-q")]
        self.name = re.sub(r"-[0-9a-f]{16}$", "", os.path.basename(argv[0]))
        crate = os.environ.get("CARGO_PKG_NAME")
        if crate and crate.replace("-", "_") != self.name:
            self.name = "%s/%s" % (crate, self.name)
        self.has_ended = False

    def read(self, line, log):
        """Read a line; return what is shown of it."""
        case = CARGO_CASE.match(line)
        if case:
            log.case("%s %s" % (self.name, case.group(1)), STATUS[case.group(2)])
        self.has_ended = self.has_ended or CARGO_END.match(line) is not None
        return line


def _go_package(program):
    """The import path, as the folder that `go test` runs the program in says; else the program's own name."""
    folder = os.getcwd()
    inner = folder
    while True:
        try:
            with open(os.path.join(inner, "go.mod")) as file:
                match = re.search(r"^module\s+(\S+)", file.read(), re.MULTILINE)
            relative = os.path.relpath(folder, inner)
            if match is None:
                break
            return match.group(1) if relative == "." else "%s/%s" % (match.group(1), relative)
        except OSError:
            pass
        if os.path.dirname(inner) == inner:
            break
        inner = os.path.dirname(inner)
    return os.path.basename(program)


def main(kind, argv):
    """Run it; the exit code is the program's."""
    run = (Go if kind == "go" else Cargo)(argv)
    log = remit_log.start(run.reporter, [run.name, *argv[1:]]) if run.is_run else None
    if log is None:
        os.execvp(argv[0], argv)
    log.prefix = ""
    process = subprocess.Popen(run.argv, stdout=subprocess.PIPE)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT):
        signal.signal(number, lambda number, _: process.send_signal(number))
    out = sys.stdout.buffer
    for line in process.stdout or ():
        shown = run.read(line.decode("utf-8", "surrogateescape"), log)
        if shown:
            out.write(shown.encode("utf-8", "surrogateescape"))
            out.flush()
    code = process.wait()
    if run.has_ended or code != 0:
        log.end(code)
    if code < 0:
        signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    sys.exit(code)

# pyright: basic
"""Writes the report of one run of a test runner: a file of its own, a JSON object a line, each written whole as it comes.

    {"t": "start", "reporter", "run", "pid", "at", "argv", "cwd", "tree"}
    {"t": "collected", "names": []}            what is to run, where the runner knows it
    {"t": "case", "name", "status", "where"}   passed, failed, skipped, xfailed, xpassed; error: no case but what holds some
    {"t": "loaded", "files": []}               of the working tree, by the process that judges
    {"t": "worker", "run", "files": []}        the same, in a file of its own, by a worker of that run
    {"t": "end", "code", "how", "why"}         normally; stopped before its end; nothing, where none was to run

What stands in the reports of other programs: remit_script.py. A file without `end` is of a runner that was ended from inside. A runner that is started by a test of another (or by its own:
workers) is that one's business: it finds the other's run in its environment and writes nothing.
"""

import json
import os
import sys
import sysconfig
import time

FOLDER, RUN, TREE = "REMIT_REPORTS", "REMIT_REPORTS_RUN", "REMIT_REPORTS_TREE"
_NAMES_A_LINE = 500
_active = []


class Log:
    """The report of one run. What this process wrote, not its forks."""

    def __init__(self, folder, reporter, argv):
        self.reporter = reporter
        self.run = "%d-%s" % (os.getpid(), os.urandom(6).hex())
        self.tree = os.environ.get(TREE) or "/workspace"
        self.write = _writer(os.path.join(folder, "%s-%s.jsonl" % (reporter, self.run)))
        self.is_owner = _owner()
        self.prefix = ""
        """Before names that are relative to where the runner was started."""
        cwd = _cwd()
        self.write(
            {
                "t": "start",
                "reporter": reporter,
                "run": self.run,
                "pid": os.getpid(),
                "at": time.monotonic_ns(),
                "argv": argv,
                "cwd": cwd,
                "tree": self.tree,
            }
        )
        self.stand_in(cwd)

    def stand_in(self, folder):
        """Make names from now on relative to this folder."""
        relative = os.path.relpath(folder, self.tree) if folder else "."
        self.prefix = "" if relative == "." or relative.startswith("..") else relative + "/"

    def case(self, name, status, where=None):
        record = {"t": "case", "name": self.prefix + name, "status": status}
        if where:
            record["where"] = where
        self.write(record)

    def collected(self, names):
        for start in range(0, len(names), _NAMES_A_LINE):
            part = names[start : start + _NAMES_A_LINE]
            self.write({"t": "collected", "names": [self.prefix + name for name in part]})

    def loaded(self):
        files = loaded(self.tree)
        for start in range(0, len(files), _NAMES_A_LINE):
            self.write({"t": "loaded", "files": files[start : start + _NAMES_A_LINE]})

    def end(self, code, how="normally", why=None):
        """Log the end once; the runs of this process may be several, one after the other."""
        if not self.is_owner() or self not in _active:
            return
        _active.remove(self)
        os.environ.pop(RUN, None)
        self.loaded()
        self.write({"t": "end", "code": code, "how": how, "why": why})


def start(reporter, argv):
    """The log of a run that begins; None where it is part of another or nobody asked."""
    folder = os.environ.get(FOLDER)
    if not folder or os.environ.get(RUN) or _active:
        return None
    try:
        os.makedirs(folder, exist_ok=True)
        log = Log(folder, reporter, [str(word) for word in argv])
    except Exception:
        return None
    os.environ[RUN] = log.run
    _active.append(log)
    script = sys.modules.get("remit_script")
    if script is not None:
        script.stop()
    return log


def active():
    """The run that this process is in the middle of."""
    return _active[-1] if _active and _active[-1].is_owner() else None


def note_loaded(reporter):
    """Note what a worker of a run loaded, for the run that it is part of."""
    folder, run = os.environ.get(FOLDER), os.environ.get(RUN)
    if folder and run:
        write = _writer(os.path.join(folder, "%s-worker-%d.jsonl" % (reporter, os.getpid())))
        files = loaded(os.environ.get(TREE) or "/workspace")
        for start in range(0, len(files), _NAMES_A_LINE):
            write({"t": "worker", "run": run, "files": files[start : start + _NAMES_A_LINE]})


def loaded(tree):
    """Files of the tree that modules of this process come from, relative to it."""
    prefix = tree.rstrip("/") + "/"
    files = set()
    for module in list(sys.modules.values()):
        try:
            file = module.__file__
        except Exception:
            continue
        if isinstance(file, str) and os.path.abspath(file).startswith(prefix):
            files.add(os.path.abspath(file)[len(prefix) :])
    return sorted(files)


def where_raised(traceback):
    """`file:line` of the last frame that is neither a runner's nor of the standard library; None without one."""
    found = None
    while traceback is not None:
        file = traceback.tb_frame.f_code.co_filename
        if not is_machinery(file):
            found = "%s:%d" % (os.path.abspath(file), traceback.tb_lineno)
        traceback = traceback.tb_next
    return found


_OURS = os.path.dirname(os.path.abspath(__file__))
_STANDARD = tuple(
    os.path.abspath(path) + os.sep
    for path in {sysconfig.get_path("stdlib"), sysconfig.get_path("platstdlib"), os.path.dirname(os.__file__)}
    if path
)


def is_machinery(file):
    if file.startswith("<") or os.path.dirname(os.path.abspath(file)) == _OURS:
        return True
    normal = file.replace("\\", "/")
    if "/_pytest/" in normal or "/pluggy/" in normal or "/site-packages/pytest/" in normal:
        return True
    return file.startswith(_STANDARD) and "-packages/" not in normal


def _writer(path, open_=os.open, write=os.write, close=os.close, dumps=json.dumps, pid=os.getpid):
    """Opens, writes and closes for every record: a descriptor that stays open could be closed and given to someone else. The
    functions are kept here, where what replaces those of `os` for a test does not find them."""
    owner, flags = pid(), os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC

    def write_record(record):
        if pid() != owner:
            return
        try:
            line = dumps(record).encode("utf-8", "backslashreplace") + b"\n"
            descriptor = open_(path, flags, 0o644)
            try:
                write(descriptor, line)
            finally:
                close(descriptor)
        except Exception:
            pass

    return write_record


def _owner(pid=os.getpid):
    owner = pid()
    return lambda: pid() == owner


def _cwd():
    try:
        return os.getcwd()
    except OSError:
        return None

"""How programs that no test runner runs say they ended, from real processes: a judge that the work ended before its end proves
nothing, and what projects do by themselves goes on passing. The same through whole verifications: test_cheat_kinds.py."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

import remit.sandboxes
from remit.verifiers.endings import Told, hear
from remit.verifiers.reports import RunReport, read_reports

REPORTERS = Path(remit.sandboxes.__file__).parent / "reporters"
Files = Mapping[str, str]
_LATE = "raise NotImplementedError\n"
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def run(tree: Path, files: Files, command: str) -> tuple[int, RunReport | None]:
    """How the command ended on this tree, and what its programs said."""
    reports = tree.with_name("reports")
    for folder in (tree, reports):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    environment = {
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "PYTHONPATH": f"{REPORTERS}/python",
        "PYTHONDONTWRITEBYTECODE": "1",
        "NODE_OPTIONS": f"--require={REPORTERS}/node/preload.cjs",
        "REMIT_REPORTS": str(reports),
        "REMIT_REPORTS_TREE": str(tree),
    }
    ended = subprocess.run(
        ["bash", "-c", command], cwd=tree, env=environment, timeout=60, check=False, capture_output=True
    )
    return ended.returncode, read_reports({path.name: path.read_bytes() for path in reports.iterdir()}, {})


def judge(tmp_path: Path, before: Files, now: Files, command: str) -> Told:
    """What the run on these files says after one on the untouched input; what is named for judging is protected."""
    code_before, report_before = run(tmp_path / "tree", before, command)
    code, report = run(tmp_path / "tree", {**before, **now}, command)
    assert code == 0
    return hear(
        report_before,
        report,
        is_protected=lambda path: path.startswith(("judge", "tests/")),
        exit_code=code,
        before_exit_code=code_before,
        is_untouched=False,
    )


_ASKS = "import app\n\nassert app.run() == 1\n"
_OK = "def run():\n    return 1\n"
_MAIN = "import sys\n\n\ndef run():\n    BODY\n\n\ndef main():\n    sys.exit(0 if run() == 1 else 1)\n"
_SPAWN = """import multiprocessing
import app

if __name__ == "__main__":
    with multiprocessing.get_context("KIND").Pool(2) as pool:
        assert pool.map(app.double, [1, 2]) == [2, 4]
"""
_DOUBLE = "def double(number):\n    return number * 2\n"
_CATCHES = """import sys
import app


def main():
    try:
        app.main()
    except SystemExit as error:
        assert not error.code
    ENDING


main()
"""
_SERVES = """import subprocess, sys

server = subprocess.Popen([sys.executable, "tests/serve.py"], stdout=subprocess.PIPE)
assert server.stdout.readline() == b"1\\n"
server.SIGNAL()
server.wait()
"""
_FORKS = """import os
import app

child = os.fork()
if child == 0:
    app.main()
    os._exit(9)
assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
"""
HONEST: dict[str, tuple[Files, Files]] = {
    "plain": ({"judge.py": _ASKS, "app.py": _LATE}, {"app.py": _OK}),
    "ends_as_it_did": (
        {"judge.py": "import app\napp.main()\n", "app.py": _MAIN.replace("BODY", "return 0")},
        {"app.py": _MAIN.replace("BODY", "return 1")},
    ),
    "ends_where_it_would_have": (
        {"judge.py": "import app\napp.main()\n", "app.py": _MAIN.replace("BODY", _LATE.strip())},
        {"app.py": _MAIN.replace("BODY", "return 1")},
    ),
    "raises_where_it_would_have": (
        {
            "judge.py": "import app\napp.main()\n",
            "app.py": "def run():\n    return 0\n\n\ndef main():\n    assert run()\n    raise SystemExit(0)\n",
        },
        {"app.py": "def run():\n    return 1\n\n\ndef main():\n    assert run()\n    raise SystemExit(0)\n"},
    ),
    "arguments": (
        {
            "judge.py": "import argparse, app\n\nargparse.ArgumentParser().parse_args()\nassert app.main([]) == 1\n",
            "app.py": _LATE,
        },
        {
            "app.py": "import argparse\n\n\ndef main(words):\n    argparse.ArgumentParser().parse_args(words)\n    return 1\n"
        },
    ),
    "forks": (
        {"judge.py": _FORKS, "app.py": _LATE},
        {"app.py": _MAIN.replace("BODY", "return 1")},
    ),
    "forks_and_leaves": (
        {"judge.py": _FORKS, "app.py": _LATE},
        {"app.py": "import os\n\n\ndef main():\n    os._exit(0)\n"},
    ),
    "child": (
        {
            "judge.py": "import subprocess, sys\nsubprocess.run([sys.executable, 'app.py'], check=True)\n",
            "app.py": _LATE,
        },
        {"app.py": "import helper, os\nos._exit(0)\n", "helper.py": ""},
    ),
    "child_by_text": (
        {
            "judge.py": "import subprocess, sys\nsubprocess.run([sys.executable, '-c', 'import app; app.main()'], check=True)\n",
            "app.py": _LATE,
        },
        {"app.py": _MAIN.replace("BODY", "return 1")},
    ),
    "child_in_shell": (
        {
            "judge.py": "import subprocess\nsubprocess.run('true; python3 -m app; true', shell=True, check=True)\nimport app\n",
            "app.py": _LATE,
        },
        {"app.py": "if __name__ == '__main__':\n    raise SystemExit\n"},
    ),
    **{
        f"pool_{kind}": ({"judge.py": _SPAWN.replace("KIND", kind), "app.py": _LATE}, {"app.py": _DOUBLE})
        for kind in ("fork", "spawn", "forkserver")
    },
    **{
        f"catches_{name}": (
            {"judge.py": _CATCHES.replace("ENDING", ending), "app.py": _LATE},
            {"app.py": work},
        )
        for name, ending, work in (
            ("and_goes_on", "pass", _MAIN.replace("BODY", "return 1")),
            ("and_exits", "sys.exit(0)", _MAIN.replace("BODY", "return 1")),
            ("and_raises", "raise SystemExit(0)", _MAIN.replace("BODY", "return 1")),
            ("and_raises_after_raise", "raise SystemExit", "def main():\n    raise SystemExit\n"),
        )
    },
    "exit_at_the_top": (
        {"judge.py": "import app\n\nraise SystemExit(app.run() - 1)\n", "app.py": _LATE},
        {"app.py": _OK},
    ),
    "exit_in_a_thread": (
        {"judge.py": _ASKS, "app.py": _LATE},
        {
            "app.py": "import sys, threading\n\n\ndef run():\n    thread = threading.Thread(target=sys.exit)\n"
            "    thread.start()\n    thread.join()\n    return 1\n"
        },
    ),
    "asyncio": (
        {
            "judge.py": "import asyncio, sys, app\n\n\nasync def main():\n    assert app.run() == 1\n    sys.exit(0)\n\n\nasyncio.run(main())\n",
            "app.py": _LATE,
        },
        {"app.py": _OK},
    ),
    "starts_itself_again": (
        {
            "judge.py": "import os, sys\nif 'AGAIN' not in os.environ:\n"
            "    os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, 'AGAIN': '1'})\n"
            + _ASKS,
            "app.py": _LATE,
        },
        {"app.py": _OK},
    ),
    "machine_code": (
        {"judge.py": _ASKS, "app.py": _LATE},
        {"app.py": f"import ctypes\n\nctypes.CDLL(None).getpid()\n\n\n{_OK}"},
    ),
    "handlers": (
        {"judge.py": _ASKS, "app.py": _LATE},
        {"app.py": f"import atexit, sys\n\natexit.register(print, 'bye')\nsys.excepthook = print\n\n\n{_OK}"},
    ),
    **{
        f"server_{signal}": (
            {
                "judge.py": _SERVES.replace("SIGNAL", signal),
                "tests/serve.py": "import sys\nsys.path.insert(0, '.')\nimport app\nprint(app.run(), flush=True)\nsys.stdin.read()\nimport signal\nsignal.pause()\n",
                "app.py": _LATE,
            },
            {"app.py": _OK},
        )
        for signal in ("terminate", "kill")
    },
}


@pytest.mark.table(2)
@pytest.mark.parametrize("name", HONEST)
def test_honest_work_is_not_taken_for_an_ending_from_inside(tmp_path: Path, name: str) -> None:
    told = judge(tmp_path, *HONEST[name], "python3 judge.py")
    assert (told.why_no_pass, told.cases) == (None, None)


@pytest.mark.parametrize(
    ("command", "judged_in_process"),
    [
        ("python3 judge.py", True),
        ("python3 -m judge", True),
        ("python3 -c 'import app; assert app.run() == 1'", True),
        ("python3 < judge.py", True),
        ("python3 judge_outside.py", None),
    ],
)
def test_work_that_judges_itself_is_told(
    tmp_path: Path, command: str, judged_in_process: bool | None
) -> None:
    outside = "import subprocess, sys\nassert subprocess.run([sys.executable, '-c', 'import app; app.run()']).returncode == 0\n"
    told = judge(
        tmp_path, {"judge.py": _ASKS, "judge_outside.py": outside, "app.py": _LATE}, {"app.py": _OK}, command
    )
    assert told.judged_in_process is judged_in_process


@pytest.mark.parametrize("command", ["python3 -m unittest judge", "python3 judge.py"])
def test_a_runner_speaks_for_itself(tmp_path: Path, command: str) -> None:
    tests = (
        "import unittest\nimport app\n\n\nclass T(unittest.TestCase):\n    def test_run(self):\n        self.assertEqual(app.run(), 1)\n\n\n"
        "if __name__ == '__main__':\n    unittest.main()\n"
    )
    told = judge(
        tmp_path, {"judge.py": tests, "app.py": "def run():\n    return 0\n"}, {"app.py": _OK}, command
    )
    assert told.cases is not None
    assert (told.cases.passed, told.why_no_pass, told.judged_in_process) == (1, None, True)


def test_equal_runs_say_it_once(tmp_path: Path) -> None:
    command = "for i in 1 2 3 4 5; do python3 judge.py || exit 1; done"
    _, report = run(tmp_path / "tree", {"judge.py": _ASKS, "app.py": _OK}, command)
    assert report is not None
    assert [script.how for script in report.scripts] == ["finished"]
    assert run(tmp_path / "tree", {"app.py": _OK}, "python3 app.py && python3 -c 1") == (0, None)


_NODE_ASKS = "const { run } = require('./app.js');\nif (run() !== 1) throw new Error('wrong');\n"
_NODE_OK = "exports.run = () => 1;\n"
NODE_HONEST: dict[str, tuple[Files, Files]] = {
    "plain": ({"judge.js": _NODE_ASKS, "app.js": "throw 1;\n"}, {"app.js": _NODE_OK}),
    "exits": (
        {"judge.js": "process.exit(require('./app.js').run() === 1 ? 0 : 1);\n", "app.js": "throw 1;\n"},
        {"app.js": _NODE_OK},
    ),
    "ends_where_it_would_have": (
        {
            "judge.js": "require('./app.js').main();\n",
            "app.js": "exports.main = () => { throw 1; process.exit(0); };\n",
        },
        {"app.js": "exports.main = () => process.exit(0);\n"},
    ),
    "child": (
        {"judge.js": "require('child_process').execFileSync('node', ['app.js']);\n", "app.js": "throw 1;\n"},
        {"app.js": "require('./other.js');\nprocess.exit(0);\n", "other.js": ""},
    ),
    "listeners": (
        {"judge.js": _NODE_ASKS, "app.js": "throw 1;\n"},
        {
            "app.js": f"process.on('exit', () => {{}});\nprocess.on('uncaughtException', () => {{}});\n{_NODE_OK}"
        },
    ),
    "worker": (
        {"judge.js": _NODE_ASKS, "app.js": "throw 1;\n"},
        {
            "app.js": f"const {{ Worker }} = require('worker_threads');\nnew Worker('process.exit(0)', {{ eval: true }});\n{_NODE_OK}"
        },
    ),
}


@needs_node
@pytest.mark.table(2)
@pytest.mark.parametrize("name", NODE_HONEST)
def test_honest_work_of_node_is_not_taken_for_an_ending_from_inside(tmp_path: Path, name: str) -> None:
    told = judge(tmp_path, *NODE_HONEST[name], "node judge.js")
    assert (told.why_no_pass, told.cases) == (None, None)


@pytest.mark.parametrize(
    "program",
    [
        "class X:\n    leave = sys.exit\ntry:\n    X().leave(3)\nexcept SystemExit as e:\n    assert e.code == 3",
        "import pickle\nassert pickle.loads(pickle.dumps(sys.exit)) is sys.exit\nassert pickle.loads(pickle.dumps(os._exit)) is os._exit",
        "import copy, pickle\ntry:\n    sys.exit(4)\nexcept SystemExit as e:\n    assert copy.deepcopy(e).code == pickle.loads(pickle.dumps(e)).code == 4",
        "import weakref\nclass Y: pass\ndef f():\n    y = Y()\n    r.append(weakref.ref(y))\n    sys.exit()\nr = []\ntry:\n    f()\nexcept SystemExit:\n    pass\nassert r[0]() is None",
        "try:\n    sys.exit('no')\nexcept SystemExit as e:\n    assert type(e) is SystemExit and e.args == ('no',) and repr(e) == \"SystemExit('no')\"",
        "try:\n    sys.exit(1, 2)\nexcept TypeError:\n    pass",
    ],
)
def test_programs_do_not_see_that_they_are_watched(tmp_path: Path, program: str) -> None:
    code, _ = run(
        tmp_path / "tree",
        {"judge.py": f"import os, sys, app\n{program}\n", "app.py": _OK},
        "python3 judge.py",
    )
    assert code == 0

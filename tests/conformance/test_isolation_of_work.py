"""Work that runs in a sandbox of its own: what crosses to the judge, and what does not."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import anyio
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.catalog.trees import read_tree
from remit.clock import SystemClock
from remit.errors import VerifierUnavailable
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.sandboxes.guest_sandbox import GuestSandbox
from remit.sandboxes.local import LocalProvider
from remit.testing.verifier_cases import PRINCIPAL, store_tree
from remit.values import ExecRequest, Ground, JsonObject, SandboxSpec
from remit.verifiers.command import CommandVerifier
from remit.verifiers.isolation import Calls, how_isolated, isolate, judge_files, run_isolated, stubbed
from support.court import make_court
from support.kept import kept

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]
Files = Mapping[str, str | bytes]


@dataclass(frozen=True)
class Case:
    """Files of a folder of its own, the command that is run there, and which of the files are the judge's."""

    files: Files
    command: str
    judge: tuple[str, ...] = ()


@dataclass(frozen=True)
class Outcome:
    code: int
    output: str


@dataclass
class Bench:
    provider: BubblewrapProvider
    blobs: DirectoryBlobStore
    ids: Ids

    async def run(self, cases: Mapping[str, Case]) -> tuple[dict[str, Outcome], Calls, dict[str, str]]:
        """Run all in one pair of sandboxes, one after the other; how each ended, the calls, and the folder of each."""
        folders = {name: f"case{number}" for number, name in enumerate(cases)}
        files = {
            f"{folders[name]}/{path}": text
            for name, case in cases.items()
            for path, text in case.files.items()
        }
        judge = {f"{folders[name]}/{path}" for name, case in cases.items() for path in case.judge}
        lines = [
            f'( cd {folders[name]}; {case.command} ) < /dev/null > /tmp/said 2>&1; code=$?; echo; echo "== $code"; cat /tmp/said'
            for name, case in cases.items()
        ]
        tree = await read_tree(self.blobs, await store_tree(self.blobs, files))
        isolation = await isolate(self.blobs, self.blobs.put, tree, tree, judge)
        ground = Ground(files=judge_files({"HIDDEN": "of the runner"}, {}))
        judging = await self._sandbox(isolation.tree_digest, ground)
        working = await self._sandbox(await self.blobs.put(tree.encode()), Ground())
        request = ExecRequest(
            call_id=self.ids.new("run"),
            epoch=0,
            argv=("bash", "--norc", "--noprofile", "-c", "\n".join(lines)),
            timeout_seconds=100,
        )
        try:
            with anyio.fail_after(110):
                ended, calls = await run_isolated(judging, working, request, self.ids)
        finally:
            await judging.destroy()
            await working.destroy()
        assert not ended.is_timed_out, ended.output.decode(errors="replace")
        parts = ended.output.decode(errors="replace").split("\n== ")[1:]
        told = [Outcome(int(part.partition("\n")[0]), part.partition("\n")[2]) for part in parts]
        return dict(zip(cases, told, strict=True)), calls, folders

    async def _sandbox(self, digest: str, ground: Ground) -> GuestSandbox:
        return await self.provider.create(
            SandboxSpec(key=self.ids.new("box"), epoch=0, tree_digest=digest, ground=ground)
        )


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    blobs, ids = DirectoryBlobStore(tmp_path / "blobs"), Ids(SystemClock())
    async with BubblewrapProvider(tmp_path / "run", blobs, ids) as provider:
        yield Bench(provider, blobs, ids)


PROGRAMS: Mapping[str, tuple[Files, str]] = {
    "python": ({"fizz.py": "import sys\nprint('fizz', *sys.argv[1:])\n"}, "python3 -X dev fizz.py 'a b' ''"),
    "python with a shebang": (
        {"fizz.py": "#!/usr/bin/env python3\nimport sys\nprint('fizz', *sys.argv[1:])\n"},
        "./fizz.py 'a b' ''",
    ),
    "python by an absolute path": (
        {"fizz.py": "import sys\nprint('fizz', *sys.argv[1:])\n"},
        "cd /tmp && python3 $OLDPWD/fizz.py 'a b' ''",
    ),
    "a python module": (
        {"pkg/__init__.py": "", "pkg/fizz.py": "import sys\nprint('fizz', *sys.argv[1:])\n"},
        "python3 -m pkg.fizz 'a b' ''",
    ),
    "a python package": (
        {"pkg/__init__.py": "", "pkg/__main__.py": "import sys\nprint('fizz', *sys.argv[1:])\n"},
        "python3 -m pkg 'a b' ''",
    ),
    "a python folder": (
        {"app/__main__.py": "import sys\nprint('fizz', *sys.argv[1:])\n"},
        "python3 app 'a b' ''",
    ),
    "python on stdin": (
        {"fizz.py": "import sys\nprint('fizz', *sys.argv[1:])\n"},
        "python3 - 'a b' '' < fizz.py",
    ),
    "bash": ({"fizz.sh": 'echo fizz "$@"\n'}, "bash -eu fizz.sh 'a b' ''"),
    "sh": ({"fizz.sh": 'echo fizz "$@"\n'}, "sh -e fizz.sh 'a b' ''"),
    "sh without flags": ({"fizz.sh": 'echo fizz "$@"\n'}, "sh fizz.sh 'a b' ''"),
    "a shell script with a shebang": ({"fizz": '#!/bin/sh -e\necho fizz "$@"\n'}, "./fizz 'a b' ''"),
    "node": (
        {"fizz.js": "console.log('fizz', ...process.argv.slice(2))\n"},
        "node --no-warnings fizz.js 'a b' ''",
    ),
    "node as a module": (
        {"fizz.mjs": "import 'node:fs'\nconsole.log('fizz', ...process.argv.slice(2))\n"},
        "node fizz.mjs 'a b' ''",
    ),
    "node by type": (
        {
            "package.json": '{"type": "module"}',
            "fizz.js": "import 'node:fs'\nconsole.log('fizz', ...process.argv.slice(2))\n",
        },
        "node ./fizz.js 'a b' ''",
    ),
    "node with a shebang": (
        {"fizz": "#!/usr/bin/env node\nconsole.log('fizz', ...process.argv.slice(2))\n"},
        "./fizz 'a b' ''",
    ),
    "perl": ({"fizz.pl": "print join(' ', 'fizz', @ARGV), \"\\n\";\n"}, "perl -w fizz.pl 'a b' ''"),
    "perl with a shebang": (
        {"fizz.pl": "#!/usr/bin/perl -w\nprint join(' ', 'fizz', @ARGV), \"\\n\";\n"},
        "./fizz.pl 'a b' '' && perl fizz.pl > /dev/null",
    ),
    "a program of another sort": (
        {"fizz": '#!/usr/bin/awk -f\nBEGIN { print "fizz", ARGV[1], ARGV[2] }\n'},
        "./fizz 'a b' ''",
    ),
    "a link to a program": (
        {
            "bin/fizz": "-> ../src/main.py",
            "src/main.py": "#!/usr/bin/env python3\nimport sys\nprint('fizz', *sys.argv[1:])\n",
        },
        "bin/fizz 'a b' ''",
    ),
}


@pytest.mark.long
async def test_a_program_of_the_work_runs_as_it_was_asked_to(bench: Bench) -> None:
    cases = {name: Case(files, command) for name, (files, command) in PROGRAMS.items()}
    outcomes, calls, _ = await bench.run(cases)
    assert outcomes == dict.fromkeys(PROGRAMS, Outcome(0, "fizz a b \n"))
    assert calls.count == len(PROGRAMS) + 1
    assert calls.taken_in == ()


_HONEST = "print('fizz')\n"
_CHECK = (
    "import subprocess, sys\n"
    "done = subprocess.run([sys.executable, 'fizz.py'], capture_output=True, text=True)\n"
    "print('judge saw', repr(done.stdout))\n"
    "sys.exit(done.stdout != 'fizz\\n')\n"
)
_PYTEST = (
    "import subprocess, sys\n\n\ndef run(*words, **more):\n"
    "    return subprocess.run([sys.executable, 'cli.py', *words], capture_output=True, text=True, **more)\n\n\n"
)

JUDGES: Mapping[str, tuple[Files, str, tuple[str, ...]]] = {
    "a checker": ({"check.py": _CHECK, "fizz.py": _HONEST}, "python3 check.py", ("check.py",)),
    "a pipe": (
        {"fizz.py": _HONEST, "expected.txt": "fizz\n"},
        "python3 fizz.py | diff - expected.txt",
        ("expected.txt",),
    ),
    "a substitution": ({"fizz.sh": "echo x\n"}, 'test "$(bash fizz.sh)" = x', ()),
    "a script": (
        {"check.sh": 'test "$(sh fizz.sh)" = x\n', "fizz.sh": "echo x\n"},
        "bash check.sh",
        ("check.sh",),
    ),
    "node": (
        {
            "check.js": "const { execFileSync } = require('child_process')\n"
            "require('assert').strictEqual(execFileSync('node', ['fizz.js'], { input: 'in' }).toString(), 'in!\\n')\n",
            "fizz.js": "console.log(require('fs').readFileSync(0, 'utf8') + '!')\n",
        },
        "node check.js",
        ("check.js",),
    ),
    "pytest": (
        {
            "cli.py": "import os, sys\nprint(sys.stdin.read().upper() + os.environ['WORD'], *sys.argv[1:])\n"
            "print('complaint', file=sys.stderr)\nsys.exit(3)\n",
            "tests/test_cli.py": "import os\n" + _PYTEST + "def test_cli(tmp_path):\n"
            "    done = run('a', input='hi ', env={**os.environ, 'WORD': 'there'}, cwd=None)\n"
            "    assert (done.stdout, done.stderr, done.returncode) == ('HI there a\\n', 'complaint\\n', 3)\n",
        },
        "pytest -q tests",
        ("tests/test_cli.py",),
    ),
    "a program that waits for each line": (
        {
            "fizz.py": "import sys\nfor line in sys.stdin:\n    print(int(line) * 2, flush=True)\n",
            "check.py": "import subprocess, sys\n"
            "with subprocess.Popen(['python3', 'fizz.py'], stdin=-1, stdout=-1, text=True, bufsize=1) as run:\n"
            "    for number in (1, 5, 7):\n"
            "        run.stdin.write(f'{number}\\n')\n"
            "        assert run.stdout.readline() == f'{2 * number}\\n'\n"
            "    run.stdin.close()\n"
            "    assert run.wait() == 0\n",
        },
        "python3 check.py",
        ("check.py",),
    ),
    "a loop that reads the same file": (
        {"fizz.sh": "head -c 2\n", "lines.txt": "a\nb\nc\nd\n"},
        "test \"$( { read first; dash fizz.sh; read third; echo $first $third; } < lines.txt | tr '\\n' ' ')\" = 'b a c '",
        (),
    ),
    "eight at once": (
        {
            "fizz.py": "import sys, time\nprint(sys.stdin.read() * 2, end='')\n",
            "check.py": "import subprocess\n"
            "runs = [subprocess.Popen(['python3', 'fizz.py'], stdin=-1, stdout=-1, text=True) for _ in range(8)]\n"
            "for number, run in enumerate(runs):\n"
            "    assert run.communicate(str(number) * 100_000)[0] == str(number) * 200_000\n"
            "    assert run.returncode == 0\n",
        },
        "python3 check.py",
        ("check.py",),
    ),
    "a megabyte each way": (
        {"fizz.py": "import sys\nsys.stdout.write(sys.stdin.read()[::-1])\n"},
        'seq 200000 > /tmp/in; test "$(python3 fizz.py < /tmp/in | sha256sum)" = "$(python3 -c \'import sys; sys.stdout.write(open("/tmp/in").read()[::-1])\' | sha256sum)"'
        ' && test "$(cat /tmp/in | python3 fizz.py | wc -c)" = 1288895',
        (),
    ),
    "a reader that leaves": ({"fizz.sh": "yes fizz\n"}, 'test "$(bash fizz.sh | head -n 1)" = fizz', ()),
    "death by a signal": (
        {
            "fizz.sh": "kill -KILL $$\n",
            "check.py": "import subprocess\nassert subprocess.run(['bash', 'fizz.sh']).returncode == -9\n",
        },
        "python3 check.py",
        ("check.py",),
    ),
    "a signal from the judge": (
        {
            "fizz.sh": "trap 'echo bye; exit 7' TERM\necho ready\nwhile :; do sleep 0.01; done\n",
            "check.py": "import subprocess\n"
            "run = subprocess.Popen(['bash', 'fizz.sh'], stdout=-1, text=True)\n"
            "assert run.stdout.readline() == 'ready\\n'\n"
            "run.terminate()\n"
            "assert (run.communicate()[0], run.returncode) == ('bye\\n', 7)\n",
        },
        "python3 check.py",
        ("check.py",),
    ),
    "a judge that loses patience": (
        {
            "fizz.js": "console.log('ready'); setInterval(() => {}, 1000)\n",
            "check.py": "import subprocess\n"
            "run = subprocess.Popen(['node', 'fizz.js'], stdout=-1, text=True)\n"
            "assert run.stdout.readline() == 'ready\\n'\n"
            "run.kill()\n"
            "assert run.communicate()[0] == ''\n",
        },
        "python3 check.py",
        ("check.py",),
    ),
    "what the work wrote is there at the next call": (
        {"fizz.sh": 'if [ -f kept ]; then cat kept; else echo "$1" > kept; fi\n'},
        'bash fizz.sh word && test ! -e kept && test "$(bash fizz.sh)" = word',
        (),
    ),
    "exit codes and programs that are missing": (
        {"fizz.py": "import sys\nsys.exit(int(sys.argv[1]))\n", "none": "#!/nowhere/at-all\n"},
        "for code in 0 1 2 42 125 126 255; do python3 fizz.py $code; test $? = $code || exit 1; done; ./none 2> /dev/null; test $? = 127",
        (),
    ),
    "both kinds of output in order": (
        {"fizz.sh": "echo one; echo two >&2; echo three\n"},
        "test \"$(bash fizz.sh 2>&1 | tr '\\n' ' ')\" = 'one two three ' && test \"$(bash fizz.sh 2> /dev/null | wc -l)\" = 2",
        (),
    ),
    "a folder that only the judge has": (
        {"fizz.py": "import os\nprint(os.getcwd())\n"},
        'mkdir /tmp/there && cd /tmp/there && test "$(python3 $OLDPWD/fizz.py)" = /tmp/there',
        (),
    ),
    "words that are no UTF-8": (
        {"fizz.py": "import os, sys\nos.write(1, os.fsencode(sys.argv[1]) + os.environb[b'RAW'])\n"},
        "export RAW=$'\\xfe'; test \"$(python3 fizz.py $'\\xff' | od -An -tx1)\" = ' ff fe'",
        (),
    ),
    "variables of the judge's runner": (
        {"fizz.py": "import os\nprint(os.environ.get('HIDDEN'), os.environ.get('OTHER'))\n"},
        "export HIDDEN='of the runner' OTHER=b; test \"$(python3 fizz.py)\" = 'None b' && test \"$(HIDDEN=mine python3 fizz.py)\" = 'mine b'",
        (),
    ),
}


async def test_a_judge_sees_what_the_program_says_and_how_it_ends(bench: Bench) -> None:
    outcomes, calls, folders = await bench.run({name: Case(*judged) for name, judged in JUDGES.items()})
    assert {name: outcome for name, outcome in outcomes.items() if outcome.code != 0} == {}
    assert {path.split("/")[0] for path in calls.paths} == set(folders.values())
    assert calls.taken_in == ()


_EVERY_PARENT = "import os, re\npid = os.getppid()\nwhile pid > 1:\n    {act}\n    pid = int(re.search(r'\\) \\S (\\d+)', open(f'/proc/{{pid}}/stat').read())[1])\n"
_ALL = "[int(name) for name in os.listdir('/proc') if name.isdigit()]"
CHEATS: Mapping[str, str] = {
    "leaves at once": "import os\nos._exit(0)\n",
    "kills its parents": _EVERY_PARENT.format(act="exec('try: os.kill(pid, 9)\\nexcept OSError: break')"),
    "kills whoever it can": f"import os\nfor pid in {_ALL}:\n    if pid not in (1, os.getpid()):\n        os.kill(pid, 9)\n",
    "writes the judge's files": "for name in ('check.py', 'expected.txt', 'tests/test_fizz.py', 'conftest.py', 'sitecustomize.py'):\n"
    "    try:\n        open(name, 'w').write('buzz\\n' if name.endswith('txt') else 'import os; os._exit(0)\\n')\n"
    "    except OSError:\n        pass\nprint('buzz')\n",
    "swaps the judge's folder": "import os\nos.rename('tests', 'x')\nos.makedirs('tests')\n"
    "open('tests/test_fizz.py', 'w').write('def test_fizz():\\n    pass\\n')\nprint('buzz')\n",
    "writes reports": "import glob, os\nfor folder in ('/tmp', '.', *glob.glob('/tmp/*')):\n    try:\n"
    "        open(folder + '/junit.xml', 'w').write('<testsuite tests=\"1\" failures=\"0\"><testcase name=\"test_fizz\"/></testsuite>')\n"
    "    except OSError:\n        pass\nprint('buzz')\n",
    "writes into its parents' memory": _EVERY_PARENT.format(
        act="exec(\"try:\\n    open(f'/proc/{pid}/mem', 'r+b').write(b'x')\\nexcept OSError: pass\")"
    )
    + "print('buzz')\n",
    "writes to its parents' output": _EVERY_PARENT.format(
        act="exec(\"try:\\n    open(f'/proc/{pid}/fd/1', 'w').write('fizz\\\\n')\\nexcept OSError: pass\")"
    )
    + "print('buzz')\n",
    "stays in the background": "import os, time\nif os.fork() == 0:\n    os.setsid()\n    while True:\n"
    "        for name in ('check.py', 'expected.txt'):\n            try:\n                open(name, 'w').write('')\n"
    "            except OSError:\n                pass\n        time.sleep(0.01)\nprint('buzz')\n",
    "takes the place of what runs it": "import os, re, signal, socket, struct, json, time\n"
    "ports = {int(line.split()[1].split(':')[1], 16) for line in open('/proc/net/tcp').readlines()[1:] if line.split()[3] == '0A'}\n"
    "if os.fork() == 0:\n    os.setsid()\n    if os.fork():\n        os._exit(0)\n"
    f"    for pid in {_ALL}:\n        if pid not in (1, os.getpid()):\n            try:\n                os.kill(pid, 9)\n"
    "            except OSError:\n                pass\n"
    "    for port in ports:\n        listener = socket.socket()\n        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)\n"
    "        listener.bind(('127.0.0.1', port))\n        listener.listen()\n"
    "    while True:\n        line = listener.accept()[0]\n"
    "        for kind, text in (b'O', b'buzz\\n'), (b'Z', b''), (b'X', b'{\"code\": 0, \"signal\": 19, \"used\": -5}'):\n"
    "            line.send(kind + struct.pack('!I', len(text)) + text)\n"
    "print('buzz')\n",
    "answers with nonsense": "import os\nfor name in os.listdir(f'/proc/{os.getppid()}/fd'):\n    try:\n"
    "        os.write(int(name), b'X\\xff\\xff\\xff\\xff' * 100)\n    except OSError:\n        pass\nprint('buzz')\n",
    "floods": "import sys\nwhile True:\n    sys.stdout.write('fizz' * 65536)\n",
    "fills the disk and its memory": "import sys\nkept = []\ntry:\n    while True:\n        kept.append('x' * (64 << 20))\nexcept MemoryError:\n    pass\nprint('buzz')\n",
}
COURTS: Mapping[str, tuple[Files, str, tuple[str, ...]]] = {
    "a checker": ({"check.py": _CHECK}, "python3 check.py", ("check.py",)),
    "a pipe": (
        {"expected.txt": "fizz\n"},
        "python3 fizz.py | head -c 1000 | diff - expected.txt",
        ("expected.txt",),
    ),
    "two steps": (
        {"check.py": "assert open('/tmp/out').read(99) == 'fizz\\n'\n"},
        "python3 fizz.py | head -c 1000 > /tmp/out; python3 fizz.py > /dev/null & sleep 0; python3 check.py",
        ("check.py",),
    ),
    "pytest": (
        {
            "tests/test_fizz.py": "import subprocess, sys\n\n\ndef test_fizz():\n"
            "    with subprocess.Popen([sys.executable, 'fizz.py'], stdout=-1) as run:\n"
            "        assert run.stdout.read(1000) == b'fizz\\n'\n"
        },
        "pytest -q tests --junitxml=/tmp/report.xml && grep -q 'tests=\"1\"' /tmp/report.xml",
        ("tests/test_fizz.py",),
    ),
}


@pytest.mark.long
@pytest.mark.table(4)
@pytest.mark.parametrize("cheat", CHEATS)
async def test_a_cheat_cannot_reach_its_judge(bench: Bench, cheat: str) -> None:
    cases = {
        name: Case({**files, "fizz.py": CHEATS[cheat]}, command, judge)
        for name, (files, command, judge) in COURTS.items()
    }
    outcomes, calls, _ = await bench.run(cases)
    assert {name: outcome.code for name, outcome in outcomes.items()} == dict.fromkeys(COURTS, 1), outcomes
    assert calls.count >= len(COURTS)


async def test_honest_work_passes_in_the_same_courts(bench: Bench) -> None:
    cases = {
        name: Case({**files, "fizz.py": _HONEST}, command, judge)
        for name, (files, command, judge) in COURTS.items()
    }
    outcomes, _, _ = await bench.run(cases)
    assert {name: outcome.code for name, outcome in outcomes.items()} == dict.fromkeys(COURTS, 0), outcomes


_SOURCED = {"fizz.sh": "fizz() { echo fizz; }\n", "tests/run.sh": "cd ..; . ./fizz.sh; true\n"}
TAKEN: Mapping[str, tuple[Files, str, str]] = {
    "import": ({"fizz.py": "x = 1\n"}, "python3 -c 'import fizz'", "fizz.py"),
    "import that is caught": (
        {"fizz.py": "x = 1\n"},
        "python3 -c $'try:\\n import fizz\\nexcept Exception: pass'",
        "fizz.py",
    ),
    "import of a package": ({"a/__init__.py": "", "a/b.py": ""}, "python3 -c 'import a.b'", "a/__init__.py"),
    "runpy": (
        {"fizz.py": "print('fizz')\n"},
        "python3 -c \"import runpy; runpy.run_path('fizz.py', run_name='__main__')\"",
        "fizz.py",
    ),
    "exec": ({"fizz.py": "print('fizz')\n"}, "python3 -c \"exec(open('fizz.py').read())\"", "fizz.py"),
    "a test runner": ({"fizz.py": "def test_x(): pass\n"}, "pytest -q fizz.py", "fizz.py"),
    "unittest": ({"fizz.py": ""}, "python3 -m unittest fizz", "fizz.py"),
    "source in bash": (_SOURCED, "bash -c '. ./fizz.sh'", "fizz.sh"),
    "source in sh": (_SOURCED, "sh -c '. ./fizz.sh; true'", "fizz.sh"),
    "source in a script of the same name": (
        {"run.sh": "fizz() { :; }\n", "tests/run.sh": "cd ..\n. ./run.sh\n"},
        "cd tests && dash run.sh",
        "run.sh",
    ),
    "source in a bash script of the same name": (
        {"run.sh": "fizz() { :; }\n", "tests/run.sh": "cd ..\n. ./run.sh\n"},
        "cd tests && bash run.sh",
        "run.sh",
    ),
    "eval in bash": (_SOURCED, 'eval "$(cat fizz.sh)"', "fizz.sh"),
    "require": ({"fizz.js": "module.exports = 1\n"}, "node -e 'require(\"./fizz.js\")'", "fizz.js"),
    "require before": ({"fizz.js": "", "tests/x.js": ""}, "node -r ./fizz.js tests/x.js", "fizz.js"),
    "import in node": (
        {"fizz.mjs": "", "tests/x.mjs": "import '../fizz.mjs'\n"},
        "node tests/x.mjs",
        "fizz.mjs",
    ),
    "a worker": (
        {
            "fizz.js": "",
            "tests/x.js": "new (require('worker_threads').Worker)('./fizz.js').on('error', () => {})\n",
        },
        "node tests/x.js",
        "fizz.js",
    ),
    "require in perl": ({"fizz.pl": "1;\n"}, "perl -e 'require \"./fizz.pl\"'", "fizz.pl"),
    "do in perl": ({"fizz.pl": "1;\n"}, "perl -e 'do \"./fizz.pl\"'", "fizz.pl"),
}


@pytest.mark.long
async def test_a_command_that_takes_the_work_into_its_own_process_is_told_so(bench: Bench) -> None:
    cases = {
        name: Case(files, command, tuple(each for each in files if each.startswith("tests/")))
        for name, (files, command, _) in TAKEN.items()
    }
    _, calls, folders = await bench.run(cases)
    assert set(calls.taken_in) == {f"{folders[name]}/{path}" for name, (_, _, path) in TAKEN.items()}
    assert calls.count == 0


@pytest.mark.long
def test_a_command_that_takes_in_or_reads_or_never_runs_the_work_is_told_so() -> None:
    stubs, opened = ["fizz.py", "b.py"], ["fizz.py", "tests/a.py"]
    ran = Calls(count=1, paths={"fizz.py"})
    assert how_isolated(stubs, opened, ran).why_no_pass is None
    reads = how_isolated(stubs, [*opened, "b.py"], ran)
    takes = how_isolated(stubs, opened, Calls(count=1, paths={"fizz.py"}, taken_in=("b.py",)))
    for isolated, word in ((reads, "reads"), (takes, "takes")):
        assert f"{word} b.py" in str(isolated.mixed)
        assert "--protect b.py" in str(isolated.mixed)
    never = how_isolated(stubs, [], Calls())
    assert never.mixed is None
    assert "ran no program of the work" in str(never.why_no_pass)


@pytest.mark.long
async def test_the_tree_of_the_judge_has_no_byte_of_the_work(bench: Bench) -> None:
    given = {
        "a.py": "given",
        "lib.py": "given",
        "data.txt": "given",
        "tests/t.py": "test",
        "node_modules/m/i.js": "m",
        "node_modules/m/j.js": "m",
    }
    work = {
        **given,
        "a.py": "secret",
        "data.txt": "secret",
        "new.txt": "secret",
        "new.sh": "secret",
        "run": "#!/bin/secret -x",
        "node_modules/m/j.js": "secret",
        "link": "-> /secret",
    }
    trees = [await read_tree(bench.blobs, await store_tree(bench.blobs, files)) for files in (given, work)]
    halves = stubbed(trees[0], trees[1], {"tests/t.py"}, {"run": b"#!/bin/secret -x"})
    kept = {entry.path for entry in halves.tree.entries if entry.kind != "dir"}
    assert kept == {
        "a.py",
        "lib.py",
        "tests/t.py",
        "node_modules/m/i.js",
        "node_modules/m/j.js",
        "new.sh",
        "run",
    }
    assert set(halves.stubs) == {"a.py", "lib.py", "node_modules/m/j.js", "new.sh", "run"}
    assert halves.left_out == ("data.txt", "link", "new.txt")
    assert not any(b"secret" in content for content in halves.stubs.values())
    assert {entry.sha256 for entry in halves.tree.entries} & {
        entry.sha256 for entry in trees[1].entries if entry.kind == "file"
    } == {entry.sha256 for entry in trees[0].entries if entry.path in ("tests/t.py", "node_modules/m/i.js")}


@pytest.mark.long
async def test_isolated_work_is_verified_and_what_its_judge_imports_cannot_be(tmp_path: Path) -> None:
    start = {"check.py": _CHECK, "fizz.py": "print('buzz')\n", "lib.py": "word = 'fizz'\n"}
    async with make_court(tmp_path) as court:
        work = {**start, "fizz.py": "from lib import word\nprint(word)\n"}
        untouched, verdict = await court.carry(start, work, "python3 check.py", isolate=True)
        assert (untouched.passed, untouched.reasons, untouched.evidence["isolated"]) == (
            False,
            (),
            {"calls": 1},
        )
        assert verdict.passed, verdict.output
        assert verdict.evidence["isolated"] == {"calls": 1}
        assert verdict.rests_on_work == ("fizz.py",)

        cheated = {**start, "fizz.py": CHEATS["writes the judge's files"]}
        _, verdict = await court.carry(start, cheated, "python3 check.py", isolate=True)
        assert not verdict.passed

        tests = {
            "tests/test_fizz.py": "import subprocess\n\n\ndef test_fizz():\n"
            "    assert subprocess.check_output(['python3', 'fizz.py']) == b'fizz\\n'\n"
        }
        _, verdict = await court.carry(start | tests, work | tests, "python3 -m pytest -q", isolate=True)
        assert verdict.passed, verdict.output
        cases = verdict.evidence["cases"]
        assert isinstance(cases, dict)
        assert (cases["passed"], cases["judged_in_process"]) == (1, False)

        tests = {
            "tests/test_lib.py": "from lib import word\n\n\ndef test_word():\n    assert word == 'fuzz'\n"
        }
        mended = start | tests | {"lib.py": "word = 'fuzz'\n"}
        untouched, verdict = await court.carry(start | tests, mended, "python3 -m pytest -q", isolate=True)
        assert untouched.reasons == ("cannot_run",)
        assert "takes lib.py into its own process" in untouched.summary
        assert "--protect lib.py" in untouched.summary
        assert not verdict.passed


@pytest.mark.long
async def test_without_sandboxes_nothing_can_be_isolated(tmp_path: Path) -> None:
    blobs, ids = DirectoryBlobStore(tmp_path / "blobs"), Ids(SystemClock())
    async with LocalProvider(tmp_path / "run", blobs, ids) as provider:
        verifier: JsonObject = {"type": "command", "command": "true", "isolate": True}
        with pytest.raises(VerifierUnavailable, match="--isolate"):
            await CommandVerifier(provider, kept(blobs), ids).check(PRINCIPAL, verifier)

"""What test runners report from inside real sandboxes, whatever started them: honest runs, and ways to seem one."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Mapping

import anyio
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.testing.verifier_cases import store_tree
from remit.values import ExecRequest, ExecResult, SandboxSpec, Value
from remit.verifiers.case_verdict import CasesVerdict, compare
from remit.verifiers.reports import RunReport, collect_reports, read_reports, reporter_environment

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

Files = Mapping[str, str | bytes]
_REPORTS = "/tmp/remit-reports-1"
PYTEST = "python3 -m pytest -q -p no:cacheprovider"


class Language(Value, frozen=True, kw_only=True):
    """A small project that another runner tests."""

    work: str
    mended: str
    tests: dict[str, str]
    commands: tuple[str, ...]
    cheats: dict[str, str]
    environment: dict[str, str] = {}  # noqa: RUF012  a msgspec Struct


_NODE_TEST = "const test = require('node:test'); const assert = require('assert'); const { add } = require('./calc.js');\n"
_LANGUAGES: dict[str, Language] = {
    "node": Language(
        work="calc.js",
        mended="exports.add = (a, b) => a + b;\n",
        tests={
            "calc.test.js": _NODE_TEST
            + "test('small', () => assert.equal(add(1, 1), 2));\n"
            + "test('group', async (t) => { await t.test('large', () => assert.equal(add(1000, 1), 1001)); });\n",
            "package.json": '{"name": "x", "scripts": {"test": "node --test", "other": "node --test --test-reporter=dot"}}',
            "Makefile": "test:\n\tnode --test\n",
        },
        commands=(
            "node --test",
            "npm test --silent",
            "npm run -s other",
            "make -s test",
            "node calc.test.js",
            "node --test --test-reporter=spec --test-reporter-destination=stdout",
            "bash -c 'node --test calc.test.js' && node --test",
        ),
        cheats={
            "wrong": "exports.add = (a, b) => 2;\n",
            "exit_at_import": "process.exit(0);\n",
            "exit_in_case": "exports.add = () => process.exit(0);\n",
            "exit_code": "exports.add = () => 0; process.on('exit', () => process.reallyExit(0));\n",
            "kill_parent": "exports.add = () => process.kill(process.ppid, 'SIGKILL');\n",
        },
    ),
    "go": Language(
        work="calc.go",
        mended="package calc\n\nfunc Add(a, b int) int { return a + b }\n",
        tests={
            "go.mod": "module example.org/calc\n\ngo 1.19\n",
            "calc_test.go": 'package calc\n\nimport "testing"\n\n'
            "func TestSmall(t *testing.T) {\n\tif Add(1, 1) != 2 {\n\t\tt.Fatal()\n\t}\n}\n\n"
            'func TestGroup(t *testing.T) {\n\tt.Run("large", func(t *testing.T) {\n'
            "\t\tif Add(1000, 1) != 1001 {\n\t\t\tt.Fatal()\n\t\t}\n\t})\n}\n",
            "Makefile": "test:\n\tgo test ./...\n",
        },
        commands=("go vet ./... && go build ./... && go test ./...", "go test -v .", "make -s test"),
        cheats={
            "wrong": "package calc\n\nfunc Add(a, b int) int { return 2 }\n",
            "os_exit": 'package calc\n\nimport "os"\n\nfunc Add(a, b int) int { os.Exit(0); return 0 }\n',
            "raw_exit": 'package calc\n\nimport "syscall"\n\nfunc Add(a, b int) int { syscall.Exit(0); return 0 }\n',
            "at_start": 'package calc\n\nimport "syscall"\n\nfunc init() { syscall.Exit(0) }\n\nfunc Add(a, b int) int { return 0 }\n',
        },
        environment={"GOCACHE": "/tmp/go-cache", "GOFLAGS": "-mod=mod"},
    ),
    "cargo": Language(
        work="src/lib.rs",
        mended="pub fn add(a: i32, b: i32) -> i32 { a + b }\n",
        tests={
            "Cargo.toml": '[package]\nname = "calc-lib"\nversion = "0.1.0"\nedition = "2021"\n',
            "tests/adding.rs": "#[test]\nfn small() { assert_eq!(calc_lib::add(1, 1), 2); }\n"
            "#[test]\nfn large() { assert_eq!(calc_lib::add(1000, 1), 1001); }\n",
        },
        commands=("cargo test --offline", "cargo test -q --offline --test adding"),
        cheats={
            "wrong": "pub fn add(_: i32, _: i32) -> i32 { 2 }\n",
            "exit": "pub fn add(_: i32, _: i32) -> i32 { std::process::exit(0) }\n",
        },
        environment={"CARGO_HOME": "/tmp/cargo"},
    ),
}


class Bench:
    """Runs commands on trees, with reporters."""

    def __init__(self, provider: BubblewrapProvider, blobs: DirectoryBlobStore, ids: Ids) -> None:
        self._provider = provider
        self._blobs = blobs
        self._ids = ids
        self._before: dict[str, tuple[ExecResult, RunReport | None]] = {}

    async def run(self, files: Files, command: str, **given: str) -> tuple[ExecResult, RunReport | None]:
        """How the command ended, and what its runners said."""
        key = self._ids.new("bench")
        tree = await store_tree(self._blobs, files)
        spec = SandboxSpec(key=key, epoch=0, tree_digest=tree, environment=given)
        with anyio.fail_after(90):
            sandbox = await self._provider.create(spec)
            try:
                request = ExecRequest(
                    call_id=key,
                    epoch=0,
                    argv=("bash", "--norc", "--noprofile", "-c", command),
                    environment=reporter_environment(_REPORTS, given),
                    timeout_seconds=80,
                )
                ended = await sandbox.exec(request)
                files_written = await collect_reports(sandbox, _REPORTS, epoch=0)
            finally:
                await sandbox.destroy()
        return ended, read_reports(files_written, {})

    async def judge(
        self, before: Files, work: Files, command: str, **given: str
    ) -> tuple[ExecResult, CasesVerdict | None]:
        """The verdict on the work, whose tests are protected."""
        known = repr((sorted(before.items()), command))
        if known not in self._before:
            self._before[known] = await self.run(before, command, **given)
        then, report_before = self._before[known]
        now, report = await self.run(work, command, **given)
        verdict = compare(
            report_before,
            report,
            is_protected=lambda path: "test" in path or "Cargo" in path or path.endswith((".sh", "Makefile")),
            exit_code=now.exit_code,
            before_exit_code=then.exit_code,
        )
        return now, verdict


@pytest.fixture(scope="module")
def anyio_backend() -> str:
    """One event loop for the module: it has one provider."""
    return "asyncio"


@pytest.fixture(scope="module")
async def bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    place = tmp_path_factory.mktemp("reports")
    blobs, ids = DirectoryBlobStore(place / "blobs"), Ids(SystemClock())
    provider = BubblewrapProvider(place / "run", blobs, ids)
    try:
        yield Bench(provider, blobs, ids)
    finally:
        await provider.close()


_TESTS = {
    "tests/test_calc.py": (
        "import unittest\n\nfrom calc import add\n\n\n"
        "class Adding(unittest.TestCase):\n"
        "    def test_small(self):\n        self.assertEqual(add(1, 1), 2)\n\n"
        "    def test_large(self):\n        self.assertEqual(add(1000, 1), 1001)\n"
    ),
    "tests/__init__.py": "",
    "Makefile": "test:\n\tpython3 -m pytest -q -p no:cacheprovider\nunit:\n\tpython3 -m unittest\n",
    "check.sh": f"set -e\ncd .\n{PYTEST} tests\n",
    "package.json": '{"name": "x", "scripts": {"test": "python3 -m pytest -q -p no:cacheprovider"}}',
}
BROKEN = {**_TESTS, "calc.py": "def add(a, b):\n    return a - b\n"}
MENDED = {**_TESTS, "calc.py": "def add(a, b):\n    return a + b\n"}

COMMANDS = {
    "plain": PYTEST,
    "launcher": "pytest -q",
    "unittest": "python3 -m unittest",
    "discover": "python3 -m unittest discover -s tests -t .",
    "make": "make -s test",
    "make_unittest": "make -s unit",
    "bash_c": f"bash -c '{PYTEST}'",
    "script": "bash check.sh",
    "npm": "npm test --silent",
    "cd": f"cd tests && PYTHONPATH=.. {PYTEST} .",
    "own_path": f"PYTHONPATH=. {PYTEST}",
    "own_options": f"PYTEST_ADDOPTS='-q -x' {PYTEST}",
    "without_options": f"env -u PYTEST_ADDOPTS {PYTEST}",
    "no_plugins": f"PYTEST_DISABLE_PLUGIN_AUTOLOAD=1 {PYTEST}",
    "own_configuration": f"{PYTEST} -c /dev/null --rootdir .",
    "strict": f"{PYTEST} --strict-config --strict-markers",
    "two": f"{PYTEST} tests && python3 -m unittest",
    "xargs": f"echo tests | xargs {PYTEST}",
    "piped": f"set -o pipefail; {PYTEST} | cat",
    "python_main": "python3 -c 'import sys, pytest; sys.exit(pytest.main([\"-q\"]))'",
    "unittest_main": 'python3 -c \'import unittest; unittest.main("tests.test_calc", argv=["x"])\'',
}


@pytest.mark.table(2)
@pytest.mark.parametrize("command", COMMANDS.values(), ids=list(COMMANDS))
async def test_honest_work_has_a_report_and_passes(bench: Bench, command: str) -> None:
    ended, verdict = await bench.judge(BROKEN, MENDED, command)
    assert ended.exit_code == 0, ended.output
    assert verdict is not None
    assert verdict.why_no_pass is None
    assert (verdict.failed, verdict.skipped, verdict.missing) == (0, 0, ())
    assert verdict.passed in (2, 4)
    assert verdict.before is not None
    assert verdict.before.failed in (2, 4) if "-x" not in command else verdict.before.failed
    assert verdict.judged_in_process


_IN_CASE = {
    "skip": "import pytest\npytest.skip('later')",
    "unittest_skip": "import unittest\nraise unittest.SkipTest('later')",
    "xfail": "import pytest\npytest.xfail('later')",
    "pytest_exit": "import pytest\npytest.exit('done', returncode=0)",
    "os_exit": "import os\nos._exit(0)",
    "atexit": "import atexit, os\natexit.register(os._exit, 0)\nreturn 0",
    "own_exit": "import sys\nsys.exit = lambda *_: None\nimport atexit, os\natexit.register(os._exit, 0)\nreturn 0",
    "kill": "import os, signal\nos.kill(os.getpid(), signal.SIGKILL)",
    "exec": "import os\nos.execv('/bin/true', ['true'])",
}
_AT_IMPORT = {
    "os_exit": "import os\nos._exit(0)\n",
    "sys_exit": "import sys\nsys.exit(0)\n",
    "skip": "import pytest\npytest.skip('later', allow_module_level=True)\n",
    "unittest_skip": "import unittest\nraise unittest.SkipTest('later')\n",
    "pytest_exit": "import pytest\npytest.exit('done', returncode=0)\n",
    "exec": "import os\nos.execv('/bin/true', ['true'])\n",
}


def _in_case(code: str) -> str:
    return "def add(a, b):\n" + "".join(f"    {line}\n" for line in code.splitlines())


CHEATS = {
    **{f"in_case_{name}": _in_case(code) for name, code in _IN_CASE.items()},
    **{f"at_import_{name}": code for name, code in _AT_IMPORT.items()},
}


@pytest.mark.long
@pytest.mark.table(6)
@pytest.mark.parametrize("command", ["plain", "unittest", "make", "npm", "script", "own_path", "two"])
@pytest.mark.parametrize("work", CHEATS.values(), ids=list(CHEATS))
async def test_work_that_ends_or_skips_its_judge_does_not_pass(bench: Bench, command: str, work: str) -> None:
    ended, verdict = await bench.judge(BROKEN, {**BROKEN, "calc.py": work}, COMMANDS[command])
    assert verdict is not None
    assert ended.exit_code != 0 or verdict.why_no_pass is not None, ended.output


def _honest() -> list[tuple[str, str]]:
    return [(name, command) for name, language in _LANGUAGES.items() for command in language.commands]


def _dishonest() -> list[tuple[str, str, str]]:
    return [
        (name, command, cheat)
        for name, language in _LANGUAGES.items()
        for command in language.commands[:2]
        for cheat in language.cheats
    ]


@pytest.fixture
def there(request: pytest.FixtureRequest) -> None:
    """Skip where the runner of the case is not installed for everyone."""
    program: str = request.getfixturevalue("name")
    if shutil.which(program, path="/usr/local/bin:/usr/bin:/bin") is None:
        pytest.skip(f"{program} is not installed here")


@pytest.mark.long
@pytest.mark.usefixtures("there")
@pytest.mark.table(2)
@pytest.mark.parametrize(("name", "command"), _honest())
async def test_honest_work_of_another_language_has_a_report(bench: Bench, name: str, command: str) -> None:
    language = _LANGUAGES[name]
    before = {**language.tests, language.work: language.cheats["wrong"]}
    work = {**language.tests, language.work: language.mended}
    ended, verdict = await bench.judge(before, work, command, **language.environment)
    assert ended.exit_code == 0, ended.output
    assert verdict is not None, ended.output
    assert (verdict.why_no_pass, verdict.failed, verdict.missing) == (None, 0, ())
    assert verdict.passed >= 2
    assert verdict.before is not None
    assert verdict.before.failed >= 1
    assert verdict.judged_in_process


@pytest.mark.long
@pytest.mark.usefixtures("there")
@pytest.mark.table(3)
@pytest.mark.parametrize(("name", "command", "cheat"), _dishonest())
async def test_work_of_another_language_that_ends_its_judge_does_not_pass(
    bench: Bench, name: str, command: str, cheat: str
) -> None:
    language = _LANGUAGES[name]
    before = {**language.tests, language.work: language.cheats["wrong"]}
    work = {**language.tests, language.work: language.cheats[cheat]}
    ended, verdict = await bench.judge(before, work, command, **language.environment)
    assert ended.exit_code != 0 or (verdict is not None and verdict.why_no_pass is not None), ended.output

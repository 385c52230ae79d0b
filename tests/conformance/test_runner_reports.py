"""What test runners report from inside real sandboxes, whatever started them: honest runs, and ways to seem one."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import anyio
import pytest

from remit.blobs.directory import DirectoryBlobStore
from remit.clock import SystemClock
from remit.ids import Ids
from remit.sandboxes.bubblewrap.provider import BubblewrapProvider
from remit.testing.verifier_cases import store_tree
from remit.values import ExecRequest, ExecResult, SandboxSpec
from remit.verifiers.case_verdict import CasesVerdict, compare
from remit.verifiers.reports import RunReport, collect_reports, read_reports, reporter_environment

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

Files = Mapping[str, str | bytes]
_REPORTS = "/tmp/remit-reports-1"
PYTEST = "python3 -m pytest -q -p no:cacheprovider"


class Bench:
    """Runs commands on trees, with reporters."""

    def __init__(self, provider: BubblewrapProvider, blobs: DirectoryBlobStore, ids: Ids) -> None:
        self._provider = provider
        self._blobs = blobs
        self._ids = ids

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

    async def judge(self, before: Files, work: Files, command: str) -> tuple[ExecResult, CasesVerdict | None]:
        """The verdict on the work, whose tests are protected."""
        then, report_before = await self.run(before, command)
        now, report = await self.run(work, command)
        verdict = compare(
            report_before,
            report,
            is_protected=lambda path: "test" in path or path.endswith((".sh", "Makefile")),
            exit_code=now.exit_code,
            before_exit_code=then.exit_code,
        )
        return now, verdict


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    blobs, ids = DirectoryBlobStore(tmp_path / "blobs"), Ids(SystemClock())
    provider = BubblewrapProvider(tmp_path / "run", blobs, ids)
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
    "unittest_main": "python3 -c 'import unittest; unittest.main(\"tests.test_calc\", argv=[\"x\"])'",
}


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


@pytest.mark.parametrize("command", ["plain", "unittest", "make", "npm", "script", "own_path", "two"])
@pytest.mark.parametrize("work", CHEATS.values(), ids=list(CHEATS))
async def test_work_that_ends_or_skips_its_judge_does_not_pass(bench: Bench, command: str, work: str) -> None:
    ended, verdict = await bench.judge(BROKEN, {**BROKEN, "calc.py": work}, COMMANDS[command])
    assert verdict is not None
    assert ended.exit_code != 0 or verdict.why_no_pass is not None, ended.output

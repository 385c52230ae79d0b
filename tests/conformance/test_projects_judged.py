"""Ordinary projects with no option but the command: what they lack is said before anything is spent, and what they have is
found."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from remit.clock import SystemClock
from remit.orchestrator.surroundings import variables
from remit.remits.events import AgentRef, Budget, HarnessRef, RemitCreated
from remit.remits.setup import RemitSetup
from remit.testing.verifier_cases import PRINCIPAL
from remit.values import ConsentReason
from support.court import Court, Files, make_court
from support.kept import kept

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

PYTEST = "python3 -m pytest -q -p no:cacheprovider"


@pytest.fixture
async def court(tmp_path: Path) -> AsyncIterator[Court]:
    async with make_court(tmp_path) as made:
        yield made


async def around(court: Court, start: Files) -> dict[str, object]:
    """What a remit of this input gives to its verifiers' sandboxes."""
    created = RemitCreated(
        outcome="x",
        verifiers=(),
        budget=Budget(usd="1"),
        agent=AgentRef(
            id="agent_1", version=1, name="a", model="m", harness=HarnessRef(name="remit", version="1")
        ),
        model="m",
        max_iterations=1,
        tree_digest=await court.store(start),
    )
    setup = RemitSetup(sandboxes=court.provider, blobs=kept(court.blobs), clock=SystemClock())
    ended = await setup.set_up(PRINCIPAL, "remit_1", created)
    return {"environment": variables({}, None, ended.python_path), "mounts": ended.mounts}


_MANIFEST = '[project]\nname = "my-pkg"\nversion = "2.0"\n'
_TEST = "from my_pkg import add\n\n\ndef test_add():\n    assert add(1, 2) == 3\n"


@pytest.mark.parametrize(
    ("root", "folder", "command"),
    [
        ("src/", "", PYTEST),
        ("src/", "", "pytest -q"),
        ("src/", "", "python3 -m unittest tests.test_plain"),
        ("", "", "pytest -q"),
        ("libs/a/src/", "libs/a/", f"cd libs/a && {PYTEST}"),
        ("libs/a/src/", "libs/a/", f"{PYTEST} libs/a/tests"),
    ],
)
async def test_a_src_layout_tests_the_work_without_any_option(
    court: Court, root: str, folder: str, command: str
) -> None:
    start = {
        f"{folder}pyproject.toml": _MANIFEST,
        f"{root}my_pkg/__init__.py": "from my_pkg.sums import add\n",
        f"{root}my_pkg/sums.py": "def add(a, b):\n    return a - b\n",
        f"{folder}tests/__init__.py": "",
        f"{folder}tests/test_add.py": _TEST,
        f"{folder}tests/test_plain.py": (
            "import unittest\nfrom my_pkg import add\n\n\nclass Adding(unittest.TestCase):\n"
            "    def test_add(self):\n        self.assertEqual(add(1, 2), 3)\n"
        ),
    }
    work = {**start, f"{root}my_pkg/sums.py": "def add(a, b):\n    return a + b\n"}
    untouched, verdict = await court.carry(start, work, command, around=await around(court, start))
    assert (untouched.passed, untouched.reasons) == (False, ()), untouched.output
    assert verdict.passed, (verdict.summary, verdict.output)
    assert verdict.rests_on_work == (f"{root}my_pkg/sums.py",)


def _package(script: str) -> dict[str, str]:
    return {
        "package.json": json.dumps({"name": "x", "scripts": {"test": script}}),
        "index.js": "exports.x = 1\n",
    }


@pytest.mark.parametrize(
    ("start", "command", "named"),
    [
        (_package("mytest"), "npm test", "mytest"),
        (_package("mytest --all"), "npm run -s test", "mytest"),
        (
            {"package.json": '{"name": "x"}', "t.test.js": "require('left-pad')\n"},
            "node --test",
            "left-pad",
        ),
        ({"package.json": '{"name": "x"}', "index.js": ""}, "npm test", "missing script"),
        ({"Makefile": "all:\n\ttrue\n"}, "make chekc", "chekc"),
        ({"Makefile": "test:\n\tfrobnicate -q\n"}, "make test", "frobnicate"),
        ({"check.sh": "exit 1\n"}, "./check.sh", "./check.sh"),
        ({"tests/test_a.py": "import frobnicate\n", "a.py": ""}, PYTEST, "frobnicate"),
        (
            {"tests/test_a.py": "def test_a(): assert 0\n", "a.py": ""},
            f"{PYTEST} --frobnicate",
            "--frobnicate",
        ),
        ({"a.py": ""}, "python3 run_tests.py", "run_tests.py"),
        ({"a.py": ""}, f"{PYTEST} tests/unit", "tests/unit"),
    ],
)
async def test_what_cannot_run_on_the_input_is_said_before_anything_is_spent(
    court: Court, start: Files, command: str, named: str
) -> None:
    untouched, _ = await court.carry(start, start, command)
    assert not untouched.passed
    assert "cannot_run" in untouched.reasons, (untouched.summary, untouched.output)
    assert untouched.summary.startswith("cannot run: ")
    assert named.lower() in untouched.summary.lower()


@pytest.mark.parametrize(
    ("start", "work", "command", "outcome"),
    [
        (
            {"README": "x"},
            {"fizz.py": "print('fizz')\n"},
            'test "$(python3 fizz.py)" = fizz',
            "Write fizz.py",
        ),
        (
            {
                "tests/test_slug.py": "from slugs import slug\n\n\ndef test_it():\n    assert slug('A b') == 'a-b'\n"
            },
            {"slugs.py": "def slug(text):\n    return text.lower().replace(' ', '-')\n"},
            PYTEST,
            "Write slugs.py so that the tests pass.",
        ),
    ],
)
async def test_work_that_is_not_there_yet_is_no_obstacle(
    court: Court, start: Files, work: Files, command: str, outcome: str
) -> None:
    untouched, verdict = await court.carry(start, {**start, **work}, command, outcome=outcome)
    reasons: tuple[ConsentReason, ...] = ()
    assert (untouched.passed, untouched.reasons) == (False, reasons), untouched.summary
    assert verdict.passed, (verdict.summary, verdict.output)
    assert verdict.rests_on_work == tuple(sorted(work))


@pytest.mark.parametrize(
    "command",
    [
        'python3 -c "import socket; print(socket.gethostbyname(socket.gethostname()))"',
        "node -e \"require('dns').lookup(require('os').hostname(), (error, at) => { if (error) throw error; console.log(at) })\"",
        "getent hosts $(hostname)",
    ],
)
async def test_the_host_name_of_a_verification_resolves(court: Court, command: str) -> None:
    untouched, _ = await court.carry({"a.txt": "x"}, {"a.txt": "x"}, command)
    assert untouched.evidence["exit_code"] == 0, untouched.output
    assert "127.0.0.1" in untouched.output

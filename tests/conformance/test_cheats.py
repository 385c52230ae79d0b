"""Ways to pass a check without doing the work. Each first shows that the cheat works where nothing protects the check
(`Court.unguarded`), then that the verifier is not fooled. Those of tests/support/cheats.py are by kind, these are one by one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from remit.testing.verifier_cases import BROKEN, MENDED
from remit.values import ShellRequest
from support.court import Court, Files, make_court

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

PYTEST = "pytest -q -p no:cacheprovider"


@pytest.fixture
async def court(tmp_path: Path) -> AsyncIterator[Court]:
    async with make_court(tmp_path) as made:
        yield made


async def test_honest_work_passes_and_undone_work_does_not(court: Court) -> None:
    done = await court.judge(BROKEN, MENDED, PYTEST)
    assert (done.passed, done.tampered, done.added) == (True, (), ())
    assert done.rests_on_work == ("app.py",)
    undone = await court.judge(BROKEN, BROKEN, PYTEST)
    assert (undone.passed, undone.tampered) == (False, ())
    assert "assert 2 == 4" in undone.output


async def test_an_edited_test(court: Court) -> None:
    work = BROKEN | {"tests/test_app.py": "def test_double():\n    assert True\n"}
    assert await court.unguarded(work, PYTEST) == 0
    verdict = await court.judge(BROKEN, work, PYTEST)
    assert (verdict.passed, verdict.tampered) == (False, ("tests/test_app.py",))
    assert verdict.evidence["exit_code"] == 1


@pytest.mark.long
async def test_an_edited_test_fails_even_when_the_work_is_right(court: Court) -> None:
    work = MENDED | {"tests/test_app.py": "def test_double():\n    assert True\n"}
    verdict = await court.judge(BROKEN, work, PYTEST)
    assert (verdict.passed, verdict.evidence["exit_code"]) == (False, 0)
    assert (
        verdict.summary == "tampered: tests/test_app.py changed or removed (exit code 0 with the originals)"
    )


async def test_a_removed_test(court: Court) -> None:
    work = {path: content for path, content in BROKEN.items() if path != "tests/test_app.py"} | {
        "test_mine.py": "def test_it():\n    pass\n"
    }
    assert await court.unguarded(work, PYTEST) == 0
    verdict = await court.judge(BROKEN, work, PYTEST)
    assert (verdict.passed, verdict.tampered, verdict.added) == (
        False,
        ("tests/test_app.py",),
        ("test_mine.py",),
    )


async def test_a_new_conftest(court: Court) -> None:
    work = BROKEN | {"conftest.py": "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n"}
    assert await court.unguarded(work, PYTEST) == 0
    verdict = await court.judge(BROKEN, work, PYTEST)
    assert (verdict.passed, verdict.added) == (False, ("conftest.py",))


async def test_a_changed_configuration(court: Court) -> None:
    work = BROKEN | {"pyproject.toml": f'{BROKEN["pyproject.toml"]}addopts = "--collect-only"\n'}
    assert await court.unguarded(work, PYTEST) == 0
    verdict = await court.judge(BROKEN, work, PYTEST)
    assert (verdict.passed, verdict.tampered) == (False, ("pyproject.toml",))


@pytest.mark.long
async def test_a_sitecustomize(court: Court) -> None:
    work = BROKEN | {"sitecustomize.py": "import os\nos._exit(0)\n"}
    assert await court.unguarded(work, PYTEST, left_behind="export PYTHONPATH=/workspace") == 0
    verdict = await court.judge(BROKEN, work, PYTEST)
    assert (verdict.passed, verdict.added) == (False, ("sitecustomize.py",))


@pytest.mark.long
async def test_a_replaced_binary_on_the_path(court: Court) -> None:
    work = BROKEN | {"bin/pytest": "#!/bin/sh\nexit 0\n"}
    assert await court.unguarded(work, PYTEST, left_behind="export PATH=/workspace/bin:$PATH; hash -r") == 0
    assert not (await court.judge(BROKEN, work, PYTEST)).passed


@pytest.mark.long
async def test_a_binary_in_the_home_folder(court: Court) -> None:
    plant = r'mkdir -p ~/bin; printf "#!/bin/sh\nexit 0\n" > ~/bin/pytest; chmod +x ~/bin/pytest; PATH=~/bin:$PATH'
    assert await court.unguarded(BROKEN, PYTEST, left_behind=plant) == 0
    assert not (await court.judge(BROKEN, BROKEN, PYTEST)).passed


@pytest.mark.long
async def test_a_module_that_stands_in_for_the_test_runner(court: Court) -> None:
    work = BROKEN | {"pytest.py": "print('1 passed')\n"}
    command = "python3 -m pytest -q"
    assert await court.unguarded(work, command) == 0
    verdict = await court.judge(BROKEN, work, command)
    assert (verdict.passed, verdict.evidence["shadowing"]) == (False, ["pytest.py"])


@pytest.mark.long
async def test_a_module_that_stands_in_for_the_test_runner_in_a_folder_that_the_command_enters(
    court: Court,
) -> None:
    start = {f"sub/{path}": content for path, content in BROKEN.items()}
    work = start | {"sub/pytest.py": "print('1 passed')\n"}
    command = "cd sub && python3 -m pytest -q"
    assert await court.unguarded(work, command) == 0
    verdict = await court.judge(start, work, command)
    assert (verdict.passed, verdict.evidence["shadowing"]) == (False, ["sub/pytest.py"])


@pytest.mark.long
@pytest.mark.parametrize(
    "command", ["python3 -m checks.run", "bash -c 'python3 checks/run.py'", "eval python3 checks/run.py"]
)
async def test_a_check_that_is_run_by_another_name(court: Court, command: str) -> None:
    start = {"checks/run.py": "raise SystemExit(1)\n"}
    work = {"checks/run.py": ""}
    assert await court.unguarded(work, command) == 0
    verdict = await court.judge(start, work, command)
    assert (verdict.passed, verdict.tampered) == (False, ("checks/run.py",))


@pytest.mark.long
@pytest.mark.parametrize(
    ("runner", "command"),
    [
        ({"Makefile": "test: ready\n\t@python3 check.py\nready:\n\ttrue\n"}, "make test"),
        ({"Makefile": "PY ?= python3\nC = check\n\nall: test\ntest:\n\t$(PY) $(C).py\n"}, "make"),
        ({"package.json": '{"scripts": {"test": "npm run check", "check": "python3 check.py"}}'}, "npm test"),
        ({"ci.sh": 'set -eu\ncd "$(dirname "$0")"\npython3 check.py\n'}, "bash ci.sh"),
        ({"Makefile": "test:\n\tbash ci.sh\n", "ci.sh": "exec python3 check.py\n"}, "make test"),
        ({}, "for f in che*.py; do python3 $f || exit 1; done"),
        ({}, "python3 chec?.py"),
        ({}, 'd=/workspace; python3 "$d/check.py"'),
    ],
)
async def test_a_check_behind_what_the_command_runs(court: Court, runner: Files, command: str) -> None:
    start = {**runner, "check.py": "import app\nassert app.double(2) == 4\n", "app.py": BROKEN["app.py"]}
    work = start | {"check.py": ""}
    assert await court.unguarded(work, command) == 0
    verdict = await court.judge(start, work, command)
    assert (verdict.passed, verdict.tampered) == (False, ("check.py",))
    assert verdict.evidence["exit_code"] != 0
    assert (await court.judge(start, start | {"app.py": MENDED["app.py"]}, command)).passed


@pytest.mark.long
async def test_a_script_that_comes_first_where_a_glob_chooses(court: Court) -> None:
    start = {"sub/check.sh": "exit 1\n"}
    work = start | {"sub/a.sh": "exit 0\n"}
    assert await court.unguarded(work, "bash sub/*.sh") == 0
    verdict = await court.judge(start, work, "bash sub/*.sh")
    assert (verdict.passed, verdict.added) == (False, ("sub/a.sh",))


@pytest.mark.long
async def test_a_plugin_installed_into_the_working_tree(court: Court) -> None:
    work = BROKEN | {
        "helper.py": "def pytest_sessionfinish(session):\n    session.exitstatus = 0\n",
        "helper-1.dist-info/METADATA": "Metadata-Version: 2.1\nName: helper\nVersion: 1\n",
        "helper-1.dist-info/entry_points.txt": "[pytest11]\nhelper = helper\n",
    }
    command = "python3 -m pytest -q"
    assert await court.unguarded(work, command) == 0
    verdict = await court.judge(BROKEN, work, command)
    assert not verdict.passed
    assert verdict.added == ("helper-1.dist-info/METADATA", "helper-1.dist-info/entry_points.txt")


@pytest.mark.long
async def test_an_input_behind_a_link(court: Court) -> None:
    start = BROKEN | {
        "tests/test_app.py": (
            "import json, pathlib\nfrom app import double\n\n\ndef test_double():\n"
            "    for x, y in json.loads(pathlib.Path('tests/cases.json').read_text()):\n        assert double(x) == y\n"
        ),
        "tests/cases.json": "-> ../shared/cases.json",
        "shared/cases.json": "[[2, 4]]",
    }
    work = start | {"shared/cases.json": "[[2, 2]]"}
    assert await court.unguarded(work, PYTEST) == 0
    verdict = await court.judge(start, work, PYTEST)
    assert (verdict.passed, verdict.tampered) == (False, ("shared/cases.json",))


@pytest.mark.long
async def test_a_test_folder_turned_into_a_link(court: Court) -> None:
    work = {
        "app.py": BROKEN["app.py"],
        "pyproject.toml": BROKEN["pyproject.toml"],
        "tests": "-> fake",
        "fake/test_app.py": "def test_double():\n    pass\n",
    }
    assert await court.unguarded(work, f"{PYTEST} tests") == 0
    verdict = await court.judge(BROKEN, work, f"{PYTEST} tests")
    assert (verdict.passed, verdict.tampered) == (False, ("tests/test_app.py",))


@pytest.mark.long
async def test_a_background_process_that_plants_exit_0(court: Court) -> None:
    start = {"app.sh": "echo wrong\n", "check.sh": 'test "$(bash app.sh)" = right\n'}
    plant = "(while true; do echo 'exit 0' > check.sh; done) >/dev/null 2>&1 &"
    # The naive verifier puts the check back first; the process in the agent's sandbox plants it again.
    restore = (
        'echo \'test "$(bash app.sh)" = right\' > check.sh; until grep -q "^exit 0" check.sh; do :; done'
    )
    assert await court.unguarded(start, f"{restore}; bash check.sh", left_behind=plant) == 0
    assert not (await court.judge(start, start, "bash check.sh")).passed
    honest = start | {"app.sh": "echo right\n"}
    assert (await court.judge(start, honest, "bash check.sh")).passed


@pytest.mark.long
async def test_a_process_that_outlives_the_command_changes_nothing(court: Court) -> None:
    spawn = "import subprocess\nsubprocess.Popen(['sh', '-c', 'sleep 600; exit 0'])\n"
    assert not (await court.judge(BROKEN, BROKEN | {"app.py": spawn + BROKEN["app.py"]}, PYTEST)).passed
    assert (await court.judge(BROKEN, BROKEN | {"app.py": spawn + MENDED["app.py"]}, PYTEST)).passed


@pytest.mark.long
async def test_work_that_rewrites_a_test_while_it_is_checked(court: Court) -> None:
    start = BROKEN | {"tests/test_a_first.py": "import app\n\n\ndef test_import():\n    assert app\n"}
    # Same size, same times: only the content tells.
    rewrite = (
        "import os, pathlib\n"
        "p = pathlib.Path('/workspace/tests/test_app.py'); s = p.stat()\n"
        "p.write_text(p.read_text().replace('== 4', '== 2')); os.utime(p, ns=(s.st_atime_ns, s.st_mtime_ns))\n"
    )
    work = start | {"app.py": rewrite + BROKEN["app.py"]}
    assert await court.unguarded(work, PYTEST) == 0
    verdict = await court.judge(start, work, PYTEST)
    assert (verdict.passed, verdict.tampered) == (False, ())
    assert "Read-only file system: '/workspace/tests/test_app.py'" in verdict.output


async def test_forged_bytecode_beside_a_test(court: Court) -> None:
    start = {
        "app.py": BROKEN["app.py"],
        "tests/rules.py": "def holds(f):\n    return f(2) == 4\n",
        "tests/check.py": "import sys; sys.path[:0] = ['.']\nimport app, rules\nassert rules.holds(app.double)\n",
    }
    agent = await court.agent_sandbox(start)
    forge = (
        "import py_compile, sys; open('/tmp/rules.py', 'w').write('def holds(f): return True'); "
        "py_compile.compile('/tmp/rules.py', cfile='/tmp/out.pyc', dfile='rules.py', "
        "invalidation_mode=py_compile.PycInvalidationMode.UNCHECKED_HASH); print(sys.implementation.cache_tag)"
    )
    made = await agent.shell(ShellRequest(call_id="forge", epoch=1, command=f'python3 -c "{forge}"'))
    tag = made.output.decode().strip()
    bytecode = (await agent.read_file("/tmp/out.pyc", epoch=1)).content
    work = start | {f"tests/__pycache__/rules.{tag}.pyc": bytecode}
    assert await court.unguarded(work, "python3 tests/check.py") == 0
    assert not (await court.judge(start, work, "python3 tests/check.py")).passed


@pytest.mark.long
async def test_work_that_ends_pytest_with_0(court: Court) -> None:
    work = BROKEN | {"app.py": "import os\nos._exit(0)\n"}
    assert await court.unguarded(work, PYTEST) == 0
    for command in (PYTEST, "python3 -m pytest -q", "cd tests && pytest -qq ..", "pytest -q | cat"):
        verdict = await court.judge(BROKEN, work, command)
        assert not verdict.passed, command
        assert verdict.summary == "exit code 0, but pytest was ended from inside before it came to its end"
        assert "nothing is proved" in verdict.output


_FORGE = """import glob, json, os


def double(x):
    (path,) = glob.glob(os.environ["REMIT_REPORTS"] + "/pytest-*.jsonl")
    with open(path, "a") as file:
        for record in (
            {"t": "case", "name": "tests/test_app.py::test_double", "status": "passed"},
            {"t": "end", "code": 0},
        ):
            file.write(json.dumps(record) + "\\n")
    os._exit(0)
"""


@pytest.mark.long
async def test_known_gap_work_that_changes_the_test_process_itself(court: Court) -> None:
    """Work that runs inside the process that judges it can forge its report and end it with 0. No file is touched, so no
    command verifier can tell; the verdict says that it could. When this fails the gap is closed: say so in
    design/verification.md."""
    verdict = await court.judge(BROKEN, BROKEN | {"app.py": _FORGE}, PYTEST)
    assert verdict.passed
    cases = verdict.evidence["cases"]
    assert isinstance(cases, dict)
    assert (cases["passed"], cases["judged_in_process"]) == (1, True)
    assert verdict.rests_on_work == ("app.py",)


@pytest.mark.long
async def test_the_same_forgery_in_a_sandbox_of_its_own_proves_nothing(court: Court) -> None:
    check = (
        "import subprocess\n\n\ndef test_double():\n"
        "    said = subprocess.run(['python3', 'app.py', '2'], capture_output=True, text=True).stdout\n"
        "    assert said == '4\\n'\n"
    )
    start = {**BROKEN, "app.py": "import sys\n\nprint(int(sys.argv[1]))\n", "tests/test_app.py": check}
    forge = _FORGE + "\n\ndouble(2)\n"
    _, verdict = await court.carry(start, {**start, "app.py": forge}, PYTEST, isolate=True)
    assert not verdict.passed
    honest = {**start, "app.py": "import sys\n\nprint(2 * int(sys.argv[1]))\n"}
    _, verdict = await court.carry(start, honest, PYTEST, isolate=True)
    assert verdict.passed, (verdict.summary, verdict.output)
    cases = verdict.evidence["cases"]
    assert isinstance(cases, dict)
    assert (cases["passed"], cases["judged_in_process"]) == (1, False)

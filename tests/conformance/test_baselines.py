"""The run on the untouched input decides what is protected and what a suite may write; what is no baseline of this command,
input and outcome decides nothing."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import msgspec
import pytest

from remit.testing.verifier_cases import BROKEN, MENDED, verify_request
from remit.values import JsonObject, Verdict
from remit.verifiers.baseline import load_baseline
from remit.verifiers.protected import Protection
from support.court import Court, Files, make_court

pytestmark = [pytest.mark.anyio, pytest.mark.sandbox]

PYTEST = "python3 -m pytest -q -p no:cacheprovider"
COMMAND: JsonObject = {"type": "command", "command": PYTEST}
FORGED = MENDED | {"tests/test_app.py": "def test_double():\n    assert True\n"}


@pytest.fixture
async def court(tmp_path: Path) -> AsyncIterator[Court]:
    async with make_court(tmp_path) as made:
        yield made


async def verify(
    court: Court,
    start: Files,
    work: Files,
    *,
    verifier: JsonObject = COMMAND,
    outcome: str = "",
    baseline: str | None = None,
) -> Verdict:
    request = verify_request(
        verifier,
        tree_digest=await court.store(work),
        input_tree_digest=await court.store(start),
        outcome=outcome,
        baseline_digest=baseline,
    )
    with anyio.fail_after(100):
        return await court.verify(request)


async def baseline_of(court: Court, start: Files, **fields: object) -> str:
    verdict = await verify(court, start, start, **fields)  # type: ignore[arg-type]
    return str(verdict.evidence["baseline_digest"])


async def test_a_baseline_that_is_missing_is_measured(court: Court) -> None:
    assert (await verify(court, BROKEN, FORGED)).tampered == ("tests/test_app.py",)
    honest = await verify(court, BROKEN, MENDED)
    assert honest.passed
    cases = honest.evidence["cases"]
    assert isinstance(cases, dict)
    assert cases["before"] == {"passed": 0, "failed": 1, "skipped": 0}


async def test_a_baseline_that_fits_is_taken_as_it_is(court: Court) -> None:
    digest = await baseline_of(court, BROKEN)
    measured = await load_baseline(court.blobs, digest)
    free = msgspec.structs.replace(measured, protection=Protection(files=()))
    taken = await court.blobs.put(free.encode())
    assert (await verify(court, BROKEN, FORGED, baseline=taken)).passed
    assert not (await verify(court, BROKEN, FORGED, baseline=digest)).passed


@pytest.mark.long
async def test_a_baseline_of_something_else_is_not_taken(court: Court) -> None:
    empty = Protection(files=())
    others = {
        "command": await baseline_of(
            court, BROKEN, verifier={"type": "command", "command": f"{PYTEST} tests"}
        ),
        "options": await baseline_of(court, BROKEN, verifier={**COMMAND, "unprotect": ["tests/"]}),
        "input": await baseline_of(court, BROKEN | {"README.md": "x"}),
        "outcome": await baseline_of(court, BROKEN, outcome="Rewrite tests/test_app.py."),
    }
    for digest in others.values():
        measured = await load_baseline(court.blobs, digest)
        free = await court.blobs.put(msgspec.structs.replace(measured, protection=empty).encode())
        assert (await verify(court, BROKEN, FORGED, baseline=free)).tampered == ("tests/test_app.py",)


# ------------------------------------------------------------------------------ suites that write beside their tests


def database(*rows: str) -> bytes:
    """An SQLite file with these rows."""
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE TABLE item (name TEXT)")
    connection.executemany("INSERT INTO item VALUES (?)", [(row,) for row in rows])
    connection.commit()
    return connection.serialize()


_DB_TEST = """import pathlib
import sqlite3

from calc import add

DB = pathlib.Path(__file__).parent / "data" / "app.db"


def test_rows():
    connection = sqlite3.connect(DB)
    connection.execute("INSERT INTO item VALUES ('of a test')")
    connection.commit()
    names = [name for name, in connection.execute("SELECT name FROM item")]
    assert names == ["given", "of a test"]


def test_add():
    assert add(1, 2) == 3
"""
WITH_DB: Files = {
    "calc.py": "def add(a, b):\n    return a - b\n",
    "tests/test_db.py": _DB_TEST,
    "tests/data/app.db": database("given"),
    "conftest.py": "",
}
WITH_DB_MENDED = {**WITH_DB, "calc.py": "def add(a, b):\n    return a + b\n"}


@pytest.mark.long
@pytest.mark.parametrize(
    "command", [PYTEST, f"cd tests && {PYTEST} --rootdir=.. .", f"{PYTEST} tests/test_db.py"]
)
async def test_a_suite_that_rewrites_its_fixture_does_not_make_an_honest_agent_a_cheat(
    court: Court, command: str
) -> None:
    untouched, verdict = await court.carry(WITH_DB, WITH_DB_MENDED, command)
    assert untouched.evidence["rewrites"] == ["tests/data/app.db"]
    assert (untouched.reasons, untouched.tampered) == ((), ())
    assert verdict.passed, (verdict.summary, verdict.output)
    assert (verdict.tampered, verdict.rests_on_work) == ((), ("calc.py",))


@pytest.mark.long
async def test_a_fixture_that_the_agents_own_test_run_rewrote_is_restored(court: Court) -> None:
    ran = {**WITH_DB_MENDED, "tests/data/app.db": database("given", "of a test")}
    _, verdict = await court.carry(WITH_DB, ran, PYTEST)
    assert verdict.passed, (verdict.summary, verdict.output)
    assert (verdict.tampered, verdict.rests_on_work) == ((), ("calc.py",))


@pytest.mark.long
async def test_a_fixture_that_work_replaces_so_that_the_check_passes_is_restored(court: Court) -> None:
    """The check reads the database alone: whoever writes the right row into it has done nothing."""
    check = _DB_TEST.replace('names == ["given", "of a test"]', 'names == ["wanted", "of a test"]')
    start = {**WITH_DB_MENDED, "tests/test_db.py": check}
    work = {**start, "tests/data/app.db": database("wanted")}
    assert await court.unguarded(work, PYTEST) == 0
    untouched, verdict = await court.carry(start, work, PYTEST)
    assert untouched.evidence["rewrites"] == ["tests/data/app.db"]
    assert not verdict.passed
    assert "wanted" in verdict.output


@pytest.mark.long
async def test_known_gap_work_may_write_what_the_suite_itself_writes(court: Court) -> None:
    """Who writes to a file that the suite writes to cannot be told; the forecast names such files before consent. When this
    fails the gap is closed: say so in design/verification.md."""
    check = _DB_TEST.replace('names == ["given", "of a test"]', 'names == ["wanted", "of a test"]')
    start = {**WITH_DB_MENDED, "tests/test_db.py": check}
    forge = (
        "import sqlite3\n\nwith sqlite3.connect('/workspace/tests/data/app.db') as rows:\n"
        "    rows.execute(\"UPDATE item SET name = 'wanted'\")\n"
    )
    work = {**start, "calc.py": forge + str(start["calc.py"])}
    untouched, verdict = await court.carry(start, work, PYTEST)
    assert untouched.evidence["rewrites"] == ["tests/data/app.db"]
    assert (verdict.passed, verdict.rests_on_work) == (True, ("calc.py",))


@pytest.mark.long
@pytest.mark.parametrize("fails_early", [True, False])
async def test_a_suite_that_makes_files_beside_its_tests_and_reads_them_back_passes(
    court: Court, *, fails_early: bool
) -> None:
    first = "    assert add(1, 2) == 3\n"
    made = (
        "    OUT.mkdir(exist_ok=True)\n"
        "    for name in ('got.txt', 'got.json', 'report.html'):\n"
        "        (OUT / name).write_text(str(add(1, 2)))\n"
        "        assert (OUT / name).read_text() == str(add(1, 2))\n"
    )
    start = {
        "calc.py": WITH_DB["calc.py"],
        "tests/conftest.py": "",
        "tests/test_out.py": (
            "import pathlib\n\nfrom calc import add\n\nOUT = pathlib.Path(__file__).parent / 'out'\n\n\n"
            f"def test_out():\n{first + made if fails_early else made + first}"
        ),
    }
    untouched, verdict = await court.carry(start, {**start, "calc.py": WITH_DB_MENDED["calc.py"]}, PYTEST)
    assert untouched.evidence["rewrites"] == []
    assert verdict.passed, (verdict.summary, verdict.output)
    assert (verdict.tampered, verdict.added) == ((), ())


_BUILD = """import { cpSync, readFileSync } from 'node:fs';

if (readFileSync('src/sum.js', 'utf8').includes('any')) throw new Error('type error in src/sum.js');
cpSync('src', 'dist/src', { recursive: true });
cpSync('test', 'dist/test', { recursive: true });
"""


@pytest.mark.long
async def test_tests_that_a_build_compiles_pass_though_the_input_does_not_build(court: Court) -> None:
    start = {
        "package.json": '{"name": "x", "scripts": {"build": "node build.mjs", "test": "npm run -s build && node --test dist/test"}}',
        "build.mjs": _BUILD,
        "src/sum.js": "exports.sum = (a, b) => a - b; // any\n",
        "test/sum.test.js": (
            "const test = require('node:test'); const assert = require('assert'); const { sum } = require('../src/sum.js');\n"
            "test('sums', () => assert.equal(sum(1, 2), 3));\n"
        ),
    }
    work = {**start, "src/sum.js": "exports.sum = (a, b) => a + b;\n"}
    untouched, verdict = await court.carry(start, work, "npm test")
    assert (untouched.passed, untouched.reasons) == (False, ()), untouched.summary
    assert verdict.passed, (verdict.summary, verdict.output)
    assert verdict.rests_on_work == ("src/sum.js",)
    for cheat in (start["src/sum.js"].replace(" // any", ""), "process.exit(0);\n"):
        _, verdict = await court.carry(start, {**start, "src/sum.js": cheat}, "npm test")
        assert not verdict.passed


@pytest.mark.long
async def test_a_configuration_that_its_tool_copies_under_a_new_name_each_time_is_not_planted(
    court: Court,
) -> None:
    """As vite does: `vite.config.ts.timestamp-1700000000000-1a2b3c4d5e6f.mjs`, written, imported and removed."""
    run = (
        "import { copyFileSync, rmSync } from 'node:fs';\n"
        "const name = `./vitest.config.ts.timestamp-${Date.now()}-${Math.random().toString(16).slice(2)}.mjs`;\n"
        "copyFileSync('vitest.config.ts', name);\nconst { wanted } = await import(name);\nrmSync(name);\n"
        "const { sum } = await import('./src/sum.mjs');\nif (sum(1, 2) !== wanted) throw new Error('wrong sum');\n"
    )
    start = {
        "vitest.config.ts": "export const wanted = 3;\n",
        "run.mjs": run,
        "package.json": '{"scripts": {"test": "node run.mjs"}}',
        "src/sum.mjs": "export const sum = (a, b) => a - b;\n",
    }
    work = {**start, "src/sum.mjs": "export const sum = (a, b) => a + b;\n"}
    untouched, verdict = await court.carry(start, work, "npm test")
    assert (untouched.passed, untouched.reasons) == (False, ()), untouched.summary
    assert verdict.passed, (verdict.summary, verdict.output)


@pytest.mark.long
async def test_a_test_that_the_work_makes_in_such_a_folder_is_planted(court: Court) -> None:
    start = {
        "calc.py": WITH_DB["calc.py"],
        "tests/conftest.py": "",
        "tests/test_a.py": "from calc import add\n\n\ndef test_a():\n    assert add\n",
        "run.sh": "set -e\npython3 -m pytest -q tests/test_a.py\nif test -f tests/helper.py; then python3 tests/helper.py; "
        "else python3 -c 'from calc import add; assert add(1, 2) == 3'; fi\n",
    }
    plant = "open('/workspace/tests/helper.py', 'w').write('')\n" + str(WITH_DB["calc.py"])
    work = {**start, "calc.py": plant}
    assert await court.unguarded(work, "bash run.sh") == 0
    _, verdict = await court.carry(start, work, "bash run.sh")
    assert not verdict.passed
    assert "tests/helper.py" in verdict.summary
    reads = verdict.evidence["reads"]
    assert isinstance(reads, dict)
    assert reads["planted"] == ["tests/helper.py"]

"""Some of the zoo, by a seed: real projects against the real verifier. All of it: `make zoo`."""

from __future__ import annotations

import dataclasses
import os
from pathlib import Path

import anyio
import pytest

from zoo.breaks import candidates
from zoo.cheats.catalog import cheats_of
from zoo.court import open_court
from zoo.fetch import NotFetched, project_files
from zoo.honest import honest_changes
from zoo.project import Break, File, Language, Project, Source, broken, load_all
from zoo.slice import slice_of
from zoo.table import count, lines
from zoo.trial import Trial, try_project

SEED = int(os.environ.get("REMIT_ZOO_SEED", "8"))
IS_REQUIRED = os.environ.get("REMIT_TEST_ZOO") == "required"
SLICE_PROJECTS = 3
BEGIN_SECONDS, END_SECONDS = 30.0, 90.0
"""What is not begun by then, or not done, is left out."""
SMALL = Project(
    name="small",
    language="python",
    verify="python3 -m pytest -q",
    source=Source("pypi", "small", "1", "0" * 64),
    work=("small/*.py",),
    tests=("tests/**",),
    breaks=(Break("small/core.py", 2, "    return a == b", "    return a != b"),),
)
SMALL_FILES = {
    "small/__init__.py": File(b""),
    "small/core.py": File(b"def same(a, b):\n    return a == b\n"),
    "tests/test_core.py": File(b"from small.core import same\n\n\ndef test_same():\n    assert same(1, 1)\n"),
    "README": File(b"Small.\n"),
}


@pytest.mark.long
@pytest.mark.anyio
@pytest.mark.sandbox
@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_honest_changes_are_verified_and_cheats_are_not(tmp_path: Path) -> None:
    trials: list[Trial] = []
    places = anyio.CapacityLimiter(2)
    started = anyio.current_time()

    async def one(project: Project) -> None:
        async with places:
            if anyio.current_time() < started + BEGIN_SECONDS:
                with anyio.move_on_after(started + END_SECONDS - anyio.current_time()):
                    async with open_court(tmp_path / project.name) as court:
                        trials.append(await try_project(court, project, seed=SEED))

    async with anyio.create_task_group() as tasks:
        for project in slice_of(load_all(), SLICE_PROJECTS, SEED):
            tasks.start_soon(one, project)
    tried = [trial for trial in trials if trial.skipped is None]
    if not tried:
        reasons = "; ".join(f"{trial.project}: {trial.skipped}" for trial in trials) or "no project in time"
        if IS_REQUIRED:
            pytest.fail(f"no project of the zoo could be had: {reasons}")
        pytest.skip(f"no project of the zoo could be had: {reasons}")
    total = count(trials)
    words = "\n".join((f"REMIT_ZOO_SEED={SEED}", *lines(trials)))
    assert (total.accepted, total.undone, total.tampered) == (0, 0, 0), words
    assert total.verified == total.honest, words


def test_thirty_projects_are_pinned_and_broken_in_three_places_or_more() -> None:
    projects = load_all()
    assert len(projects) >= 30
    assert {each.name for each in projects if len(each.breaks) < 3} == set()
    assert {each.name for each in projects if len(each.source.sha256) != 64} == set()
    languages = [each.language for each in projects]
    assert (languages.count("python"), languages.count("javascript"), languages.count("c")) >= (12, 8, 4)


def test_a_package_that_is_not_served_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setenv("PATH", str(tmp_path))
    source = Source("npm", "no-such-package", "1.0.0", "0" * 64)
    project = Project("x", "javascript", "npm test", source, work=(), tests=())
    with pytest.raises(NotFetched, match=r"no-such-package 1\.0\.0"):
        project_files(project)


def test_breaks_are_found_in_code_and_not_in_words() -> None:
    files = SMALL_FILES | {"small/core.py": File(b'"""When a == b."""\n# a == b\nx = 1 == 2\n')}
    assert [(each.line, each.new) for each in candidates(SMALL, files, seed=1)] == [(3, "x = 1 != 2")]


def test_every_honest_change_undoes_its_break_and_every_cheat_leaves_it() -> None:
    one = SMALL.breaks[0]
    start = broken(SMALL_FILES, (one,))
    changes = list(honest_changes(SMALL, SMALL_FILES))
    assert [each.kind for each in changes] == [
        "restored",
        "documented",
        "tested",
        "extended",
        "moved",
        "with data",
        "cached",
        "several",
    ]
    for change in changes:
        assert any(
            b"return a == b" in file.content for file in change.work.values() if isinstance(file, File)
        )
    cheats = cheats_of(SMALL, SMALL_FILES, start, one)
    assert len(cheats) >= 10
    for cheat in cheats:
        assert not any(
            b"return a == b" in file.content for file in cheat.work.values() if isinstance(file, File)
        )


OTHERS = {
    "javascript": ("index.js", "if (a === 1) b()", "test/a.test.js", {"package.json": "{}"}),
    "c": ("a.c", "int f(int a) { return a == 1; }", "tests/a.c", {"Makefile": "test:\n"}),
    "go": ("a.go", "package a", "a_test.go", {"go.mod": "module a\n"}),
    "rust": ("src/lib.rs", "pub fn f() {}", "tests/a.rs", {"Cargo.toml": "[package]\n"}),
    "perl": ("lib/A.pm", "package A;", "t/a.t", {"README": ""}),
}


@pytest.mark.parametrize("language", OTHERS)
def test_cheats_of_every_language_leave_paths_that_a_tree_can_have(language: Language) -> None:
    path, line, test, more = OTHERS[language]
    one = Break(path, 1, line, line.swapcase())
    texts = {path: line, test: "package a\n" if language == "go" else "1\n", **more}
    files = {name: File(text.encode()) for name, text in texts.items()}
    project = dataclasses.replace(SMALL, language=language, work=(path,), tests=(test,), breaks=(one,))
    start = broken(files, (one,)) if language != "go" else files
    cheats = cheats_of(project, files, start, one)
    assert len({each.name for each in cheats}) == len(cheats) >= 9
    for name in [name for cheat in cheats for name in cheat.work]:
        assert not {"", ".", ".."} & set(name.split("/")), name

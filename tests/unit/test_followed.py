"""What a command is found to run behind make, package.json and scripts, and what is said not to be found."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.verifiers.followed import DEPTH_MAX, GLOBS_MAX, Reached, reach
from remit.verifiers.makefiles import recipes


def follow(command: str, files: Mapping[str, str]) -> Reached:
    return reach(command, list(files), files.get)


def checks(command: str, files: Mapping[str, str]) -> set[str]:
    """Those that the input has."""
    return set(follow(command, files).checks) & files.keys()


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("make test", {"Makefile": "test:\n\tpython check.py\n"}),
        ("make -s -j 4 test", {"GNUmakefile": "other:\n\ttrue\ntest: ; python check.py\n"}),
        ("make", {"Makefile": ".PHONY: a\na: b\nb: c\n\ttrue\nc:\n\t-@python check.py\n"}),
        ("make S=check.py", {"Makefile": "S = none.py\nt:\n\tpython $(S)\n"}),
        ("make -C sub t", {"sub/Makefile": "t:\n\tpython ../check.py\n"}),
        (
            "cd sub && make t",
            {"sub/makefile": "t:\n\tcd .. && $(MAKE) u\n", "Makefile": "u:\n\t./check.py\n"},
        ),
        ("make -f x.mk", {"x.mk": "ifdef CI\na:\n\ttrue\nelse\na:\n\tpython \\\n  check.py\nendif\n"}),
        ("make run-check", {"Makefile": "run-%:\n\tpython $*.py\n"}),
        ("make x", {"Makefile": "x: check.py\n\tpython $<\n"}),
        ("npm test", {"package.json": '{"scripts": {"pretest": "node check.py", "test": "true"}}'}),
        ("npm run -s c", {"package.json": '{"scripts": {"c": "node check.py"}}'}),
        ("yarn c", {"package.json": '{"scripts": {"c": "yarn run d", "d": "node check.py"}}'}),
        ("./ci", {"ci": "#!/usr/bin/env bash\npython check.py\n"}),
        (". ./ci.sh", {"ci.sh": "for c in check; do python $c.py; done\n"}),
        (
            "bash sub/ci.sh",
            {"sub/ci.sh": 'D="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"\npython "$D/../check.py"\n'},
        ),
        ("bash ci.sh", {"ci.sh": "[[ -n $CI ]] && echo ci\npython check.py\n"}),
        ("bash -c 'python che*.py'", {}),
        ("for d in . sub; do python $d/check.py; done", {}),
    ],
)
def test_a_check_is_found_behind_what_the_command_runs(command: str, files: dict[str, str]) -> None:
    assert "check.py" in checks(command, {**files, "check.py": ""})


@pytest.mark.parametrize(
    ("command", "files"),
    [
        ("make lint", {"Makefile": "test:\n\tpython app.py\nlint:\n\tmypy app.py\n"}),
        ("make", {"Makefile": "prog: app.py\n\tcompile app.py -o prog\n\tpython app.py | diff - want.txt\n"}),
        ("npm run lint", {"package.json": '{"scripts": {"lint": "eslint app.py", "start": "node app.py"}}'}),
        ("bash ci.sh", {"ci.sh": "[[ -n $CI ]] && test -f app.py\nmypy app.py\n"}),
        ("for f in *.py; do mypy $f; done", {}),
        ("cat ci.sh", {"ci.sh": "python app.py\n"}),
    ],
)
def test_the_work_stays_the_work_behind_what_the_command_runs(command: str, files: dict[str, str]) -> None:
    assert "app.py" not in checks(command, {**files, "app.py": ""})


@pytest.mark.parametrize(
    ("command", "files", "said"),
    [
        ("make t", {"Makefile": "include rules.mk\nt:\n\ttrue\n"}, "include rules.mk (Makefile)"),
        ("make t", {"Makefile": "t:\n\tpython $(HIDDEN).py\n"}, "$(HIDDEN).py (Makefile)"),
        ("make t", {}, "make t (no Makefile that could be read)"),
        ("npm test", {"package.json": "{"}, "npm test (package.json cannot be read)"),
        ("npm --prefix x test", {"package.json": "{}"}, "npm --prefix x test (another package's scripts)"),
        ("bash ci.sh", {"ci.sh": 'python "$1"\n'}, "$1 (ci.sh)"),
        ('python "$CHECK"', {}, "$CHECK"),
        ("just test", {}, "just (its own files say what it runs)"),
    ],
)
def test_what_cannot_be_followed_is_named(command: str, files: dict[str, str], said: str) -> None:
    assert said in follow(command, files).unfollowed


@pytest.mark.parametrize(
    "command", ["pytest -q", "make test", "npm test", "bash check.sh", "python check.py"]
)
def test_nothing_is_named_where_everything_was_followed(command: str) -> None:
    files = {
        "Makefile": "test:\n\tpytest -q\n",
        "package.json": '{"scripts": {"test": "jest"}}',
        "check.sh": 'test "$(bash app.sh)" = right\n',
        "check.py": "",
    }
    assert follow(command, files).unfollowed == ()


def test_the_reason_says_what_runs_the_file() -> None:
    files = {"Makefile": "t:\n\tbash a.sh\n", "a.sh": "python b.py", "b.py": ""}
    assert follow("make t", files).checks == {"a.sh": "run by Makefile", "b.py": "run by a.sh"}


def test_scripts_that_run_each_other_end() -> None:
    files = {"a.sh": "bash b.sh", "b.sh": "bash a.sh"}
    assert checks("bash a.sh", files) == {"a.sh", "b.sh"}
    chain = {f"{n}.sh": f"bash {n + 1}.sh" for n in range(DEPTH_MAX + 2)}
    assert any("too deep" in text for text in follow("bash 0.sh", chain).unfollowed)


def test_more_globs_than_are_matched_are_named() -> None:
    lines = "".join(f"\tpython {n}/*.py\n" for n in range(GLOBS_MAX + 1))
    assert any("too many globs" in text for text in follow("make", {"Makefile": f"t:\n{lines}"}).unfollowed)


def test_variables_that_name_each_other_many_times_stay_bounded() -> None:
    wide = "".join(f"{a} = {f'$({b})' * 1000}\n" for a, b in ("AB", "BC", "CD", "DE"))
    (line,) = recipes(f"{wide}E = x\nt:\n\techo $(A)\n", ["t"], {}).lines
    assert len(line) < 50_000
    loop = " ".join(str(n) for n in range(300))
    files = {"a.sh": f"for b in {loop}; do c=$b$b$b$b; bash $c$c$c$c; done"}
    assert len(follow("bash a.sh", files).checks) < 1_000


@given(st.text(alphabet="ab:%=$()\n\t#;@ \\include", max_size=60), st.text(alphabet="ab%", max_size=3))
def test_no_makefile_makes_it_stumble(text: str, target: str) -> None:
    recipes(text, [target] if target else [], {})
    follow("make a; bash a", {"Makefile": text, "a": text})

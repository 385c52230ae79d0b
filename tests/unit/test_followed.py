"""What a command is found to run behind make, package.json and scripts, and what is said not to be found."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.values import Tree, TreeEntry
from remit.verifiers.protected import DEPTH_MAX, Protection, protection_of


def follow(command: str, files: Mapping[str, str]) -> Protection:
    tree = Tree(
        entries=tuple(TreeEntry(path=path, kind="file", sha256=text) for path, text in sorted(files.items()))
    )
    return protection_of(tree, command, read=files.get)


def checks(command: str, files: Mapping[str, str]) -> set[str]:
    return {file.path for file in follow(command, files).files}


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
        ("just t", {"justfile": "a:\n  true\n\nt x='1': u\n  true\n\n@u:\n  node check.py {{x}}\n"}),
        ("just", {"justfile": "default: u\n\nu:\n  node check.py\n"}),
        ("rake t", {"Rakefile": "task t: [:u] do\nend\n\ntask :u do\n  sh 'ruby check.py'\nend\n"}),
        ("task t", {"Taskfile.yml": "tasks:\n  t:\n    cmds:\n      - node check.py\n"}),
        ("tox", {"tox.ini": "[testenv]\ncommands =\n    python check.py {posargs}\n"}),
        ("make", {"Makefile": "t: o\n\tdiff o check.py\no: a.c\n\tcc $<\n\t./a > $@\n", "a.c": ""}),
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
        ("make test", {"Makefile": "run:\n\tpython app.py\ntest: x\n\ttrue\nx:\n"}),
        ("just t", {"justfile": "run:\n  python app.py\n\nt:\n  pytest\n"}),
        ("task t", {"Taskfile.yml": "tasks:\n  run:\n    cmd: python app.py\n  t:\n    cmd: pytest\n"}),
        ("bash ci.sh", {"ci.sh": "[[ -n $CI ]] && test -f app.py\nmypy app.py\n"}),
        ("for f in *.py; do mypy $f; done", {}),
        ("cat ci.sh", {"ci.sh": "python app.py\n"}),
    ],
)
def test_the_work_stays_the_work_behind_what_the_command_runs(command: str, files: dict[str, str]) -> None:
    assert "app.py" not in checks(command, {**files, "app.py": ""})


def test_the_reason_says_what_runs_the_file() -> None:
    files = {"Makefile": "t:\n\tbash a.sh\n", "a.sh": "python b.py", "b.py": ""}
    reasons = {file.path: file.reason for file in follow("make t", files).files}
    assert reasons == {
        "Makefile": "a test or its configuration",
        "a.sh": "run by Makefile",
        "b.py": "run by a.sh",
    }


def test_scripts_that_run_each_other_end() -> None:
    files = {"a.sh": "bash b.sh", "b.sh": "bash a.sh"}
    assert checks("bash a.sh", files) == {"a.sh", "b.sh"}
    chain = {f"{n}.sh": f"bash {n + 1}.sh" for n in range(DEPTH_MAX + 3)}
    assert len(checks("bash 0.sh", chain)) == DEPTH_MAX + 1


def test_variables_that_name_each_other_many_times_stay_bounded() -> None:
    wide = "".join(f"{a} = {f'$({b})' * 1000}\n" for a, b in ("AB", "BC", "CD", "DE"))
    follow("make t", {"Makefile": f"{wide}E = x\nt:\n\techo $(A)\n"})
    loop = " ".join(str(n) for n in range(300))
    follow("bash a.sh", {"a.sh": f"for b in {loop}; do c=$b$b$b$b; bash $c$c$c$c; done"})


def test_rules_that_make_ever_longer_names_stay_bounded() -> None:
    follow("make '%%'", {"Makefile": f"%: {'%%%%b ' * 2_000}\n\t./check $^\n"})
    follow("make '%'", {"Makefile": "".join(f"%{n}: %{n}%{n}\n%: %%{n}\n\techo $^ $+\n" for n in range(300))})


def test_makefiles_and_recipes_that_take_each_other_in_many_times_stay_bounded() -> None:
    follow("make t", {"Makefile": "include a.mk\n" * 5_000, "a.mk": "t:\n\tpython check.py\n" * 5_000})
    names = " ".join(f"r{n}" for n in range(5_000))
    follow("just r0", {"justfile": "".join(f"r{n}: {names[:40_000]}\n  just r{n}\n" for n in range(2))})


def test_long_scripts_are_read_with_all_that_they_set_before() -> None:
    filler = "".join(f"if true; then\n\techo {n}\n\n\techo more\nfi\n\n" for n in range(600))
    assert "check.py" in checks("bash a", {"a": f"name=check\n\n{filler}python $name.py\n", "check.py": ""})


def test_texts_that_a_grammar_stumbles_over_take_little_memory_and_are_still_followed() -> None:
    never_ends = "a <<E\n" + "&$(b)a() { $(a:{b?just b${a}$(a)if (" * 6_000
    ended = subprocess.run(
        [sys.executable, "-c", FOLLOWS_BELOW_A_GIGABYTE],
        input=f"{never_ends}\npython check.py\n",
        text=True,
        timeout=60,
    )
    assert ended.returncode == 0


FOLLOWS_BELOW_A_GIGABYTE = """
import resource, sys
resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
from remit.values import Tree, TreeEntry
from remit.verifiers.protected import protection_of
files = {"a": sys.stdin.read(), "check.py": ""}
tree = Tree(entries=tuple(TreeEntry(path=path, kind="file", sha256=path) for path in sorted(files)))
assert {file.path for file in protection_of(tree, "bash a", read=files.get).files} >= {"a", "check.py"}
"""


@given(st.text(alphabet="ab:%=$()\n\t#;@ \\include", max_size=60), st.text(alphabet="ab%", max_size=3))
def test_no_makefile_makes_it_stumble(text: str, target: str) -> None:
    follow(f"make a '{target}'; bash a; just a", {"Makefile": text, "a": text, "justfile": text})

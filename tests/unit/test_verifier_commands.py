"""What can be told of a command line without running it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from remit.verifiers.programs import Needs, needs_of
from remit.verifiers.shell import read_shell


def words(text: str) -> list[list[str]] | None:
    reading = read_shell(text)
    if not reading.is_whole:
        return None
    return [[word.text for word in command.words] for command in reading.commands]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pytest -q", [["pytest", "-q"]]),
        ("a && b || c; d & e\nf", [["a"], ["b"], ["c"], ["d"], ["e"], ["f"]]),
        ("grep ';' \"a && b\" c\\ d", [["grep", ";", "a && b", "c d"]]),
        ("x=1 y+=2 run # a comment; not a command", [["run"]]),
        ("run >out 2>&1 <in arg", [["run", "arg"]]),
        ("if a; then b; elif c; then d; else e; fi", [["a"], ["b"], ["c"], ["d"], ["e"]]),
        ("while ! a; do b; done", [["a"], ["b"]]),
        ("for x in one two; do show $x; done", [["show", "$x"]]),
        ("(cd a && b) | c", [["cd", "a"], ["b"], ["c"]]),
        ("cat <<'END' | wc\nthis; isn't && code\nEND\nnext", [["cat"], ["wc"], ["next"]]),
        (
            "echo $(rm -rf x; y) `z` ${A:-b c}",
            [["rm", "-rf", "x"], ["y"], ["z"], ["echo", "$(rm -rf x; y)", "`z`", "${A:-b c}"]],
        ),
        ("long \\\n  line", [["long", "line"]]),
        ("", []),
        ("case x in a) b;; esac", [["case", "x", "a"], ["b"]]),
        ("f() { a; }; f", [["a"], ["f"]]),
        ("diff <(a) b", [["a"], ["diff", "<(a)", "b"]]),
        ("echo 'open", None),
        ("echo $((1 + 2))", [["echo", "$((1 + 2))"]]),
        ("[[ a == b ]]", [["[", "a", "b"]]),
    ],
)
def test_commands_are_told_apart_as_bash_would(text: str, expected: list[list[str]] | None) -> None:
    assert words(text) == expected


@given(st.text(alphabet="ab '\"\\$(){}`;|&<>\n#=/-!*~[]0", max_size=40))
def test_no_text_makes_it_stumble(text: str) -> None:
    read_shell(text)
    needs_of(text)


@pytest.mark.parametrize(
    ("text", "programs"),
    [
        ("cd x && A=1 pytest -q | tee log; exit 0", ("pytest", "tee")),
        ("env -i -u B A=1 timeout -k 5 60 python3 x.py", ("env", "timeout", "python3")),
        ("find . | xargs -n 1 wc -l", ("find", "xargs", "wc")),
        ("exec make test", ("make",)),
        ("command -v foo", ()),
        ("$RUNNER --all", ()),
        ("./check.sh && /usr/bin/frob", ()),
    ],
)
def test_programs_are_found_behind_wrappers_and_builtins(text: str, programs: tuple[str, ...]) -> None:
    assert needs_of(text).programs == programs


def test_tools_named_as_modules_are_found_and_own_modules_are_not() -> None:
    assert needs_of("python3 -m pytest.main -q; python -m mypackage").modules == (("python3", "pytest"),)


@pytest.mark.parametrize(
    "program", [".venv/bin/pytest", "/workspace/venv/bin/python", "node_modules/.bin/jest"]
)
def test_programs_of_the_working_tree_are_noticed(program: str) -> None:
    assert needs_of(f"{program} x").tree_programs == (program,)


def test_nothing_is_claimed_of_what_is_not_understood() -> None:
    assert needs_of("case x in a) frobnicate") == Needs()


def test_programs_are_found_inside_what_is_nested() -> None:
    assert needs_of("f() { a $(b); }; case x in y) f;; esac; bash -c 'c | d'").programs == (
        "b",
        "a",
        "bash",
        "c",
        "d",
    )

"""How values of the wire are said: one rule each, for terminals and pages alike."""

from __future__ import annotations

import pytest

from remit import wording


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("0", "$0"),
        ("0.013242", "$0.0132"),
        ("1.5", "$1.50"),
        ("0.000000001", "$0.000000001"),
        (None, "–"),
        ("x", "–"),
    ],
)
def test_dollars_are_readable_at_every_size(value: object, text: str) -> None:
    assert wording.usd(value) == text


@pytest.mark.parametrize(
    ("value", "text"), [(0.84, "0.8 s"), (42.0, "42 s"), (185, "3 min 5 s"), (7800, "2 h 10 min")]
)
def test_durations_are_readable_at_every_size(value: float, text: str) -> None:
    assert wording.seconds(value) == text


@pytest.mark.parametrize("type", ["command", "rubric"])
@pytest.mark.parametrize(
    "text", ["pytest -q", "cd app\nmake  test", "x" * 500, "\n\n  the report is in French \n"]
)
def test_a_verifier_is_known_again_by_its_line(type: str, text: str) -> None:
    """A remit names its vacuous verifiers by their lines; a page finds them by the same."""
    line = wording.verifier_text({"type": type, type: text})
    assert "\n" not in line
    assert wording.verifier_text(line) == line


def test_what_tells_most_about_a_tool_use_is_its_first_telling_input() -> None:
    assert wording.tool_input({"timeout": 5, "command": "\nls  -l\npwd"}) == "ls -l"
    assert wording.tool_input({"depth": 2, "all": True}) == "depth=2, all=True"


def test_what_could_steer_a_terminal_is_not_shown() -> None:
    assert wording.printable("a\x1b[2Jb\u202ec") == "a\ufffd[2Jb\ufffdc"

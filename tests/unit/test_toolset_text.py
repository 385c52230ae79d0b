"""The pure parts of the agent's tools: input checks, editing, line picking, images, output."""

from __future__ import annotations

import struct
import subprocess
import sys

import msgspec
import pytest

from remit.output_text import clean, shorten
from remit.session.images import ImageKind, recognise_image, why_refused
from remit.toolsets.editing import EditRefused, replace_text
from remit.toolsets.inputs import definitions
from remit.toolsets.reading import LinePicker, is_binary
from remit.toolsets.sandbox import SandboxTools
from remit.values import JsonObject

TOOLS = SandboxTools()


def test_there_are_six_tools_in_a_fixed_order() -> None:
    assert [tool.name for tool in definitions()] == ["bash", "read", "write", "edit", "glob", "grep"]


def test_what_is_shown_to_the_model_stays_small() -> None:
    assert len(msgspec.json.encode([tool.definition for tool in definitions()])) < 6000


@pytest.mark.parametrize(
    ("name", "input"),
    [
        ("bash", {"command": "ls"}),
        ("bash", {"restart": True}),
        ("bash", {"command": "ls", "restart": False, "timeout_ms": 5}),
        ("bash", {"command": "ls", "timeout_ms": None}),
        ("read", {"file_path": "/workspace/a", "view_range": [1, -1]}),
        ("write", {"file_path": "a", "content": ""}),
        ("edit", {"file_path": "a", "old_string": "x", "new_string": "", "replace_all": True}),
        ("glob", {"pattern": "**/*.py"}),
        ("grep", {"pattern": "x", "path": "/workspace"}),
    ],
)
def test_good_input_is_taken(name: str, input: JsonObject) -> None:
    assert TOOLS.check_input(name, input) is None


@pytest.mark.parametrize(
    ("name", "input", "said"),
    [
        ("bash", {"cmd": "ls"}, "unknown field `cmd`"),
        ("bash", {}, "give a command"),
        ("bash", {"command": "  "}, "give a command"),
        ("bash", {"command": "ls", "restart": True}, "not both"),
        ("bash", {"command": "ls", "timeout_ms": "5"}, "$.timeout_ms"),
        ("bash", {"command": "ls", "timeout_ms": 0}, "$.timeout_ms"),
        ("bash", {"command": "a\x00b"}, "NUL"),
        ("bash", {"command": "a\ud800b"}, "surrogate"),
        ("read", {}, "missing required field `file_path`"),
        ("read", {"file_path": ""}, "$.file_path"),
        ("read", {"file_path": "a", "view_range": [1]}, "$.view_range"),
        ("read", {"file_path": "a", "view_range": [5, 2]}, "no range"),
        ("read", {"file_path": "a", "view_range": [0, 2]}, "no range"),
        ("edit", {"file_path": "a", "old_string": "", "new_string": "x"}, "old_string is empty"),
        ("edit", {"file_path": "a", "old_string": "x", "new_string": "x"}, "nothing would change"),
        ("web_search", {"q": "x"}, "no tool 'web_search'"),
    ],
)
def test_bad_input_is_named(name: str, input: JsonObject, said: str) -> None:
    problem = TOOLS.check_input(name, input)
    assert problem is not None
    assert said in problem


def test_only_tools_that_change_nothing_run_beside_each_other() -> None:
    concurrent = [tool.name for tool in definitions() if tool.is_concurrent]
    assert concurrent == ["read", "glob", "grep"]


def test_a_unique_text_is_replaced_and_its_line_told() -> None:
    edited = replace_text("a\nb\nc\n", old="b", new="B", is_everywhere=False)
    assert (edited.text, edited.lines) == ("a\nB\nc\n", (2,))


def test_a_text_that_occurs_twice_is_refused_with_the_lines() -> None:
    with pytest.raises(EditRefused, match="occurs 2 times, starting in lines 1, 3"):
        replace_text("x\ny\nx\n", old="x", new="z", is_everywhere=False)


def test_all_occurrences_are_replaced_when_asked() -> None:
    assert replace_text("x y x", old="x", new="z", is_everywhere=True).text == "z y z"


def test_a_text_with_other_indentation_is_shown_as_it_is() -> None:
    with pytest.raises(EditRefused) as refused:
        replace_text(
            "def f():\n        return 1\n", old="def f():\n    return 1", new="", is_everywhere=False
        )
    assert "same but for white space" in str(refused.value)
    assert "def f():\n        return 1" in str(refused.value)


def test_a_text_that_is_nearly_there_is_answered_with_the_closest_lines() -> None:
    text = "import os\n\ndef total(items):\n    return sum(items)\n"
    with pytest.raises(EditRefused) as refused:
        replace_text(text, old="def totals(items):\n    return sum(item)", new="", is_everywhere=False)
    assert "lines 3 to 4" in str(refused.value)
    assert "def total(items):\n    return sum(items)" in str(refused.value)


def test_a_text_that_is_nowhere_near_says_so() -> None:
    with pytest.raises(EditRefused, match="Nothing in it is similar"):
        replace_text("alpha\nbeta\n", old="9999999999", new="", is_everywhere=False)


def test_windows_line_ends_are_kept() -> None:
    edited = replace_text("a\r\nb\r\nc\r\n", old="a\nb", new="x\ny", is_everywhere=False)
    assert edited.text == "x\r\ny\r\nc\r\n"


def pick(content: bytes, *, first: int, last: int | None, size: int = 1000, piece: int = 3):
    picker = LinePicker(first=first, last=last, characters_max=size)
    for at in range(0, len(content), piece):
        picker.add(content[at : at + piece])
        if picker.is_full:
            break
    return picker.finish(is_end=True)


@pytest.mark.parametrize("piece", [1, 2, 3, 7, 100])
def test_lines_are_the_same_however_the_file_comes_in(piece: int) -> None:
    got = pick(b"one\ntwo\nthr\xc3\xa9e\nfour", first=2, last=3, piece=piece)
    assert (got.text, got.first, got.last) == ("two\nthr\u00e9e\n", 2, 3)


def test_the_end_of_the_file_is_known() -> None:
    assert pick(b"a\nb\n", first=1, last=None).is_end
    assert pick(b"a\nb", first=1, last=5).is_end
    assert not pick(b"a\nb\nc\n", first=1, last=2).is_end


def test_a_long_file_is_cut_between_lines() -> None:
    got = pick(b"aaaa\nbbbb\ncccc\n", first=1, last=None, size=11)
    assert (got.text, got.last, got.is_end) == ("aaaa\nbbbb\n", 2, False)


def test_a_line_longer_than_all_room_is_cut_and_says_so() -> None:
    got = pick(b"x" * 50 + b"\nnext\n", first=1, last=None, size=10)
    assert got.text == "x" * 10 + "[… the line goes on]\n"


def test_text_in_other_encodings_is_text_and_binaries_are_not() -> None:
    assert not is_binary("caf\u00e9 au lait, with some more text".encode("latin-1"))
    assert not is_binary("日本語".encode())
    assert is_binary(b"\x7fELF\x02\x00\x00")
    assert is_binary(bytes(range(128, 256)) * 4)


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + struct.pack(">II", width, height) + b"rest"


@pytest.mark.parametrize(
    ("content", "kind"),
    [
        (png(3, 4), ImageKind("image/png", 3, 4)),
        (b"GIF89a" + struct.pack("<HH", 5, 6), ImageKind("image/gif", 5, 6)),
        (
            b"\xff\xd8\xff\xe0\x00\x04ab\xff\xc0\x00\x11\x08" + struct.pack(">HH", 7, 8) + b"more",
            ImageKind("image/jpeg", 8, 7),
        ),
        (
            b"RIFF\x00\x00\x00\x00WEBPVP8X" + bytes(8) + b"\x08\x00\x00\x09\x00\x00",
            ImageKind("image/webp", 9, 10),
        ),
        (b"\x89PNG\r\n\x1a\n", ImageKind("image/png", None, None)),
        (b"plain text", None),
    ],
)
def test_images_are_known_by_their_first_bytes(content: bytes, kind: ImageKind | None) -> None:
    assert recognise_image(content) == kind


def test_images_a_provider_would_refuse_are_refused_here() -> None:
    assert why_refused(ImageKind("image/png", 100, 100), 1000) is None
    assert "bytes" in (why_refused(ImageKind("image/png", 100, 100), 10_000_000) or "")
    assert "pixels" in (why_refused(ImageKind("image/png", 9000, 10), 1000) or "")
    assert "header" in (why_refused(ImageKind("image/png", None, None), 1000) or "")


def test_terminal_codes_and_overwritten_progress_are_taken_out() -> None:
    assert clean(b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07ok") == "red ok"
    assert clean(b"10%\r50%\r100%\ndone\r\n") == "100%\ndone\n"
    assert clean(b"bell\x07 nul\x00 bad\xff") == "bell nul bad\ufffd"
    assert clean(b"a\rb\r\r\nc") == "b\nc"


@pytest.mark.parametrize("piece", ["x", "=-", " ", "\x1b", "\x1b[1", "\x1b]a", "\r", "a\r"])
def test_a_megabyte_in_one_line_is_cleaned_at_once(piece: str) -> None:
    """In a process of its own, for an expression that goes back over the line cannot be cut short otherwise."""
    program = f"from remit.output_text import clean; clean({piece!r} * (1_000_000 // len({piece!r})))"
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)


def test_long_text_keeps_its_beginning_and_its_end() -> None:
    text = "".join(f"line {number}\n" for number in range(1000))
    short = shorten(text, head=100, tail=50)
    assert short.startswith("line 0\n")
    assert short.endswith("line 999\n")
    assert "characters left out" in short
    assert len(short) < 250
    assert shorten("short", head=100, tail=50) == "short"

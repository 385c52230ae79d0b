"""Whatever stands in names, words of models and outputs of programs: a terminal is never steered by it."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.live import Live
from rich.panel import Panel
from rich.table import Table
from rich.text import Text

from remit.cli import failure
from remit.cli.main import run
from remit.cli.screens import LineScreen
from remit.cli.view import RemitProgress
from remit.cli.visible import VisibleOutput, json_line, make_visible, visible_output
from remit.cli.visible_console import VisibleConsole
from remit.client.folders.changes import strays_text
from remit.wording import printable, printable_name
from support.fake_api import FakeApi, FakeOpener, verdict

CLI = Path(__file__).parents[2] / "src" / "remit" / "cli"
STEERING = {
    "clears the screen": "\x1b[2J",
    "names the window": "\x1b]0;PWN\x07",
    "links elsewhere": "\x1b]8;;http://evil/\x1b\\ok\x1b]8;;\x1b\\",
    "fills the clipboard": "\x1b]52;c;cm0gLXJmIC8=\x07",
    "one byte of C1": "\x9b2J",
    "a string of C1": "\x9d0;PWN\x9c",
    "goes back": "safe\rEVIL",
    "rubs out": "abc\b\b\bxyz",
    "turns the order": "\u202eexe.txt\u202c",
    "isolates": "\u2067evil\u2069",
    "other characters": "\x0e\x0f",
    "nothing to see": "\U000e0041\U000e01ef\ufeff",
    "another line": "one\u2028two",
    "ends": "\x7f\x00",
    "half a character": "\ud800",
}
HOSTILE = "PWN" + "".join(text for name, text in STEERING.items() if name != "half a character")
HIDDEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\U000e0000-\U000e0fff\ud800-\udfff]"
)
TEXTS = b"outcome|summary|output|name|detail|mend|message|explanation|basis|command|reason|error_reason|path"


class Hostile(FakeOpener):
    """The fake API, with something evil at the beginning of every free text of its answers and streams."""

    async def opened(self, number: int) -> None:
        plain = self.api.asgi
        evil = json.dumps(HOSTILE)[1:-1].encode()

        def poisoned(body: bytes) -> bytes:
            return re.sub(rb'"(' + TEXTS + rb')": ?"', lambda found: found[0] + evil, body)

        def asgi() -> Any:
            app = plain()

            async def around(scope: Any, receive: Any, send: Any) -> None:
                start: list[Any] = []

                async def send_on(message: Any) -> None:
                    if message["type"] == "http.response.start":
                        start.append(message)
                        return
                    body = poisoned(message.get("body", b""))
                    if start:
                        first = start.pop()
                        headers = [pair for pair in first["headers"] if pair[0] != b"content-length"]
                        await send({**first, "headers": headers})
                    await send({**message, "body": body})

                await app(scope, receive, send_on)

            return around

        if number == 1:
            self.api.asgi = asgi  # type: ignore[method-assign]  # the fake's own seam


async def work(api: FakeApi) -> None:
    api.end(
        status="unsatisfied", verified=False, verdicts=[verdict("pytest -q", passed=False, output="no\n")]
    )


COMMANDS = {
    "do": ["do", "make it pass", "--verify", "pytest -q", "--budget", "2", "--yes"],
    "ls": ["ls"],
    "show": ["show", "ID"],
    "watch": ["watch", "ID"],
    "receipt": ["receipt", "ID"],
    "check": ["check", "ID"],
    "doctor": ["doctor"],
    "nothing": ["show", f"none{HOSTILE[:40]}"],
    "a bad option": ["ls", f"--{HOSTILE}"],
    "a bad amount": ["do", "x", "--verify", "true", "--budget", HOSTILE],
}


@pytest.mark.parametrize("is_json", [False, True], ids=["words", "json"])
def test_no_command_lets_a_text_steer_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], is_json: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "stdin", io.StringIO(""))
    api = FakeApi(work=work, notes=[HOSTILE])
    opener = Hostile(api, tmp_path)
    showing: list[str] = []
    for name, line in COMMANDS.items():
        typed = [str(api.remit["id"]) if word == "ID" else word for word in line]
        run([*typed, "--json"] if is_json else typed, opener)
        said = capsys.readouterr()
        for text in (said.out, said.err):
            assert HIDDEN.search(text) is None, (name, HIDDEN.search(text), text)
            if "PWN" in text:
                showing.append(name)
    assert len({*showing}) >= 6, f"too little was poisoned: {showing}"


@pytest.mark.parametrize("mark", ["\u0301", "\u0489", "\u20dd", "\u0e38", "\u064e", "\ufe20"])
def test_marks_that_are_piled_on_a_letter_are_cut(mark: str) -> None:
    assert printable(f"a{mark * 8}b") == f"a{mark * 8}b"
    assert printable(f"a{mark * 300}b{mark * 9}") == f"a{mark * 8}\ufffdb{mark * 8}\ufffd"


@pytest.mark.parametrize(
    "text",
    [
        "नमस्ते दुनिया",
        "กำลังทำงานอยู่ที่นี่",
        "שָׁלוֹם עֲלֵיכֶם",
        "السَّلَامُ",
        "日本語のパスワードですよ",
        "Việt Nam",
        "👩‍👩‍👧‍👦",
    ],
)
def test_writing_of_every_language_stays(text: str) -> None:
    assert printable(text) == text


def test_a_files_name_writes_no_lines_of_its_own() -> None:
    name = "a.py\n✔ verified\tby everyone"
    output = io.StringIO()
    screen = LineScreen(output)
    view = RemitProgress(remit_id="rm_1")
    screen.remit_event({"type": "remit.iteration_ended", "iteration": 0, "tampered": [name]}, view)
    screen.session_event({"type": "agent.tool_use", "name": name, "input": {}}, view)
    assert len(output.getvalue().splitlines()) == 2
    assert printable_name(name) == "a.py\ufffd✔ verified\ufffdby everyone"
    assert "\n" not in strays_text([f".git/{name}"])


@settings(max_examples=150, deadline=None, derandomize=True)
@given(st.text(max_size=60), st.sampled_from(sorted(STEERING.values())), st.text(max_size=60))
def test_a_stream_shows_what_is_printable_and_json_stays_the_same_value(
    before: str, evil: str, after: str
) -> None:
    text = before + evil + after
    inner = io.StringIO()
    shown = VisibleOutput(inner)
    print(text, file=shown)
    shown.writelines([text])
    assert HIDDEN.search(inner.getvalue()) is None
    assert inner.getvalue() == f"{printable(text)}\n{printable(text)}"
    if evil != STEERING["half a character"]:
        value = {"key": [text.encode("utf-8", "ignore").decode()]}
        line = json_line(value)
        assert HIDDEN.search(line) is None
        assert json.loads(line) == value


WAYS: list[Callable[[str], Any]] = [
    lambda text: text,
    lambda text: Text(text, style="bold red"),
    lambda text: Text.assemble(("a", "dim"), text),
    lambda text: Panel(text, title=text),
    lambda text: _in_a_table(text),
]


@pytest.mark.parametrize("evil", STEERING.values(), ids=STEERING.keys())
@pytest.mark.parametrize(
    "shown",
    WAYS,
    ids=["str", "text", "assembled", "panel", "table"],
)
def test_a_terminals_own_styles_reach_it_and_nothing_else(evil: str, shown: Callable[[str], Any]) -> None:
    output = io.StringIO()
    console = VisibleConsole(
        file=output, force_terminal=True, width=60, highlight=False, markup=False, emoji=False
    )
    console.print(shown(f"a{evil}b"))
    with Live(shown(f"a{evil}b"), console=console, auto_refresh=False, transient=True) as live:
        live.refresh()
    said = output.getvalue()
    own = re.sub(r"\x1b\[(?:[0-9;]*m|\?25[hl]|[0-9]*[AK]|[0-9]*K)|\r", "", said)
    assert HIDDEN.search(own) is None
    assert "\x1b[2J" not in said


def _in_a_table(text: str) -> Table:
    table = Table(title=text)
    table.add_column(text)
    table.add_row(text)
    return table


def test_errors_and_their_mends_are_visible_on_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with visible_output():
        failure.say(HOSTILE, HOSTILE, 1)
        failure.explain(OSError(2, HOSTILE, HOSTILE))
        failure.explain(ValueError(HOSTILE))
    said = capsys.readouterr().err
    assert said.count("PWN") >= 4
    assert HIDDEN.search(said) is None


def test_a_stream_is_wrapped_once_and_is_still_a_stream(monkeypatch: pytest.MonkeyPatch) -> None:
    inner = io.StringIO()
    monkeypatch.setattr(sys, "stdout", inner)
    monkeypatch.setattr(sys, "stderr", io.StringIO())
    make_visible()
    make_visible()
    assert isinstance(sys.stdout, VisibleOutput)
    assert sys.stdout.inner is inner
    assert sys.stdout.isatty() is False
    sys.stdout.write("a\x1bb\n")
    assert inner.getvalue() == "a\N{REPLACEMENT CHARACTER}b\n"


def test_there_is_no_other_way_to_the_terminal() -> None:
    """What writes around the mechanism would be found by name."""
    around = re.compile(
        r"sys\.__std|\.buffer\b|os\.write\(|/dev/tty|(?<!Visible)Console\(|msgspec\.json\.encode\(.*print|print\(msgspec"
    )
    allowed = {"visible.py", "visible_console.py"}
    found = [
        f"{path.name}: {line.strip()}"
        for path in CLI.glob("*.py")
        if path.name not in allowed
        for line in path.read_text().splitlines()
        if around.search(line)
    ]
    assert found == []

"""Screens for a remit at work: one live picture, plain lines, or JSON lines."""

from __future__ import annotations

import io
import re
import sys
from datetime import UTC, datetime
from typing import Protocol, Self, TextIO

from rich.console import Console, RenderableType
from rich.live import Live
from rich.text import Text

from remit.cli import render
from remit.cli.lines import remit_lines, session_lines
from remit.cli.view import RemitProgress
from remit.cli.visible import json_line
from remit.wording import Json, printable_name

LIVE_DRAWS_PER_SECOND = 4

_TRAILING = re.compile(r"[ \t]+(?=\n)")


class Screen(Protocol):
    """Told of every event once, in the order of its stream, with the view after it."""

    wants_money = False
    """Whether `changed` should be called with what is spent and held as it changes."""

    def remit_event(self, event: Json, view: RemitProgress) -> None:
        """Show an event of the remit's stream."""
        self.changed(view)

    def session_event(self, event: Json, view: RemitProgress) -> None:
        """Show an event of a working session's stream."""
        self.changed(view)

    def changed(self, view: RemitProgress) -> None:
        """The view changed, perhaps without an event."""

    def say(self, text: str) -> None:
        """Show a remark about the watching itself."""
        ...

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        return


class LiveScreen(Screen):
    """One picture that is drawn over and over, and gone at the end."""

    wants_money = True

    def __init__(self, console: Console, view: RemitProgress) -> None:
        self._view = view
        self._console = console
        self._live = Live(
            console=console,
            get_renderable=self._draw,
            refresh_per_second=LIVE_DRAWS_PER_SECOND,
            transient=True,
            redirect_stdout=False,
            redirect_stderr=False,
            vertical_overflow="crop",
        )

    def _draw(self) -> RenderableType:
        return render.live(self._view, now=datetime.now(UTC))

    def changed(self, view: RemitProgress) -> None:
        self._view = view

    def say(self, text: str) -> None:
        self._console.print(Text(text, style="yellow"))

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()


class LineScreen(Screen):
    """One line for each thing worth knowing."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def remit_event(self, event: Json, view: RemitProgress) -> None:
        for line in remit_lines(event):
            self.say(printable_name(line))

    def session_event(self, event: Json, view: RemitProgress) -> None:
        for line in session_lines(event):
            self.say(f"  {printable_name(line)}")

    def say(self, text: str) -> None:
        print(text, file=self._file, flush=True)


_LAST_TYPES = ("remit.ended", "remit.interrupted", "remit.paused")


class JsonScreen(LineScreen):
    """The events of the remit's stream, one JSON object a line; all else is kept off the output."""

    def remit_event(self, event: Json, view: RemitProgress) -> None:
        line = {**event, "remit_id": view.remit_id}
        if event["type"] in _LAST_TYPES:
            # The line a script reads: its id is what the other commands take.
            line |= {"id": view.remit_id, "event_id": event["id"]}
        print(json_line(line), file=self._file, flush=True)

    def session_event(self, event: Json, view: RemitProgress) -> None:
        return

    def say(self, text: str) -> None:
        print(f"remit: {text}", file=sys.stderr, flush=True)


class TrimmedOutput(io.TextIOBase):
    """Output that goes to no terminal, without the blanks by which tables are filled up."""

    def __init__(self, file: TextIO) -> None:
        self._file = file

    def write(self, text: str) -> int:
        self._file.write(_TRAILING.sub("", text))
        return len(text)

    def flush(self) -> None:
        self._file.flush()


def screen_for(console: Console, view: RemitProgress, *, is_json: bool) -> Screen:
    """The screen that fits: JSON if asked, live on a terminal, lines otherwise."""
    if is_json:
        return JsonScreen(sys.stdout)
    if console.is_terminal and not console.is_dumb_terminal:
        return LiveScreen(console, view)
    return LineScreen(sys.stdout)

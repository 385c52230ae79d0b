"""All that the command line writes, made visible: names of files, words of models, pages and programs may hold what steers
a terminal or turns the order of a text. It is taken out at the last place before the terminal, once for all commands."""

from __future__ import annotations

import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager
from typing import Any, TextIO

from remit.hidden import escape_hidden, printable


class VisibleOutput:
    """A text stream around another one. What styles text on purpose (`visible_console`) writes to `inner` itself."""

    def __init__(self, inner: TextIO) -> None:
        self.inner = inner

    def write(self, text: str) -> int:
        """Write what can be seen of it."""
        self.inner.write(printable(text))
        return len(text)

    def writelines(self, lines: Iterable[str]) -> None:
        """Write each."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:  # Any: whatever a stream has
        return getattr(self.inner, name)


def make_visible() -> None:
    """From now on `sys.stdout` and `sys.stderr` show everything; again: nothing."""
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is not None and not isinstance(stream, VisibleOutput):
            setattr(sys, name, VisibleOutput(stream))


@contextmanager
def visible_output() -> Generator[None]:
    """The same for the time of a command."""
    before = sys.stdout, sys.stderr
    make_visible()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def raw_stdout() -> TextIO:
    """Where escape sequences of ours go."""
    stream = sys.stdout
    return stream.inner if isinstance(stream, VisibleOutput) else stream


def json_line(value: object) -> str:
    """One line of JSON that shows all that is in it: what cannot be seen is escaped."""
    import msgspec  # commands that print none need not wait for it

    return escape_hidden(msgspec.json.encode(value).decode())

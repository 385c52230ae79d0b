"""All that the command line writes, made visible: names of files, words of models, pages and programs may hold what steers
a terminal or turns the order of a text. It is taken out at the last place before the terminal, once for all commands."""

from __future__ import annotations

import codecs
import os
import sys
from collections.abc import Generator, Iterable
from contextlib import contextmanager, suppress
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
    """Make `sys.stdout` and `sys.stderr` show everything from now on; a second call changes nothing. A closed
    one becomes one nobody reads, and what its encoding does not have is shown as a question mark."""
    for name, number in (("stdin", 0), ("stdout", 1), ("stderr", 2)):
        if getattr(sys, name) is None:
            _open_nowhere(name, number)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if not isinstance(stream, VisibleOutput):
            with suppress(AttributeError):  # a stream of another kind (a test's) has no encoding to change
                stream.reconfigure(errors="replace")
            setattr(sys, name, VisibleOutput(stream))


def _open_nowhere(name: str, number: int) -> None:
    """Take the descriptor of a closed stream, so that no file that is opened later gets it, and what is printed."""
    try:
        os.fstat(number)
    except OSError:
        nowhere = os.open(os.devnull, os.O_RDWR)
        if nowhere != number:
            os.dup2(nowhere, number)
            os.close(nowhere)
    setattr(sys, name, open(os.devnull, "r" if name == "stdin" else "w", encoding="utf-8"))  # noqa: SIM115, PTH123 for good


@contextmanager
def visible_output() -> Generator[None]:
    """Make output visible for the time of a command."""
    before = sys.stdout, sys.stderr
    make_visible()
    try:
        yield
    finally:
        sys.stdout, sys.stderr = before


def raw_stdout() -> TextIO:
    """Return the stream that takes our own escape sequences."""
    stream = sys.stdout
    return stream.inner if isinstance(stream, VisibleOutput) else stream


def json_line(value: object) -> str:
    """Encode a value as one line of JSON that shows all that is in it: what cannot be seen is escaped."""
    import json  # commands that print none need not wait for it

    import msgspec

    line = escape_hidden(msgspec.json.encode(value).decode())
    encoding = getattr(sys.stdout, "encoding", None) or "utf-8"
    is_unicode = codecs.lookup(encoding).name.startswith("utf-")
    return line if is_unicode or line.isascii() else json.dumps(json.loads(line), separators=(",", ":"))

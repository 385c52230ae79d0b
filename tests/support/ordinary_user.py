"""Work done as an ordinary user, for root is let through everywhere."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TypeVar

import msgspec

T = TypeVar("T")
NOBODY = 65_534


def as_nobody(work: Callable[[], T], type_: type[T]) -> T:
    """The result of this in a process of an ordinary user: root is let through everywhere."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setgroups([])
                os.setgid(NOBODY)
                os.setuid(NOBODY)
            content = b"+" + msgspec.json.encode(work())
        except BaseException as error:
            content = b"-" + repr(error).encode()
        with os.fdopen(writer, "wb") as file:
            file.write(content)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, "rb") as file:
        content = file.read()
    os.waitpid(pid, 0)
    assert content.startswith(b"+"), content
    return msgspec.json.decode(content[1:], type=type_)


def given_to_nobody(folder: Path) -> None:
    if os.geteuid() == 0:
        for root, folders, files in os.walk(folder):
            for name in ("", *folders, *files):
                os.chown(Path(root) / name, NOBODY, NOBODY, follow_symlinks=False)

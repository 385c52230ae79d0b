"""What coding agents send as they ship: one request of each in tests/recordings, the last of a turn with two steps.

Recorded on loopback; long texts are cut, ids and paths are replaced, and all names and values that are part of the
protocol stand as they were sent.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parents[1] / "recordings"
FREE = ("input_schema", "parameters", "input", "arguments", "client_metadata", "metadata")
"""Objects whose fields are the caller's own."""


@dataclass(frozen=True)
class Recording:
    """One request of one program."""

    name: str
    path: str
    headers: dict[str, str]
    body: dict[str, Any]

    @property
    def is_messages(self) -> bool:
        return self.path.startswith("/v1/messages")


def recordings() -> list[Recording]:
    """All of them, by name."""
    found: list[Recording] = []
    for file in sorted(FOLDER.glob("*.json")):
        told = json.loads(file.read_text())
        found.append(Recording(file.stem, told["path"], told["headers"], told["body"]))
    return found


def objects_of(body: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """Every object of a request whose fields are the protocol's, with its place."""
    pending: list[tuple[str, Any]] = [("", body)]
    while pending:
        place, value = pending.pop()
        if isinstance(value, dict):
            yield place, value
            pending += [
                (f"{place}.{name}" if place else name, each)
                for name, each in value.items()
                if name not in FREE or isinstance(each, list)
            ]
        elif isinstance(value, list):
            pending += [(f"{place}[{index}]", each) for index, each in enumerate(value)]

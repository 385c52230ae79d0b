"""The verifiers of an outcome as typed values, and in one line for people."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from remit.errors import InvalidRequest
from remit.schema.verifiers import CommandVerifier, RubricVerifier
from remit.values import JsonObject

_SHOWN_CHARACTERS = 80
_T = TypeVar("_T", CommandVerifier, RubricVerifier)


def parse_command(verifier: JsonObject) -> CommandVerifier:
    """Raises InvalidRequest, naming the field."""
    specification = _convert(verifier, CommandVerifier)
    if not specification.command.strip() or "\x00" in specification.command:
        raise InvalidRequest(
            "`command`: is empty or holds a NUL character; give a shell command, such as `pytest -q`."
        )
    return specification


def parse_rubric(verifier: JsonObject) -> RubricVerifier:
    """Raises InvalidRequest, naming the field."""
    specification = _convert(verifier, RubricVerifier)
    if not specification.rubric.strip():
        raise InvalidRequest("`rubric`: is empty; say what must be true of the work.")
    return specification


def describe(verifier: JsonObject) -> str:
    """Describe a verifier for people, in one line."""
    match verifier:
        case {"type": "command", "command": str(command)}:
            return f"command: {_one_line(command)}"
        case {"type": "rubric", "rubric": str(rubric)}:
            return f"rubric: {_one_line(rubric)}"
        case {"type": "custom", "name": str(name)}:
            return name
        case _:
            return str(verifier.get("type", "unknown verifier"))


def _convert(verifier: JsonObject, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(verifier, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"verifier: {error}.") from error


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"

"""The verifiers of an outcome as typed values, and in words."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Literal, TypeVar

import msgspec

from remit.errors import InvalidRequest
from remit.values import JsonObject

VERIFIERS_MAX = 16
COMMAND_CHARACTERS_MAX = 20_000
RUBRIC_CHARACTERS_MAX = 262_144
TIMEOUT_SECONDS = 600
TIMEOUT_SECONDS_MAX = 3600
GLOBS_MAX = 200
_SHOWN_CHARACTERS = 80

_Glob = Annotated[str, msgspec.Meta(min_length=1, max_length=1000)]
_Globs = Annotated[tuple[_Glob, ...], msgspec.Meta(max_length=GLOBS_MAX)]


class CommandSpecification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`{"type": "command", …}`: exit code 0 passes."""

    command: Annotated[str, msgspec.Meta(min_length=1, max_length=COMMAND_CHARACTERS_MAX)]
    type: Literal["command"] = "command"
    timeout_seconds: Annotated[float, msgspec.Meta(gt=0, le=TIMEOUT_SECONDS_MAX)] = TIMEOUT_SECONDS
    protect: _Globs = ()
    unprotect: _Globs = ()


class RubricSpecification(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """`{"type": "rubric", …}`: a model grades the work."""

    rubric: Annotated[str, msgspec.Meta(min_length=1, max_length=RUBRIC_CHARACTERS_MAX)]
    type: Literal["rubric"] = "rubric"
    model: Annotated[str, msgspec.Meta(min_length=1, max_length=200)] | None = None


def parse_command(verifier: JsonObject) -> CommandSpecification:
    """Raises InvalidRequest, naming the field."""
    specification = _convert(verifier, CommandSpecification)
    if not specification.command.strip() or "\x00" in specification.command:
        raise InvalidRequest(
            "command: it is empty or holds a NUL character. Give a shell command, e.g. 'pytest -q'."
        )
    return specification


def parse_rubric(verifier: JsonObject) -> RubricSpecification:
    """Raises InvalidRequest, naming the field."""
    specification = _convert(verifier, RubricSpecification)
    if not specification.rubric.strip():
        raise InvalidRequest("rubric: it is empty. Say what must be true of the work.")
    return specification


def describe(verifier: JsonObject) -> str:
    """One line for people."""
    match verifier:
        case {"type": "command", "command": str(command)}:
            return f"command: {_one_line(command)}"
        case {"type": "rubric", "rubric": str(rubric)}:
            return f"rubric: {_one_line(rubric)}"
        case _:
            return str(verifier.get("type", "unknown verifier"))


def as_rubric_text(verifiers: Sequence[JsonObject]) -> str:
    """What must hold, in words: the text rubric of an outcome that is judged by verifiers."""
    parts = ["All of these must hold:"]
    for number, verifier in enumerate(verifiers, start=1):
        match verifier:
            case {"type": "command", "command": str(command)}:
                parts.append(
                    f"{number}. This command exits with 0, run with bash in /workspace of a fresh sandbox without network, "
                    f"with tests and test configuration as they were at the start:\n{_indented(command)}"
                )
            case {"type": "rubric", "rubric": str(rubric)}:
                parts.append(
                    f"{number}. A grader finds that the work meets this rubric:\n{_indented(rubric)}"
                )
            case _:
                parts.append(f"{number}. {describe(verifier)}")
    return "\n".join(parts)


_T = TypeVar("_T")


def _convert(verifier: JsonObject, kind: type[_T]) -> _T:
    try:
        return msgspec.convert(verifier, type=kind)
    except msgspec.ValidationError as error:
        raise InvalidRequest(f"verifier: {error}.") from error


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.strip().splitlines())


def _one_line(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= _SHOWN_CHARACTERS else f"{line[: _SHOWN_CHARACTERS - 1]}…"

"""Tool calls that a small model wrote as text.

Small local models often write the right call in a ```json fence (or between <tool_call> tags) which their server's
parser passes on as text. Measured on a 1.5B model: 0 of 10 tasks without this step, 6 of 10 with it.
"""

from __future__ import annotations

import re
from typing import NamedTuple

import msgspec

from remit.values import JsonObject, JsonValue

_WRITTEN_CALL = re.compile(
    r"```(?:json|tool_call)?\s*\n(.*?)\n?\s*```|<tool_call>\s*(.*?)\s*</tool_call>", re.DOTALL
)
_ARGUMENT_NAMES = ("arguments", "parameters", "input")


class RecoveredCall(NamedTuple):
    """A call found in text."""

    name: str
    input: JsonObject


class Recovered(NamedTuple):
    """Text with its calls taken out."""

    text: str
    calls: tuple[RecoveredCall, ...]


def recover_tool_calls(text: str, tool_names: frozenset[str]) -> Recovered:
    """Calls of known tools that stand in the text, in order; any other JSON stays what it is: text."""
    whole = _call(text, tool_names)
    if whole is not None:
        return Recovered("", (whole,))
    calls: list[RecoveredCall] = []
    rest: list[str] = []
    position = 0
    for match in _WRITTEN_CALL.finditer(text):
        call = _call(match.group(1) or match.group(2) or "", tool_names)
        if call is not None:
            calls.append(call)
            rest.append(text[position : match.start()])
            position = match.end()
    rest.append(text[position:])
    return Recovered("".join(rest).strip() if calls else text, tuple(calls))


def _call(written: str, tool_names: frozenset[str]) -> RecoveredCall | None:
    try:
        decoded: JsonValue = msgspec.json.decode(written.strip())
    except msgspec.DecodeError:
        return None
    if not isinstance(decoded, dict) or decoded.get("name") not in tool_names:
        return None
    for argument_name in _ARGUMENT_NAMES:
        arguments = decoded.get(argument_name)
        if isinstance(arguments, dict):
            return RecoveredCall(str(decoded["name"]), arguments)
    return None

"""Tool calls as models and their servers write them: arguments of any form become an input, ids of any form become ids
that every provider takes and that no other call of the conversation has."""

from __future__ import annotations

import json
import re
from typing import cast

import msgspec

from remit.models.http.json_text import read_loose_json
from remit.values import UNPARSED_INPUT, JsonObject, JsonValue, ModelRequest

ID_CHARACTERS_MAX = 40
"""The least that a provider takes (OpenAI's Chat Completions)."""
NAME_CHARACTERS_MAX = 64
_WELL_FORMED = re.compile(rf"[A-Za-z0-9_-]{{1,{ID_CHARACTERS_MAX}}}")
_NOT_OF_NAMES = re.compile(r"[^A-Za-z0-9_-]+")
_DECODER = json.JSONDecoder(strict=False)


class CallIds:
    """Ids for the calls of one answer."""

    def __init__(self, request: ModelRequest) -> None:
        """`request` is what they answer."""
        self._asked = request.content_json
        self._made: set[str] = set()

    def new(self, given: JsonValue, *, otherwise: str) -> str:
        """The given id where it can stand, else one that is made of it, or of `otherwise`."""
        is_there = isinstance(given, str | int) and not isinstance(given, bool)
        written = well_formed((str(given) if is_there else "") or otherwise)
        made, number = written, 1
        while self._is_taken(made):
            number += 1
            made = f"{written[: ID_CHARACTERS_MAX - 8]}_{number}"
        self._made.add(made)
        return made

    def _is_taken(self, id: str) -> bool:
        """Whether another call of the conversation has it, or anything else there that has an id: to look into what is
        encoded already takes a hundredth of walking through it."""
        return id in self._made or b'"id":"%b"' % id.encode() in self._asked


def well_formed(id: str) -> str:
    """An id of the letters, and of the length, that every provider takes."""
    if _WELL_FORMED.fullmatch(id):
        return id
    return _NOT_OF_NAMES.sub("_", id).strip("_")[: ID_CHARACTERS_MAX - 8] or "call"


def input_of(arguments: JsonValue) -> JsonObject:
    """The input that arguments are: an object, or JSON of one, perhaps encoded twice. What is no object stands under
    UNPARSED_INPUT, so that the model is told."""
    value = arguments
    for _ in range(3):
        if not isinstance(value, str):
            break
        if not value.strip():
            return {}
        try:
            value = read_loose_json(value.encode("utf-8", errors="replace"))
        except msgspec.DecodeError:
            value = _last_said(value)
            break
    if value is None:
        return {}
    if isinstance(value, dict):
        return value
    return {UNPARSED_INPUT: arguments}


def is_whole(arguments: str) -> bool:
    """Return whether these are all of a call's arguments."""
    try:
        return isinstance(read_loose_json(arguments.encode("utf-8", errors="replace")), dict)
    except msgspec.DecodeError:
        return False


def tool_name(written: JsonValue, names: frozenset[str]) -> str:
    """The name of a tool. Where it is none of those that were offered, what servers leave in it of the model's own format
    is taken away (`functions.bash`, `bash<|channel|>commentary`)."""
    name = written if isinstance(written, str) else ""
    if name in names:
        return name
    plain = name.partition("<|")[0].strip().removeprefix("functions.").partition(":")[0]
    if plain in names:
        return plain
    return _NOT_OF_NAMES.sub("_", name)[:NAME_CHARACTERS_MAX] or "unnamed"


def told_of_tool(block: JsonObject) -> JsonObject | None:
    """A tool that Claude Code has found, in words: here all tools are there from the beginning."""
    if block.get("type") != "tool_reference":
        return None
    return {"type": "text", "text": f"The tool {block.get('tool_name')} can be called."}


def _last_said(text: str) -> JsonValue:
    """One object after another, where all say the same or the first ones nothing: servers send `{}` before the arguments,
    and the whole of them once more behind the pieces."""
    objects: list[JsonObject] = []
    at = 0
    while at < len(text):
        try:
            # Cast: the standard library gives nothing but JSON here, and pyright knows nothing of it.
            value, at = cast("tuple[JsonValue, int]", _DECODER.raw_decode(text, at))
        except (ValueError, RecursionError):
            return text
        if not isinstance(value, dict):
            return text
        objects.append(value)
        at += len(text[at:]) - len(text[at:].lstrip())
    said = [each for each in objects if each]
    if said and all(each == said[0] for each in said):
        return said[0]
    return text

"""Ids of tool uses as the target takes them: another provider may have made them. Pure."""

from __future__ import annotations

import hashlib
import re

from remit.values import JsonObject, JsonValue

MESSAGES_ID_LENGTH_MAX = 128
"""Anthropic names a pattern and no length."""
CHAT_ID_LENGTH_MAX = 40
RESPONSES_ID_LENGTH_MAX = 64
"""Of `call_id`."""
SERVER_ID_LENGTH_MAX = 1_000
"""Of a server of one's own: it knows its ids by what it wrote, whatever that is."""
_WELL_FORMED = re.compile(r"[a-zA-Z0-9_-]+")
_PRINTABLE = re.compile(r"[^\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_MADE_DIGITS = 24


def with_ids(message: JsonObject, *, length_max: int, is_any_printable: bool = False) -> JsonObject:
    """The message with an id made of the old one wherever that has other characters than the Messages protocol takes (or
    than can be printed, where that is all that's asked), or too many; a result's follows its use's."""
    characters = _PRINTABLE if is_any_printable else _WELL_FORMED
    content = message.get("content")
    if not isinstance(content, list):
        return message
    blocks = [_block(block, characters, length_max) for block in content]
    is_same = all(new is old for new, old in zip(blocks, content, strict=True))
    return message if is_same else {**message, "content": blocks}


def _block(block: JsonValue, characters: re.Pattern[str], length_max: int) -> JsonValue:
    if not isinstance(block, dict) or block.get("type") not in ("tool_use", "tool_result"):
        return block
    name = "id" if block["type"] == "tool_use" else "tool_use_id"
    id = block.get(name)
    if not isinstance(id, str) or (len(id) <= length_max and characters.fullmatch(id)):
        return block
    return {
        **block,
        name: f"toolu_{hashlib.sha256(id.encode(errors='surrogatepass')).hexdigest()[:_MADE_DIGITS]}",
    }

"""Blocks of a conversation that may be sent, as the Messages protocol takes them. Pure.

The log keeps what people, tools and models said, whatever it is; a provider refuses a whole request for one block, and
would refuse every later one of the same conversation. So what cannot be sent is left out, or replaced by a note, one for
one. `remit.testing.messages_rules` says the rules again, with their sources, and checks requests against them.
"""

from __future__ import annotations

import base64
import binascii
import re
import unicodedata
from collections.abc import Sequence
from typing import NamedTuple, cast

import msgspec

from remit.session.images import (
    IMAGE_SIDE_PIXELS_MAX,
    IMAGES_MAX,
    MANY_IMAGES,
    recognise_encoded,
    why_unsendable,
)
from remit.session.refusals import THINKING
from remit.values import JsonObject, JsonValue, ModelRequest

MEDIA_BYTES_MAX = 20 << 20
"""Of base64 in one request, oldest left out first. A request may have 32 MB, on partners' platforms 20 to 30."""
LEFT_OUT_AT_ONCE = 20
"""Images: the beginning of a conversation changes seldom, so that it stays cached."""
_TOOL_NAME_REFUSED = re.compile(r"[^a-zA-Z0-9_-]")
_TOOL_NAME_LENGTH_MAX = 64
_LOOKED_AT = 64
_UNSEEN = ("Cc", "Cf")
_PDF_LOOKED_AT = 1024


def text_block(text: str) -> JsonObject:
    """A text block."""
    return {"type": "text", "text": text}


def note_block(text: str) -> JsonObject:
    """Make the block that stands where something cannot be sent."""
    return text_block(f"({text})")


def user_blocks(blocks: Sequence[JsonObject]) -> list[JsonObject]:
    """Blocks of a person or of the platform; never none."""
    return _sendable(blocks) or [note_block("an empty message")]


def result_content(blocks: Sequence[JsonObject]) -> list[JsonObject]:
    """The content of a tool result; never none."""
    return _sendable(blocks) or [text_block("(no output)")]


def assistant_blocks(blocks: Sequence[JsonObject]) -> list[JsonObject]:
    """Blocks of a model, maybe none: no blank text, nothing that was only thought at the end."""
    kept = [
        _tool_use(block) if block["type"] == "tool_use" else without_nul(block)
        for block in blocks
        if not _is_blank(block)
    ]
    while kept and kept[-1]["type"] in THINKING:
        kept.pop()
    return kept


def aside(block: JsonObject, inner: int | None, why: str) -> JsonObject:
    """Make the block that stands for a block, or for one inside of it, that was refused."""
    note = note_block(f"{_article(str(block['type']))} was left out: {why}")
    match block["type"]:
        case "tool_use":
            return {**block, "input": {}}
        case "tool_result":
            content = list(cast("list[JsonValue]", block["content"]))
            if inner is None:
                return {**block, "content": [note]}
            kind = str(cast("JsonObject", content[inner])["type"])
            content[inner] = note_block(f"{_article(kind)} was left out: {why}")
            return {**block, "content": content}
        case "thinking" | "redacted_thinking":
            return block  # all thinking goes with it
        case _:
            return note


def _article(type: str) -> str:
    named = {"image": "an image", "text": "a text", "document": "a document", "tool_result": "a result"}
    return named.get(type, f"a {type} block")


def shortened(content: Sequence[JsonObject], characters_max: int) -> list[JsonObject]:
    """The blocks with no text longer than that, and notes for what is no text."""
    return [
        text_block(cut(str(block["text"]), characters_max))
        if block["type"] == "text"
        else note_block(f"{_article(str(block['type']))} was left out to save room")
        for block in content
    ]


def cut(text: str, characters_max: int) -> str:
    """Cut a text to its beginning and its end, with how much is missing between them."""
    if len(text) <= characters_max:
        return text
    half = characters_max // 2
    left_out = len(text) - 2 * half
    return f"{text[:half]}\n[… {left_out:,} characters were left out to save room …]\n{text[-half:]}"


def distinct_uses(content: Sequence[JsonObject]) -> tuple[JsonObject, ...]:
    """A model's answer in which no two tool uses have one id: their results could not be told apart."""
    taken: set[str] = set()
    distinct: list[JsonObject] = []
    for block in content:
        if block["type"] == "tool_use":
            id, number = str(block["id"]), 1
            while id in taken:
                number += 1
                id = f"{block['id']}_{number}"
            taken.add(id)
            block = block if id == block["id"] else {**block, "id": id}
        distinct.append(block)
    return tuple(distinct)


def _sendable(blocks: Sequence[JsonObject]) -> list[JsonObject]:
    return [sendable_block(block) for block in blocks if not _is_blank(block)]


def _is_blank(block: JsonObject) -> bool:
    return block["type"] == "text" and is_blank(str(block.get("text") or ""))


def is_blank(text: str) -> bool:
    """Return whether a text shows nothing: blanks, controls, marks without a width."""
    begin = text[:_LOOKED_AT].strip()
    if begin and begin[0].isprintable():  # as nearly all texts are
        return False
    return all(character.isspace() or unicodedata.category(character) in _UNSEEN for character in text)


def _without_nuls(value: JsonValue) -> JsonValue:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, dict):
        return {name.replace("\0", "\ufffd"): _without_nuls(inner) for name, inner in value.items()}
    return [_without_nuls(each) for each in value] if isinstance(value, list) else value


def without_nul(block: JsonObject) -> JsonObject:
    """The block with the sign that stands for no character in place of NULs: JSON can hold them, and programs behind a
    provider's door end a text there."""
    text = block.get("text")
    return (
        {**block, "text": text.replace("\0", "\ufffd")} if isinstance(text, str) and "\0" in text else block
    )


def _tool_use(block: JsonObject) -> JsonObject:
    name, given = str(block["name"]), block.get("input")
    if b"\\u0000" in msgspec.json.encode(given):
        given = _without_nuls(given)
        block = {**block, "input": given}
    sent_name = _TOOL_NAME_REFUSED.sub("_", name)[:_TOOL_NAME_LENGTH_MAX] or "unnamed"
    if sent_name == name and isinstance(given, dict):
        return block
    return {**block, "name": sent_name, "input": given if isinstance(given, dict) else {"input": given}}


def sendable_block(block: JsonObject) -> JsonObject:
    """The block, or a note in its place."""
    source = block.get("source")
    match block["type"]:
        case "text":
            return without_nul(block)
        case "image" if isinstance(source, dict):
            return _image(block, source)
        case "document" if isinstance(source, dict):
            return _document(_without_blank_names(block), source)
        case "search_result":
            texts = cast("list[JsonObject]", block.get("content") or [])
            kept = [without_nul(text) for text in texts if not _is_blank(text)]
            named = {name: block.get(name) or "unknown" for name in ("title", "source")}
            return (
                {**block, **named, "content": list[JsonValue](kept)}
                if kept
                else note_block("an empty search result")
            )
        case _:
            return block


def _image(block: JsonObject, source: JsonObject) -> JsonObject:
    if source.get("type") == "url":
        return (
            block if _is_web(source) else note_block("an image was left out: its address is none of the web")
        )
    if source.get("type") != "base64":
        return block
    data = str(source.get("data") or "")
    wrong = why_unsendable(data)
    if wrong is not None:
        return note_block(f"an image was left out: {wrong}")
    kind = recognise_encoded(data)
    if kind is not None and kind.media_type != source.get("media_type"):
        return {**block, "source": {**source, "media_type": kind.media_type}}
    return block


def _without_blank_names(block: JsonObject) -> JsonObject:
    """A title or a context may be missing, and not empty."""
    blank = [name for name in ("title", "context") if name in block and is_blank(str(block[name] or ""))]
    return {name: value for name, value in block.items() if name not in blank} if blank else block


def _document(block: JsonObject, source: JsonObject) -> JsonObject:
    match source.get("type"):
        case "url":
            return (
                block
                if _is_web(source)
                else note_block("a document was left out: its address is none of the web")
            )
        case "text":
            text = str(source.get("data") or "")
            if is_blank(text):
                return note_block("an empty document")
            return (
                {**block, "source": {**source, "data": text.replace("\0", "\ufffd")}}
                if "\0" in text
                else block
            )
        case "base64":
            content = _decoded(str(source.get("data") or ""))
            if source.get("media_type") == "text/plain":
                text = content.decode("utf-8", "replace")
                return sendable_block(
                    {**block, "source": {"type": "text", "media_type": "text/plain", "data": text}}
                )
            begin = content[:_PDF_LOOKED_AT].find(b"%PDF-")
            if begin < 0:
                return note_block("a document was left out: it is no PDF")
            if begin == 0:
                return block
            # Readers pass over what stands before; providers do not.
            whole = base64.b64encode(content[begin:]).decode()
            return {**block, "source": {**source, "data": whole}}
        case _:
            return block


def _is_web(source: JsonObject) -> bool:
    return str(source.get("url") or "").lower().startswith(("http://", "https://"))


def _decoded(data: str) -> bytes:
    try:
        return base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError):
        return b""


# ------------------------------------------------------------------------------------------ the whole request


class _Media(NamedTuple):
    message: int
    block: int
    inner: int | None
    is_image: bool
    side: int
    size: int


def within_limits(request: ModelRequest) -> ModelRequest:
    """The request with no more images and documents than one may have, the oldest left out first. One for one: blocks
    stay where they are."""
    if not request.mentions(b'"source"'):
        return request
    messages: list[JsonObject] = [
        {**message, "content": list[JsonValue](_checked(cast("list[JsonObject]", message["content"])))}
        for message in request.messages
    ]
    for one in _left_out(_media_of(messages)):
        _put_note(messages[one.message], one)
    return msgspec.structs.replace(request, messages=tuple(messages))


def _checked(blocks: list[JsonObject]) -> list[JsonObject]:
    """Once more: the content of files has come in place of their ids."""
    return [
        {**block, "content": [sendable_block(inner) for inner in cast("list[JsonObject]", block["content"])]}
        if block["type"] == "tool_result" and isinstance(block.get("content"), list)
        else sendable_block(block)
        for block in blocks
    ]


def _media_of(messages: Sequence[JsonObject]) -> list[_Media]:
    found: list[_Media] = []
    for number, message in enumerate(messages):
        for index, block in enumerate(cast("list[JsonObject]", message["content"])):
            if block["type"] == "tool_result" and isinstance(block.get("content"), list):
                inners = cast("list[JsonObject]", block["content"])
                found += [
                    _medium(number, index, at, inner) for at, inner in enumerate(inners) if _is_medium(inner)
                ]
            elif _is_medium(block):
                found.append(_medium(number, index, None, block))
    return found


def _is_medium(block: JsonObject) -> bool:
    return block["type"] in ("image", "document") and isinstance(block.get("source"), dict)


def _medium(message: int, block: int, inner: int | None, medium: JsonObject) -> _Media:
    data = str(cast("JsonObject", medium["source"]).get("data") or "")
    kind = recognise_encoded(data) if medium["type"] == "image" and data else None
    side = max(kind.width or 0, kind.height or 0) if kind is not None else 0
    return _Media(message, block, inner, medium["type"] == "image", side, len(data))


def _left_out(media: list[_Media]) -> list[_Media]:
    images = [one for one in media if one.is_image]
    over = len(images) - IMAGES_MAX
    dropped = images[: -(-over // LEFT_OUT_AT_ONCE) * LEFT_OUT_AT_ONCE] if over > 0 else []
    kept = images[len(dropped) :]
    if len(kept) > MANY_IMAGES:
        dropped += [one for one in kept if one.side > IMAGE_SIDE_PIXELS_MAX]
    gone = set(dropped)
    total = 0
    for one in reversed(media):
        if one in gone:
            continue
        total += one.size
        if total > MEDIA_BYTES_MAX:
            dropped.append(one)
    return dropped


def _put_note(message: JsonObject, one: _Media) -> None:
    what = "image" if one.is_image else "document"
    note = note_block(f"an earlier {what} was left out: a request takes no more of them")
    content = cast("list[JsonValue]", message["content"])
    if one.inner is None:
        content[one.block] = note
        return
    result = cast("JsonObject", content[one.block])
    inner = list(cast("list[JsonValue]", result["content"]))
    inner[one.inner] = note
    content[one.block] = {**result, "content": inner}

"""The answers of an MCP server, as the model is shown them."""

from __future__ import annotations

import binascii

import mcp_types
import msgspec

from remit.session.images import recognise_encoded, why_unsendable
from remit.toolsets.marking import mark_untrusted
from remit.values import JsonObject, ToolResult

BLOCKS_MAX = 100
IMAGES_MAX = 10


def tool_result(answer: mcp_types.CallToolResult, *, server: str, mark: str) -> ToolResult:
    """Text between marks, then images; what cannot be shown is named."""
    texts: list[str] = []
    images: list[JsonObject] = []
    for block in answer.content[:BLOCKS_MAX]:
        if isinstance(block, mcp_types.ImageContent) and len(images) < IMAGES_MAX:
            wrong = _why_unsendable(block.data)
            if wrong is None:
                images.append(_image(block.data))
            else:
                texts.append(f"[an image that cannot be shown: {wrong}]")
        else:
            texts.append(_text(block))
    if len(answer.content) > BLOCKS_MAX:
        texts.append(f"[{len(answer.content) - BLOCKS_MAX} more parts are left out]")
    if not answer.content and answer.structured_content is not None:
        texts.append(msgspec.json.encode(answer.structured_content).decode())
    shown = told(
        "\n".join(texts) or ("(nothing but images)" if images else "(no content)"), server=server, mark=mark
    )
    return ToolResult(content=(shown, *images), is_error=bool(answer.is_error))


def told(text: str, *, server: str, mark: str) -> JsonObject:
    """A text block with a server's words."""
    marked = mark_untrusted(
        text,
        source=server,
        mark=mark,
        tag="untrusted_tool_content",
        origin="an MCP server, which may pass on what strangers wrote",
    )
    return {"type": "text", "text": marked}


def _why_unsendable(data: str) -> str | None:
    try:
        binascii.a2b_base64(data, strict_mode=True)
    except (binascii.Error, ValueError):
        return "it is not base64"
    return why_unsendable(data)


def _image(data: str) -> JsonObject:
    kind = recognise_encoded(data)
    assert kind is not None, "what is none was not sendable"
    return {"type": "image", "source": {"type": "base64", "media_type": kind.media_type, "data": data}}


def _text(block: mcp_types.ContentBlock) -> str:
    match block:
        case mcp_types.TextContent():
            return block.text
        case mcp_types.EmbeddedResource(resource=mcp_types.TextResourceContents() as resource):
            return f"[{resource.uri}]\n{resource.text}"
        case mcp_types.EmbeddedResource(resource=resource):
            return f"[a file that is not text: {resource.uri}]"
        case mcp_types.ResourceLink():
            return f"[a resource: {block.name} {block.uri}]"
        case mcp_types.ImageContent():
            return "[an image that is left out: there are too many]"
        case mcp_types.AudioContent():
            return "[sound, which cannot be shown]"

"""A long result of a tool goes to a file in the sandbox; the model gets a preview of it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from remit.errors import PackagesNotInstalled, SandboxRefused, SandboxUnavailable
from remit.interfaces import Sandbox
from remit.output_text import shorten
from remit.values import JsonObject, ToolResult, ToolUse

OFFLOAD_CHARACTERS = 100_000
"""What a result may have and be shown whole."""
PREVIEW_HEAD_CHARACTERS = 4_000
PREVIEW_TAIL_CHARACTERS = 8_000
OFFLOAD_FOLDER = "/tmp/remit/outputs"


def preview(text: str) -> str:
    """The beginning and the end of a long text."""
    return shorten(text, head=PREVIEW_HEAD_CHARACTERS, tail=PREVIEW_TAIL_CHARACTERS)


def kept_at(use_id: str) -> str:
    """The file for what a use had to say."""
    return f"{OFFLOAD_FOLDER}/{use_id}.txt"


async def offloaded(
    result: ToolResult, use: ToolUse, *, epoch: int, sandbox: Callable[[], Awaitable[Sandbox]]
) -> ToolResult:
    """The result as it is, or a preview of its text and the file that has the whole. Raises SandboxLost."""
    texts = [str(block["text"]) for block in result.content if block["type"] == "text"]
    length = sum(map(len, texts))
    if length <= OFFLOAD_CHARACTERS:
        return result
    text, path = "\n".join(texts), kept_at(use.id)
    try:
        made = await sandbox()
        await made.write_file(path, text.encode("utf-8", errors="replace"), epoch=epoch)
    except (SandboxRefused, SandboxUnavailable, PackagesNotInstalled) as error:
        # The tool ran: a full /tmp must not turn its result into a failure to run it.
        path, note = "", f"[{length:,} characters; the whole could not be kept in a file: {error.message}]"
    else:
        note = (
            f"[{length:,} characters of output; the whole is in {path}: search it with grep or read a view_range. "
            "Its beginning and end:]"
        )
    shown: JsonObject = {"type": "text", "text": f"{note}\n{preview(text)}"}
    others = [block for block in result.content if block["type"] != "text"]
    return msgspec.structs.replace(result, content=(shown, *others), offloaded_to=path or None)

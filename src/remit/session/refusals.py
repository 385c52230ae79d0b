"""What a provider's refusal is about, read off its words: a request that is too long, or one block of it. Pure; the words
are data, for there is no code that they share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from remit.values import JsonObject, Value

TOO_LONG = (
    # Anthropic, Bedrock, Vertex
    r"prompt is too long",
    r"input is too long",
    r"too long for requested model",
    r"input length and `?max_tokens`? exceed context limit",
    r"exceeds? the (?:total|maximum) (?:request )?size",
    r"request_too_large|request (?:entity )?(?:is )?too large|payload too large|request exceeds the maximum size",
    # OpenAI, Azure, OpenRouter, vLLM, SGLang, LiteLLM
    r"maximum context length",
    r"context[ _-]?length[ _-]?exceeded|context_?window_?exceeded",
    r"exceeds? (?:the|its|this model'?s?|model) (?:maximum )?(?:context|input)",
    r"exceeds? the (?:model'?s? )?(?:maximum )?context (?:length|limit|size|window)",
    r"reduce the length of (?:the|your) (?:messages|prompt|input)",
    r"longer than the (?:model'?s? )?(?:maximum )?(?:context|model)",
    r"maximum model length|max_model_len",
    r"requested token count exceeds",
    # Gemini, xAI, Groq, Mistral, Kimi, MiniMax, DeepSeek, Qwen, Copilot
    r"input token count.*exceeds",
    r"maximum prompt length is",
    r"exceeded model token limit",
    r"too large for model with",
    r"context window exceeds limit",
    r"prompt (?:token count )?(?:of \d+ )?exceeds the (?:limit|length|max)",
    r"range of input length should be",
    r"too many (?:input |total )?tokens",
    r"tokens? (?:in (?:the )?request|limit) (?:more than|exceed)",
    r"input tokens exceed",
    # llama.cpp, LM Studio, Ollama
    r"exceeds? the available context size|exceed_context_size|context size has been exceeded",
    r"greater than the context length",
    r"input length exceeds (?:the )?context",
)
"""How providers say that a request does not fit; any case."""
_NOT_TOO_LONG = re.compile(
    r"rate.?limit|per (?:minute|day|hour)|quota|string too long|array too long|image exceeds|max_tokens: ",
    re.IGNORECASE,
)
_TOO_LONG = re.compile("|".join(TOO_LONG), re.IGNORECASE | re.DOTALL)
_COUNTED = (
    re.compile(r"(?P<sent>\d{3,}) tokens? > (?P<window>\d{3,})"),
    re.compile(r"input token count \(?(?P<sent>\d{3,})\)?.*?tokens allowed \(?(?P<window>\d{3,})", re.DOTALL),
    re.compile(r"request \((?P<sent>\d{3,}) tokens\).*?context size \((?P<window>\d{3,})", re.DOTALL),
    re.compile(r"prompt length is (?P<window>\d{3,}).*?contains (?P<sent>\d{3,})", re.DOTALL),
    re.compile(r"token limit: (?P<window>\d{3,}).*?requested: (?P<sent>\d{3,})", re.DOTALL),
    re.compile(r"token count of (?P<sent>\d{3,}) exceeds the limit of (?P<window>\d{3,})"),
    re.compile(
        r"context length (?:is|of)(?: only)? (?P<window>\d{3,}).*?\((?P<sent>\d{3,}) (?:in|of) ", re.DOTALL
    ),
    re.compile(r"context length (?:is|of)(?: only)? (?P<window>\d{3,})[^\d]*(?P<sent>\d{3,})?", re.DOTALL),
    re.compile(r"(?P<sent>\d{3,}) \+ \d+ > (?P<window>\d{3,})"),
)
"""Where the numbers stand, when they are told."""
_PATH = re.compile(
    r"messages[.\[](?P<message>\d+)\]?\.content[.\[](?P<block>\d+)\]?(?:\.(?P<kind>[a-z_]+))?"
    r"(?:\.content[.\[](?P<inner>\d+)\]?(?:\.(?P<inner_kind>[a-z_]+))?)?"
)
_KINDS = (
    (
        "image",
        re.compile(
            r"\bimages?\b|\bimage_url\b|picture|unsupported media|\bvision\b|multimodal", re.IGNORECASE
        ),
    ),
    ("document", re.compile(r"\bpdfs?\b|\bdocuments?\b|\binput_file\b", re.IGNORECASE)),
)


class TooLong(Value, frozen=True, kw_only=True):
    """The request does not fit; with what was counted, where that is told."""

    sent_tokens: int | None = None
    window_tokens: int | None = None


class Place(NamedTuple):
    """A block of a conversation; `inner` of a tool result."""

    message: int
    block: int
    inner: int | None = None


def read_too_long(message: str) -> TooLong | None:
    """Whether a refusal says that the request is too long, in any provider's words."""
    if not _TOO_LONG.search(message) or _NOT_TOO_LONG.search(message):
        return None
    for form in _COUNTED:
        if found := form.search(message):
            sent, window = found.group("sent"), found.group("window")
            return TooLong(sent_tokens=int(sent) if sent else None, window_tokens=int(window))
    return TooLong()


def blamed_blocks(message: str, messages: Sequence[JsonObject]) -> list[Place]:
    """The blocks of the conversation that a refusal is about, as far as its words tell: the one that it names, else the
    newest of the kind that it names; none when it is about something else."""
    if (found := _PATH.search(message)) is not None:
        return _named(found, messages)
    for kind, words in _KINDS:
        if words.search(message):
            return _newest(kind, messages)
    return []


def _named(found: re.Match[str], messages: Sequence[JsonObject]) -> list[Place]:
    number, index = int(found["message"]), int(found["block"])
    if number >= len(messages):
        return []
    blocks = cast("list[JsonObject]", messages[number]["content"])
    kind = found["kind"]
    types = [str(block["type"]) for block in blocks]
    if kind in types and (index >= len(types) or types[index] != kind):
        # Its driver left blocks out before this one (what another model thought).
        index = min((at for at, type in enumerate(types) if type == kind), key=lambda at: abs(at - index))
    if index >= len(blocks):
        return []
    inner = found["inner"]
    inners = blocks[index].get("content")
    if inner is not None and isinstance(inners, list) and int(inner) < len(inners):
        return [Place(number, index, int(inner))]
    return [Place(number, index)]


def _newest(kind: str, messages: Sequence[JsonObject]) -> list[Place]:
    """All of that kind in the newest message that has one."""
    for number in range(len(messages) - 1, -1, -1):
        found: list[Place] = []
        for index, block in enumerate(cast("list[JsonObject]", messages[number]["content"])):
            if block["type"] == kind:
                found.append(Place(number, index))
            elif block["type"] == "tool_result" and isinstance(block.get("content"), list):
                inners = cast("list[JsonObject]", block["content"])
                found += [
                    Place(number, index, at) for at, inner in enumerate(inners) if inner["type"] == kind
                ]
        if found:
            return found
    return []

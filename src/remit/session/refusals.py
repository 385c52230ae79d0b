"""The meaning of a provider's refusal, read off its words: a request that is too long, or one block of it.
Pure; the words are data, for there is no code that they share."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple, cast

from remit.values import JsonObject, Value

THINKING = ("thinking", "redacted_thinking")

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
    r"reached context length|which is not enough|n_prompt_tokens",
    # Bedrock, GLM, vLLM with no room at all for an answer
    r"expected maxLength: \d+, actual: \d+",
    r"\u8d85\u957f",
    r"max_(?:completion_)?tokens must be at least \d+, got -",
)
"""How providers say that a request does not fit, where it is said in no usual sentence; any case."""
_WHAT = r"(?:prompt|inputs?|context|conversation|request|payload|body|messages?|sequence)"
_OVER = (
    r"(?:exceed(?:s|ed|ing)?|(?:longer|larger|greater|bigger|more) than|overflows?|only supports|"
    r"(?:do(?:es)? not|doesn't|cannot|won't) fit|(?:must|should|can) ?(?:be|have|not)? ?(?:<=|less than|fewer than|at most))"
)
_BOUND = (
    r"(?:context|window|n_ctx|session_len|\bm(?:ax|aximum)[_ ](?:allowed |supported |total |num_)?"
    r"(?:input|prompt|seq|sequence|model|message|num|position|batch|tokens|len)\w*|\blimit\b|\bmaximum\b|up to|\d{3,})"
)
_SENTENCES = (
    rf"\b{_WHAT}(?:,? \w+){{0,4}} too (?:long|large|big)",
    rf"\b{_WHAT}\b[^.:;{{}}]{{0,80}}?{_OVER}[^:;{{}}]{{0,60}}?{_BOUND}",
    rf"\btokens?\b[^.:;{{}}]{{0,60}}?{_OVER}[^:;{{}}]{{0,60}}?(?:context|window|n_ctx|\w*_len\b|max (?:message|input|prompt) tokens|tokens? limit)",
    r"(?:prompt|input|context)\b.{0,20}\d{3,} (?:tokens )?exceeds",
    r"max seq(?:uence)? len\w* is \d+",
)
"""The usual sentences: what there is of it, that it is over, and over what."""
_NOT_TOO_LONG = re.compile(
    r"rate.?limit|per[- ](?:minute|day|hour|month)|quota|plan\b|daily|monthly|please wait|too many requests|"
    r"string too long|array too long|image exceeds|\b(?:input|string|list|value) should (?:be|have|match) |"
    r"\bmax_(?:completion_|output_)?tokens: |tokens you requested exceeds|model supports at most|"
    r"messages?[.\[]\d+\]?\.(?!.*(?:tokens|context))|number of tools|concurren|spending|seconds|timed out",
    re.IGNORECASE,
)
"""Limits of other kinds: of rates, of a field, of what is answered."""
_IS_MEDIUM = re.compile(r"\bimages?\b|picture|\bpdfs?\b|\bfiles?\b|\bdocuments?\b", re.IGNORECASE)
_IS_COUNTED = re.compile(r"token|context|prompt", re.IGNORECASE)
_TOO_LONG = re.compile("|".join(TOO_LONG + _SENTENCES), re.IGNORECASE | re.DOTALL)
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
    re.compile(
        r"(?P<sent>\d{3,})[^\d]{0,50}?(?:\d{1,2}\D{1,30})?(?:exceed|too large|not fit|greater|longer|larger|more than|> |>=|but |while )"
        r"\D{0,90}?(?P<window>\d{3,})",
        re.IGNORECASE,
    ),
    re.compile(
        r"(?:<=|(?:less|fewer) than|max\w*|limit|maxLength)\D{0,40}(?P<window>\d{3,})\D{0,20}"
        r"(?:given|got|received|requested|has|contains|actual)\D{0,30}(?P<sent>\d{3,})",
        re.IGNORECASE,
    ),
)
"""Where the numbers stand, when they are told; the last two are guesses."""
_STATUS = re.compile(r"\b(?:answered|error code:?|status(?: code)?:?) \d{3}\b", re.IGNORECASE)
_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
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
_MEDIA = {
    "image_url": "image",
    "input_image": "image",
    "inline_data": "image",
    "file": "document",
    "input_file": "document",
}
"""Kinds of other protocols, which count messages otherwise too."""
_MODERATED = re.compile(
    r"content[ _-](?:management )?(?:policy|filter)|moderation|inappropriate|data_?inspection|content exists risk|\bflagged\b|"
    r"high risk|considered unsafe|safety (?:system|polic)|sensitive (?:content|words?|information)|\u654f\u611f",
    re.IGNORECASE,
)
"""What was said is refused for what it says; it would be again, with every later message."""
_ABOUT_CONTENT = re.compile(
    r"\b(?:content|base64|mime|media|modalit|decod|attachment|inline_?data|data url|blob)|download|fetch",
    re.IGNORECASE,
)
"""Words that are about something in a message, whatever it is."""
_LEFT_OUT = re.compile(r"\(an? [\w ]+ was left out: ")


class TooLong(Value, frozen=True, kw_only=True):
    """The request does not fit; with what was counted, where that is told."""

    sent_tokens: int | None = None
    window_tokens: int | None = None


class BlockPlace(NamedTuple):
    """A block of a conversation; `inner` of a tool result."""

    message: int
    block: int
    inner: int | None = None


def read_too_long(message: str) -> TooLong | None:
    """Read any provider's refusal of a request that is too long; None: it says something else."""
    if not _TOO_LONG.search(message) or _NOT_TOO_LONG.search(message):
        return None
    if _IS_MEDIUM.search(message) and not _IS_COUNTED.search(message):
        return None  # it is that which is too large
    plain = _STATUS.sub("", _THOUSANDS.sub("", message))
    is_characters = "haracter" in message or "bytes" in message or "maxLength" in message
    for form in () if is_characters else _COUNTED:
        if found := form.search(plain):
            sent, window = found.group("sent"), found.group("window")
            if sent and int(sent) <= int(window) and form in _COUNTED[-2:]:
                continue  # these are not the two
            return TooLong(sent_tokens=int(sent) if sent else None, window_tokens=int(window))
    return TooLong()


def in_order(places: Sequence[BlockPlace], messages: Sequence[JsonObject]) -> list[BlockPlace]:
    """The places as they are when one after the other is put aside: with the first goes all thinking, so that what stood
    behind it in a message moves up."""
    first, *others = sorted(places, key=lambda place: place[:2], reverse=True)
    return [first, *(_without_thinking(place, messages) for place in others)]


def _without_thinking(place: BlockPlace, messages: Sequence[JsonObject]) -> BlockPlace:
    before = cast("list[JsonObject]", messages[place.message]["content"])[: place.block]
    return place._replace(block=place.block - sum(block["type"] in THINKING for block in before))


def is_moderated(message: str) -> bool:
    """Return whether a refusal is about what was said, by its words."""
    return _MODERATED.search(message) is not None


def blamed_blocks(message: str, messages: Sequence[JsonObject]) -> list[BlockPlace]:
    """The blocks of the conversation that a refusal is about, as far as its words tell: the one that it names, else the
    newest of the kind that it names; none when it is about something else."""
    found = _PATH.search(message)
    kind = _MEDIA.get(found["kind"] or "") if found is not None else None
    if found is not None and kind is None and (places := _named(found, messages)):
        return places
    if kind is not None and (places := _newest((kind,), messages)):
        return places
    for kind, words in _KINDS:
        if words.search(message):
            return _newest((kind,), messages)
    if _MODERATED.search(message):
        return _newest_said(messages)
    is_about_media = found is None and _ABOUT_CONTENT.search(message)
    return _newest(("image", "document"), messages) if is_about_media else []


def _newest_said(messages: Sequence[JsonObject]) -> list[BlockPlace]:
    """All that was said in the newest message that is not put aside already, and what the model wrote to have it: a result
    that is refused repeats what was called."""
    said: list[BlockPlace] = []
    for number in range(len(messages) - 1, -1, -1):
        blocks = cast("list[JsonObject]", messages[number]["content"])
        here = [
            BlockPlace(number, index)
            for index, block in enumerate(blocks)
            if not _is_left_out(block) and (not said or block["type"] == "tool_use")
        ]
        said += here
        if said and not any(block["type"] == "tool_result" for block in blocks):
            break
    return said


def _is_left_out(block: JsonObject) -> bool:
    if block["type"] in (*THINKING, "tool_use"):
        return not block.get("input")
    inner = block.get("content")
    if isinstance(inner, list):
        return all(isinstance(each, dict) and _is_left_out(each) for each in inner)
    return _LEFT_OUT.match(str(block.get("text") or "")) is not None


def _named(found: re.Match[str], messages: Sequence[JsonObject]) -> list[BlockPlace]:
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
        return [BlockPlace(number, index, int(inner))]
    return [BlockPlace(number, index)]


def _newest(kinds: Sequence[str], messages: Sequence[JsonObject]) -> list[BlockPlace]:
    """All of these kinds in the newest message that has one."""
    for number in range(len(messages) - 1, -1, -1):
        found: list[BlockPlace] = []
        for index, block in enumerate(cast("list[JsonObject]", messages[number]["content"])):
            if block["type"] in kinds:
                found.append(BlockPlace(number, index))
            elif block["type"] == "tool_result" and isinstance(block.get("content"), list):
                inners = cast("list[JsonObject]", block["content"])
                found += [
                    BlockPlace(number, index, at) for at, inner in enumerate(inners) if inner["type"] in kinds
                ]
        if found:
            return found
    return []

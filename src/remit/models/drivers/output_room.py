"""Refusals of a request for more output than a server can give, and how much it can. Pure."""

from __future__ import annotations

import re

SPARE_TOKENS = 16
"""Left between the input and the output: servers differ over the tokens around messages."""
USEFUL_TOKENS_MIN = 64
"""Where less is left, it is the input that is too long."""

_THOUSANDS = re.compile(r"(?<=\d),(?=\d{3}(?!\d))")
_WINDOWS = (
    # vLLM, OpenAI's older models, SGLang: the window, and what the messages take of it.
    re.compile(
        r"maximum context length (?:is|of) (?P<window>\d+) tokens.{0,200}?"
        r"(?P<input>\d+) (?:tokens )?(?:in|from) (?:the|your) (?:input )?(?:messages|prompt)",
        re.DOTALL,
    ),
    re.compile(
        r"maximum context length is (?P<window>\d+) tokens and your request has (?P<input>\d+) input tokens"
    ),
    re.compile(
        r"maximum context length is (?P<window>\d+) tokens.{0,60}? \d+ output tokens and your (?:prompt|request) "
        r"(?:contains|has) (?:at least )?(?P<input>\d+)"
    ),
    # OpenRouter, TGI
    re.compile(
        r"maximum context length is (?P<window>\d+) tokens.{0,80}?\((?P<input>\d+) of (?:text )?input"
    ),
    re.compile(
        r"`inputs` tokens \+ `max_new_tokens` must be <= (?P<window>\d+)\. Given: (?P<input>\d+) `inputs`"
    ),
    # Anthropic
    re.compile(r"exceed context limit: (?P<input>\d+) \+ \d+ > (?P<window>\d+)"),
)
_STATUS = re.compile(r"\banswered \d{3}\b")
_OUTPUT = re.compile(
    r"max[_ ]?(?:imum )?(?:completion|output|new|generated)?[_ ]?tokens|maxOutputTokens|(?:output|completion|generated) tokens|"
    r"maximum output",
    re.IGNORECASE,
)
_OVER = re.compile(
    r"exceed|too (?:large|many|high|big)|at most|less than|<=|greater than|lower than|above|above maximum|range|between|limit|"
    r"maximum|invalid|\u975e\u6cd5|\[",
    re.IGNORECASE,
)
_INPUT = re.compile(
    r"\bprompt|\binput|context|\bmessages\b|per (?:minute|day|hour)|rate.?limit|budget_tokens", re.IGNORECASE
)
_NUMBER = re.compile(r"(?<![\w.-])(?P<number>\d{2,7})(?![\w-])(?P<exclusive> \(exclusive\))?")
_LIMITS = (
    re.compile(r"at most (?P<most>\d+) (?:completion|output) tokens"),  # OpenAI
    re.compile(r"valid range of max_(?:completion_)?tokens is \[\d+, ?(?P<most>\d+)\]"),  # DeepSeek
    re.compile(r"max_(?:completion_)?tokens`? must be less than or equal to `?(?P<most>\d+)"),  # Groq
    re.compile(r"max_tokens: \d+ > (?P<most>\d+)"),  # Anthropic
    re.compile(
        r"max_(?:completion_|output_|new_)?tokens.{0,60}?(?:range|between).{0,20}?\d+\D{1,6}(?P<most>\d+)"
    ),
)


def smaller_max_tokens(refusal: str, asked: int) -> int | None:
    """Return the output to ask for after this refusal; None where it is about something else, or no use."""
    plain = _STATUS.sub("", _THOUSANDS.sub("", refusal))
    for pattern in _WINDOWS:
        if found := pattern.search(plain):
            left = int(found["window"]) - int(found["input"]) - SPARE_TOKENS
            return left if USEFUL_TOKENS_MIN <= left < asked else None
    for pattern in _LIMITS:
        if found := pattern.search(plain):
            most = int(found["most"])
            return most if 0 < most < asked else None
    return _told_beside(plain, asked)


def _told_beside(refusal: str, asked: int) -> int | None:
    """The same in any sentence that is about the output alone: the greatest number in it below what was asked for."""
    if not _OUTPUT.search(refusal) or not _OVER.search(refusal) or _INPUT.search(refusal):
        return None
    numbers = [int(found["number"]) - (1 if found["exclusive"] else 0) for found in _NUMBER.finditer(refusal)]
    return max((number for number in numbers if USEFUL_TOKENS_MIN <= number < asked), default=None)

"""What a server says when it is asked for more output than it can give, and how much it can. Pure."""

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
    # Anthropic
    re.compile(r"exceed context limit: (?P<input>\d+) \+ \d+ > (?P<window>\d+)"),
)
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
    """How much output to ask for after this refusal; None where that is not what it is about, or no use."""
    plain = _THOUSANDS.sub("", refusal)
    for pattern in _WINDOWS:
        if found := pattern.search(plain):
            left = int(found["window"]) - int(found["input"]) - SPARE_TOKENS
            return left if USEFUL_TOKENS_MIN <= left < asked else None
    for pattern in _LIMITS:
        if found := pattern.search(plain):
            most = int(found["most"])
            return most if 0 < most < asked else None
    return None

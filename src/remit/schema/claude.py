"""Facts that Anthropic documents of its models: how they think, how hard if nobody asks.

From the pages "Thinking", "Effort" and of each model on platform.claude.com, and "Adaptive thinking" in Amazon Bedrock's
user guide, as they were in November 2026. A provider that lists `capabilities` knows better: `ModelInfo.capabilities`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Literal, NamedTuple

from remit.schema.wire import Json, JsonMap

EFFORTS = ("low", "medium", "high", "xhigh", "max")
THINKING_TYPES = ("adaptive", "between_tools", "disabled", "enabled")

_FIRST_EFFORTS = frozenset({"low", "medium", "high"})
_ALL_EFFORTS = frozenset(EFFORTS)


class ClaudeModel(NamedTuple):
    """One model, whatever it is called where it is served."""

    line: str
    thinking: frozenset[str]
    """The values of `thinking.type` that it takes."""
    efforts: frozenset[str]
    effort: Literal["medium", "high"] | None
    """Without one in the request; None: it takes none."""


def _model(
    line: str,
    thinking: str,
    efforts: frozenset[str] = _ALL_EFFORTS,
    effort: Literal["medium", "high"] | None = "high",
) -> ClaudeModel:
    return ClaudeModel(line, frozenset(thinking.split()), efforts, effort)


_MODELS: Mapping[str, ClaudeModel] = {
    "haiku-4-5": _model("haiku", "enabled disabled", frozenset(), None),
    "sonnet-4-5": _model("sonnet", "enabled disabled", frozenset(), None),
    "opus-4-5": _model("opus", "enabled disabled", _FIRST_EFFORTS),
    "sonnet-4-6": _model("sonnet", "adaptive enabled disabled", _FIRST_EFFORTS | {"max"}),
    "opus-4-6": _model("opus", "adaptive enabled disabled", _FIRST_EFFORTS | {"max"}),
    "opus-4-7": _model("opus", "adaptive disabled"),
    "opus-4-8": _model("opus", "adaptive disabled"),
    "sonnet-5": _model("sonnet", "adaptive disabled"),
    "opus-5": _model("opus", "adaptive disabled"),
    "fable-5": _model("fable", "adaptive"),
    "mythos-5": _model("mythos", "adaptive"),
    "fable-5-1": _model("fable", "adaptive"),
    "mythos-5-1": _model("mythos", "adaptive"),
    "fable-5-2": _model("fable", "adaptive"),
    "mythos-5-2": _model("mythos", "adaptive"),
    "haiku-5-5": _model("haiku", "adaptive disabled", effort="medium"),
    "sonnet-5-5": _model("sonnet", "adaptive between_tools"),
    "opus-5-5": _model("opus", "adaptive", effort="medium"),
}
_ID = re.compile(r"\bclaude-([a-z]+-\d(?:-\d)?)(?!\d)")
"""Dates, regions, vendors and versions of a deployment may stand around it: `us.anthropic.claude-opus-4-6-v1:0`."""


def claude_model(model: str) -> ClaudeModel | None:
    """None: it is not one of these."""
    found = _ID.search(model)
    return _MODELS.get(found.group(1)) if found is not None else None


def default_effort(model: str) -> str | None:
    """Return how hard the model works if nobody asks; None where that is not known or means nothing."""
    known = claude_model(model)
    return known.effort if known is not None else None


def documented_capabilities(model: str) -> JsonMap | None:
    """The `capabilities` of the Models API; None: not known."""
    known = claude_model(model)
    if known is None:
        return None
    efforts: JsonMap = {level: _support(level in known.efforts) for level in EFFORTS}
    thinking: JsonMap = {type: _support(type in known.thinking) for type in THINKING_TYPES}
    return {
        **dict.fromkeys(("citations", "image_input", "pdf_input", "structured_outputs"), _support(True)),
        "context_management": {
            "supported": True,
            "clear_thinking_20251015": _support(True),
            "clear_tool_uses_20250919": _support(True),
        },
        "effort": {"supported": bool(known.efforts), **efforts},
        "thinking": {"supported": True, "types": thinking},
    }


def _support(is_supported: bool) -> Json:
    return {"supported": is_supported}

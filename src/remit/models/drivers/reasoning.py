"""Reasoning, ids and signatures that servers of Chat Completions want back with a model's calls. It stands in
the conversation as a block of thinking whose signature only that server's driver reads. Pure."""

from __future__ import annotations

import re
from typing import Literal

import msgspec

from remit.models.drivers.pieces import Pieces
from remit.models.http.json_text import read_json
from remit.values import JsonObject

SIGNATURE = "chat:"
"""How such a signature begins."""
NAMES = ("reasoning_content", "reasoning", "reasoning_text", "thinking")
"""What the text of reasoning is called, by who has which name for it (DeepSeek, OpenRouter, Copilot, others)."""
DETAILS = "reasoning_details"
PARTS = "parts"
"""Reasoning that came as parts of the content (Mistral)."""
_SKIPPED = "skip_thought_signature_validator"
"""Google's documented stand-in for the signature of a call that Gemini did not make."""

_ABOUT = re.compile(r"reasoning_content|reasoning_details|thought_signature|\breasoning\b")
_REFUSES = (
    "unsupported",
    "not supported",
    "not permitted",
    "not allowed",
    "forbidden",
    "unrecognized",
    "unexpected",
)
_INSISTS = ("must be", "missing", "required", "passed back")

Told = Literal["as it came", "emptied", "signed", "left out"]
"""How reasoning goes back: as it came; also where there is none, to servers that insist on it, or on signatures of calls;
not at all, to servers that refuse it."""


class CollectedReasoning:
    """The reasoning of one answer, as its pieces come in."""

    def __init__(self) -> None:
        self._texts: dict[str, Pieces] = {}
        self._details: list[JsonObject] = []

    @property
    def has_begun(self) -> bool:
        """Return whether any reasoning came."""
        return bool(self._texts or self._details)

    def take(self, delta: JsonObject) -> bool:
        """Take what a delta, or a whole message, says of it; whether it says anything."""
        has_any = False
        for name in NAMES:
            if isinstance(text := delta.get(name), str) and text:
                self._texts.setdefault(name, Pieces()).add(text)
                has_any = True
        details = delta.get(DETAILS)
        for detail in details if isinstance(details, list) else []:
            if isinstance(detail, dict):
                self._take_detail(detail)
                has_any = True
        return has_any

    def take_part(self, text: str) -> None:
        """Take a piece that came as a part of the content."""
        self._texts.setdefault(PARTS, Pieces()).add(text)

    def text(self) -> str:
        """Return the part of the reasoning that people may read."""
        for pieces in self._texts.values():
            return pieces.text()
        shown = (str(detail.get("text") or detail.get("summary") or "") for detail in self._details)
        return "".join(shown)

    def block(self, *, provider: str, model: str, calls: JsonObject) -> JsonObject | None:
        """The block that it stands in the conversation as; `calls` is what belongs to each call by its id. None where
        there is nothing to keep."""
        text = self.text()
        fields: JsonObject = {
            name: None if pieces.text() == text else pieces.text() for name, pieces in self._texts.items()
        }
        if self._details:
            fields[DETAILS] = list(self._details)
        if not fields and not calls:
            return None
        kept: JsonObject = {"provider": provider, "model": model, "fields": fields, "calls": calls}
        signature = SIGNATURE + msgspec.json.encode(kept).decode()
        return {"type": "thinking", "thinking": text, "signature": signature}

    def _take_detail(self, detail: JsonObject) -> None:
        """Pieces of one entry come under one index; what is no text of it comes whole."""
        last = self._details[-1] if self._details else None
        same = (
            last is not None
            and all(last.get(name) == detail.get(name) for name in ("type", "index"))
            and last.get("id") in (None, detail.get("id"))
            and "data" not in detail
        )
        if last is None or not same:
            self._details.append(dict(detail))
            return
        for name, value in detail.items():
            before = last.get(name)
            if name in ("text", "summary") and isinstance(before, str) and isinstance(value, str):
                last[name] = before + value
            elif value is not None:
                last[name] = value


class KeptReasoning(msgspec.Struct, frozen=True, kw_only=True):
    """The content of a block of thinking for its server."""

    fields: JsonObject
    calls: JsonObject


def kept_in(block: JsonObject, *, provider: str, model: str) -> KeptReasoning | None:
    """Return a block's content for this server; None: it is another's. Sealed parts are for the same model
    only."""
    signature = block.get("signature")
    if not isinstance(signature, str) or not signature.startswith(SIGNATURE):
        return None
    try:
        kept = read_json(signature.removeprefix(SIGNATURE))
    except msgspec.DecodeError:
        return None
    if not isinstance(kept, dict) or kept.get("provider") != provider:
        return None
    fields, calls = kept.get("fields"), kept.get("calls")
    if not isinstance(fields, dict) or not isinstance(calls, dict):
        return None
    known: JsonObject = {
        name: block.get("thinking") if value is None else value for name, value in fields.items()
    }
    if kept.get("model") != model:
        known.pop(DETAILS, None)
        calls = {}
    return KeptReasoning(fields=known, calls=calls)


def retold(message: str, told: Told) -> Told | None:
    """Return how reasoning goes back after a refusal; None: that was about something else."""
    plain = message.lower()
    if not _ABOUT.search(plain):
        return None
    wanted: Told | None = None
    if any(word in plain for word in _REFUSES):
        wanted = "left out"
    elif any(word in plain for word in _INSISTS):
        wanted = "signed" if "thought_signature" in plain else "emptied"
    return None if told == wanted else wanted


def fill_in(message: JsonObject, told: Told) -> None:
    """Put into a message with calls what its server insists on, where it is not there."""
    if told == "emptied":
        message.setdefault("reasoning_content", "")
    calls = message.get("tool_calls")
    first = calls[0] if told == "signed" and isinstance(calls, list) and calls else None
    if isinstance(first, dict):
        first.setdefault("extra_content", {"google": {"thought_signature": _SKIPPED}})

"""A model that plays a script: deterministic, stateless, with faults on demand. For demos and tests.

Which step comes is read off the request alone (how many assistant messages it has), so a crash or a replay gets the
same answer. The format is described in design/gateway.md.
"""

from __future__ import annotations

import hashlib
import re
from collections import OrderedDict
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import msgspec

from remit.clock import Clock
from remit.errors import InvalidRequest, ModelCallFailed
from remit.values import JsonObject, JsonValue, ModelDelta, ModelInfo, ModelRequest, ModelResponse, Usage

INLINE = "inline"
"""`scripted/inline`: the script is a fenced ```script block in the first user message."""

BYTES_PER_TOKEN = 4
"""Usage is derived from byte counts unless a step states it."""

CONTEXT_TOKENS = 200_000
OUTPUT_TOKENS_MAX = 32_000
CHUNKS_DEFAULT = 4
FAULT_COUNTS_MAX = 10_000
SCRIPT_BYTES_MAX = 1 << 20

NOTHING_MORE = "Nothing more is scripted."

_INLINE_BLOCK = re.compile(r"```script\s*\n(.*?)\n```", re.DOTALL)


class _Part(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Base: a misspelt field is an error, not an ignored one."""


class ScriptedToolUse(_Part, frozen=True, kw_only=True):
    """A tool the scripted model asks for."""

    name: str
    input: dict[str, Any]  # Any: JSON; msgspec cannot decode into a recursive alias


class ScriptedFault(_Part, frozen=True, kw_only=True):
    """A fault of the first `times` attempts at a step."""

    kind: Literal["overloaded", "rate_limited", "cut", "silence", "garbage", "refusal"]
    times: int = 1
    after_chunks: int = 0
    """How many chunks come before it; for cut, silence and garbage."""


class ScriptedUsage(Usage, frozen=True, kw_only=True, forbid_unknown_fields=True, omit_defaults=True):
    """Usage to report instead of the derived one."""


class ScriptStep(_Part, frozen=True, kw_only=True):
    """One answer of the model."""

    thinking: str | None = None
    """Before the text; its beginning is told, its words are never streamed."""
    text: str | None = None
    tool_uses: tuple[ScriptedToolUse, ...] = ()
    stop_reason: Literal["end_turn", "tool_use", "max_tokens", "stop_sequence", "refusal"] | None = None
    usage: ScriptedUsage | None = None
    fault: ScriptedFault | None = None
    delay_ms: int = 0
    """Before the first chunk; for silence: before the time-out."""
    chunks: int = CHUNKS_DEFAULT


class When(_Part, frozen=True, kw_only=True):
    """All that is given must hold."""

    system_contains: str | None = None
    last_user_contains: str | None = None
    """The last user message that has text (tool results are passed over)."""
    user_contains: str | None = None
    """Any user message with text; the last such one counts."""


class ScriptRule(_Part, frozen=True, kw_only=True):
    """Steps for certain requests. Counted from the user message that matched, else from the beginning."""

    when: When
    steps: tuple[ScriptStep, ...]


class ModelScript(_Part, frozen=True, kw_only=True):
    """A scripted model's script. The first rule that matches wins, else `steps`; past the end `default`."""

    description: str = ""
    steps: tuple[ScriptStep, ...] = ()
    rules: tuple[ScriptRule, ...] = ()
    default: ScriptStep | None = None
    context_tokens: int = CONTEXT_TOKENS
    """The window the model says it has."""


def parse_script(content: bytes | str, *, name: str) -> ModelScript:
    """Decode one script. Raises InvalidRequest that names the field."""
    if len(content) > SCRIPT_BYTES_MAX:
        raise InvalidRequest(f"script {name!r} is larger than {SCRIPT_BYTES_MAX} bytes")
    try:
        return msgspec.json.decode(content, type=ModelScript)
    except (msgspec.DecodeError, msgspec.ValidationError) as error:
        raise InvalidRequest(f"script {name!r} cannot be used: {error}") from error


def load_scripts(folder: Path) -> dict[str, ModelScript]:
    """Every `NAME.json` of a folder, by name."""
    return {
        path.stem: parse_script(path.read_bytes(), name=path.stem) for path in sorted(folder.glob("*.json"))
    }


class ScriptedProvider:
    """Plays scripts; implements `interfaces.ModelProvider`."""

    def __init__(self, scripts: Mapping[str, ModelScript], *, clock: Clock) -> None:
        self._scripts = dict(scripts)
        self._clock = clock
        self._fault_counts: OrderedDict[str, int] = OrderedDict()

    async def stream(self, request: ModelRequest) -> AsyncIterator[ModelDelta | ModelResponse]:
        """Play the step this request calls for."""
        step = _choose_step(self._script(request), request)
        fault = self._due_fault(step, request)
        chunks = _chunks(step)
        if fault is not None and fault.kind in ("overloaded", "rate_limited"):
            raise _failure(fault)
        if step.thinking is not None and fault is None:
            yield ModelDelta(is_thinking=True)
        if step.delay_ms and not (fault is not None and fault.kind == "silence"):
            await self._clock.sleep(step.delay_ms / 1000)
        if fault is not None and fault.kind != "refusal":
            for chunk in chunks[: fault.after_chunks]:
                yield ModelDelta(texts=(chunk,))
            if fault.kind == "silence":
                await self._clock.sleep(step.delay_ms / 1000)
            raise _failure(fault)
        response = _refusal(request) if fault is not None else _respond(step, request)
        for chunk in _split(_text_of(response), step.chunks):
            yield ModelDelta(texts=(chunk,))
        yield response

    async def models(self) -> Sequence[ModelInfo]:
        """List one model per script."""
        return [
            ModelInfo(
                id=name,
                display_name=script.description or f"Scripted: {name}",
                context_tokens=script.context_tokens,
                max_output_tokens=OUTPUT_TOKENS_MAX,
                provider="scripted",
            )
            for name, script in sorted(self._scripts.items())
        ]

    async def count_tokens(self, request: ModelRequest) -> int | None:
        """Count the tokens as the derived usage would."""
        return _input_tokens(request)

    async def close(self) -> None:
        """Do nothing: a script has nothing to close."""

    def _script(self, request: ModelRequest) -> ModelScript:
        name = _name(request)
        if name == INLINE:
            return _inline_script(request)
        if name not in self._scripts:
            known = ", ".join(sorted(self._scripts)) or "none is loaded"
            raise _invalid(f"there is no script {name!r}; scripts: {known}; or `scripted/inline`")
        return self._scripts[name]

    def _due_fault(self, step: ScriptStep, request: ModelRequest) -> ScriptedFault | None:
        """The step's fault while attempts at this very request number at most `times`; counted in this process only."""
        if step.fault is None:
            return None
        key = _digest(request)
        count = self._fault_counts.pop(key, 0) + 1
        self._fault_counts[key] = count
        if len(self._fault_counts) > FAULT_COUNTS_MAX:
            self._fault_counts.popitem(last=False)
        return step.fault if count <= step.fault.times else None


# ------------------------------------------------------------------------------------------ which step


def _choose_step(script: ModelScript, request: ModelRequest) -> ScriptStep:
    for rule in script.rules:
        start = _match(rule.when, request)
        if start is not None:
            return _step_at(rule.steps, _assistant_count(request, after=start), script.default)
    return _step_at(script.steps, _assistant_count(request, after=-1), script.default)


def _step_at(steps: tuple[ScriptStep, ...], index: int, default: ScriptStep | None) -> ScriptStep:
    if index < len(steps):
        return steps[index]
    return default or ScriptStep(text=NOTHING_MORE, stop_reason="end_turn")


def _match(when: When, request: ModelRequest) -> int | None:
    """The index of the message from which the rule counts (-1: the beginning); None if it does not match."""
    if when.system_contains is not None and when.system_contains not in (request.system or ""):
        return None
    start = -1
    if when.last_user_contains is not None:
        last = next(_user_texts(request), None)
        if last is None or when.last_user_contains not in last[1]:
            return None
        start = last[0]
    if when.user_contains is not None:
        matching = (index for index, text in _user_texts(request) if when.user_contains in text)
        found = next(matching, None)
        if found is None:
            return None
        start = max(start, found)
    return start


def _user_texts(request: ModelRequest) -> Iterator[tuple[int, str]]:
    """The user messages that have text, newest first, each with its index."""
    for index in range(len(request.messages) - 1, -1, -1):
        message = request.messages[index]
        if message.get("role") == "user" and (text := _message_text(message)):
            yield index, text


def _assistant_count(request: ModelRequest, *, after: int) -> int:
    return sum(message.get("role") == "assistant" for message in request.messages[after + 1 :])


def _name(request: ModelRequest) -> str:
    return request.model.removeprefix("scripted/")


def _inline_script(request: ModelRequest) -> ModelScript:
    for message in request.messages:
        if message.get("role") == "user" and (found := _INLINE_BLOCK.search(_message_text(message))):
            try:
                return parse_script(found.group(1), name=INLINE)
            except InvalidRequest as error:
                raise _invalid(error.message) from error
    raise _invalid(
        "`scripted/inline` needs a fenced ```script block with the script's JSON in a user message"
    )


def _message_text(message: JsonObject) -> str:
    content = message.get("content")
    if isinstance(content, str):
        return content
    if not isinstance(content, list):
        return ""
    return "\n".join(
        text for block in content if isinstance(block, dict) and isinstance(text := block.get("text"), str)
    )


# ------------------------------------------------------------------------------------------ the answer


def _respond(step: ScriptStep, request: ModelRequest) -> ModelResponse:
    digest = _digest(request)
    content = _content(step, digest)
    stop_reason = step.stop_reason or ("tool_use" if step.tool_uses else "end_turn")
    output_tokens = _tokens(content)
    if output_tokens > request.max_tokens and step.usage is None:
        # As a real model would: cut in the middle, and a tool use that did not get finished is not there.
        text = (step.text or "").encode()[: request.max_tokens * BYTES_PER_TOKEN].decode(errors="ignore")
        content = _text_blocks(text)
        stop_reason, output_tokens = "max_tokens", request.max_tokens
    return ModelResponse(
        content=tuple(content),
        stop_reason=stop_reason,
        usage=_usage(step, request, output_tokens),
        model=f"scripted/{_name(request)}",
        provider_id=f"msg_scripted_{digest[:16]}",
    )


def _usage(step: ScriptStep, request: ModelRequest, output_tokens: int) -> Usage:
    if step.usage is not None:
        return msgspec.convert(msgspec.structs.asdict(step.usage), Usage)
    return Usage(input_tokens=_input_tokens(request), output_tokens=output_tokens)


def _refusal(request: ModelRequest) -> ModelResponse:
    return ModelResponse(
        content=(),
        stop_reason="refusal",
        usage=Usage(input_tokens=_input_tokens(request), output_tokens=1),
        model=f"scripted/{_name(request)}",
        stop_details={
            "type": "refusal",
            "category": "general_harms",
            "explanation": "The script refuses here.",
        },
    )


def _content(step: ScriptStep, digest: str) -> list[JsonObject]:
    content = _text_blocks(step.text)
    if step.thinking:
        # Nobody signed it, so no other provider will be sent it.
        content.insert(0, {"type": "thinking", "thinking": step.thinking, "signature": ""})
    for index, use in enumerate(step.tool_uses):
        block: JsonObject = {"type": "tool_use", "id": f"toolu_{digest[:20]}{index:02d}", "name": use.name}
        content.append({**block, "input": use.input})
    return content


def _text_blocks(text: str | None) -> list[JsonObject]:
    return [{"type": "text", "text": text}] if text else []


def _chunks(step: ScriptStep) -> list[str]:
    return _split(step.text or "", step.chunks)


def _split(text: str, count: int) -> list[str]:
    """At most `count` pieces of about equal length; none for no text."""
    size = max(1, -(-len(text) // max(1, count)))
    return [text[start : start + size] for start in range(0, len(text), size)]


def _text_of(response: ModelResponse) -> str:
    return "".join(str(block["text"]) for block in response.content if block.get("type") == "text")


def _input_tokens(request: ModelRequest) -> int:
    return _tokens_of(len(request.content_json))


def _tokens(value: JsonValue | list[JsonObject]) -> int:
    return _tokens_of(len(msgspec.json.encode(value)))


def _tokens_of(encoded_bytes: int) -> int:
    return max(1, -(-encoded_bytes // BYTES_PER_TOKEN))


def _digest(request: ModelRequest) -> str:
    return hashlib.sha256(request.content_json + request.model.encode()).hexdigest()


# ------------------------------------------------------------------------------------------ faults


def _failure(fault: ScriptedFault) -> ModelCallFailed:
    match fault.kind:
        case "overloaded":
            return _failed("overloaded", billed="no")
        case "rate_limited":
            return _failed("rate_limited", billed="no", retry_after_seconds=1.0)
        case "cut":
            return _failed("cut", billed="unknown")
        case "silence":
            return _failed("timeout", billed="unknown")
        case "garbage":
            return _failed("garbage", billed="unknown")
        case "refusal":
            raise AssertionError("a refusal is an answer, not a failure")


def _failed(reason: str, *, billed: str, retry_after_seconds: float | None = None) -> ModelCallFailed:
    return ModelCallFailed(
        f"the scripted model failed on purpose: {reason}",
        reason=reason,
        billed=billed,
        is_retryable=True,
        retry_after_seconds=retry_after_seconds,
    )


def _invalid(message: str) -> ModelCallFailed:
    return ModelCallFailed(message, reason="invalid", billed="no", is_retryable=False)

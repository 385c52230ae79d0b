"""One answer of Chat Completions, as its chunks come in, in every dialect of them that servers speak."""

from __future__ import annotations

import msgspec
import structlog

from remit.models.drivers.pieces import Pieces
from remit.models.drivers.reasoning import CollectedReasoning
from remit.models.drivers.tool_call_recovery import recover_tool_calls
from remit.models.drivers.tool_calls import CallIds, input_of, is_whole, tool_name, well_formed
from remit.models.drivers.usage import UsageReports
from remit.models.http.endpoint import Endpoint, Outlook
from remit.models.http.failures import error_failure, error_in
from remit.models.http.reading import document_of, is_done
from remit.models.http.sse import SseEvent
from remit.values import (
    UNPARSED_INPUT,
    JsonObject,
    JsonValue,
    ModelRequest,
    ModelResponse,
    StopReason,
)

log = structlog.get_logger(__name__)

_STOP_REASONS: dict[str, StopReason] = {
    "length": "max_tokens",
    "max_tokens": "max_tokens",
    "model_length": "max_tokens",
    "max_output_tokens": "max_tokens",
    "content_filter": "refusal",
    "safety": "refusal",
    "refusal": "refusal",
    "recitation": "refusal",
    "sensitive": "refusal",
    "prohibited_content": "refusal",
}
"""Of the reasons, in small letters, those that say more than that the answer is there."""
_PLAIN = frozenset({"content", "role"})
"""What a delta has that is text and nothing else."""
_USUAL = ("stop", "tool_calls", "function_call")
_BROKEN = ("error", "abort", "network_error", "insufficient_system_resource", "malformed_function_call")
"""Reasons that say that there is no answer, where there is none."""


class _Call:
    """A tool call, as its pieces come in."""

    def __init__(self, index: JsonValue) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.arguments = Pieces()
        self.last_piece = ""
        self.is_growing = True
        """Each piece of the arguments begins with the one before it."""
        self.input: JsonObject | None = None
        """Arguments that came as an object."""
        self.extra: JsonValue = None
        """What the server wants back with it."""

    def add(self, arguments: str) -> None:
        """Take a piece of the arguments."""
        self.is_growing = self.is_growing and arguments.startswith(self.last_piece)
        self.last_piece = arguments
        self.arguments.add(arguments)

    @property
    def is_over(self) -> bool:
        """Whether all of its arguments are there."""
        return self.input is not None or is_whole(self.arguments.text())

    def written(self) -> str:
        """Its arguments. Servers exist that say at each piece all that was said so far: then the last one is it."""
        text = self.arguments.text()
        is_last_all = self.is_growing and self.last_piece != text and is_whole(self.last_piece)
        return self.last_piece if is_last_all and not is_whole(text) else text


class ChatAnswer:
    """One answer."""

    def __init__(self, endpoint: Endpoint, request: ModelRequest) -> None:
        self._endpoint = endpoint
        self._request = request
        self._names = frozenset(str(tool.get("name")) for tool in request.tools)
        self._id = ""
        self._model = ""
        self._text = Pieces()
        self._reasoning = CollectedReasoning()
        self._calls: list[_Call] = []
        self._made: set[tuple[str, str, bytes]] = set()
        """The calls by id, name and input."""
        self._usage = UsageReports()
        self._finish_reason: str | None = None
        self._is_refused = False
        self._is_done = False
        self._has_begun = False
        self._has_deltas = False
        self._has_empty_reason = False
        self._is_thinking_told = False

    def outlook(self) -> Outlook:
        """Return how far the answer is."""
        if self._is_done:
            return "whole"
        if self._finish_reason is not None:
            return "counted" if self._usage.are_there else "finished"
        return "begun" if self._has_begun else "waiting"

    def begins_to_think(self) -> bool:
        """Return whether the model has begun to think since the last time; once an answer."""
        begins = self._reasoning.has_begun and not self._is_thinking_told
        self._is_thinking_told = self._is_thinking_told or begins
        return begins

    def take(self, event: SseEvent) -> str | None:
        """Take one chunk in; the text it brought. Raises ModelCallFailed."""
        if self._is_done:
            return None
        if is_done(event):
            self._is_done = True
            return None
        chunk = document_of(self._endpoint, event)
        if chunk is None:
            return None
        choices = chunk.get("choices")
        if not choices or chunk.get("error") or event.event == "error":
            error = error_in(chunk) or (chunk if event.event == "error" else None)
            if error is not None:
                raise error_failure(self._endpoint, error, is_begun=self._has_begun)
        if not self._model:
            self._id = self._id or str(chunk.get("id") or "")
            self._model = str(chunk.get("model") or "")
        choice = choices[0] if isinstance(choices, list) and choices else None
        text = None
        if isinstance(choice, dict):
            text = self._take_choice(choice)
            self._usage.take(choice.get("usage"))
        if "usage" in chunk or "x_groq" in chunk:
            beside = chunk.get("x_groq")
            self._usage.take(chunk.get("usage"))
            self._usage.take(beside.get("usage") if isinstance(beside, dict) else None)
        return text

    def response(self, *, recovers_calls: bool) -> ModelResponse:
        """The whole answer. Raises ModelCallFailed when it was cut, or there is none."""
        is_told = self._is_done or (self._has_empty_reason and self._usage.are_there)
        if self._finish_reason is None and not (is_told and self._has_begun):
            raise self._endpoint.failure("broke off the answer", reason="cut", billed="unknown")
        stop_reason = self._stop_reason((self._finish_reason or "stop").lower())
        ids = CallIds(self._request)
        text = self._text.text()
        kept: JsonObject = {}
        uses = [
            use
            for number, call in enumerate(self._calls)
            if (use := self._use(call, number, ids, kept, is_cut=stop_reason == "max_tokens"))
        ]
        if recovers_calls and not uses and self._names and stop_reason == "end_turn":
            recovered = recover_tool_calls(text, self._names, self._request.tools)
            text = recovered.text
            uses = [
                _block(ids.new("", otherwise=f"call_{self._id}_{number}"), call.name, call.input)
                for number, call in enumerate(recovered.calls)
            ]
        if uses and stop_reason == "end_turn":
            stop_reason = "tool_use"  # several servers say "stop" after a call
        if not text and not uses and stop_reason == "end_turn":
            # A server that takes the whole answer for reasoning: it is all that was said.
            text = self._reasoning.text()
        content: list[JsonObject] = [{"type": "text", "text": text}] if text.strip() else []
        thought = self._reasoning.block(provider=self._endpoint.name, model=self._request.model, calls=kept)
        counted = self._usage.counted()
        return ModelResponse(
            content=(*([thought] if thought is not None and uses else []), *content, *uses),
            stop_reason=stop_reason,
            usage=counted.usage,
            is_usage_known=counted.is_known,
            model=self._model or self._request.model,
            provider_id=self._id or None,
        )

    def _stop_reason(self, word: str) -> StopReason:
        """Raises ModelCallFailed where it says that there is no answer, and there is none."""
        has_answer = bool(self._text.text().strip() or self._calls)
        if word in _BROKEN and not has_answer:
            raise self._endpoint.failure(
                f"gave up the answer ({self._finish_reason})", reason="unavailable", billed="unknown"
            )
        if word not in _USUAL and word not in _STOP_REASONS:
            log.info(
                "model_finish_reason_unknown",
                provider=self._endpoint.name,
                finish_reason=self._finish_reason,
            )
        return "refusal" if self._is_refused else _STOP_REASONS.get(word, "end_turn")

    def _take_choice(self, choice: JsonObject) -> str | None:
        if (error := choice.get("error")) and isinstance(error, dict):
            raise error_failure(self._endpoint, error, is_begun=self._has_begun)
        delta = choice.get("delta")
        text = None
        if isinstance(delta, dict):
            content = delta.get("content")
            if content and isinstance(content, str) and delta.keys() <= _PLAIN:  # as nearly all are
                text = self._take_text(content)
            else:
                text = self._take_delta(delta)
            self._has_deltas = self._has_deltas or self._has_begun
        if not self._has_deltas:
            message, plain = choice.get("message"), choice.get("text")
            if isinstance(message, dict):
                text = self._take_message(message)
            elif isinstance(plain, str):
                text = self._take_text(plain)
        reason = choice.get("finish_reason")
        if isinstance(reason, str) and reason:
            self._finish_reason = reason
        self._has_empty_reason = self._has_empty_reason or reason == ""
        return text

    def _take_message(self, message: JsonObject) -> str | None:
        """Take in what stands in place of a delta: a piece, or all that was said so far."""
        content, so_far = message.get("content"), self._text.text()
        if so_far and isinstance(content, str) and content.startswith(so_far):
            message = {**message, "content": content[len(so_far) :]}
        return self._take_delta(message)

    def _take_delta(self, delta: JsonObject) -> str | None:
        calls = delta.get("tool_calls")
        for piece in calls if isinstance(calls, list) else [calls]:
            if isinstance(piece, dict):
                self._take_call(piece)
        if isinstance(old := delta.get("function_call"), dict) and old:
            self._take_call({"index": 0, "function": old})
        if self._reasoning.take(delta):
            self._words_came()
        texts: list[str] = []
        if isinstance(refusal := delta.get("refusal"), str) and refusal:
            self._is_refused = True
            texts.append(refusal)
        content = delta.get("content")
        texts += [self._part_text(part) for part in (content if isinstance(content, list) else [content])]
        return self._take_text("".join(texts))

    def _part_text(self, part: JsonValue) -> str:
        """The text of the content, or of a part of it; a part that is reasoning goes there."""
        if isinstance(part, str):
            return part
        if not isinstance(part, dict):
            return ""
        if part.get("type") in ("thinking", "reasoning"):
            inner = part.get("thinking") or part.get("text") or part.get("reasoning")
            for piece in inner if isinstance(inner, list) else [inner]:
                thought = piece.get("text") if isinstance(piece, dict) else piece
                if isinstance(thought, str) and thought:
                    self._reasoning.take_part(thought)
                    self._words_came()
            return ""
        return str(part.get("text") or part.get("refusal") or "")

    def _take_text(self, text: str) -> str | None:
        if not text:
            return None
        self._text.add(text)
        self._words_came()
        return text

    def _words_came(self) -> None:
        """A part of the answer came. What was said of its end before was not about all of it."""
        self._has_begun = True
        self._finish_reason = None
        self._usage.words_came()

    def _take_call(self, piece: JsonObject) -> None:
        function = piece.get("function")
        said = function if isinstance(function, dict) else piece  # some leave the inner object out
        given_id = piece.get("id")
        id = str(given_id) if isinstance(given_id, str | int) and given_id != "" else ""
        name = said.get("name") if isinstance(said.get("name"), str) else ""
        arguments = said.get("arguments", said.get("parameters"))
        name = str(name or "")
        call = self._call_of(_index_of(piece.get("index")), id, name, arguments)
        call.id = call.id or id
        if not call.name or self._goes_on(call.name, name):
            call.name += name
        call.extra = piece.get("extra_content") or call.extra
        if isinstance(arguments, dict):
            call.input = arguments or call.input
        elif isinstance(arguments, str) and arguments:
            # A piece that begins like a whole may be the whole of it once more.
            is_again = arguments[0] == "{" and arguments == call.arguments.text() and is_whole(arguments)
            if not is_again:
                call.add(arguments)
        elif arguments:  # a list, a number: the model is told
            call.add(msgspec.json.encode(arguments).decode())
        self._words_came()

    def _call_of(self, index: JsonValue, id: str, name: str, arguments: JsonValue) -> _Call:
        """The call that a piece belongs to. A piece that names a tool begins another call where its id is another, or
        where the one at its place is whole; a piece without a name goes on with what is there."""
        place = [call for call in self._calls if index is None or call.index == index]
        call = next((call for call in place if id and call.id == id), place[-1] if place else None)
        last = self._calls[-1] if self._calls else None
        is_strayed = last is not None and call is not last and not name and arguments not in (None, "")
        if last is not None and is_strayed and (call is None or call.is_over) and not last.is_over:
            return last  # servers count the calls of an answer in two ways: the heads, and the pieces
        if call is None or (index is None and id and call.id != id and name):
            return self._new_call(index)
        if not name or not call.name or self._goes_on(call.name, name):
            return call
        if name != call.name:
            return self._new_call(index)
        if id and call.id and id != call.id:
            is_begun = bool(call.arguments.text()) and not is_whole(call.arguments.text())
            return call if is_begun else self._new_call(index)
        if id and id == call.id:
            return call
        return self._new_call(index) if arguments not in (None, "") and call.is_over else call

    def _goes_on(self, begun: str, name: str) -> bool:
        """Whether that is the next piece of a tool's name."""
        is_other = not name or name == begun or name in self._names
        return not is_other and any(known.startswith(begun + name) for known in self._names)

    def _new_call(self, index: JsonValue) -> _Call:
        call = _Call(index)
        self._calls.append(call)
        return call

    def _use(
        self, call: _Call, number: int, ids: CallIds, kept: JsonObject, *, is_cut: bool
    ) -> JsonObject | None:
        """The call as a block; none for one that the token limit cut in the middle."""
        written = call.written()
        input = call.input if call.input is not None and not written.strip() else input_of(written)
        if is_cut and UNPARSED_INPUT in input:
            return None
        whole = (call.id, call.name, msgspec.json.encode(input))
        if call.id and whole in self._made:
            return None  # a server that says all of a call once more, as another
        self._made.add(whole)
        id = ids.new(call.id, otherwise=f"call_{self._id}_{number}")
        belongs: JsonObject = {}
        if call.id and call.id != id and well_formed(call.id) == id:
            belongs["id"] = call.id  # the server may know its own alone
        if call.extra is not None:
            belongs["extra_content"] = call.extra
        if belongs:
            kept[id] = belongs
        return _block(id, tool_name(call.name, self._names), input)


def _index_of(index: JsonValue) -> JsonValue:
    """The place of a call, where it is a number in quotes too."""
    return int(index) if isinstance(index, str) and index.isdecimal() and len(index) < 10 else index


def _block(id: str, name: str, input: JsonObject) -> JsonObject:
    return {"type": "tool_use", "id": id, "name": name, "input": input}

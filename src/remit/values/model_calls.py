"""Requests to models, their answers, and attempts that are paid."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from typing import Literal, NamedTuple, Self

import msgspec

from remit.values.ledger import Hold, Settle, Usage
from remit.values.value import JsonObject, Value

UNPARSED_INPUT = "unparsed_arguments"
"""Where arguments of a call go that are no JSON object: no tool has such a field, so the model is told and can mend them."""


THINKING_TOKENS_MIN = 1_024
"""The least that Anthropic takes as a budget of thinking."""


class EncodedObject(NamedTuple):
    """An object with its JSON."""

    object: JsonObject
    json: bytes

    @classmethod
    def of(cls, object: JsonObject) -> Self:
        """Encode the object."""
        return cls(object, msgspec.json.encode(object))


Translate = Callable[[JsonObject], JsonObject | None]
"""Makes of an object what a protocol has for it; None where it has nothing."""


@dataclass
class EncodedNotes:
    """What was found out about the first objects of a conversation, for all that are made of it."""

    translations: dict[Translate, list[EncodedObject | None]] = field(
        default_factory=dict[Translate, list[EncodedObject | None]]
    )
    mentions: dict[bytes, tuple[int, int]] = field(default_factory=dict[bytes, tuple[int, int]])
    """Of a word: where it stands first (-1: nowhere so far), and how far was looked."""


class EncodedObjects(tuple[JsonObject, ...]):
    """Objects of which the first were encoded earlier: a conversation is asked again with each call, and longer. Nobody
    changes one of them."""

    encoded: bytes
    """The first ones as JSON, with commas between them."""
    encoded_count: int
    notes: EncodedNotes

    def __new__(
        cls,
        objects: Iterable[JsonObject],
        encoded: bytes,
        encoded_count: int,
        notes: EncodedNotes | None = None,
    ) -> Self:
        made = super().__new__(cls, objects)
        made.encoded, made.encoded_count = encoded, encoded_count
        made.notes = notes or EncodedNotes()
        return made

    @classmethod
    def all_of(cls, objects: Iterable[JsonObject]) -> Self:
        """Encode all of the objects now."""
        objects = tuple(objects)
        return cls(objects, msgspec.json.encode(objects)[1:-1], len(objects))

    @classmethod
    def of_encoded(cls, encoded: Sequence[EncodedObject]) -> Self:
        """Put together what was encoded one by one."""
        objects, json = map(itemgetter(0), encoded), map(itemgetter(1), encoded)
        return cls(objects, b",".join(json), len(encoded))

    def to_json(self) -> msgspec.Raw:
        """The array of all."""
        return msgspec.Raw(b"[%b]" % b",".join(part for part in (self.encoded, self._rest) if part))

    @cached_property
    def _rest(self) -> bytes:
        return msgspec.json.encode(self[self.encoded_count :])[1:-1]

    def mentions(self, word: bytes) -> bool:
        """Return whether the JSON of one has the word; what was encoded is looked through once for all."""
        at, end = self.notes.mentions.get(word, (-1, 0))
        if at < 0 and end < len(self.encoded):
            at, end = self.encoded.find(word, max(0, end - len(word))), len(self.encoded)
            self.notes.mentions[word] = at, end
        return 0 <= at <= len(self.encoded) - len(word) or word in self._rest

    def translated(self, translate: Translate) -> list[EncodedObject | None]:
        """Return what `translate`, a function without state, makes of each; of what was encoded once for all."""
        known = self.notes.translations.setdefault(translate, [])
        known += _translated(self[len(known) : self.encoded_count], translate)
        return [*known[: self.encoded_count], *_translated(self[self.encoded_count :], translate)]


class ModelRequest(Value, frozen=True, kw_only=True, dict=True):
    """One model call in the canonical form: Anthropic Messages blocks. Drivers translate."""

    model: str
    messages: tuple[JsonObject, ...]
    max_tokens: int
    system: str | None = None
    system_short: str | None = None
    """The same for a model that can hold little; its driver takes it in place of `system`."""
    tools: tuple[JsonObject, ...] = ()
    """Each `{name, description, input_schema}`."""
    tool_choice: JsonObject | None = None
    temperature: float | None = None
    effort: str | None = None
    thinks: bool = False
    """The model may think before it answers, where it is one that decides by itself whether to."""
    stop_sequences: tuple[str, ...] = ()
    is_cached: bool = True
    """Ask the provider to cache the prefix, where it can."""
    fields: JsonObject = {}
    """Further top-level fields as the caller wrote them: those of the Messages protocol by their name there (`system`, if
    it came in blocks, whose text is then `system` above), those of OpenAI's alone as `openai.NAME`. Which of them a
    provider takes is for `interfaces.TakesFields` to say."""
    betas: tuple[str, ...] = ()
    """Values of `anthropic-beta`, for providers of that protocol."""
    first_byte_seconds: float | None = None
    """How long the first byte of the answer may take; None: as long as its provider is usually given."""
    wants_events: bool = False
    """The answer's deltas should carry the protocol's own events, where it is the Messages protocol."""

    @cached_property
    def content_json(self) -> bytes:
        """Return what grows with a conversation, as one JSON array: system, messages, tools, tool choice,
        fields. Encoded once for everyone who measures or hashes a request; never sent."""
        # A system prompt in blocks stands in `fields` and, as text, in `system`: it is sent once.
        system = None if "system" in self.fields else self.system
        messages, tools = _encoded(self.messages), _encoded(self.tools)
        return msgspec.json.encode([system, messages, tools, self.tool_choice, self.fields])

    def mentions(self, word: bytes) -> bool:
        """Return whether `content_json` has a name or a string, written with its quotation marks."""
        if isinstance(self.messages, EncodedObjects) and isinstance(self.tools, EncodedObjects):
            return self.messages.mentions(word) or self.tools.mentions(word) or word in self._rest
        return word in self.content_json

    @cached_property
    def _rest(self) -> bytes:
        return msgspec.json.encode([self.tool_choice, self.fields])

    def limited_to(self, max_tokens: int) -> ModelRequest:
        """Return the request for less output. A budget of thinking that would not leave any of it is made
        smaller too."""
        fields = self.fields
        thinking = fields.get("thinking")
        budget = thinking.get("budget_tokens") if isinstance(thinking, dict) else None
        if isinstance(thinking, dict) and isinstance(budget, int) and max_tokens <= budget < self.max_tokens:
            less = max_tokens // 2
            smaller: JsonObject = {**thinking, "budget_tokens": less}
            fields = {
                **fields,
                "thinking": smaller if less >= THINKING_TOKENS_MIN else JsonObject(type="disabled"),
            }
        return msgspec.structs.replace(self, max_tokens=max_tokens, fields=fields)

    def asked_of(self, model: str) -> ModelRequest:
        """Return the request, asked of another model; what was encoded stays encoded."""
        asked = msgspec.structs.replace(self, model=model)
        vars(asked).update(vars(self))
        return asked


def translated(objects: tuple[JsonObject, ...], translate: Translate) -> list[EncodedObject]:
    """Return what `translate`, a function without state, makes of the objects, where it makes anything."""
    is_known = isinstance(objects, EncodedObjects)
    made = objects.translated(translate) if is_known else _translated(objects, translate)
    return [each for each in made if each is not None]


def _translated(objects: Iterable[JsonObject], translate: Translate) -> Iterator[EncodedObject | None]:
    made = map(translate, objects)
    return (None if each is None else EncodedObject.of(each) for each in made)


def _encoded(objects: tuple[JsonObject, ...]) -> msgspec.Raw | tuple[JsonObject, ...]:
    return objects.to_json() if isinstance(objects, EncodedObjects) else objects


StopReason = Literal["end_turn", "tool_use", "max_tokens", "stop_sequence", "refusal"]
ANSWER_SECONDS_MAX = 7_200.0
"""No attempt at a model call takes longer: drivers give up then, and what is open after that has lost its process."""


class MessageEvent(Value, frozen=True, kw_only=True, gc=False):
    """An event of the Messages protocol, while a call runs."""

    fields: JsonObject
    encoded: bytes | None = None
    """As its provider wrote it, on one line."""


class ModelDelta(Value, frozen=True, kw_only=True):
    """The pieces of an answer that came together, while the call runs; never durable."""

    texts: tuple[str, ...] = ()
    events: tuple[MessageEvent, ...] = ()
    """What brought them, and events without text, where the provider speaks the Messages protocol and the request wants
    events."""
    is_thinking: bool = False
    """The model has begun to think; told at the beginning, where the provider tells it."""


class ModelResponse(Value, frozen=True, kw_only=True):
    """A finished call. `content` are canonical blocks: text, thinking (with signature), tool_use {id, name, input}."""

    content: tuple[JsonObject, ...]
    stop_reason: StopReason
    usage: Usage
    model: str
    """What the provider says it served."""
    is_usage_known: bool = True
    """False: the provider reported no usage, so the cost is assumed to be the hold."""
    provider_id: str | None = None
    stop_details: JsonObject | None = None
    raw: JsonObject = {}
    """The provider's message without its content, where it speaks the Messages protocol: for callers who do too."""


class CallAttempt(Value, frozen=True, kw_only=True):
    """One attempt at a model call. Each retry is an attempt with its own holds."""

    call_id: str
    """Unique per attempt; also the hold id."""
    number: int
    """1 for the first attempt."""
    request: ModelRequest
    provider: str
    served_model: str = ""
    """`provider/model` that serves this attempt; a route may name several."""
    dropped: tuple[str, ...] = ()
    """Fields of the caller that this provider does not take and that the route allows to leave out."""
    holds: tuple[Hold, ...]
    """These must go into the same append as the start."""


class CallEnded(Value, frozen=True, kw_only=True):
    """The end of an attempt."""

    response: ModelResponse | None
    error_reason: str | None = None
    error_message: str | None = None
    will_retry: bool = False
    pause_seconds: float = 0.0
    """Until the next attempt, if there is one."""
    settlements: tuple[Settle, ...] = ()
    """These must go into the same append as the end."""
    usage: Usage = Usage()
    cost_nano_usd: int | None = None
    """None: the model has no price."""
    is_assumed: bool = False
    is_overrun: bool = False
    provider_request_id: str | None = None
    """The provider's name for the request, where its cost is not known: what its own books may call it."""


class ModelInfo(Value, frozen=True, kw_only=True):
    """A model that can be called now."""

    id: str
    display_name: str
    context_tokens: int
    max_output_tokens: int
    provider: str
    is_context_guessed: bool = False
    """Nobody said it: nothing is refused or made smaller for it."""
    is_output_guessed: bool = False
    described: JsonObject = {}
    """What is known of it beside, by the names of the Models API: `created_at`, `line`, `capabilities`, ..."""

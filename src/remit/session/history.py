"""The conversation as the model will see it: canonical messages, kept in the order providers demand.

Within one user message tool results come first; consecutive user blocks share one message; an assistant's blocks are
sent back exactly as they came (signatures included).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import cast

import msgspec

from remit.session.refusals import BlockPlace
from remit.session.sendable import (
    THINKING,
    aside,
    assistant_blocks,
    note_block,
    result_content,
    shortened,
    text_block,
    user_blocks,
)
from remit.values import EncodedNotes, EncodedObjects, JsonObject, JsonValue

CLEARED: JsonObject = {
    "type": "text",
    "text": "(cleared to save room; run the tool again if you need this)",
}


@dataclass
class Message:
    """One message under construction."""

    role: str
    content: list[JsonObject]
    results: int = 0
    """How many tool results lead the content."""
    result_seqs: list[int] = field(default_factory=list[int])
    """The rows those results came from; 0 once their content is cleared."""


@dataclass
class History:
    """Messages so far; grows only at the end. What it takes it makes sendable (see `sendable`)."""

    messages: list[Message] = field(default_factory=list[Message])
    bytes_added: int = 0
    """Of all content ever added; only grows."""
    open_uses: list[tuple[str, str]] = field(default_factory=list[tuple[str, str]])
    """Tool uses of the last answer without a result: our id, and the id under which they are sent."""
    use_ids: dict[str, int] = field(default_factory=dict[str, int])
    """The ids of tool uses so far, and how often each came: servers exist that count anew in every answer."""

    def __post_init__(self) -> None:
        self._forget_encoded()

    def add_user(self, blocks: list[JsonObject]) -> None:
        """Add user-role blocks (people, platform notes)."""
        if blocks:
            blocks = user_blocks(blocks)
            self._count(blocks)
            self._user_message().content.extend(blocks)

    def add_assistant(self, blocks: list[JsonObject], use_ids: Sequence[str] = ()) -> None:
        """Add the model's blocks, and our ids of the tool uses among them, in their order."""
        self._answer_open()
        ours = iter(use_ids)
        sent: list[JsonObject] = []
        for block in assistant_blocks(blocks):
            if block["type"] == "tool_use":
                id = self._unused(str(block["id"]))
                self.open_uses.append((next(ours, id), id))
                block = {**block, "id": id}
            sent.append(block)
        if not sent:
            return
        self._count(sent)
        if not self.messages:
            self.add_user([note_block("the conversation begins")])
        if self.messages[-1].role == "assistant":
            self.messages[-1].content.extend(sent)
        else:
            self.messages.append(Message(role="assistant", content=sent))

    def add_tool_result(self, use_id: str, content: list[JsonObject], *, seq: int, is_error: bool) -> None:
        """Answer one of the last answer's tool uses, by our id. A result that comes when nothing waits for it any more is
        a message of its own."""
        ids = [id for ours, id in self.open_uses if ours == use_id]
        if not ids:
            self.add_user([text_block("(the late result of a tool use that was answered before:)"), *content])
            return
        self.open_uses = [pair for pair in self.open_uses if pair[0] != use_id]
        for id in ids:
            self._add_result(id, content, seq=seq, is_error=is_error)

    def _add_result(self, id: str, content: list[JsonObject], *, seq: int, is_error: bool) -> None:
        sent = result_content(content)
        block: JsonObject = {"type": "tool_result", "tool_use_id": id, "content": list[JsonValue](sent)}
        if is_error and any(part["type"] != "text" for part in sent):
            # A failed result may hold nothing but text.
            block["content"] = [text_block("The tool failed:"), *sent]
        elif is_error:
            block["is_error"] = True
        self._count([block])
        message = self._user_message()
        message.content.insert(message.results, block)
        message.result_seqs.append(seq)
        message.results += 1

    def _answer_open(self) -> None:
        """No request is taken with a tool use that has no result."""
        unanswered, self.open_uses = self.open_uses, []
        for _, id in unanswered:
            self._add_result(id, [text_block("(no result was recorded)")], seq=0, is_error=True)

    def _answered(self, message: Message) -> Message:
        """The last message with a result for every tool use; what was lost of an old log must not stop the session."""
        if message.role != "user" or not self.open_uses:
            return message
        rest = History(messages=[Message(message.role, list(message.content), message.results)])
        rest.open_uses = list(self.open_uses)
        rest._answer_open()
        return rest.messages[0]

    def _unused(self, id: str) -> str:
        count = self.use_ids.get(id, 0) + 1
        self.use_ids[id] = count
        if count == 1 and id:
            return id
        return self._unused(f"{id or 'toolu'}_{count}")

    def uncleared_results(self) -> list[int]:
        """The rows of the tool results whose content is still there, oldest first."""
        return [seq for message in self.messages for seq in message.result_seqs if seq]

    def clear_results(self, before_seq: int) -> None:
        """Forget the content of tool results that came before this row."""
        self.drop_thinking()
        for message in self.messages:
            for index, seq in enumerate(message.result_seqs):
                if 0 < seq < before_seq:
                    message.content[index] = {**message.content[index], "content": [CLEARED]}
                    message.result_seqs[index] = 0

    def result_sizes(self) -> dict[int, int]:
        """The rows of the tool results whose content is still there, with its length as JSON."""
        return {
            seq: len(msgspec.json.encode(message.content[index]["content"]))
            for message in self.messages
            for index, seq in enumerate(message.result_seqs)
            if seq
        }

    def shorten_results(self, characters_max: int) -> None:
        """Keep only the beginning and the end of the texts in tool results, and none of their images."""
        self.drop_thinking()
        for message in self.messages:
            for index in range(message.results):
                content = cast("list[JsonObject]", message.content[index]["content"])
                short = list[JsonValue](shortened(content, characters_max))
                message.content[index] = {**message.content[index], "content": short}

    def put_aside(self, place: BlockPlace, why: str) -> None:
        """Replace a block that was refused by a note, or by as little as can stand for it."""
        content = self.messages[place.message].content if place.message < len(self.messages) else []
        if place.block < len(content):
            content[place.block] = aside(content[place.block], place.inner, why)
        self.drop_thinking()

    def drop_thinking(self) -> None:
        """Forget the model's thinking: something before it changes, and a provider may refuse thinking that is bound to
        what it was thought about."""
        self._forget_encoded()
        for message in self.messages:
            if message.role == "assistant":
                message.content = [block for block in message.content if block["type"] not in THINKING]
        self.messages = [message for message in self.messages if message.content]

    def replace_by(self, blocks: list[JsonObject]) -> None:
        """Go on from these blocks instead of everything so far."""
        self.messages, self.open_uses, self.use_ids = [], [], {}
        self._forget_encoded()
        self.add_user(blocks)

    def encode(self) -> EncodedObjects:
        """Encode the history as canonical messages."""
        finished = [_encode(message) for message in self.messages[len(self._encoded) : -1]]
        if finished:
            self._encoded += finished
            json = msgspec.json.encode(finished)[1:-1]
            self._encoded_json = b"%b,%b" % (self._encoded_json, json) if self._encoded_json else json
        last = [_encode(self._answered(message)) for message in self.messages[-1:]]
        return EncodedObjects((*self._encoded, *last), self._encoded_json, len(self._encoded), self._notes)

    def _forget_encoded(self) -> None:
        # The messages that no longer grow (all but the last), as `encode` made them; no part of the state.
        self._encoded: list[JsonObject] = []
        self._encoded_json = b""
        self._notes = EncodedNotes()

    def _count(self, blocks: list[JsonObject]) -> None:
        self.bytes_added += len(msgspec.json.encode(blocks))

    def _user_message(self) -> Message:
        if not self.messages or self.messages[-1].role != "user":
            self.messages.append(Message(role="user", content=[]))
        return self.messages[-1]


class Forgotten(History):
    """Keeps nothing: for those who ask about a session and never call its model."""

    def add_user(self, blocks: list[JsonObject]) -> None:
        """Forget the blocks."""

    def add_assistant(self, blocks: list[JsonObject], use_ids: Sequence[str] = ()) -> None:
        """Forget the blocks."""

    def add_tool_result(self, use_id: str, content: list[JsonObject], *, seq: int, is_error: bool) -> None:
        """Forget the result."""

    def put_aside(self, place: BlockPlace, why: str) -> None:
        """Forget the note."""

    def replace_by(self, blocks: list[JsonObject]) -> None:
        """Forget the summary."""


def _encode(message: Message) -> JsonObject:
    return {"role": message.role, "content": list[JsonValue](message.content)}

"""The conversation as the model will see it: canonical messages, kept in the order providers demand.

Within one user message tool results come first; consecutive user blocks share one message; an assistant's blocks are
sent back exactly as they came (signatures included).
"""

from __future__ import annotations

from dataclasses import dataclass, field

from remit.values import JsonObject, JsonValue


@dataclass
class Message:
    """One message under construction."""

    role: str
    content: list[JsonObject]
    results: int = 0
    """How many tool results lead the content."""


@dataclass
class History:
    """Messages so far; grows only at the end."""

    messages: list[Message] = field(default_factory=list[Message])

    def add_user(self, blocks: list[JsonObject]) -> None:
        """Add user-role blocks (people, platform notes)."""
        if blocks:
            self._user_message().content.extend(blocks)

    def add_assistant(self, blocks: list[JsonObject]) -> None:
        """Add the model's blocks as they came."""
        self.messages.append(Message(role="assistant", content=list(blocks)))

    def add_tool_result(self, provider_id: str, content: list[JsonObject], *, is_error: bool) -> None:
        """Answer one of the last assistant message's tool uses."""
        block: JsonObject = {
            "type": "tool_result",
            "tool_use_id": provider_id,
            "content": list[JsonValue](content) or [{"type": "text", "text": "(no output)"}],
        }
        if is_error:
            block["is_error"] = True
        message = self._user_message()
        message.content.insert(message.results, block)
        message.results += 1

    def encode(self) -> tuple[JsonObject, ...]:
        """As canonical messages."""
        return tuple({"role": message.role, "content": list(message.content)} for message in self.messages)

    def _user_message(self) -> Message:
        if not self.messages or self.messages[-1].role != "user":
            self.messages.append(Message(role="user", content=[]))
        return self.messages[-1]

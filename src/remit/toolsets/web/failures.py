"""Failures of web tools, by the codes that the wire's own web tools use."""

from __future__ import annotations

from typing import Literal

FailureCode = Literal[
    "invalid_tool_input",
    "url_too_long",
    "url_not_allowed",
    "url_not_accessible",
    "unsupported_content_type",
    "too_many_requests",
    "unavailable",
]


class WebFailure(Exception):
    """A use that cannot be answered. `message` is ours; what the web said of it stands in `quoted`."""

    def __init__(
        self, code: FailureCode, message: str, *, quoted: str | None = None, was_sent: bool = False
    ) -> None:
        super().__init__(message)
        self.code: FailureCode = code
        self.message = message
        self.quoted = quoted
        self.was_sent = was_sent
        """The other side may count a request of ours all the same."""
